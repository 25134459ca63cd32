package wallet

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/fault"
)

// TestSend: the answer to a transaction is its hash, once it is promised for our
// next slot; the second time it is the same promise.
func TestSend(t *testing.T) {
	h := open(t)
	raw, hash := h.tx(0, 1)
	h.call("eth_sendRawTransaction", raw).want(t, `"`+hash+`"`)
	h.call("eth_sendRawTransaction", raw).want(t, `"`+hash+`"`)
	if len(h.gate.pages) != 1 || len(h.gate.pages[0].Promises) != 1 {
		t.Fatalf("pages %+v", h.gate.pages)
	}
	c := h.gate.pages[0].Promises[0].Commitment
	slot, index, tx, err := commitments.DecodeProvableInclusion(c.Payload)
	if err != nil || slot != 102 || index != 1102 || "0x"+hexOf(tx) != raw {
		t.Errorf("payload: slot %d, proposer %d, %x, %v", slot, index, tx, err)
	}
	if n := h.node.asked("eth_sendRawTransaction"); n != 0 {
		t.Errorf("the node got the transaction %d times", n)
	}
	var got struct {
		Slot             uint64
		Proposer         string
		TransactionHash  string
		Outcome          string
		SignedCommitment map[string]any
	}
	a := h.call("preconf_getCommitment", hash)
	if err := json.Unmarshal(a.Result, &got); err != nil || got.Slot != 102 || got.TransactionHash != hash || got.Outcome != "pending" || got.SignedCommitment["signature"] == nil {
		t.Errorf("commitment %s, %v", a.Result, err)
	}
	h.call("preconf_getCommitment", "0x"+strings.Repeat("00", 32)).want(t, "null")
}

func hexOf(b []byte) string {
	return strings.TrimPrefix(string(rawParams(b)[2:len(rawParams(b))-2]), "0x")
}

// TestSend_OldType asks for fabric's type.
func TestSend_OldType(t *testing.T) {
	h := open(t, func(c *Config) { c.Type = commitments.TypeInclusion })
	raw, hash := h.tx(0, 1)
	h.call("eth_sendRawTransaction", raw).want(t, `"`+hash+`"`)
	if c := h.gate.pages[0].Promises[0].Commitment; c.Type != commitments.TypeInclusion {
		t.Errorf("type %#x", c.Type)
	}
}

// TestSend_NextSlot: what is the slot's fault sends the transaction to the next
// one, what is the transaction's ends the search.
func TestSend_NextSlot(t *testing.T) {
	for name, c := range map[string]struct {
		first, second error
		slots         []phase0.Slot
		reason        string // "" is a promise
	}{
		"full":         {errFull, nil, []phase0.Slot{102, 104}, ""},
		"late":         {errTooLate.With("slot 102"), nil, []phase0.Slot{102, 104}, ""},
		"gap":          {errGap, nil, []phase0.Slot{102, 104}, ""},
		"both full":    {errFull, errFull.With("gas 9 of 8"), []phase0.Slot{102, 104}, "slot_full_gas"},
		"its own":      {errConflict, nil, []phase0.Slot{102}, "nonce_conflict"},
		"not a fault":  {errors.New("disk"), nil, []phase0.Slot{102}, "internal"},
		"full, unpaid": {errFull, errConflict, []phase0.Slot{102, 104}, "nonce_conflict"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			h.gate.refuse[102], h.gate.refuse[104] = c.first, c.second
			raw, hash := h.tx(0, 1)
			a := h.call("eth_sendRawTransaction", raw)
			if !slices.Equal(h.gate.asked, c.slots) {
				t.Errorf("asked for slots %d, want %d", h.gate.asked, c.slots)
			}
			if c.reason == "" {
				a.want(t, `"`+hash+`"`)
				return
			}
			if a.reason() != c.reason {
				t.Errorf("error %+v, want reason %s", a.Error, c.reason)
			}
			var d errorData
			if err := json.Unmarshal(a.Error.Data, &d); err != nil || len(d.Tried) != len(c.slots) || d.Tried[0].Slot != 102 {
				t.Errorf("data %s, want the slots that were tried", a.Error.Data)
			}
		})
	}
}

// TestSend_Words: a wallet is told in the words of execution nodes.
func TestSend_Words(t *testing.T) {
	for _, c := range []struct {
		err     error
		code    int
		message string
	}{
		{refuse("nonce_too_low").With("the account is at 3"), -32000, "nonce too low: the account is at 3"},
		{refuse("insufficient_balance"), -32000, "insufficient funds for gas * price + value"},
		{refuse("nonce_conflict").With("in slot 102"), -32000, "replacement transaction underpriced: in slot 102"},
		{refuse("fee_cap_below_worst_case"), -32000, "max fee per gas less than block base fee"},
		{refuse("tip_too_low").With("0 wei"), -32000, "transaction underpriced: 0 wei"},
		{refuse("unsupported_tx_type").With("type 3"), -32000, "transaction type not supported: type 3"},
		{refuse("some_new_reason").With("why not"), -32003, "transaction rejected: why not"},
		{fault.Define("node_is_down", fault.Unavailable, "It is down."), -32002, "resource unavailable: It is down."},
		{errors.New("a secret"), -32603, "internal error"},
	} {
		t.Run(fault.Code(c.err), func(t *testing.T) {
			h := open(t)
			h.gate.refuse[102], h.gate.refuse[104] = c.err, c.err
			raw, _ := h.tx(0, 1)
			h.call("eth_sendRawTransaction", raw).refused(t, c.code, c.message, fault.Code(c.err))
		})
	}
}

