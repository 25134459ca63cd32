package wire

import (
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// BlindedBlock is what the sidecar reads of a SignedBlindedBeaconBlock. Body is
// the whole of it as received, in encoding Encoding; it aliases the caller's.
type BlindedBlock struct {
	Fork          chain.Fork
	Slot          phase0.Slot
	ProposerIndex phase0.ValidatorIndex
	ParentHash    phase0.Hash32
	BlockHash     phase0.Hash32
	Commitments   []deneb.KZGCommitment
	Signature     phase0.BLSSignature
	Encoding      Encoding
	Body          []byte
}

// SlotOf reads only the slot of a SignedBlindedBeaconBlock, which tells the fork
// everything else is decoded with. Fault: ErrDecode.
func SlotOf(enc Encoding, body []byte) (phase0.Slot, error) { panic("stub") }

// DecodeBlindedBlock reads a block of the given fork. Fault: ErrDecode.
func DecodeBlindedBlock(fork chain.Fork, enc Encoding, body []byte) (*BlindedBlock, error) {
	panic("stub")
}

// Convert writes the block in the other encoding through the spec's types. It
// fails unless the result has the very hash tree root of what was received.
func (b *BlindedBlock) Convert(enc Encoding) ([]byte, error) { panic("stub") }

// Payload is what the sidecar reads of an ExecutionPayloadAndBlobsBundle.
type Payload struct {
	Fork        chain.Fork
	ParentHash  phase0.Hash32
	BlockHash   phase0.Hash32
	Commitments []deneb.KZGCommitment
	Proofs      int // KZG proofs: one a blob, or 128 a blob from Fulu on
	Blobs       int
	body        []byte
	enc         Encoding
}

// DecodePayload reads a payload of the given fork. JSON is {"version","data"},
// whose version must be the fork's name (ErrFork). It keeps body. Faults:
// ErrDecode, ErrFork.
func DecodePayload(fork chain.Fork, enc Encoding, body []byte) (*Payload, error) { panic("stub") }

// Encode returns the payload in enc: the very bytes received when they are in enc.
func (p *Payload) Encode(enc Encoding) ([]byte, error) { panic("stub") }

// Matches says why p is not the payload of b: another block hash, another
// number of blobs or proofs, or another commitment. Nil if it is. Fault: ErrPayload.
func (p *Payload) Matches(b *BlindedBlock) error { panic("stub") }
