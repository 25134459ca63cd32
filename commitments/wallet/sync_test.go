package wallet

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"sidecar/internal/quota"
)

// syncHouse stands in slot 102, for which a transaction is promised: there is
// nothing to wait for but the receipt.
func syncHouse(t *testing.T, edit ...func(*Config)) (h *house, raw, hash string) {
	t.Helper()
	h = open(t, edit...)
	raw, hash = h.tx(0, 1)
	h.call("eth_sendRawTransaction", raw)
	h.setSlot(102, 0)
	return h, raw, hash
}

// TestSync: the receipt, once there is one.
func TestSync(t *testing.T) {
	h, raw, hash := syncHouse(t)
	h.node.answer("eth_getTransactionReceipt", func(p []json.RawMessage) any {
		if string(p[0]) != `"`+hash+`"` || h.node.asked("eth_getTransactionReceipt") < 2 {
			return nil
		}
		return map[string]string{"blockNumber": "0x33"}
	})
	h.call("eth_sendRawTransactionSync", raw, "0x7530").want(t, `{"blockNumber":"0x33"}`)
}

// TestSync_Timeout: a promise without a receipt in time is code 4, and its data
// the hash; the promise stands. [EIP-7966]
func TestSync_Timeout(t *testing.T) {
	h, raw, hash := syncHouse(t)
	stop := h.runClock()
	defer stop()
	a := h.call("eth_sendRawTransactionSync", raw, 60)
	if a.Error == nil || a.Error.Code != 4 || string(a.Error.Data) != `"`+hash+`"` ||
		a.Error.Message != "The transaction is promised for slot 102 and was in no block within 60ms." {
		t.Errorf("%s %+v", a.Result, a.Error)
	}
	h.call("eth_getTransactionReceipt", hash).want(t, "null")
}

// runClock lets the house's clock run, from where it stands.
func (h *house) runClock() (stop func()) {
	h.mu.Lock()
	from, began := h.at, time.Now()
	h.mu.Unlock()
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				h.mu.Lock()
				h.at = from.Add(now.Sub(began))
				h.mu.Unlock()
			}
		}
	}()
	return func() { close(done); <-ended }
}

// TestSync_Missed: when the head has passed the slot there is nothing to wait for.
func TestSync_Missed(t *testing.T) {
	h, raw, hash := syncHouse(t)
	h.node.answer("eth_getTransactionReceipt", func([]json.RawMessage) any {
		h.node.setHead(51, 103, 10*gwei)
		return nil
	})
	a := h.call("eth_sendRawTransactionSync", raw, "0x7530")
	if a.Error == nil || a.Error.Code != 4 || string(a.Error.Data) != `"`+hash+`"` || a.Error.Message != "Slot 102 has passed, and the transaction promised for it is in no block." {
		t.Errorf("%s %+v", a.Result, a.Error)
	}
}

// TestSync_Drain: a stop ends the wait at once, and the caller hears that the
// transaction is pending.
func TestSync_Drain(t *testing.T) {
	h, raw, hash := syncHouse(t)
	asked := make(chan bool, 100)
	h.node.answer("eth_getTransactionReceipt", func([]json.RawMessage) any { asked <- true; return nil })
	done := make(chan answered, 1)
	go func() { done <- h.call("eth_sendRawTransactionSync", raw, "0x7530") }()
	<-asked
	h.Drain()
	if a := <-done; a.Error == nil || a.Error.Code != 4 || string(a.Error.Data) != `"`+hash+`"` {
		t.Errorf("%s %+v", a.Result, a.Error)
	}
}

