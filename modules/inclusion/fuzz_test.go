package inclusion

import (
	"bytes"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/txpool"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/ethereum/go-ethereum/params"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/fault"
)

// FuzzRead: no transaction panics, every refusal has a name, and what is read is
// what go-ethereum's pools would take of any type: in canonical form, of the same
// sender, and with the blobs that its hashes name.
func FuzzRead(f *testing.F) {
	w := newWorld(f)
	x := newAccount(f, 2)
	f.Add([]byte{0})
	f.Add(w.from.sign(f, &types.LegacyTx{Nonce: 5, GasPrice: big.NewInt(1), Gas: 53_002, Data: []byte{1}}))
	f.Add(w.from.sign(f, &types.AccessListTx{ChainID: big.NewInt(chainID), GasPrice: big.NewInt(1), Gas: 30_000, To: &common.Address{1}, AccessList: types.AccessList{{StorageKeys: make([]common.Hash, 2)}}}))
	f.Add(w.from.sign(f, plain()))
	f.Add(w.from.sign(f, setCode(x.authorize(f, chainID, 1), x.authorize(f, 0, 2))))
	blob := &types.BlobTx{ChainID: uint256.NewInt(chainID), GasTipCap: uint256.NewInt(1), GasFeeCap: uint256.NewInt(2), Gas: 21_000, Value: new(uint256.Int), BlobFeeCap: uint256.NewInt(1), BlobHashes: []common.Hash{{1}}}
	f.Add(w.from.sign(f, blob))
	for _, version := range []byte{types.BlobSidecarVersion0, types.BlobSidecarVersion1} { // whole blobs would slow the search down
		blob.Sidecar = types.NewBlobTxSidecar(version, nil, make([]kzg4844.Commitment, 1), make([]kzg4844.Proof, 1))
		f.Add(w.from.sign(f, blob))
	}

	config := *params.MergedTestChainConfig
	config.ChainID = big.NewInt(chainID)
	head := &types.Header{Number: big.NewInt(1), Difficulty: new(big.Int), GasLimit: 60_000_000}
	options := &txpool.ValidationOptions{Config: &config, Accept: 0x1f, MaxSize: 1 << 20, MaxBlobCount: maxTxBlobs, MinTip: new(big.Int)}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) == 0 {
			return // a payload without a transaction is refused before
		}
		got, err := w.read(raw)
		if err != nil {
			if fault.Of(err) == nil {
				t.Fatalf("%v has no name", err)
			}
			return
		}
		var in types.Transaction
		if err := in.UnmarshalBinary(raw); err != nil {
			t.Fatal(err)
		}
		if again, _ := in.WithoutBlobTxSidecar().MarshalBinary(); !bytes.Equal(again, got.raw) || common.Hash(got.hash) != in.Hash() {
			t.Fatalf("read as %x", got.raw)
		}
		if from, err := types.Sender(types.NewPragueSigner(w.chain), &in); err != nil || [20]byte(from) != [20]byte(got.sender) {
			t.Fatalf("of %x, go-ethereum says %x, %v", got.sender, from, err)
		}
		if got.typ == types.BlobTxType {
			if checkSidecar(got.blobs, got.blobHashes, chain.Fulu) != nil || in.BlobGasFeeCap().Sign() == 0 {
				return // of an older fork, or spoiled; or of no fee
			}
		}
		if err := txpool.ValidateTransaction(&in, head, types.NewPragueSigner(w.chain), options); err != nil {
			t.Fatalf("go-ethereum's pools refuse it: %v", err)
		}
	})
}
