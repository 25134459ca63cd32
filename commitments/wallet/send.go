package wallet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/execution"
)

const (
	sendTimeout = 5 * time.Second // bounds the search for a slot
	// How often, and how long apart, a nonce is tried that the node says is next.
	behindTries = 8
	behindPause = 150 * time.Millisecond
)

// tryNext are the reasons that are the slot's and not the transaction's: another
// slot may take it. A nonce gap is one, for the nonce before may be promised for
// another slot, and so is the tip, for another slot may be emptier.
var tryNext = []string{
	"too_late", "slot_passed", "not_our_slot", "no_path", "sold_elsewhere", "foreign_delegation",
	"slot_full_gas", "slot_full_blobs", "slot_full_bytes", "slot_full_count", "nonce_gap", "tip_too_low",
}

// ours are the reasons for which a transaction is never handed to the node: it
// would compete with what is promised already.
var ours = []string{"nonce_conflict", "tx_already_promised", "slashable", "authority_has_promises"}

// maxAuthorizations is how many authorizations are looked at before a transaction is
// passed on: the signer of each has to be recovered.
const maxAuthorizations = 32

// sent is a transaction that was taken.
type sent struct {
	slot    phase0.Slot // of the promise; 0 if the node has it instead
	outcome string      // promised, known or forwarded
}

// sendRawTransaction is eth_sendRawTransaction.
func (w *Wallet) sendRawTransaction(ctx context.Context, c *caller, params json.RawMessage) (any, error) {
	list, err := stringParams(params, 1, 1)
	if err != nil {
		return nil, err
	}
	t, err := w.transaction(list[0])
	if err != nil {
		return nil, err
	}
	if _, err := w.send(ctx, c, t); err != nil {
		return nil, err
	}
	return t.hash.String(), nil
}

