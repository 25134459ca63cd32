package wallet

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/fault"
	"sidecar/internal/ecdsa"
)

// TestBoltDigest: the vector of one legacy transaction. [preconfirmation.md §2c.1]
func TestBoltDigest(t *testing.T) {
	hash := phase0.Hash32(common.HexToHash("0xea49f475608be9311fd787f4b30425464a48508b0890b27802d5501f050c6c1b"))
	got := boltDigest([]transaction{{hash: hash}}, 633067)
	if want := common.HexToHash("0x52ecc7832625c3d107aaba5b55d4509b48cd9f4f7ce375d6696d09bbf3310525"); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}

// boltHouse serves Bolt's methods too; its operator has a key.
func boltHouse(t *testing.T) (*house, *ecdsa.SecretKey) {
	t.Helper()
	operator, err := ecdsa.NewSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	return open(t, func(c *Config) {
		c.Bolt = &Bolt{Sign: func(d [32]byte) ([65]byte, error) { return operator.Sign(phase0.Root(d)) }, MaxGas: 7_500_000, Version: "v1"}
	}), operator
}

// bolt asks for transactions in a slot as a Bolt client does, v of its header's
// signature 0 or 1; spoil changes the header.
func (h *house) bolt(slot uint64, raws []string, spoil func(header string) string) (a answered) {
	h.t.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "bolt_requestInclusion", "params": []any{map[string]any{"slot": slot, "txs": raws}}})
	if err != nil {
		h.t.Fatal(err)
	}
	var txs []transaction
	for _, raw := range raws {
		tx, err := h.transaction(raw)
		if err != nil {
			tx = transaction{}
		}
		txs = append(txs, tx)
	}
	digest := boltDigest(txs, phase0.Slot(slot))
	sig, err := crypto.Sign(digest[:], h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	header := h.sender.Hex() + ":0x" + hex.EncodeToString(sig)
	if spoil != nil {
		header = spoil(header)
	}
	_, _, text := h.post(string(body), "X-Bolt-Signature", header)
	if err := json.Unmarshal(text, &a); err != nil {
		h.t.Fatalf("%v: %s", err, text)
	}
	return a
}

// TestBolt: the answer repeats the request and is signed by the operator over the
// same digest; behind it stand promises like any other.
func TestBolt(t *testing.T) {
	h, operator := boltHouse(t)
	first, firstHash := h.tx(0, 1)
	second, _ := h.tx(1, 1)
	raws := []string{first, second}
	a := h.bolt(104, raws, nil)
	var got boltRequest
	if err := json.Unmarshal(a.Result, &got); err != nil || got.Slot != 104 || !slices.Equal(got.Txs, raws) {
		t.Fatalf("%s %+v", a.Result, a.Error)
	}
	sig, err := hex.DecodeString(strings.TrimPrefix(got.Signature, "0x"))
	if err != nil || len(sig) != 65 || sig[64] > 1 {
		t.Fatalf("signature %s", got.Signature)
	}
	one, _ := h.transaction(first)
	two, _ := h.transaction(second)
	digest := boltDigest([]transaction{one, two}, 104)
	public, err := crypto.SigToPub(digest[:], sig)
	if err != nil || [20]byte(crypto.PubkeyToAddress(*public)) != [20]byte(operator.Address()) {
		t.Errorf("the signature is not the operator's: %v", err)
	}
	if len(h.gate.pages) != 1 || len(h.gate.pages[0].Promises) != 2 || h.gate.pages[0].Slot != 104 {
		t.Errorf("pages %+v", h.gate.pages)
	}
	if again := h.bolt(104, raws, nil); string(again.Result) != string(a.Result) {
		t.Errorf("the same request again: %s %+v", again.Result, again.Error)
	}
	if c := h.call("preconf_getCommitment", firstHash); string(c.Result) == "null" {
		t.Error("a wallet does not find what Bolt's client was promised")
	}
	upper := h.bolt(104, raws, func(s string) string { // v as 27 or 28
		b, _ := hex.DecodeString(s[len(s)-2:])
		return s[:len(s)-2] + hex.EncodeToString([]byte{b[0] + 27})
	})
	if upper.Error != nil {
		t.Errorf("v of 27 or 28: %+v", upper.Error)
	}
}

