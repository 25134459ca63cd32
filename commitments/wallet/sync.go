package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"

	"sidecar/fault"
	"sidecar/internal/quota"
)

// unready are the reasons why a transaction cannot be processed as things are.
var unready = map[string]bool{"insufficient_balance": true}

// sendRawTransactionSync is eth_sendRawTransactionSync: the promise, then the
// receipt once the transaction is in a block. A time that is over is code 4 with
// the hash: the promise stands. [EIP-7966]
func (w *Wallet) sendRawTransactionSync(ctx context.Context, c *caller, params json.RawMessage) (any, error) {
	t, timeout, err := w.syncParams(params)
	if err != nil {
		return nil, err
	}
	// A wait that there is no room for is refused before anything is promised.
	leave, ok := w.waiting.Enter(sharer(c.remote), quota.KnownPromise)
	if !ok {
		return nil, ErrBusy.With("%d calls wait for receipts", w.waiting.Used())
	}
	defer leave()
	until := w.Clock.Now().Add(timeout)
	s, err := w.send(ctx, c, t)
	if err != nil {
		return nil, w.syncError(ctx, t, err)
	}
	receipt, err := w.receipt(ctx, t, s, until)
	switch {
	case receipt != nil:
		return receipt, nil
	case errors.Is(err, ErrMissed):
		return nil, &rpcError{codePending, fmt.Sprintf("Slot %d has passed, and the transaction promised for it is in no block.", s.slot), t.hash.String(), err}
	case s.slot == 0:
		return nil, &rpcError{codePending, fmt.Sprintf("The transaction went to the execution node without a promise and was in no block within %v.", timeout), t.hash.String(), ErrPending}
	}
	return nil, &rpcError{codePending, fmt.Sprintf("The transaction is promised for slot %d and was in no block within %v.", s.slot, timeout), t.hash.String(), ErrPending}
}

// syncParams reads a transaction and a time in milliseconds, as a quantity or as
// a number. A time that is not positive, or too long, is the default. [EIP-7966]
func (w *Wallet) syncParams(params json.RawMessage) (t transaction, timeout time.Duration, err error) {
	var list []json.RawMessage
	if json.Unmarshal(params, &list) != nil || len(list) < 1 || len(list) > 2 {
		return t, 0, ErrParams.With("a transaction, and a time in milliseconds if you like")
	}
	var raw string
	if json.Unmarshal(list[0], &raw) != nil {
		return t, 0, ErrParams.With("parameter 1 is not a string")
	}
	if t, err = w.transaction(raw); err != nil {
		return t, 0, err
	}
	timeout = w.SyncTimeout
	if len(list) == 2 {
		var text string
		if json.Unmarshal(list[1], &text) != nil {
			text = string(list[1])
		}
		if ms, err := strconv.ParseInt(text, 0, 64); err == nil && ms > 0 && ms <= w.SyncMaxTimeout.Milliseconds() {
			timeout = time.Duration(ms) * time.Millisecond
		}
	}
	return t, timeout, nil
}

// receipt waits for one. It asks the node only while there can be one: not before
// the slot begins. It ends early when the head has passed the slot. Faults:
// ErrPending, ErrMissed.
func (w *Wallet) receipt(ctx context.Context, t transaction, s sent, until time.Time) (json.RawMessage, error) {
	every := max(w.Spec.SlotDuration/24, 50*time.Millisecond)
	params := json.RawMessage(`["` + t.hash.String() + `"]`)
	for begin := w.Clock.Start(s.slot); ; begin = w.Clock.Now().Add(every) {
		if begin.After(until) {
			begin = until
		}
		last := !w.pause(ctx, w.Clock.Until(begin)) || w.Clock.Until(until) <= 0
		head, headErr := w.Node.Head(ctx) // before the receipt: a head that has passed has the receipt
		if r, err := w.Node.Forward(ctx, "eth_getTransactionReceipt", params, limitLarge); err == nil && string(r) != "null" {
			return r, nil
		}
		switch {
		case last:
			return nil, ErrPending
		case s.slot > 0 && headErr == nil && head.Slot > s.slot:
			return nil, ErrMissed
		}
	}
}

// pause waits, and says whether the whole time was waited.
func (w *Wallet) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-w.drained:
	}
	return false
}

// syncError gives a refusal the code that EIP-7966 has for it: another nonce is
// expected, with that nonce; or nothing can be done as things are, with the hash.
func (w *Wallet) syncError(ctx context.Context, t transaction, err error) error {
	f := fault.Of(err)
	switch {
	case f == nil:
		return err
	case f.Code == "nonce_gap":
		expected, unknown := w.nextNonce(ctx, t.sender)
		if unknown != nil {
			return err
		}
		return &rpcError{codeNonceGap, "nonce too high: " + detail(err), "0x" + strconv.FormatUint(expected, 16), err}
	case unready[f.Code] || f.Kind == fault.Unavailable:
		_, text := words(err)
		return &rpcError{codeUnready, text, t.hash.String(), err}
	}
	return err
}

// nextNonce is the first nonce of an account that is neither spent nor promised.
func (w *Wallet) nextNonce(ctx context.Context, sender bellatrix.ExecutionAddress) (uint64, error) {
	latest, err := w.count(ctx, sender, "latest")
	if err != nil {
		return 0, err
	}
	head, err := w.Node.Head(ctx)
	if err != nil {
		return 0, err
	}
	promised := w.promised.nonces(sender, head.Slot, w.Clock.Slot())
	for promised[latest] {
		latest++
	}
	return latest, nil
}