func refuse(code string) *fault.Fault { return fault.Define(code, fault.Rejected, "Help.") }

// TestSend_NoSlot: without a slot there is no promise, and no hash.
func TestSend_NoSlot(t *testing.T) {
	h := open(t)
	h.gate.slots = []phase0.Slot{109} // one more than MaxSlotsAhead
	raw, _ := h.tx(0, 1)
	h.call("eth_sendRawTransaction", raw).refused(t, -32003, "transaction rejected: none in the next 8 slots", "no_slot")
	h.gate.down = errSchedule
	h.call("eth_sendRawTransaction", raw).refused(t, -32002, "resource unavailable: No duties.", "schedule_unknown")
	if n := h.node.asked("eth_sendRawTransaction"); n != 0 {
		t.Errorf("the node got the transaction %d times", n)
	}
}

// TestSend_Passthrough: with it the node gets what cannot be promised, but for
// what would compete with a promise, and its own refusal comes back as it is.
func TestSend_Passthrough(t *testing.T) {
	h := open(t, func(c *Config) { c.Passthrough = true })
	h.node.answer("eth_sendRawTransaction", func(p []json.RawMessage) any { return "0x01" })
	full, hash := h.tx(0, 1)
	h.gate.refuse[102], h.gate.refuse[104] = errFull, errFull
	h.call("eth_sendRawTransaction", full).want(t, `"`+hash+`"`)
	if n := h.node.asked("eth_sendRawTransaction"); n != 1 {
		t.Errorf("the node got the transaction %d times, want once", n)
	}
	h.call("preconf_getCommitment", hash).want(t, "null")

	h.gate.set(102, nil)
	promised, hash := h.tx(1, 1)
	h.call("eth_sendRawTransaction", promised).want(t, `"`+hash+`"`)
	for _, err := range []error{errConflict, errFull, errTooLate} { // the nonce is promised, whatever the reason says
		h.gate.set(102, err)
		h.gate.set(104, err)
		other, _ := h.tx(1, 2)
		if a := h.call("eth_sendRawTransaction", other); a.reason() != fault.Code(err) {
			t.Errorf("a rival of a promised transaction: %s %+v", a.Result, a.Error)
		}
	}
	if n := h.node.asked("eth_sendRawTransaction"); n != 1 {
		t.Errorf("the node got %d transactions, want 1: no rival of a promised one", n)
	}
	h.node.answer("eth_sendRawTransaction", func([]json.RawMessage) any { return refuses{-32000, "already known", ""} })
	third, _ := h.tx(2, 1)
	h.call("eth_sendRawTransaction", third).refused(t, -32000, "already known", "")
}

// TestSend_Again: a transaction whose slot went by without it may be promised
// again; before the head has passed the slot it is the same promise.
func TestSend_Again(t *testing.T) {
	h := open(t)
	raw, hash := h.tx(0, 1)
	h.call("eth_sendRawTransaction", raw)
	h.setSlot(103, 0)
	h.gate.set(102, errTooLate)
	h.call("eth_sendRawTransaction", raw).want(t, `"`+hash+`"`)
	if len(h.gate.pages) != 1 {
		t.Fatalf("promised again while the slot is open: %+v", h.gate.pages)
	}
	h.node.setHead(52, 103, 10*gwei)
	h.call("eth_sendRawTransaction", raw).want(t, `"`+hash+`"`)
	if len(h.gate.pages) != 2 || h.gate.pages[1].Slot != 104 {
		t.Errorf("pages %+v, want a second promise", h.gate.pages)
	}
	var got struct{ Slot uint64 }
	if a := h.call("preconf_getCommitment", hash); json.Unmarshal(a.Result, &got) != nil || got.Slot != 104 {
		t.Errorf("commitment %s, want that of slot 104", a.Result)
	}
}

// TestSend_BlobsAgain: what is promised of a transaction with blobs is its canonical
// form, which nobody can ask for; the same promise answers all the same.
func TestSend_BlobsAgain(t *testing.T) {
	h := open(t, func(c *Config) { c.Type = commitments.TypeInclusion })
	s := types.NewBlobTxSidecar(types.BlobSidecarVersion1, make([]kzg4844.Blob, 1), make([]kzg4844.Commitment, 1), make([]kzg4844.Proof, kzg4844.CellProofsPerBlob))
	raw, hash := h.signed(&types.BlobTx{
		ChainID: uint256.NewInt(1337), GasTipCap: uint256.NewInt(gwei), GasFeeCap: uint256.NewInt(100 * gwei), Gas: 21000,
		Value: new(uint256.Int), BlobFeeCap: uint256.NewInt(gwei), BlobHashes: s.BlobHashes(), Sidecar: s,
	})
	for range 2 {
		h.call("eth_sendRawTransaction", raw).want(t, `"`+hash+`"`)
	}
	if len(h.gate.pages) != 1 || len(h.gate.pages[0].Promises) != 1 || len(h.gate.asked) != 1 {
		t.Errorf("%d requests, %d pages; want one promise", len(h.gate.asked), len(h.gate.pages))
	}
}

