package execution

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/commitments"
)

// recorded is a block of Fulu as a Prysm node served it, with what its header has
// and the bid of it would not say.
func recorded(t *testing.T) (bid deneb.ExecutionPayloadHeader, roots commitments.HeaderRoots, txs [][]byte) {
	t.Helper()
	text, err := os.ReadFile("../beacon/testdata/prysm/eth_v2_beacon_blocks_head.http")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Data struct {
			Message struct {
				ParentRoot phase0.Root `json:"parent_root"`
				Body       struct {
					Payload deneb.ExecutionPayload `json:"execution_payload"`
				} `json:"body"`
			} `json:"message"`
		} `json:"data"`
	}
	if err := json.Unmarshal(text[bytes.IndexByte(text, '{'):], &v); err != nil {
		t.Fatal(err)
	}
	p := &v.Data.Message.Body.Payload
	if len(p.Withdrawals) != 0 || len(p.Transactions) == 0 {
		t.Fatal("the recording is of another block")
	}
	for _, tx := range p.Transactions {
		txs = append(txs, tx)
	}
	bid = deneb.ExecutionPayloadHeader{
		ParentHash: p.ParentHash, FeeRecipient: p.FeeRecipient, StateRoot: p.StateRoot, ReceiptsRoot: p.ReceiptsRoot, LogsBloom: p.LogsBloom,
		PrevRandao: p.PrevRandao, BlockNumber: p.BlockNumber, GasLimit: p.GasLimit, GasUsed: p.GasUsed, Timestamp: p.Timestamp, ExtraData: p.ExtraData,
		BaseFeePerGas: p.BaseFeePerGas, BlockHash: p.BlockHash, BlobGasUsed: p.BlobGasUsed, ExcessBlobGas: p.ExcessBlobGas,
	}
	return bid, commitments.HeaderRoots{
		Transactions: TransactionsRoot(txs), Withdrawals: types.EmptyWithdrawalsHash, ParentBeacon: v.Data.Message.ParentRoot, Requests: types.EmptyRequestsHash,
	}, txs
}

// TestRebuildHash makes the header of a real block whole: it hashes to the block
// hash that the chain knows, and to another one with any field changed.
func TestRebuildHash(t *testing.T) {
	bid, roots, _ := recorded(t)
	if got, err := RebuildHash(&bid, &roots); err != nil || got != bid.BlockHash {
		t.Fatalf("got %s, %v, want %s", got, err, bid.BlockHash)
	}
	for name, change := range map[string]func(*deneb.ExecutionPayloadHeader, *commitments.HeaderRoots){
		"parent hash":   func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.ParentHash[0]++ },
		"fee recipient": func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.FeeRecipient[0]++ },
		"state root":    func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.StateRoot[0]++ },
		"receipts root": func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.ReceiptsRoot[0]++ },
		"logs bloom":    func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.LogsBloom[0]++ },
		"randao":        func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.PrevRandao[0]++ },
		"number":        func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.BlockNumber++ },
		"gas limit":     func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.GasLimit++ },
		"gas used":      func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.GasUsed++ },
		"timestamp":     func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.Timestamp++ },
		"extra data":    func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.ExtraData = []byte("x") },
		"base fee": func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) {
			b.BaseFeePerGas.AddUint64(b.BaseFeePerGas, 1)
		},
		"blob gas":     func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.BlobGasUsed++ },
		"excess":       func(b *deneb.ExecutionPayloadHeader, _ *commitments.HeaderRoots) { b.ExcessBlobGas++ },
		"transactions": func(_ *deneb.ExecutionPayloadHeader, r *commitments.HeaderRoots) { r.Transactions[0]++ },
		"withdrawals":  func(_ *deneb.ExecutionPayloadHeader, r *commitments.HeaderRoots) { r.Withdrawals[0]++ },
		"beacon root":  func(_ *deneb.ExecutionPayloadHeader, r *commitments.HeaderRoots) { r.ParentBeacon[0]++ },
		"requests":     func(_ *deneb.ExecutionPayloadHeader, r *commitments.HeaderRoots) { r.Requests[0]++ },
		"no requests":  func(_ *deneb.ExecutionPayloadHeader, r *commitments.HeaderRoots) { r.Requests = [32]byte{} },
	} {
		bid, roots, _ := recorded(t)
		change(&bid, &roots)
		if got, err := RebuildHash(&bid, &roots); err != nil || got == bid.BlockHash {
			t.Errorf("%s: the same hash, %v", name, err)
		}
	}
	bid.BaseFeePerGas = nil
	if _, err := RebuildHash(&bid, &roots); err == nil {
		t.Error("no base fee: got no error")
	}
}

// TestVerifyTransaction_Recorded: the real block's transactions are under the root
// its header has.
func TestVerifyTransaction_Recorded(t *testing.T) {
	_, roots, txs := recorded(t)
	nodes, root, err := ProveTransaction(txs, 0)
	if err != nil || root != roots.Transactions {
		t.Fatalf("root %x, %v", root, err)
	}
	if got, err := VerifyTransaction(root, 0, nodes); err != nil || !bytes.Equal(got, txs[0]) {
		t.Errorf("got %x, %v", got, err)
	}
}