// TestSync_Refused: a nonce that is not next is code 6 with the one that is, a
// balance that is too low code 5 with the hash; other refusals are as without
// Sync. [EIP-7966]
func TestSync_Refused(t *testing.T) {
	h := open(t)
	h.node.answer("eth_getTransactionCount", func([]json.RawMessage) any { return "0x0" })
	first, _ := h.tx(0, 1)
	h.call("eth_sendRawTransaction", first)
	raw, hash := h.tx(7, 1)
	for _, c := range []struct {
		err     error
		code    int
		message string
		data    string
	}{
		{errGap.With("nonce 1 comes first"), 6, "nonce too high: nonce 1 comes first", `"0x1"`},
		{refuse("insufficient_balance").With("3 wei"), 5, "insufficient funds for gas * price + value: 3 wei", `"` + hash + `"`},
		{errSchedule, 5, "resource unavailable: No duties.", `"` + hash + `"`},
		{errConflict.With("in slot 102"), -32000, "replacement transaction underpriced: in slot 102",
			`{"reason":"nonce_conflict","detail":"in slot 102","tried":[{"slot":102,"reason":"nonce_conflict"}]}`},
		{errors.New("disk"), -32603, "internal error", `{"reason":"internal","tried":[{"slot":102,"reason":"internal"}]}`},
	} {
		h.gate.set(102, c.err)
		h.gate.set(104, c.err)
		a := h.call("eth_sendRawTransactionSync", raw)
		if a.Error == nil || a.Error.Code != c.code || a.Error.Message != c.message || string(a.Error.Data) != c.data {
			t.Errorf("%v: %s %+v %s\nwant %d %q %s", c.err, a.Result, a.Error, a.Error.Data, c.code, c.message, c.data)
		}
	}
}

// TestSync_Params: a time that is not positive, too long or no number is the
// default. [EIP-7966: Parameter Validation Rules]
func TestSync_Params(t *testing.T) {
	h := open(t)
	raw, _ := h.tx(0, 1)
	for text, want := range map[string]time.Duration{
		`["` + raw + `"]`: 20 * time.Second, `["` + raw + `",5000]`: 5 * time.Second, `["` + raw + `","0x1388"]`: 5 * time.Second,
		`["` + raw + `",60000]`: time.Minute, `["` + raw + `",60001]`: 20 * time.Second, `["` + raw + `",0]`: 20 * time.Second,
		`["` + raw + `",-5]`: 20 * time.Second, `["` + raw + `","soon"]`: 20 * time.Second, `["` + raw + `",null]`: 20 * time.Second, `["` + raw + `",1.5]`: 20 * time.Second,
	} {
		if _, got, err := h.syncParams([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", text[max(len(text)-12, 0):], got, err, want)
		}
	}
	for _, text := range []string{``, `[]`, `{}`, `["` + raw + `",1,2]`, `[5]`} {
		if _, _, err := h.syncParams([]byte(text)); err == nil {
			t.Errorf("%.20s is taken", text)
		}
	}
}

// TestSync_NoRoom: a wait there is no room for is refused before there is a
// promise.
func TestSync_NoRoom(t *testing.T) {
	h := open(t)
	for range h.MaxWaiting {
		if _, ok := h.waiting.Enter("", quota.KnownPromise); !ok {
			t.Fatal("no place")
		}
	}
	raw, _ := h.tx(0, 1)
	h.call("eth_sendRawTransactionSync", raw).refused(t, -32005, "limit exceeded: 32 calls wait for receipts", "wallet_busy")
	if len(h.gate.asked) != 0 {
		t.Errorf("promised all the same: slots %d", h.gate.asked)
	}
}

// TestSync_Passthrough: the wait is the same for what the node has.
func TestSync_Passthrough(t *testing.T) {
	h := open(t, func(c *Config) { c.Passthrough = true })
	h.gate.slots = nil
	h.node.answer("eth_sendRawTransaction", func([]json.RawMessage) any { return "0x01" })
	h.node.answer("eth_getTransactionReceipt", func([]json.RawMessage) any { return map[string]string{"blockNumber": "0x33"} })
	raw, _ := h.tx(0, 1)
	h.call("eth_sendRawTransactionSync", raw).want(t, `{"blockNumber":"0x33"}`)
	if h.node.asked("eth_sendRawTransaction") != 1 || len(h.gate.pages) != 0 {
		t.Errorf("%d times at the node, pages %+v", h.node.asked("eth_sendRawTransaction"), h.gate.pages)
	}
}
