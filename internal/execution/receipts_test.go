package execution

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

func TestGasUsed(t *testing.T) {
	n, c := start(t, nil)
	block, err := c.BlockByHash(t.Context(), phase0.Hash32(n.block.Hash()))
	if err != nil {
		t.Fatal(err)
	}
	total := n.block.GasUsed() // the fixture's header says 9
	want := []uint64{2, 1, 1, 1, total - 5}
	receipts := func(change func([]map[string]any) any) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.answer = func(method string, _ []json.RawMessage) any {
			if method != "eth_getBlockReceipts" {
				return nil
			}
			var all []map[string]any
			for i, tx := range n.block.Transactions() {
				all = append(all, map[string]any{"transactionHash": tx.Hash(), "gasUsed": hexutil.Uint64(want[i]), "logs": []any{}})
			}
			return change(all)
		}
	}
	receipts(func(all []map[string]any) any { return all })
	got, err := c.GasUsed(t.Context(), block)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for name, lie := range map[string]func([]map[string]any) any{
		"too few":       func(all []map[string]any) any { return all[1:] },
		"too many":      func(all []map[string]any) any { return append(all, all[0]) },
		"another order": func(all []map[string]any) any { slices.Reverse(all); return all },
		"too much gas":  func(all []map[string]any) any { all[0]["gasUsed"] = "0xffffffffffffffff"; return all },
		"a little more": func(all []map[string]any) any { all[0]["gasUsed"] = hexutil.Uint64(want[0] + 1); return all },
		"too little":    func(all []map[string]any) any { all[0]["gasUsed"] = "0x0"; return all },
		"no gas":        func(all []map[string]any) any { delete(all[2], "gasUsed"); return all },
		"no hash":       func(all []map[string]any) any { delete(all[2], "transactionHash"); return all },
		"another thing": func([]map[string]any) any { return "0x1" },
	} {
		receipts(lie)
		if _, err := c.GasUsed(t.Context(), block); !errors.Is(err, ErrBadAnswer) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	receipts(func([]map[string]any) any { return json.RawMessage("null") })
	if _, err := c.GasUsed(t.Context(), block); !errors.Is(err, ErrUnknownBlock) {
		t.Errorf("no such block: got %v", err)
	}
}
