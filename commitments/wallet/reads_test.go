package wallet

import (
	"encoding/json"
	"strings"
	"testing"

	"sidecar/commitments"
	"sidecar/internal/execution"
)

// TestPending: a promised transaction is pending to whoever asks for it, until
// the node has it or the head has passed its slot.
func TestPending(t *testing.T) {
	h := open(t)
	raw, hash := h.tx(0, 1)
	h.call("eth_sendRawTransaction", raw)
	var got map[string]any
	if a := h.call("eth_getTransactionByHash", hash); json.Unmarshal(a.Result, &got) != nil {
		t.Fatalf("%s %+v", a.Result, a.Error)
	}
	for name, want := range map[string]any{
		"hash": hash, "blockHash": nil, "blockNumber": nil, "transactionIndex": nil, "from": strings.ToLower(h.sender.Hex()),
		"nonce": "0x0", "gas": "0x5208", "type": "0x2", "chainId": "0x539", "value": "0x1", "input": "0x",
		"gasPrice": "0x174876e800", "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x3b9aca00",
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	h.call("eth_getTransactionReceipt", hash).want(t, "null")

	// A node that still reads its old blocks refuses what it does not know.
	indexing := func([]json.RawMessage) any { return refuses{-32000, "transaction indexing is in progress", ""} }
	h.node.answer("eth_getTransactionByHash", indexing)
	h.node.answer("eth_getTransactionReceipt", indexing)
	if a := h.call("eth_getTransactionByHash", hash); a.Error != nil {
		t.Errorf("%+v", a.Error)
	}
	h.call("eth_getTransactionReceipt", hash).want(t, "null")
	h.call("eth_getTransactionByHash", "0x"+strings.Repeat("11", 32)).refused(t, -32000, "transaction indexing is in progress", "")

	h.node.answer("eth_getTransactionByHash", func([]json.RawMessage) any { return map[string]string{"blockNumber": "0x33"} })
	h.call("eth_getTransactionByHash", hash).want(t, `{"blockNumber":"0x33"}`)
	h.node.answer("eth_getTransactionByHash", nil)
	h.node.setHead(51, 102, 10*gwei)
	h.call("eth_getTransactionByHash", hash).want(t, "null")
}

// TestTransactionCount: promised transactions count as pending, in a row from the
// account's nonce, and only while their slot is to come.
func TestTransactionCount(t *testing.T) {
	h := open(t)
	latest, pool := "0x5", "0x5"
	h.node.answer("eth_getTransactionCount", func(p []json.RawMessage) any {
		if string(p[1]) == `"pending"` {
			return pool
		}
		return latest
	})
	count := func(block string) answered { return h.call("eth_getTransactionCount", h.sender.Hex(), block) }
	count("pending").want(t, `"0x5"`)
	for _, nonce := range []uint64{5, 6, 9} {
		raw, _ := h.tx(nonce, 1)
		h.call("eth_sendRawTransaction", raw)
	}
	count("pending").want(t, `"0x7"`)
	count("latest").want(t, `"0x5"`)
	latest = "0x6"
	count("pending").want(t, `"0x7"`)
	pool = "0x8" // the node's pool has more
	count("pending").want(t, `"0x8"`)
	pool = "0x6"
	h.node.setHead(51, 102, 10*gwei)
	count("pending").want(t, `"0x6"`)
	h.call("eth_getTransactionCount", "0x12", "pending").refused(t, -32602, "invalid params: an address is 0x and 40 hexadecimal digits", "wallet_params_invalid")
	h.node.answer("eth_getTransactionCount", func([]json.RawMessage) any { return "five" })
	h.call("eth_getTransactionCount", h.sender.Hex(), "pending").refused(t, -32002, "resource unavailable: "+execution.ErrBadAnswer.Help, "execution_bad_answer")
}

// TestCommitment_Judged: the outcome is that of the audit.
func TestCommitment_Judged(t *testing.T) {
	h := open(t)
	raw, hash := h.tx(0, 1)
	h.call("eth_sendRawTransaction", raw)
	c := h.gate.pages[0].Promises[0].Commitment
	h.gate.pages[0].Verdicts = []commitments.Verdict{{RequestHash: c.RequestHash, Outcome: commitments.Kept}}
	var got struct{ Outcome string }
	if a := h.call("preconf_getCommitment", hash); json.Unmarshal(a.Result, &got) != nil || got.Outcome != "kept" {
		t.Errorf("%s", a.Result)
	}
}

// TestIndex_Restart: a promise of before a start is found, and one that the
// ledger has forgotten is not.
func TestIndex_Restart(t *testing.T) {
	h := open(t)
	raw, hash := h.tx(0, 1)
	h.call("eth_sendRawTransaction", raw)
	again := newIndex(h.gate, h.signer)
	if p, ok := again.of(h.gate.hash(t, hash), 2000); !ok || p.page.Slot != 102 {
		t.Errorf("not found after a start: %v", ok)
	}
	if len(again.nonces([20]byte(h.sender), 100, 101)) != 0 {
		t.Error("a sender is known of a page that was old at the start")
	}
	if fresh := newIndex(h.gate, h.signer); !fresh.nonces([20]byte(h.sender), 100, 101)[0] {
		t.Error("the nonce of an open promise is not known after a start")
	}
	h.gate.pages = nil
	if _, ok := again.of(h.gate.hash(t, hash), 2000); ok {
		t.Error("found though the ledger has forgotten it")
	}
	again.sweep(5000)
	if len(again.txs) != 0 || len(again.known) != 0 {
		t.Errorf("kept %d transactions and %d pages", len(again.txs), len(again.known))
	}
}
