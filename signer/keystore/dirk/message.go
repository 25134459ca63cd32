package dirk

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// state is what a server says of a request. [Dirk: responsestate.proto]
type state uint64

const (
	stateSucceeded state = 1
	stateDenied    state = 2
)

// The messages, as far as we read them; the numbers are those of their fields.
// [Dirk: lister.proto, endpoint.proto, signer.proto]
type (
	listing struct {
		state       state         // 1
		simple      []simple      // 2
		distributed []distributed // 3
	}
	simple struct {
		name   string // 1
		public []byte // 2
	}
	distributed struct {
		name         string     // 1
		share        []byte     // 2
		participants []endpoint // 3
		threshold    uint64     // 4
		composite    []byte     // 6
	}
	endpoint struct {
		id   uint64 // 1
		name string // 2
	}
	signed struct {
		state     state  // 1
		signature []byte // 2
	}
)

var errMessage = errors.New("not a protocol buffer message of this kind")

// listRequest is a ListAccountsRequest.
func listRequest(paths []string) (b []byte) {
	for _, p := range paths {
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, p)
	}
	return b
}

// signRequest is a SignRequest, for a public key, or for an account by its name.
func signRequest(public []byte, account string, object, domain []byte) (b []byte) {
	if account == "" {
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendBytes(b, public)
	} else {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendString(b, account)
	}
	b = protowire.AppendTag(b, 3, protowire.BytesType)
	b = protowire.AppendBytes(b, object)
	b = protowire.AppendTag(b, 4, protowire.BytesType)
	return protowire.AppendBytes(b, domain)
}

// field is one field of a message: a number or bytes, by its type.
type field struct {
	number int32
	varint bool
	n      uint64
	bytes  []byte
}

// fields calls visit for every field that is a number or bytes. Others are
// skipped: messages grow. It ends at the first error.
func fields(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errMessage
		}
		b = b[n:]
		f := field{number: int32(number)}
		switch kind {
		case protowire.VarintType:
			f.varint = true
			f.n, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
				return errMessage
			}
			b = b[n:]
			continue
		}
		if n < 0 {
			return errMessage
		}
		if err := visit(f); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// number64 reads a field that is a number. Like raw, text and message, it refuses
// a field of a known number and another type.
func (f field) number64(into *uint64) error {
	if !f.varint {
		return errMessage
	}
	*into = f.n
	return nil
}

func (f field) raw(into *[]byte) error {
	if f.varint {
		return errMessage
	}
	*into = f.bytes
	return nil
}

func (f field) text(into *string) error {
	if f.varint {
		return errMessage
	}
	*into = string(f.bytes)
	return nil
}

func parseListing(b []byte) (l listing, err error) {
	err = fields(b, func(f field) error {
		switch f.number {
		case 1:
			return f.number64((*uint64)(&l.state))
		case 2:
			var a simple
			if err := f.message(func(f field) error {
				switch f.number {
				case 1:
					return f.text(&a.name)
				case 2:
					return f.raw(&a.public)
				}
				return nil
			}); err != nil {
				return err
			}
			l.simple = append(l.simple, a)
		case 3:
			a, err := parseDistributed(f)
			if err != nil {
				return err
			}
			l.distributed = append(l.distributed, a)
		}
		return nil
	})
	return l, err
}

func parseDistributed(f field) (a distributed, err error) {
	err = f.message(func(f field) error {
		switch f.number {
		case 1:
			return f.text(&a.name)
		case 2:
			return f.raw(&a.share)
		case 3:
			var e endpoint
			if err := f.message(func(f field) error {
				switch f.number {
				case 1:
					return f.number64(&e.id)
				case 2:
					return f.text(&e.name)
				}
				return nil
			}); err != nil {
				return err
			}
			a.participants = append(a.participants, e)
		case 4:
			return f.number64(&a.threshold)
		case 6:
			return f.raw(&a.composite)
		}
		return nil
	})
	return a, err
}

func parseSigned(b []byte) (s signed, err error) {
	err = fields(b, func(f field) error {
		switch f.number {
		case 1:
			return f.number64((*uint64)(&s.state))
		case 2:
			return f.raw(&s.signature)
		}
		return nil
	})
	return s, err
}

// message visits the fields of a field that is a message itself.
func (f field) message(visit func(field) error) error {
	if f.varint {
		return errMessage
	}
	return fields(f.bytes, visit)
}
