package wire

import (
	"encoding/binary"

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

// What is read of a block in JSON. Other members are skipped, known or not: a
// beacon node once added one, and every block that a strict reader refused was
// a block lost.
var (
	slotMessageShape  = newShape("block", varies("message"))
	slotShape         = newShape("message", nests("slot", 8))
	blockJSONShape    = newShape("message", uint64Of("slot"), uint64Of("proposer_index"), varies("body"))
	bodyJSONShape     = newShape("body", varies("execution_payload_header"), varies("blob_kzg_commitments"))
	hashesHeaderShape = newShape("execution_payload_header", bytesOf("parent_hash", 32), bytesOf("block_hash", 32))
)

// The SSZ of a block. [consensus-specs: BeaconBlockBody of deneb, electra]
var (
	blockShape = newShape("message", uint64Of("slot"), uint64Of("proposer_index"),
		bytesOf("parent_root", 32), bytesOf("state_root", 32), varies("body"))
	denebBodyShape   = newShape("body", bodyFields()...)
	electraBodyShape = newShape("body", append(bodyFields(), varies("execution_requests"))...)
)

// Where the parts of interest are among the variable parts of a body.
const (
	bodyHeader      = 5
	bodyCommitments = 7
	bodyParts       = 9
)

func bodyFields() []field {
	return []field{
		bytesOf("randao_reveal", 96),
		nests("eth1_data", 72),
		bytesOf("graffiti", 32),
		varies("proposer_slashings"),
		varies("attester_slashings"),
		varies("attestations"),
		varies("deposits"),
		varies("voluntary_exits"),
		nests("sync_aggregate", 160),
		varies("execution_payload_header"),
		varies("bls_to_execution_changes"),
		varies("blob_kzg_commitments"),
	}
}

// SlotOf reads only the slot of a SignedBlindedBeaconBlock, which tells the fork
// everything else is decoded with. It stops there and does not check what
// follows. Fault: ErrDecode.
func SlotOf(enc Encoding, body []byte) (phase0.Slot, error) {
	if enc == SSZ {
		message, err := splitSigned(body)
		if err != nil {
			return 0, err
		}
		if len(message) < blockShape.size {
			return 0, ErrDecode.With("message: %d bytes, want %d or more", len(message), blockShape.size)
		}
		return phase0.Slot(binary.LittleEndian.Uint64(message)), nil
	}
	s := scanner{in: body}
	block := s.object(slotMessageShape, nil)
	for s.more(&block) {
		message := s.object(slotShape, nil)
		for s.more(&message) {
			slot := s.uint64()
			return phase0.Slot(slot), s.err
		}
	}
	return 0, s.err
}

// splitSigned returns the message of a signed container.
func splitSigned(body []byte) ([]byte, error) {
	var message [1][]byte
	err := signedShape.split(body, message[:])
	return message[0], err
}

// DecodeBlindedBlock reads a block of the given fork. In JSON the rest is only
// held to be well formed; in SSZ only the offsets of the outer containers are
// checked: lists that nobody here reads are the relay's to judge. Faults:
// ErrDecode, ErrFork for a fork that is not served.
func DecodeBlindedBlock(fork chain.Fork, enc Encoding, body []byte) (*BlindedBlock, error) {
	if !fork.Served() {
		return nil, ErrFork.With("%s", fork)
	}
	b := &BlindedBlock{Fork: fork, Encoding: enc, Body: body}
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

func (b *BlindedBlock) scan(body []byte) error {
	s := scanner{in: body}
	var signed [signedSize]byte
	o := s.object(signedShape, signed[:])
	for s.more(&o) {
		var fixed [20]byte
		message := s.object(blockJSONShape, fixed[:])
		for s.more(&message) {
			b.scanBody(&s)
		}
		b.Slot = phase0.Slot(binary.LittleEndian.Uint64(fixed[:]))
		b.ProposerIndex = phase0.ValidatorIndex(binary.LittleEndian.Uint64(fixed[8:]))
	}
	copy(b.Signature[:], signed[4:])
	s.end()
	return s.err
}

func (b *BlindedBlock) scanBody(s *scanner) {
	body := s.object(bodyJSONShape, nil)
	for s.more(&body) {
		if s.field == "blob_kzg_commitments" {
			b.Commitments = s.commitments()
			continue
		}
		var hashes [64]byte
		header := s.object(hashesHeaderShape, hashes[:])
		for s.more(&header) {
			s.skip() // it has fixed fields only
		}
		copy(b.ParentHash[:], hashes[:32])
		copy(b.BlockHash[:], hashes[32:])
	}
}

func (b *BlindedBlock) unmarshal(body []byte) error {
	message, err := splitSigned(body)
	if err != nil {
		return err
	}
	var inner [1][]byte
	if err := blockShape.split(message, inner[:]); err != nil {
		return err
	}
	sh := denebBodyShape
	if b.Fork >= chain.Electra {
		sh = electraBodyShape
	}
	var parts [bodyParts][]byte
	if err := sh.split(inner[0], parts[:]); err != nil {
		return err
	}
	var header Header
	var extra [maxExtra]byte
	if err := header.unmarshal(parts[bodyHeader], &extra); err != nil {
		return err
	}
	if b.Commitments, err = splitCommitments(parts[bodyCommitments]); err != nil {
		return err
	}
	b.Slot = phase0.Slot(binary.LittleEndian.Uint64(message))
	b.ProposerIndex = phase0.ValidatorIndex(binary.LittleEndian.Uint64(message[8:]))
	b.ParentHash, b.BlockHash = header.ParentHash, header.BlockHash
	copy(b.Signature[:], body[4:])
	return nil
}
