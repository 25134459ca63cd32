package wire

import (
	"encoding/binary"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/fault"
)

// Faults of this package.
var (
	ErrDecode = fault.Define("decode", fault.Invalid, "A message is not what its media type and fork say.")
	ErrFork   = fault.Define("fork_mismatch", fault.Invalid, "A message is of another fork than its slot.")
)

// Registration is one SignedValidatorRegistration of a body. Raw is its bytes
// as received (a JSON object, or 180 bytes of SSZ) and aliases the body.
type Registration struct {
	FeeRecipient bellatrix.ExecutionAddress
	GasLimit     uint64
	Timestamp    uint64 // unix seconds
	Pubkey       phase0.BLSPubKey
	Signature    phase0.BLSSignature
	Raw          []byte
}

const (
	registrationSize = 84  // of the message in SSZ
	signedRegSize    = 180 // with the signature
	// No registration in JSON is shorter, for its hex alone is longer.
	leastRegJSON = 2 * (20 + 48 + 96)
)

// [builder-specs: ValidatorRegistrationV1]
var (
	registrationShape = newShape("registration",
		bytesOf("fee_recipient", 20), uint64Of("gas_limit"), uint64Of("timestamp"), bytesOf("pubkey", 48))
	signedRegShape = newShape("signed registration",
		nests("message", registrationSize), bytesOf("signature", 96))
)

// DecodeRegistrations appends the registrations of a body to dst: a JSON array,
// or SSZ elements of 180 bytes each with nothing between. Unknown JSON fields
// are let pass, for the bytes go on as they are. Fault: ErrDecode.
func DecodeRegistrations(enc Encoding, body []byte, dst []Registration) ([]Registration, error) {
	return decodeRegistrations(enc, body, dst, true)
}

// ScanRegistrations is DecodeRegistrations for who only wants to know whose
// registrations they are: Signature may be left zero.
func ScanRegistrations(enc Encoding, body []byte, dst []Registration) ([]Registration, error) {
	return decodeRegistrations(enc, body, dst, false)
}

func decodeRegistrations(enc Encoding, body []byte, dst []Registration, signed bool) ([]Registration, error) {
	if enc == SSZ {
		n, err := listLen("registrations", body, signedRegSize, len(body))
		if err != nil {
			return dst, err
		}
		dst = slices.Grow(dst, n)
		for i := range n {
			raw := body[i*signedRegSize : (i+1)*signedRegSize : (i+1)*signedRegSize]
			dst = append(dst, Registration{Raw: raw})
			dst[len(dst)-1].set((*[signedRegSize]byte)(raw))
		}
		return dst, nil
	}
	s := scanner{in: body, field: "registrations"}
	if s.next() != '[' {
		s.fail("want an array")
	}
	before, n := len(dst), 0
	for s.item(&n, len(body)) {
		s.next()
		begin := s.pos
		dst = append(dst, Registration{})
		if quick := quickRegistration(body[begin:], &dst[len(dst)-1], signed); quick > 0 {
			if s.pos += quick; n == 1 {
				dst = slices.Grow(dst, (len(body)-begin)/quick+1)
			}
			continue
		}
		var fixed [signedRegSize]byte
		o := s.object(signedRegShape, fixed[:])
		for s.more(&o) {
			m := s.object(registrationShape, fixed[:registrationSize])
			for s.more(&m) {
				s.skip() // it has fixed fields only
			}
		}
		if n == 1 && s.err == nil {
			dst = slices.Grow(dst, (len(body)-begin)/max(s.pos-begin, leastRegJSON)+1)
		}
		dst[len(dst)-1].Raw = body[begin:s.pos:s.pos]
		dst[len(dst)-1].set(&fixed)
	}
	if s.end(); s.err != nil {
		return dst[:before], s.err
	}
	return dst, nil
}

func (r *Registration) set(b *[signedRegSize]byte) {
	copy(r.FeeRecipient[:], b[0:])
	r.GasLimit = binary.LittleEndian.Uint64(b[20:])
	r.Timestamp = binary.LittleEndian.Uint64(b[28:])
	copy(r.Pubkey[:], b[36:])
	copy(r.Signature[:], b[84:])
}

func (r *Registration) fixed() (b [signedRegSize]byte) {
	copy(b[0:], r.FeeRecipient[:])
	binary.LittleEndian.PutUint64(b[20:], r.GasLimit)
	binary.LittleEndian.PutUint64(b[28:], r.Timestamp)
	copy(b[36:], r.Pubkey[:])
	copy(b[84:], r.Signature[:])
	return b
}

// JoinRegistrations writes a body of rs in enc out of their Raw bytes, which
// must have been received in enc.
func JoinRegistrations(enc Encoding, rs []Registration) []byte {
	size := len(rs) + 2
	for i := range rs {
		size += len(rs[i].Raw)
	}
	out := make([]byte, 0, size)
	if enc == SSZ {
		for i := range rs {
			out = append(out, rs[i].Raw...)
		}
		return out
	}
	out = append(out, '[')
	for i := range rs {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, rs[i].Raw...)
	}
	return append(out, ']')
}

// ConvertRegistrations writes a body of rs in enc out of their fields.
func ConvertRegistrations(enc Encoding, rs []Registration) []byte {
	if enc == SSZ {
		out := make([]byte, 0, signedRegSize*len(rs))
		for i := range rs {
			b := rs[i].fixed()
			out = append(out, b[:]...)
		}
		return out
	}
	out := append(make([]byte, 0, 480*len(rs)+2), '[')
	for i := range rs {
		if i > 0 {
			out = append(out, ',')
		}
		b := rs[i].fixed()
		out = signedRegShape.appendObject(out, b[:], func(out []byte, _ string) []byte {
			return registrationShape.appendObject(out, b[:registrationSize], nil)
		})
	}
	return append(out, ']')
}

// Root returns the hash tree root of the message.
func (r *Registration) Root() phase0.Root {
	b := r.fixed()
	return make(hasher, 0, 8).container(registrationShape, b[:registrationSize])
}
