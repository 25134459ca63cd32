package execution

import (
	"bytes"
	"errors"
	"math/big"
	"reflect"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
)

func ptr[T any](v T) *T { return &v }

// testHeader fills every field of a header of Prague.
func testHeader() *types.Header {
	return &types.Header{
		ParentHash: common.Hash{1}, UncleHash: types.EmptyUncleHash, Coinbase: common.Address{2}, Root: common.Hash{3}, TxHash: types.EmptyTxsHash,
		ReceiptHash: common.Hash{5}, Bloom: types.Bloom{6}, Difficulty: new(big.Int), Number: big.NewInt(7), GasLimit: 60_000_000, GasUsed: 9, Time: 1742213412,
		Extra: []byte("extra"), MixDigest: common.Hash{11}, BaseFee: big.NewInt(12e9), WithdrawalsHash: ptr(common.Hash{13}), BlobGasUsed: ptr(uint64(131072)),
		ExcessBlobGas: ptr(uint64(15)), ParentBeaconRoot: ptr(common.Hash{16}), RequestsHash: ptr(common.Hash{17}),
	}
}

func TestDecodeHeader(t *testing.T) {
	for name, change := range map[string]func(*types.Header){
		"prague":            func(*types.Header) {},
		"cancun":            func(h *types.Header) { h.RequestsHash = nil },
		"longest of extras": func(h *types.Header) { h.Extra = make([]byte, 32) },
		"base fee of 256": func(h *types.Header) {
			h.BaseFee = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
		},
	} {
		h := testHeader()
		change(h)
		got, err := DecodeHeader(encode(t, h))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if common.Hash(got.Hash) != h.Hash() || common.Hash(got.ParentHash) != h.ParentHash || common.Address(got.FeeRecipient) != h.Coinbase ||
			common.Hash(got.StateRoot) != h.Root || got.TransactionsRoot != h.TxHash || common.Hash(got.ReceiptsRoot) != h.ReceiptHash ||
			got.LogsBloom != h.Bloom || got.PrevRandao != h.MixDigest || got.Number != h.Number.Uint64() || got.GasLimit != h.GasLimit ||
			got.GasUsed != h.GasUsed || got.Timestamp != h.Time || !bytes.Equal(got.ExtraData, h.Extra) || got.BaseFee.ToBig().Cmp(h.BaseFee) != 0 ||
			got.WithdrawalsRoot != *h.WithdrawalsHash || got.BlobGasUsed != *h.BlobGasUsed || got.ExcessBlobGas != *h.ExcessBlobGas ||
			common.Hash(got.ParentBeaconRoot) != *h.ParentBeaconRoot || (got.RequestsHash == nil) != (h.RequestsHash == nil) {
			t.Errorf("%s: got %+v of %+v", name, got, h)
		}
	}
}

func TestDecodeHeader_Refuses(t *testing.T) {
	for name, change := range map[string]func(*types.Header){
		"ommers":          func(h *types.Header) { h.UncleHash = common.Hash{} },
		"difficulty":      func(h *types.Header) { h.Difficulty = big.NewInt(1) },
		"nonce":           func(h *types.Header) { h.Nonce[7] = 1 },
		"long extra data": func(h *types.Header) { h.Extra = make([]byte, 33) },
		"number 2^64":     func(h *types.Header) { h.Number = new(big.Int).Lsh(big.NewInt(1), 64) },
		"base fee 2^256":  func(h *types.Header) { h.BaseFee = new(big.Int).Lsh(big.NewInt(1), 256) },
		"shanghai": func(h *types.Header) {
			h.BlobGasUsed, h.ExcessBlobGas, h.ParentBeaconRoot, h.RequestsHash = nil, nil, nil, nil
		},
	} {
		h := testHeader()
		change(h)
		if _, err := DecodeHeader(encode(t, h)); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	good := encode(t, testHeader())
	for name, text := range map[string][]byte{
		"nothing": nil, "half": good[:len(good)/2], "a byte more": append(bytes.Clone(good), 0), "empty list": {0xc0}, "string": {0x80},
	} {
		if _, err := DecodeHeader(text); !errors.Is(err, ErrHeader) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzDecodeHeader(f *testing.F) {
	text, err := rlp.EncodeToBytes(testHeader())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := DecodeHeader(text)
		if err != nil {
			if !reflect.DeepEqual(h, Header{}) {
				t.Fatalf("a refused header left %+v", h)
			}
			return
		}
		var again types.Header
		if rlp.DecodeBytes(text, &again) != nil || common.Hash(h.Hash) != again.Hash() {
			t.Fatalf("hash %x is not that of %x", h.Hash, text)
		}
	})
}