// TestSend_Authority: a transaction with an authorization of an account that has open
// promises would spend the nonce they need. It is never passed on, whatever it was
// refused for; one of an account without is.
func TestSend_Authority(t *testing.T) {
	h := open(t, func(c *Config) { c.Passthrough = true })
	h.node.answer("eth_sendRawTransaction", func([]json.RawMessage) any { return "0x01" })
	promised, _ := h.tx(0, 1)
	h.call("eth_sendRawTransaction", promised)
	errAuthority := fault.Define("authority_has_promises", fault.Rejected, "")
	other, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	setCode := func(by *ecdsa.PrivateKey, times int) string {
		auth, err := types.SignSetCode(by, types.SetCodeAuthorization{ChainID: *uint256.NewInt(1337), Nonce: 0})
		if err != nil {
			t.Fatal(err)
		}
		mine := h.key
		h.key = other
		defer func() { h.key = mine }()
		raw, _ := h.signed(&types.SetCodeTx{
			ChainID: uint256.NewInt(1337), GasTipCap: uint256.NewInt(gwei), GasFeeCap: uint256.NewInt(100 * gwei), Gas: 500_000,
			Value: new(uint256.Int), AuthList: slices.Repeat([]types.SetCodeAuthorization{auth}, times),
		})
		return raw
	}
	for _, tt := range []struct {
		err    error
		raw    string
		passed int
	}{
		{errAuthority, setCode(h.key, 1), 0}, {errFull, setCode(h.key, 1), 0}, {errFull, setCode(other, 33), 0}, {errFull, setCode(other, 1), 1},
	} {
		h.gate.set(102, tt.err)
		h.gate.set(104, tt.err)
		before := h.node.asked("eth_sendRawTransaction")
		h.call("eth_sendRawTransaction", tt.raw)
		if n := h.node.asked("eth_sendRawTransaction") - before; n != tt.passed {
			t.Errorf("%s: the node got %d, want %d", fault.Code(tt.err), n, tt.passed)
		}
	}
}

// TestSend_Behind: who has a receipt sends the next transaction at once; admission
// may not have seen the block yet, and is asked again until it has. A gap that is
// one is refused at once.
func TestSend_Behind(t *testing.T) {
	h := open(t)
	h.gate.refuse[102], h.gate.refuse[104] = errGap, errGap
	raw, hash := h.tx(1, 1)
	h.node.answer("eth_getTransactionCount", func([]json.RawMessage) any {
		if h.node.asked("eth_getTransactionCount") == 2 {
			h.gate.set(102, nil)
		}
		return "0x1"
	})
	h.call("eth_sendRawTransaction", raw).want(t, `"`+hash+`"`)
	h.gate.set(102, errGap)
	far, _ := h.tx(3, 1)
	before := h.node.asked("eth_getTransactionCount")
	if a := h.call("eth_sendRawTransaction", far); a.reason() != "nonce_gap" || h.node.asked("eth_getTransactionCount") != before+1 {
		t.Errorf("%s %+v after %d looks at the nonce", a.Result, a.Error, h.node.asked("eth_getTransactionCount")-before)
	}
}

// TestSend_Malformed: nothing but a transaction goes to the gateway.
func TestSend_Malformed(t *testing.T) {
	h := open(t)
	raw, _ := h.tx(0, 1)
	for _, params := range [][]any{
		{}, {raw, "0x1", 3}, {7}, {nil}, {""}, {"0x"}, {"0xzz"}, {raw[2:]}, {raw + "00"}, {"0x" + strings.Repeat("00", maxTx-100)}, {[]string{raw}}, {map[string]string{"to": "0x"}},
	} {
		if a := h.call("eth_sendRawTransaction", params...); a.Error == nil || a.Error.Code != -32602 {
			t.Errorf("%.60v: %s %+v", params, a.Result, a.Error)
		}
	}
	if len(h.gate.asked) != 0 {
		t.Errorf("the gateway was asked for slots %d", h.gate.asked)
	}
}

// TestSend_AtOnce: many at once of the same transaction are one promise.
func TestSend_AtOnce(t *testing.T) {
	h := open(t)
	raw, hash := h.tx(0, 1)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() { h.call("eth_sendRawTransaction", raw).want(t, `"`+hash+`"`) })
	}
	all.Wait()
	if len(h.gate.pages) != 1 || len(h.gate.pages[0].Promises) != 1 {
		t.Errorf("pages %+v", h.gate.pages)
	}
}