// send gets a promise for a transaction: the old one, or one for the first slot
// that takes it. Without one, the configuration says whether the node gets the
// transaction. Faults: httpd.ErrRate, ErrNoSlot, the gateway's, the module's, the node's.
func (w *Wallet) send(ctx context.Context, c *caller, t transaction) (s sent, err error) {
	defer func() { w.Metrics.send(s.outcome, err) }()
	if err := w.allow(w.sends, w.Sends, c, 1); err != nil {
		return sent{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	s, err = w.patiently(ctx, t)
	if err == nil || !w.Passthrough || !w.mayForward(ctx, t, err) {
		return s, err
	}
	if _, nodeErr := w.Node.Forward(ctx, "eth_sendRawTransaction", rawParams(t.raw), limitSmall); nodeErr != nil {
		return sent{}, nodeErr
	}
	w.Log.Info("Transaction passed to the execution node without a promise", "tx", t.hash.String(), "reason", fault.Code(err))
	return sent{outcome: "forwarded"}, nil
}

// patiently is promise, once more and again while only we have not seen the block
// that a wallet has: who has a receipt sends the next transaction at once, and
// what admission knows of an account may be half a second old.
func (w *Wallet) patiently(ctx context.Context, t transaction) (sent, error) {
	for range behindTries {
		s, err := w.promise(ctx, t)
		if fault.Code(err) != "nonce_gap" {
			return s, err
		}
		if spent, unknown := w.count(ctx, t.sender, "latest"); unknown != nil || spent != t.nonce || !w.pause(ctx, behindPause) {
			return s, err
		}
	}
	return w.promise(ctx, t)
}

// promise asks slot after slot, the nearest first, until one takes t.
func (w *Wallet) promise(ctx context.Context, t transaction) (sent, error) {
	now := w.Clock.Slot()
	head, err := w.Node.Head(ctx)
	if err != nil {
		return sent{}, err
	}
	if p, ok := w.promised.of(t.hash, now); ok && p.page.Slot > head.Slot {
		// The gateway has the answer, and signs it if a crash came between. Of blobs what
		// is promised is not what was asked: only the hash of the request finds it.
		_, err := w.Gateway.Result(ctx, p.Commitment.RequestHash)
		return sent{p.page.Slot, "known"}, err
	}
	slots, err := w.open(ctx)
	if err != nil {
		return sent{}, err
	}
	if len(slots) == 0 {
		return sent{}, ErrNoSlot.With("none in the next %d slots", w.MaxSlotsAhead)
	}
	refused := &refusal{}
	for _, s := range slots[:min(len(slots), w.MaxTries)] {
		slot := phase0.Slot(s.Slot)
		err := w.ask(ctx, slot, t.raw)
		if err == nil {
			return sent{slot, "promised"}, nil
		}
		if p, ok := w.promised.of(t.hash, w.Clock.Slot()); fault.Code(err) == "tx_already_promised" && ok {
			return sent{p.page.Slot, "known"}, nil // another call was quicker
		}
		slots := slices.Contains(tryNext, fault.Code(err))
		if refused.err == nil || !slots { // the nearest slot's reason, or the transaction's own
			refused.err = err
		}
		refused.tried = append(refused.tried, attempt{uint64(slot), fault.Code(err)})
		if !slots {
			break
		}
	}
	return sent{}, refused
}

// ask asks the gateway for a promise in a slot.
func (w *Wallet) ask(ctx context.Context, slot phase0.Slot, raw []byte) error {
	r, err := w.request(slot, raw)
	if err == nil {
		_, err = w.Gateway.Commit(ctx, r)
	}
	return err
}

// request is what the gateway is asked for a transaction in a slot.
func (w *Wallet) request(slot phase0.Slot, raw []byte) (commitments.Request, error) {
	_, index, _ := w.Schedule.Proposer(slot)
	payload, err := encode(w.Type, slot, index, raw)
	return commitments.Request{Type: w.Type, Payload: payload, Slasher: w.Slasher}, err
}

// open are our slots that promise our commitment type, near enough, ascending.
// Faults: the schedule's.
func (w *Wallet) open(ctx context.Context) (slots []commitments.SlotCapability, err error) {
	all, err := w.capabilities(ctx)
	if err != nil {
		return nil, err
	}
	last := uint64(w.Clock.Slot()) + w.MaxSlotsAhead
	for _, s := range all.Slots {
		if s.Slot <= last && slices.Contains(s.CommitmentTypes, w.Type) {
			slots = append(slots, s)
		}
	}
	slices.SortFunc(slots, func(a, b commitments.SlotCapability) int { return cmp.Compare(a.Slot, b.Slot) })
	return slots, nil
}

// capabilities are the gateway's, a moment old at most: they are not free, and
// every wallet asks for what follows from them, again and again.
func (w *Wallet) capabilities(ctx context.Context) (commitments.Capabilities, error) {
	now := w.Clock.Now()
	w.offers.mu.Lock()
	all, age := w.offers.all, now.Sub(w.offers.at)
	w.offers.mu.Unlock()
	if age >= 0 && age < w.offers.life { // the zero time is long ago
		return all, nil
	}
	all, err := w.Gateway.Capabilities(ctx)
	if err != nil {
		return all, err
	}
	w.offers.mu.Lock()
	defer w.offers.mu.Unlock()
	w.offers.all, w.offers.at = all, now
	return all, nil
}

// mayForward says whether the node may have what was refused: nothing that
// competes with an open promise, and nothing that is malformed anyway.
func (w *Wallet) mayForward(ctx context.Context, t transaction, err error) bool {
	f := fault.Of(err)
	if f == nil || slices.Contains(ours, f.Code) {
		return false
	}
	switch f.Kind {
	case fault.Rejected, fault.Unavailable, fault.Busy, fault.Timeout, fault.Upstream:
	default:
		return false
	}
	head, err := w.Node.Head(ctx)
	return err == nil && !w.promised.nonces(t.sender, head.Slot, w.Clock.Slot())[t.nonce] && !w.authorizes(t, head.Slot)
}

// authorizes says whether a transaction has an authorization of an account with
// promises for slots after head, which may spend a nonce that they need, or so many
// that it is not looked for. [EIP-7702]
func (w *Wallet) authorizes(t transaction, head phase0.Slot) bool {
	if t.raw[0] != types.SetCodeTxType {
		return false
	}
	tx := new(types.Transaction)
	if tx.UnmarshalBinary(t.raw) != nil {
		return true
	}
	list := tx.SetCodeAuthorizations()
	if len(list) > maxAuthorizations {
		return true
	}
	for i := range list {
		who, err := list[i].Authority()
		if err == nil && len(w.promised.nonces(bellatrix.ExecutionAddress(who), head, w.Clock.Slot())) > 0 {
			return true
		}
	}
	return false
}

func rawParams(raw []byte) json.RawMessage { return json.RawMessage(fmt.Sprintf("[\"%#x\"]", raw)) }

// refusedByNode says whether the node answered, and said no.
func refusedByNode(err error) bool {
	var e *execution.RPCError
	return errors.As(err, &e)
}
