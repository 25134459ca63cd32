package slashing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/beacon"
	"sidecar/slashing/evidence"
)

// ErrHanded is a promise that cannot be watched at all.
var ErrHanded = fault.Define("watched_promise_invalid", fault.Invalid, "The file does not hold a promise of inclusion and the delegation of its slot.")

// Handed is a promise somebody was given, with the delegation it rests on: the
// answer of the gateway, and the delegation as relays serve it.
type Handed struct {
	Promise    commitments.SignedCommitment  `json:"promise"`
	Delegation *commitments.SignedDelegation `json:"delegation"`
}

// Watched is what became of a promise that was handed in.
type Watched struct {
	RequestHash phase0.Hash32   `json:"request_hash"`
	Slot        uint64          `json:"slot"`
	TxHash      common.Hash     `json:"tx_hash"`
	Stage       string          `json:"stage"`   // waiting, provisional, justified, final
	Outcome     string          `json:"outcome"` // unknown, kept, broken, excused
	Reason      string          `json:"reason,omitempty"`
	Trouble     string          `json:"trouble,omitempty"` // why nothing is known yet
	Block       *phase0.Hash32  `json:"block,omitempty"`
	Evidence    string          `json:"evidence,omitempty"` // the file that proves it broken
	Twins       []string        `json:"twins,omitempty"`    // files that prove another promise beside it
	FaultID     *common.Hash    `json:"fault_id,omitempty"`
	Deadline    *WatchDeadline  `json:"deadline,omitempty"`       // of the evidence
	TwinsUntil  *WatchDeadline  `json:"twins_deadline,omitempty"` // of the twins
	Slasher     *common.Address `json:"slasher,omitempty"`
}

// WatchDeadline is until when evidence can be submitted: a block, or for two
// promises a slot.
type WatchDeadline struct {
	Block     uint64 `json:"block,omitempty"`
	Slot      uint64 `json:"slot,omitempty"`
	Head      uint64 `json:"head"`               // number, or slot
	Left      uint64 `json:"left"`               // blocks, or slots
	UsedShare int    `json:"used_percent"`       // of the window
	TooLate   bool   `json:"too_late,omitempty"` // nobody can submit it any more
}

// WatchConfig is what NewWatch needs; all of it.
type WatchConfig struct {
	Clock     *chain.Clock
	Spec      chain.Spec
	Beacon    Beacon
	Execution interface {
		Execution
		HeadNumber(ctx context.Context) (number, timestamp uint64, err error)
	}
	Store *Store
	Log   *slog.Logger
}

// Watch judges promises of others from outside: it has no keys and no ledger,
// and keeps what nodes forget in its store, so that it may be restarted.
type Watch struct {
	WatchConfig
	nodes
	rules *rulebook
	list  []*watched
}

type watched struct {
	Handed
	promisedTx
	Watched
	settled bool
	forged  bool           // nobody signed it
	alarmed map[string]int // percent of the window, by file
}

// NewWatch makes a watch of nothing yet.
func NewWatch(c WatchConfig) *Watch {
	return &Watch{WatchConfig: c, nodes: nodes{c.Spec, c.Beacon, c.Execution}, rules: &rulebook{spec: c.Spec, node: c.Execution}}
}

// Add has a promise watched; one that is watched already is left as it is. Fault:
// ErrHanded.
func (w *Watch) Add(h Handed) error {
	tx, ok := readInclusion(&h.Promise.Commitment, w.Spec.ChainID)
	switch {
	case !ok:
		return ErrHanded.With("commitment type %d", h.Promise.Commitment.Type)
	case h.Delegation == nil:
		return ErrHanded.With("no delegation")
	case tx.Slot == 0:
		return ErrHanded.With("no slot")
	}
	// A forged copy that came first does not keep the promise from being watched.
	root := h.Promise.Commitment.Root()
	at := slices.IndexFunc(w.list, func(o *watched) bool { return o.Handed.Promise.Commitment.Root() == root })
	if at >= 0 && !w.list[at].forged {
		return nil
	}
	slasher := common.Address(h.Promise.Commitment.Slasher)
	one := &watched{Handed: h, promisedTx: tx, alarmed: map[string]int{}, Watched: Watched{
		RequestHash: h.Promise.Commitment.RequestHash, Slot: tx.Slot, TxHash: tx.TxHash, Stage: "waiting", Outcome: commitments.Unknown.String(), Slasher: &slasher,
	}}
	// What nobody signed binds nobody, whatever the chain does.
	err := w.signed(h, tx.Slot)
	var excuse evidence.Excuse
	switch {
	case errors.As(err, &excuse):
		one.settled, one.forged = true, true
		one.Stage, one.Outcome, one.Reason = commitments.Final.String(), commitments.Excused.String(), string(excuse)
	case err != nil:
		return ErrHanded.Wrap(err)
	}
	if at < 0 {
		w.list = append(w.list, one)
	} else if !one.forged {
		w.list[at] = one
	}
	return nil
}

