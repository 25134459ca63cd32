package commitments

import (
	"bytes"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/holiman/uint256"
)

// TestPromisedPayload: what is promised of a blob transaction is what go-ethereum
// takes for it without its blobs; of anything else it is what was asked.
func TestPromisedPayload(t *testing.T) {
	tx := types.NewTx(&types.BlobTx{
		ChainID: uint256.NewInt(1), GasTipCap: uint256.NewInt(2), GasFeeCap: uint256.NewInt(3), Gas: 21_000, Value: new(uint256.Int), BlobFeeCap: uint256.NewInt(1),
		BlobHashes: []common.Hash{{1}}, V: uint256.NewInt(1), R: uint256.NewInt(2), S: uint256.NewInt(3), Data: make([]byte, 300),
	})
	canonical, err := tx.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []byte{types.BlobSidecarVersion0, types.BlobSidecarVersion1} {
		s := types.NewBlobTxSidecar(version, make([]kzg4844.Blob, 1), make([]kzg4844.Commitment, 1), make([]kzg4844.Proof, 1))
		whole, err := tx.WithBlobTxSidecar(s).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		r := Request{Type: TypeInclusion, Payload: EncodeInclusion(7, whole)}
		if got := PromisedPayload(r); !bytes.Equal(got, EncodeInclusion(7, canonical)) {
			t.Errorf("version %d: another payload", version)
		}
		r.Type = TypeProvableInclusion
		if got := PromisedPayload(r); !bytes.Equal(got, r.Payload) {
			t.Errorf("version %d: a promise of another type has another payload", version)
		}
	}
	for name, raw := range map[string][]byte{
		"without blobs": canonical, "another type": append([]byte{2}, canonical[1:]...), "type alone": {3}, "no list": {3, 0x80}, "empty list": {3, 0xc0},
		"cut off": canonical[:9], "bytes after": {3, 0xc1, 0xc0, 0},
	} {
		r := Request{Type: TypeInclusion, Payload: EncodeInclusion(7, raw)}
		if got := PromisedPayload(r); !bytes.Equal(got, r.Payload) {
			t.Errorf("%s: got %x", name, got)
		}
	}
	if got := PromisedPayload(Request{Type: TypeInclusion, Payload: []byte{1}}); !bytes.Equal(got, []byte{1}) {
		t.Errorf("no payload: got %x", got)
	}
}
