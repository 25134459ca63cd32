package execution

import (
	"bytes"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"sidecar/commitments"
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

// RebuildHash makes the header of a bid whole with the roots that it does not say,
// and returns its hash. It is the block's only if they are its own, and every field
// of the bid, too. Deneb, Electra and Fulu; zero roots.Requests is Deneb.
func RebuildHash(bid *deneb.ExecutionPayloadHeader, roots *commitments.HeaderRoots) (phase0.Hash32, error) {
	if bid.BaseFeePerGas == nil || len(bid.ExtraData) > 32 {
		return phase0.Hash32{}, ErrHeader.With("the bid has no base fee, or long extra data")
	}
	h := types.Header{
		ParentHash: common.Hash(bid.ParentHash), UncleHash: types.EmptyUncleHash, Coinbase: common.Address(bid.FeeRecipient),
		Root: common.Hash(bid.StateRoot), TxHash: roots.Transactions, ReceiptHash: common.Hash(bid.ReceiptsRoot), Bloom: bid.LogsBloom,
		Difficulty: new(big.Int), Number: new(big.Int).SetUint64(bid.BlockNumber), GasLimit: bid.GasLimit, GasUsed: bid.GasUsed,
		Time: bid.Timestamp, Extra: bid.ExtraData, MixDigest: bid.PrevRandao, BaseFee: bid.BaseFeePerGas.ToBig(),
		WithdrawalsHash: (*common.Hash)(&roots.Withdrawals), BlobGasUsed: &bid.BlobGasUsed, ExcessBlobGas: &bid.ExcessBlobGas,
		ParentBeaconRoot: (*common.Hash)(&roots.ParentBeacon),
	}
	if roots.Requests != [32]byte{} {
		h.RequestsHash = (*common.Hash)(&roots.Requests)
	}
	return phase0.Hash32(h.Hash()), nil
}