// signed says whether a promise rests on its delegation, and is signed. The error
// is an Excuse, or ErrMalformed.
func (w *Watch) signed(h Handed, slot uint64) error {
	p, err := evidence.PromiseOf(h.Promise)
	if err != nil {
		return err
	}
	if uint64(h.Delegation.Message.Slot) != slot {
		return evidence.DelegationSlot
	}
	f := evidence.File{Delegation: *h.Delegation, Promises: []evidence.Promise{p}}
	return f.Signatures(usualRules(w.Spec, common.Hash(h.Promise.SigningID)))
}

// Round looks at every promise that is not settled, once, and returns them all.
// done: nothing can change any more, evidence deadlines aside.
func (w *Watch) Round(ctx context.Context) (all []Watched, done bool) {
	now := w.Clock.Slot()
	var f beacon.Finality
	var err error
	if slices.ContainsFunc(w.list, func(one *watched) bool { return !one.settled && one.Watched.Slot <= uint64(now) }) {
		f, err = w.beacon.Finality(ctx)
	}
	done = true
	for _, one := range w.list {
		if !one.settled && one.Watched.Slot <= uint64(now) {
			if err == nil {
				err := w.one(ctx, one, f)
				one.Trouble = ""
				if err != nil {
					one.Trouble = err.Error()
				}
			} else {
				one.Trouble = err.Error()
			}
		}
		w.deadlines(ctx, one)
		done = done && one.settled
		all = append(all, one.Watched)
	}
	return all, done
}

// one judges one promise as far as the chain is settled.
func (w *Watch) one(ctx context.Context, one *watched, f beacon.Finality) error {
	// 1. What else was promised.
	if one.provable {
		rules, _, err := w.rules.of(ctx, common.Address(one.Handed.Promise.Commitment.Slasher), common.Hash(one.Handed.Promise.SigningID))
		if err != nil {
			return err
		}
		if err := w.twins(one, rules); err != nil {
			return err
		}
	}
	// 2. What both nodes have, captured before they forget it.
	s, err := w.look(ctx, phase0.Slot(one.Watched.Slot))
	if err != nil {
		return err
	}
	at := stage(w.Spec, phase0.Slot(one.Watched.Slot), f)
	v := commitments.Verdict{Stage: at, Block: s.hash()}
	var c *Capture
	var capturing error
	if s.none != "" {
		v.Outcome, v.Reason = commitments.Excused, s.none
	} else {
		c, capturing = w.captured(ctx, &s, one)
		if err := one.decide(&v, &s, c); err != nil {
			return errors.Join(err, capturing)
		}
	}
	// 3. Said, and proven.
	one.Stage, one.Outcome, one.Reason = v.Stage.String(), v.Outcome.String(), v.Reason
	one.Block, one.Evidence, one.FaultID = nil, "", nil
	if hash := s.hash(); hash != (phase0.Hash32{}) {
		one.Block = &hash
	}
	packed := true
	if v.Outcome == commitments.Broken {
		if packed, err = w.pack(ctx, one, c); err != nil {
			return errors.Join(err, capturing)
		}
	}
	one.settled = v.Settled() && packed && capturing == nil
	return capturing
}

// captured collects and stores what the nodes say of a block.
func (w *Watch) captured(ctx context.Context, s *sight, one *watched) (*Capture, error) {
	all := map[phase0.Hash32]promisedTx{one.RequestHash: one.promisedTx}
	c, added, err := w.collect(ctx, s, w.Store.get(s.block.Slot, s.block.Hash), all, w.Clock.Now())
	if c != nil && added {
		err = errors.Join(err, w.Store.put(c))
	}
	return c, err
}

// decide is the verdict on a block that is there.
func (one *watched) decide(v *commitments.Verdict, s *sight, c *Capture) error {
	if len(one.raw) > 0 && slices.ContainsFunc(s.block.Txs, func(raw []byte) bool { return bytes.Equal(raw, one.raw) }) {
		v.Outcome = commitments.Kept
		return nil
	}
	v.Outcome, v.Reason = commitments.Broken, "absent"
	err := excuseOf(one.promisedTx, s, c)
	var excuse evidence.Excuse
	switch {
	case errors.Is(err, errGone):
		v.Outcome, v.Reason = commitments.Unknown, reasonTooLate
	case errors.As(err, &excuse):
		v.Outcome, v.Reason = commitments.Excused, string(excuse)
	case err != nil:
		return err
	}
	return nil
}