// TestBolt_Refused: with Bolt's codes, and nothing promised.
func TestBolt_Refused(t *testing.T) {
	raw := func(h *house) []string { r, _ := h.tx(0, 1); return []string{r} }
	for name, c := range map[string]struct {
		err    error // of the gateway
		txs    func(h *house) []string
		spoil  func(string) string
		code   int
		reason string
	}{
		"no header":        {nil, raw, func(string) string { return "" }, -32002, "bolt_signature_missing"},
		"no colon":         {nil, raw, func(s string) string { return strings.Replace(s, ":", "", 1) }, -32007, "bolt_header_invalid"},
		"short":            {nil, raw, func(s string) string { return s[:len(s)-2] }, -32007, "bolt_header_invalid"},
		"no address":       {nil, raw, func(s string) string { return "me" + s[42:] }, -32007, "bolt_header_invalid"},
		"another address":  {nil, raw, func(s string) string { return "0x" + strings.Repeat("11", 20) + s[42:] }, -32003, "bolt_signature_invalid"},
		"another text":     {nil, raw, func(s string) string { return s[:50] + "00000000" + s[58:] }, -32003, "bolt_signature_invalid"},
		"v of 5":           {nil, raw, func(s string) string { return s[:len(s)-2] + "05" }, -32003, "bolt_signature_invalid"},
		"no transactions":  {nil, func(*house) []string { return []string{} }, nil, -32007, "wallet_params_invalid"},
		"too many":         {nil, func(h *house) []string { return slices.Repeat(raw(h), maxBolt+1) }, nil, -32007, "wallet_params_invalid"},
		"no transaction":   {nil, func(h *house) []string { return append(raw(h), "0x00") }, nil, -32007, "wallet_transaction_invalid"},
		"promised already": {refuse("tx_already_promised"), raw, nil, -32001, "tx_already_promised"},
		"another's slot":   {refuse("not_our_slot"), raw, nil, -32005, "not_our_slot"},
		"late":             {errTooLate, raw, nil, -32005, "too_late"},
		"no duties":        {errSchedule, raw, nil, -32005, "schedule_unknown"},
		"full":             {errFull, raw, nil, -32006, "slot_full_gas"},
		"nonce":            {refuse("nonce_too_low"), raw, nil, -32006, "nonce_too_low"},
		"a fault of ours":  {fault.Define("test_broken", fault.Internal, "Broken."), raw, nil, -32603, "test_broken"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := boltHouse(t)
			h.gate.set(104, c.err)
			a := h.bolt(104, c.txs(h), c.spoil)
			if a.Error == nil || a.Error.Code != c.code || a.reason() != c.reason {
				t.Errorf("%s %+v, want %d %s", a.Result, a.Error, c.code, c.reason)
			}
			if len(h.gate.pages) != 0 {
				t.Errorf("promised all the same: %+v", h.gate.pages)
			}
		})
	}
}

// TestBolt_Partly: of a request whose second transaction is refused the first
// stands, and the answer says so.
func TestBolt_Partly(t *testing.T) {
	h, _ := boltHouse(t)
	first, hash := h.tx(0, 1)
	second, _ := h.tx(1, 1)
	h.gate.most = 1
	a := h.bolt(104, []string{first, second}, nil)
	var d errorData
	if a.Error == nil || a.Error.Code != -32006 || json.Unmarshal(a.Error.Data, &d) != nil || !slices.Equal(d.Promised, []string{hash}) {
		t.Errorf("%s %+v", a.Result, a.Error)
	}
}

// TestBolt_Metadata: flat, as v0.4 has it.
func TestBolt_Metadata(t *testing.T) {
	h, _ := boltHouse(t)
	h.call("bolt_metadata").want(t, `{"max_committed_gas_per_slot":7500000,"min_inclusion_profit":1125000000,"max_account_states_size":0,"version":"sidecar/v1"}`)
	h.call("bolt_getVersion").want(t, `"sidecar/v1"`)
	h.gate.slots = nil
	h.call("bolt_metadata").want(t, `{"max_committed_gas_per_slot":7500000,"min_inclusion_profit":0,"max_account_states_size":0,"version":"sidecar/v1"}`)
}
