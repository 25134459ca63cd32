package wire

import (
	"bytes"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
)

// Bid is a SignedBuilderBid. It owns its memory, and nobody changes it once
// decoded.
type Bid struct {
	Fork              chain.Fork
	Header            Header
	Commitments       []deneb.KZGCommitment
	ExecutionRequests []byte      // SSZ of ExecutionRequests; nil before Electra
	Value             uint256.Int // wei
	Pubkey            phase0.BLSPubKey
	Signature         phase0.BLSSignature

	// raw is the body as received, in encoding enc; nil if the fields are all there is.
	raw   []byte
	enc   Encoding
	extra [maxExtra]byte // memory of Header.ExtraData
}

const (
	maxCommitments = 4096 // MAX_BLOB_COMMITMENTS_PER_BLOCK
	signedSize     = 100
)

var (
	// signedShape is a message with its signature.
	signedShape = newShape("signed message", varies("message"), bytesOf("signature", 96))
	// envelopeShape is what JSON answers are wrapped in. A missing version is ErrFork.
	envelopeShape = newShape("answer", optional(varies("version")), varies("data"))

	denebBidShape = newShape("bid", varies("header"), varies("blob_kzg_commitments"),
		uint256Of("value"), bytesOf("pubkey", 48))
	electraBidShape = newShape("bid", varies("header"), varies("blob_kzg_commitments"),
		varies("execution_requests"), uint256Of("value"), bytesOf("pubkey", 48))
)

// NewBid makes a bid to send; set its Signature, then Encode it. The header's
// extra data has at most 32 bytes; executionRequests is the SSZ of them, and
// nil means none in a fork that has them. The bid keeps the slices.
func NewBid(fork chain.Fork, h Header, commitments []deneb.KZGCommitment, executionRequests []byte,
	value uint256.Int, pubkey phase0.BLSPubKey) *Bid {
	b := &Bid{Fork: fork, Header: h, Commitments: commitments, Value: value, Pubkey: pubkey}
	if b.hasRequests() {
		if b.ExecutionRequests = executionRequests; executionRequests == nil {
			b.ExecutionRequests = joinRequests([3][]byte{})
		}
	}
	return b
}