// pack keeps evidence of a broken promise. What acquits it after all is its
// reason: the promise or the delegation is not signed, or for another contract.
func (w *Watch) pack(ctx context.Context, one *watched, c *Capture) (done bool, err error) {
	if !one.provable {
		return true, nil // no contract judges commitments of this type
	}
	rules, _, err := w.rules.of(ctx, common.Address(one.Handed.Promise.Commitment.Slasher), common.Hash(one.Handed.Promise.SigningID))
	if err != nil {
		return false, err
	}
	f, ok := absentFile(rules, one.Handed.Promise, one.Handed.Delegation, one.Sender, c)
	if !ok {
		return c != nil && c.ChildNumber > 0, nil
	}
	kept, err := w.Store.prove(f)
	var excuse evidence.Excuse
	switch {
	case errors.As(err, &excuse):
		one.Outcome, one.Reason = commitments.Excused.String(), string(excuse)
		return true, nil
	case err != nil:
		return false, err
	}
	one.Evidence, one.FaultID = kept.Path, &kept.Fault.ID
	if kept.Fresh {
		w.Log.Warn("A broken promise is proven", "slot", one.Watched.Slot, "fault", kept.Fault.ID.Hex(), "file", kept.Path)
	}
	return true, nil
}

// twins keeps evidence of another watched promise for the same slot, sender and
// nonce.
func (w *Watch) twins(one *watched, rules evidence.Rules) error {
	for _, other := range w.list {
		if other == one || !other.provable || other.excuse != nil || one.excuse != nil || other.Watched.Slot != one.Watched.Slot ||
			other.Sender != one.Sender || other.Nonce != one.Nonce || other.Watched.TxHash == one.Watched.TxHash {
			continue
		}
		f, ok := doubleFile(rules, one.Handed.Promise, other.Handed.Promise, one.Handed.Delegation)
		if !ok {
			continue
		}
		kept, err := w.Store.prove(f)
		var excuse evidence.Excuse
		switch {
		case errors.As(err, &excuse):
			continue
		case err != nil:
			return err
		}
		if !slices.Contains(one.Twins, kept.Path) {
			one.Twins = append(one.Twins, kept.Path)
			w.Log.Warn("Two promises for one nonce are proven", "slot", one.Watched.Slot, "fault", kept.Fault.ID.Hex(), "file", kept.Path)
		}
	}
	return nil
}

// deadlines say how long what was proven can still be submitted.
func (w *Watch) deadlines(ctx context.Context, one *watched) {
	if len(one.Twins) > 0 {
		one.TwinsUntil = &WatchDeadline{Slot: one.Watched.Slot + evidence.Window, Head: uint64(w.Clock.Slot())}
		for _, path := range one.Twins {
			w.alarm(one, path, one.TwinsUntil, one.TwinsUntil.Slot+1) // in that slot, too
		}
	}
	if one.Evidence == "" || one.Block == nil {
		return
	}
	head, _, err := w.Execution.HeadNumber(ctx)
	c := w.Store.get(phase0.Slot(one.Watched.Slot), *one.Block)
	if err != nil || c == nil || c.ChildNumber == 0 {
		return
	}
	one.Deadline = &WatchDeadline{Block: c.ChildNumber + evidence.Window, Head: head}
	w.alarm(one, one.Evidence, one.Deadline, one.Deadline.Block) // in the block after the head at the earliest
}

// alarm counts what is left until over, and warns when half of the time has gone
// by, and nine tenths.
func (w *Watch) alarm(one *watched, path string, d *WatchDeadline, over uint64) {
	d.Left = over - min(d.Head, over)
	used := evidence.Window - min(d.Left, evidence.Window)
	d.UsedShare, d.TooLate = int(used*100/evidence.Window), d.Left == 0 // #nosec G115 -- at most 100
	for _, limit := range []int{50, 90} {
		if d.UsedShare >= limit && one.alarmed[path] < limit {
			one.alarmed[path] = limit
			w.Log.Warn("Evidence is running out of time", "file", path, "used_percent", d.UsedShare, "left", d.Left)
		}
	}
}

// Wait sleeps until the middle of the next slot, when its block is there, or
// until ctx ends.
func (w *Watch) Wait(ctx context.Context) {
	half := w.Spec.SlotDuration / 2
	next := w.Clock.Start(w.Clock.SlotAt(w.Clock.Now().Add(half)) + 1).Add(-half)
	t := time.NewTimer(max(w.Clock.Until(next), time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
