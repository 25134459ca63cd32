package wire

import (
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
)

// Header is an ExecutionPayloadHeader of Deneb, Electra or Fulu, which share
// one shape of 17 fields. [consensus-specs: deneb/ExecutionPayloadHeader]
type Header struct {
	ParentHash       phase0.Hash32
	FeeRecipient     bellatrix.ExecutionAddress
	StateRoot        phase0.Root
	ReceiptsRoot     phase0.Root
	LogsBloom        [256]byte
	PrevRandao       [32]byte
	BlockNumber      uint64
	GasLimit         uint64
	GasUsed          uint64
	Timestamp        uint64 // unix seconds
	ExtraData        []byte // at most 32 bytes
	BaseFeePerGas    uint256.Int
	BlockHash        phase0.Hash32
	TransactionsRoot phase0.Root
	WithdrawalsRoot  phase0.Root
	BlobGasUsed      uint64
	ExcessBlobGas    uint64
}

// Bid is a SignedBuilderBid. It owns its memory.
type Bid struct {
	Fork              chain.Fork
	Header            Header
	Commitments       []deneb.KZGCommitment
	ExecutionRequests []byte      // SSZ of ExecutionRequests; nil before Electra
	Value             uint256.Int // wei
	Pubkey            phase0.BLSPubKey
	Signature         phase0.BLSSignature

	// raw is the message as received, in encoding enc.
	raw []byte
	enc Encoding
}

// DecodeBid reads a bid of the given fork. JSON is {"version","data"}, whose
// version must be the fork's name (ErrFork); SSZ carries no version. The body
// is copied. Faults: ErrDecode, ErrFork.
func DecodeBid(fork chain.Fork, enc Encoding, body []byte) (*Bid, error) { panic("stub") }

// Root returns the hash tree root of the bid's message.
func (b *Bid) Root() phase0.Root { panic("stub") }

// Encode returns the bid in enc: the very bytes received when enc is the
// encoding it came in. The caller must not change them.
func (b *Bid) Encode(enc Encoding) []byte { panic("stub") }
