package wire

import (
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/fault"
)

// ErrPayload is a payload that does not answer the block it was asked for with.
var ErrPayload = fault.Define("payload_mismatch", fault.Upstream, "A relay answered with the payload or blobs of another block.")

// Payload is what the sidecar reads of an ExecutionPayloadAndBlobsBundle. It
// has checked all of it, so that the other encoding can be written.
type Payload struct {
	Fork        chain.Fork
	ParentHash  phase0.Hash32
	BlockHash   phase0.Hash32
	Commitments []deneb.KZGCommitment
	Proofs      int // KZG proofs: one a blob, or 128 a blob from Fulu on
	Blobs       int
	body        []byte
	enc         Encoding
	parts       payloadParts
	nulls       bool
}

// payloadParts are the pieces of the body. The lists alias it and are in its
// encoding: the arrays of JSON, or SSZ.
type payloadParts struct {
	fixed                       []byte // of the execution payload
	extra, withdrawals          []byte // SSZ in both encodings
	transactions, proofs, blobs []byte
	txs, txBytes                int
}

const (
	maxTransactions = 1 << 20 // MAX_TRANSACTIONS_PER_PAYLOAD
	maxWithdrawals  = 16      // MAX_WITHDRAWALS_PER_PAYLOAD
	maxCellProofs   = 1 << 25 // FIELD_ELEMENTS_PER_EXT_BLOB × MAX_BLOB_COMMITMENTS_PER_BLOCK
	cellsPerBlob    = 128     // CELLS_PER_EXT_BLOB [EIP-7594]
	proofSize       = 48
	blobSize        = 131072
	payloadSize     = 528
)

var (
	deliveryShape = newShape("payload and blobs bundle", varies("execution_payload"), varies("blobs_bundle"))
	bundleShape   = newShape("blobs_bundle", varies("commitments"), varies("proofs"), varies("blobs"))
	payloadShape  = newShape("execution_payload",
		bytesOf("parent_hash", 32),
		bytesOf("fee_recipient", 20),
		bytesOf("state_root", 32),
		bytesOf("receipts_root", 32),
		bytesOf("logs_bloom", 256),
		bytesOf("prev_randao", 32),
		uint64Of("block_number"),
		uint64Of("gas_limit"),
		uint64Of("gas_used"),
		uint64Of("timestamp"),
		varies("extra_data"),
		uint256Of("base_fee_per_gas"),
		bytesOf("block_hash", 32),
		varies("transactions"),
		varies("withdrawals"),
		uint64Of("blob_gas_used"),
		uint64Of("excess_blob_gas"),
	)
	withdrawalShape = newShape("withdrawals", uint64Of("index"), uint64Of("validator_index"),
		bytesOf("address", 20), uint64Of("amount"))
)

// DecodePayload reads a payload of the given fork. JSON is {"version","data"},
// whose version must be the fork's name (ErrFork). It keeps body. Faults:
// ErrDecode, ErrFork.
func DecodePayload(fork chain.Fork, enc Encoding, body []byte) (*Payload, error) {
	if !fork.Served() {
		return nil, ErrFork.With("%s", fork)
	}
	p := &Payload{Fork: fork, body: body, enc: enc}
	var err error
	if enc == SSZ {
		err = p.unmarshal(body)
	} else {
		err = p.scan(body)
	}
	if err != nil {
		return nil, err
	}
	copy(p.ParentHash[:], p.parts.fixed)
	copy(p.BlockHash[:], p.parts.fixed[472:])
	return p, nil
}

// Encode returns the payload in enc: the very bytes received when they are in
// enc, unless they hold a null for a list, which not every reader takes.
func (p *Payload) Encode(enc Encoding) ([]byte, error) {
	switch {
	case enc == p.enc && !p.nulls:
		return p.body, nil
	case enc == SSZ:
		return p.marshal()
	case p.enc == SSZ:
		return p.marshalJSON(), nil
	}
	ssz, err := p.marshal()
	if err != nil {
		return nil, err
	}
	q, err := DecodePayload(p.Fork, SSZ, ssz)
	if err != nil {
		return nil, err
	}
	return q.marshalJSON(), nil
}

// Matches says why p is not the payload of b: another block hash, another
// number of blobs or proofs, or another commitment. Nil if it is. Fault: ErrPayload.
func (p *Payload) Matches(b *BlindedBlock) error {
	n, proofs := len(b.Commitments), len(b.Commitments)
	if p.Fork >= chain.Fulu {
		proofs *= cellsPerBlob
	}
	switch {
	case p.Fork != b.Fork:
		return ErrPayload.With("of %s, want %s", p.Fork, b.Fork)
	case p.BlockHash != b.BlockHash:
		return ErrPayload.With("block hash %s, want %s", p.BlockHash, b.BlockHash)
	case len(p.Commitments) != n:
		return ErrPayload.With("%d commitments, want %d", len(p.Commitments), n)
	case p.Blobs != n:
		return ErrPayload.With("%d blobs, want %d", p.Blobs, n)
	case p.Proofs != proofs:
		return ErrPayload.With("%d proofs, want %d", p.Proofs, proofs)
	}
	for i := range b.Commitments {
		if p.Commitments[i] != b.Commitments[i] {
			return ErrPayload.With("commitment %d is %s, want %s", i, p.Commitments[i], b.Commitments[i])
		}
	}
	return nil
}

func (p *Payload) maxProofs() int {
	if p.Fork >= chain.Fulu {
		return maxCellProofs
	}
	return maxCommitments
}