// DecodeBid reads a bid of the given fork. JSON is {"version","data"}, whose
// version must be the fork's name (ErrFork); SSZ carries no version. Unknown
// JSON members are let pass, and null stands for a list of none, as real relays
// write it. The body is copied. Faults: ErrDecode, ErrFork.
func DecodeBid(fork chain.Fork, enc Encoding, body []byte) (*Bid, error) {
	if !fork.Served() {
		return nil, ErrFork.With("%s", fork)
	}
	b := &Bid{Fork: fork, enc: enc}
	var err error
	if enc == SSZ {
		err = b.unmarshal(body)
	} else {
		err = b.scan(body)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Root returns the hash tree root of the bid's message.
func (b *Bid) Root() phase0.Root { return b.root() }

// Encode returns the bid in enc: the very bytes received when enc is the
// encoding it came in, unless they hold a null for a list, which not every
// reader takes; then it writes the fields, without unknown members. The caller
// must not change the bytes.
func (b *Bid) Encode(enc Encoding) []byte {
	switch {
	case b.raw != nil && enc == b.enc:
		return b.raw
	case enc == SSZ:
		return b.marshal()
	}
	return b.marshalJSON()
}

func (b *Bid) hasRequests() bool { return b.Fork >= chain.Electra }

func (b *Bid) shape() *shape {
	if b.hasRequests() {
		return electraBidShape
	}
	return denebBidShape
}

// scan reads the bid in JSON.
func (b *Bid) scan(body []byte) error {
	s := scanner{in: body}
	env := newEnvelope(&s, b.Fork)
	for s.data(&env) {
		var fixed [signedSize]byte
		o := s.object(signedShape, fixed[:])
		for s.more(&o) {
			b.scanMessage(&s)
		}
		copy(b.Signature[:], fixed[4:])
	}
	if s.err == nil && !s.nulls {
		b.raw = bytes.Clone(body)
	}
	return s.err
}

func (b *Bid) scanMessage(s *scanner) {
	var buf [92]byte
	fixed := buf[:b.shape().size]
	o := s.object(b.shape(), fixed)
	for s.more(&o) {
		switch s.field {
		case "header":
			b.Header.scan(s, &b.extra)
		case "blob_kzg_commitments":
			b.Commitments = s.commitments()
		case "execution_requests":
			b.ExecutionRequests = scanRequests(s)
		}
	}
	b.setFixed(fixed)
}

// setFixed sets the last two fields, in every fork the only ones of fixed size.
func (b *Bid) setFixed(fixed []byte) {
	tail := fixed[len(fixed)-80:]
	b.Value = getWide(tail[:32])
	copy(b.Pubkey[:], tail[32:])
}

// commitments reads a list of KZG commitments.
func (s *scanner) commitments() []deneb.KZGCommitment {
	const width = 2*48 + 4
	s.next()
	likely := max(0, bytes.IndexByte(s.in[s.pos:], ']')) / width
	cs := make([]deneb.KZGCommitment, 0, min(likely, maxCommitments))
	n := 0
	for s.item(&n, maxCommitments) {
		cs = append(cs, deneb.KZGCommitment{})
		s.hex(cs[n-1][:])
	}
	return cs
}

// unmarshal reads the bid in SSZ.
func (b *Bid) unmarshal(body []byte) (err error) {
	var message [1][]byte
	if err := signedShape.split(body, message[:]); err != nil {
		return err
	}
	sh := b.shape()
	var parts [3][]byte
	if err := sh.split(message[0], parts[:]); err != nil {
		return err
	}
	if err := b.Header.unmarshal(parts[0], &b.extra); err != nil {
		return err
	}
	if b.Commitments, err = splitCommitments(parts[1]); err != nil {
		return err
	}
	b.raw = bytes.Clone(body)
	if b.hasRequests() {
		if _, err := splitRequests(parts[2]); err != nil {
			return err
		}
		b.ExecutionRequests = b.raw[len(body)-len(parts[2]):] // the last part of the last part
	}
	b.setFixed(message[0][:sh.size])
	copy(b.Signature[:], body[4:])
	return nil
}

func splitCommitments(b []byte) ([]deneb.KZGCommitment, error) {
	n, err := listLen("blob_kzg_commitments", b, 48, maxCommitments)
	if err != nil {
		return nil, err
	}
	cs := make([]deneb.KZGCommitment, n)
	for i := range cs {
		copy(cs[i][:], b[48*i:])
	}
	return cs, nil
}

// marshal writes the bid in SSZ.
func (b *Bid) marshal() []byte {
	sh, header := b.shape(), b.Header.fixed()
	size := signedSize + sh.size + headerSize + len(b.Header.ExtraData) + 48*len(b.Commitments) + len(b.ExecutionRequests)
	out := make([]byte, signedSize, size)
	putOffset(out, signedSize)
	copy(out[4:], b.Signature[:])

	// The message's parts are written in place: offsets first, then each behind the last.
	out = append(out, make([]byte, sh.size)...)
	message := out[signedSize:]
	tail := message[sh.size-80:]
	putWide(tail, &b.Value)
	copy(tail[32:], b.Pubkey[:])
	putOffset(message, sh.size)
	out = append(append(out, header[:]...), b.Header.ExtraData...)
	putOffset(message[4:], len(out)-signedSize)
	for i := range b.Commitments {
		out = append(out, b.Commitments[i][:]...)
	}
	if b.hasRequests() {
		putOffset(message[8:], len(out)-signedSize)
		out = append(out, b.ExecutionRequests...)
	}
	return out
}

// marshalJSON writes the bid in JSON, in the specification's order.
func (b *Bid) marshalJSON() []byte {
	out := make([]byte, 0, 2600+102*len(b.Commitments)+4*len(b.ExecutionRequests))
	out = appendEnvelope(out, b.Fork)
	var signed [signedSize]byte
	copy(signed[4:], b.Signature[:])
	out = signedShape.appendObject(out, signed[:], func(out []byte, _ string) []byte {
		return b.appendMessage(out)
	})
	return append(out, '}')
}

func (b *Bid) appendMessage(out []byte) []byte {
	var buf [92]byte
	fixed := buf[:b.shape().size]
	putWide(fixed[len(fixed)-80:], &b.Value)
	copy(fixed[len(fixed)-48:], b.Pubkey[:])
	return b.shape().appendObject(out, fixed, func(out []byte, name string) []byte {
		switch name {
		case "header":
			return b.Header.appendJSON(out)
		case "blob_kzg_commitments":
			return appendCommitments(out, b.Commitments)
		default:
			return appendRequestsJSON(out, b.ExecutionRequests)
		}
	})
}

func appendCommitments(out []byte, cs []deneb.KZGCommitment) []byte {
	out = append(out, '[')
	for i := range cs {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendHex(out, cs[i][:])
	}
	return append(out, ']')
}

// appendEnvelope appends {"version":…,"data": and leaves the object open.
func appendEnvelope(out []byte, fork chain.Fork) []byte {
	out = append(append(out, `{"version":"`...), fork.String()...)
	return append(out, `","data":`...)
}

// envelope is {"version","data"} being read: for s.data(&e) { read the data }.
type envelope struct {
	object
	fork      chain.Fork
	versioned bool
}

func newEnvelope(s *scanner, fork chain.Fork) envelope {
	return envelope{object: s.object(envelopeShape, nil), fork: fork}
}

// data reads on to the data and past it to the end of the input. The version
// must be there and be the fork's, wherever it stands.
func (s *scanner) data(e *envelope) bool {
	for s.more(&e.object) {
		if s.field == "data" {
			return true
		}
		e.versioned = true
		if name := s.word(); s.err == nil && string(name) != e.fork.String() {
			s.err = ErrFork.With("version %q, want %s", name[:min(16, len(name))], e.fork)
		}
	}
	s.end()
	if s.err == nil && !e.versioned {
		s.err = ErrFork.With("no version, want %s", e.fork)
	}
	return false
}
