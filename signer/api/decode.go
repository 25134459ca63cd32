package api

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// fields are the members of a JSON object, unread.
type fields map[string]json.RawMessage

// object reads one JSON object and nothing after it, with every name once: two
// readers must not see two values. Fault: ErrSyntax.
func object(b []byte) (fields, error) {
	if !utf8.Valid(b) {
		return nil, ErrSyntax.With("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, ErrSyntax.With("not an object")
	}
	f := fields{}
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, ErrSyntax.With("a name is broken")
		}
		if _, twice := f[name]; twice {
			return nil, ErrSyntax.With("%.40q is there twice", name)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, ErrSyntax.With("the value of %.40q is broken", name)
		}
		f[name] = raw
	}
	if _, err := dec.Token(); err != nil { // }
		return nil, ErrSyntax.With("the object does not end")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, ErrSyntax.With("something follows the object")
	}
	return f, nil
}

// reader reads fields and keeps the first thing that is wrong: ErrShape.
type reader struct {
	fields
	err error
}

func (r *reader) fail(name, format string, args ...any) {
	if r.err == nil {
		r.err = ErrShape.With(name+" "+format, args...)
	}
}

// text reads a string that must be there.
func (r *reader) text(name string) (s string) {
	if !text(r.fields[name], &s) {
		r.fail(name, "is not a string")
	}
	return s
}

// bytes reads hexadecimal, 0x optional, of one of some lengths; none is any.
func (r *reader) bytes(name string, lengths ...int) []byte {
	s := r.text(name)
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		r.fail(name, "is not hexadecimal")
		return nil
	}
	for _, n := range lengths {
		if len(b) == n {
			return b
		}
	}
	if len(lengths) > 0 {
		r.fail(name, "has %d bytes, want %d", len(b), lengths[0])
		return nil
	}
	return b
}

func (r *reader) root(name string) (root phase0.Root) {
	copy(root[:], r.bytes(name, len(root)))
	return root
}

func (r *reader) pubkey(name string) (key phase0.BLSPubKey) {
	copy(key[:], r.bytes(name, len(key)))
	return key
}

// key reads a BLS key, or an address.
func (r *reader) key(name string, lengths ...int) commitments.Key {
	k, err := commitments.ParseKey(r.bytes(name, lengths...))
	if err == nil && k.IsZero() && r.err == nil {
		r.fail(name, "is zero")
	}
	return k
}

// number reads a JSON number that is a uint64, written plainly.
func (r *reader) number(name string) uint64 {
	n, err := strconv.ParseUint(string(r.fields[name]), 10, 64)
	if err != nil {
		r.fail(name, "is not a whole number from 0 to 2^64-1")
	}
	return n
}

// only refuses fields of other names.
func (r *reader) only(names ...string) {
	known := map[string]bool{}
	for _, n := range names {
		known[n] = true
	}
	for name := range r.fields {
		if !known[name] {
			r.fail("", "has the unknown field %.40q", name)
		}
	}
}
