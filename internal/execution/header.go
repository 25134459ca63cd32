package execution

import (
	"bytes"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"
)

// Header is an execution header of Cancun or later, in the words of the
// consensus layer. [Yellow Paper 4.4; EIP-4844, EIP-4788, EIP-7685]
type Header struct {
	Hash             phase0.Hash32 // keccak256 of the RLP
	ParentHash       phase0.Hash32
	FeeRecipient     bellatrix.ExecutionAddress
	StateRoot        phase0.Root
	TransactionsRoot [32]byte // of the trie, not the SSZ list
	ReceiptsRoot     phase0.Root
	LogsBloom        [256]byte
	PrevRandao       [32]byte
	Number           uint64
	GasLimit         uint64
	GasUsed          uint64
	Timestamp        uint64 // unix seconds
	ExtraData        []byte
	BaseFee          uint256.Int // wei
	WithdrawalsRoot  [32]byte    // of the trie, not the SSZ list
	BlobGasUsed      uint64
	ExcessBlobGas    uint64
	ParentBeaconRoot phase0.Root
	RequestsHash     *phase0.Root // nil before Prague
}

// DecodeHeader reads the RLP of a header. It must be what the header encodes to,
// and hold what every header since the merge holds: no ommers, difficulty or
// nonce. Fault: ErrHeader.
func DecodeHeader(text []byte) (Header, error) {
	var h types.Header
	if err := rlp.DecodeBytes(text, &h); err != nil {
		return Header{}, ErrHeader.Wrap(err)
	}
	again, err := rlp.EncodeToBytes(&h)
	if err != nil || !bytes.Equal(again, text) {
		return Header{}, ErrHeader.With("not canonical")
	}
	if h.UncleHash != types.EmptyUncleHash || h.Difficulty.Sign() != 0 || h.Nonce != (types.BlockNonce{}) {
		return Header{}, ErrHeader.With("a header from before the merge")
	}
	if h.BaseFee == nil || h.WithdrawalsHash == nil || h.BlobGasUsed == nil || h.ExcessBlobGas == nil || h.ParentBeaconRoot == nil {
		return Header{}, ErrHeader.With("a header from before Cancun")
	}
	base, over := uint256.FromBig(h.BaseFee)
	if over || !h.Number.IsUint64() || len(h.Extra) > 32 {
		return Header{}, ErrHeader.With("base fee, number or extra data out of bounds")
	}
	out := Header{
		Hash: phase0.Hash32(crypto.Keccak256Hash(text)), ParentHash: phase0.Hash32(h.ParentHash), FeeRecipient: bellatrix.ExecutionAddress(h.Coinbase),
		StateRoot: phase0.Root(h.Root), TransactionsRoot: h.TxHash, ReceiptsRoot: phase0.Root(h.ReceiptHash), LogsBloom: h.Bloom, PrevRandao: h.MixDigest,
		Number: h.Number.Uint64(), GasLimit: h.GasLimit, GasUsed: h.GasUsed, Timestamp: h.Time, ExtraData: h.Extra, BaseFee: *base,
		WithdrawalsRoot: *h.WithdrawalsHash, BlobGasUsed: *h.BlobGasUsed, ExcessBlobGas: *h.ExcessBlobGas, ParentBeaconRoot: phase0.Root(*h.ParentBeaconRoot),
	}
	if h.RequestsHash != nil {
		r := phase0.Root(*h.RequestsHash)
		out.RequestsHash = &r
	}
	return out, nil
}
