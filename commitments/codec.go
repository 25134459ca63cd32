package commitments

import (
	"bytes"
	"encoding/hex"
	"encoding/json"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// The JSON below is the form eth-fabric serves: snake_case, integers as JSON
// numbers, bytes as 0x and lower-case hex. Decoding wants every field, lets
// unknown ones pass, and bounds every size; hex digits may be of either case.

// Limits of one message. [fabric: MAX_CONSTRAINTS_PER_SLOT]
const (
	MaxConstraints = 256
	maxMetadata    = 1 << 16 // bytes of a delegation's metadata
	maxSlots       = 1 << 10 // lines of a SlotInfoResponse, and types of an offering
)

// hexBytes is a byte string in JSON; a nil pointer to it is a missing field.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) {
	return hex.AppendEncode([]byte("0x"), h), nil
}

func (h *hexBytes) UnmarshalText(text []byte) error {
	digits, ok := bytes.CutPrefix(text, []byte("0x"))
	if !ok {
		return ErrEncoding.With("hex without 0x")
	}
	b, err := hex.AppendDecode(make([]byte, 0, len(digits)/2), digits)
	if err != nil {
		return ErrEncoding.With("hex: %v", err)
	}
	*h = b
	return nil
}

func hexOf(b []byte) *hexBytes { return (*hexBytes)(&b) }

// reader takes fields out of a decoded object and keeps the first error.
type reader struct{ err error }

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = ErrEncoding.With(format, args...)
	}
}

func (r *reader) number(name string, n *uint64) uint64 {
	if n == nil {
		r.fail("%s is missing", name)
		return 0
	}
	return *n
}

// fixed copies exactly len(dst) bytes.
func (r *reader) fixed(name string, dst []byte, h *hexBytes) {
	if h == nil || len(*h) != len(dst) {
		r.fail("%s is missing or not %d bytes", name, len(dst))
		return
	}
	copy(dst, *h)
}

func (r *reader) bytes(name string, h *hexBytes, most int) []byte {
	if h == nil || len(*h) > most {
		r.fail("%s is missing or longer than %d bytes", name, most)
		return nil
	}
	return *h
}

// object decodes a JSON object into a struct of pointers.
func object(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return ErrEncoding.Wrap(err)
	}
	return nil
}

type requestJSON struct {
	Type    *uint64   `json:"commitment_type"`
	Payload *hexBytes `json:"payload"`
	Slasher *hexBytes `json:"slasher"`
}

// MarshalJSON writes {commitment_type, payload, slasher}.
func (r Request) MarshalJSON() ([]byte, error) {
	return json.Marshal(requestJSON{&r.Type, hexOf(r.Payload), hexOf(r.Slasher[:])})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (r *Request) UnmarshalJSON(text []byte) error {
	var j requestJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := Request{Type: in.number("commitment_type", j.Type), Payload: in.bytes("payload", j.Payload, MaxPayload)}
	in.fixed("slasher", out.Slasher[:], j.Slasher)
	if in.err == nil {
		*r = out
	}
	return in.err
}

type commitmentJSON struct {
	Type        *uint64   `json:"commitment_type"`
	Payload     *hexBytes `json:"payload"`
	RequestHash *hexBytes `json:"request_hash"`
	Slasher     *hexBytes `json:"slasher"`
}

// MarshalJSON writes {commitment_type, payload, request_hash, slasher}.
func (c Commitment) MarshalJSON() ([]byte, error) {
	return json.Marshal(commitmentJSON{&c.Type, hexOf(c.Payload), hexOf(c.RequestHash[:]), hexOf(c.Slasher[:])})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (c *Commitment) UnmarshalJSON(text []byte) error {
	var j commitmentJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := Commitment{Type: in.number("commitment_type", j.Type), Payload: in.bytes("payload", j.Payload, MaxPayload)}
	in.fixed("request_hash", out.RequestHash[:], j.RequestHash)
	in.fixed("slasher", out.Slasher[:], j.Slasher)
	if in.err == nil {
		*c = out
	}
	return in.err
}

type constraintJSON struct {
	Type    *uint64   `json:"constraint_type"`
	Payload *hexBytes `json:"payload"`
}

// MarshalJSON writes {constraint_type, payload}.
func (c Constraint) MarshalJSON() ([]byte, error) {
	return json.Marshal(constraintJSON{&c.Type, hexOf(c.Payload)})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (c *Constraint) UnmarshalJSON(text []byte) error {
	var j constraintJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := Constraint{Type: in.number("constraint_type", j.Type), Payload: in.bytes("payload", j.Payload, MaxPayload)}
	if in.err == nil {
		*c = out
	}
	return in.err
}

// slotOf reads a slot.
func (r *reader) slot(n *uint64) phase0.Slot { return phase0.Slot(r.number("slot", n)) }
