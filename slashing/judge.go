package slashing

import (
	"context"
	"errors"
	"log/slog"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/commitments"
	"sidecar/internal/beacon"
	"sidecar/internal/ledger"
	"sidecar/slashing/evidence"
)

// Reasons of the auditor's own.
const (
	reasonReorg   = "reorganised"     // unknown: the block that was judged is not canonical any more
	reasonTooLate = "proofs_too_late" // unknown: absent, and the state that would excuse it was pruned
)

// lookEvery is after how many slots a page is looked at again when it is this
// old: the chain changes its mind less and less.
func lookEvery(age uint64) uint64 {
	if age <= 32 {
		return 1
	}
	return 4
}

// page judges a page as far as the chain is settled.
func (a *Auditor) page(ctx context.Context, p commitments.Page, final **beacon.Finality) error {
	now := a.Clock.Slot()
	k, seen := a.known[p.PageID]
	if seen && uint64(now-k.at) < lookEvery(uint64(now-p.Slot)) {
		return nil
	}
	if *final == nil {
		f, err := a.beacon.Finality(ctx)
		if err != nil {
			return err
		}
		*final = &f
	}
	at := stage(a.Spec, p.Slot, **final)
	// 1. While the block it was judged by is canonical, only the stage moves.
	if seen && k.done && k.root != (phase0.Root{}) && at != commitments.Final {
		root, err := a.beacon.Root(ctx, p.Slot)
		if err != nil {
			return err
		}
		if root == k.root && !behind(p, at) {
			k.at = now
			a.known[p.PageID] = k
			return nil
		}
	}
	// 2. What both nodes have, and have of it captured before it is forgotten.
	s, err := a.look(ctx, p.Slot)
	if err != nil {
		return err
	}
	if err := a.reset(ctx, p, &s); err != nil {
		return err
	}
	p = a.Book.Page(p.PageID)
	all := inclusions(&p, a.Spec.ChainID)
	c, capturing := a.capture(ctx, &s, all)
	// 3. The verdicts. One that is written twice is the same verdict: after a
	//    crash here, the rest of the page is judged again.
	done, err := a.judge(ctx, p, &s, all, c, at)
	if err = errors.Join(err, capturing, a.doubles(ctx, &p)); err != nil {
		return err
	}
	a.known[p.PageID] = judged{root: s.info.Root, at: now, done: done}
	return nil
}

// capture collects and stores what the nodes say of a block. What is there is
// used also when something is missing.
func (a *Auditor) capture(ctx context.Context, s *sight, all map[phase0.Hash32]promisedTx) (*Capture, error) {
	if s.none != "" || len(all) == 0 {
		return nil, nil
	}
	c, added, err := a.collect(ctx, s, a.Store.get(s.block.Slot, s.block.Hash), all, a.Clock.Now())
	if c != nil && added {
		if stored := a.Store.put(c); stored != nil {
			return c, errors.Join(err, stored)
		}
		if c.gone() {
			a.Log.Error("The execution node has pruned the state that would excuse promises", "slot", uint64(c.Slot), "reason", reasonTooLate)
		}
	}
	return c, err
}

// behind says whether a verdict of the page is less settled than the chain.
func behind(p commitments.Page, at commitments.Stage) bool {
	for i := range p.Promises {
		v, ok := latest(p, p.Promises[i].Commitment.RequestHash)
		if !ok || v.Stage != at {
			return true
		}
	}
	return false
}

// reset writes down that a block that was judged is not canonical any more. A
// final verdict stays: the chain promises that much.
func (a *Auditor) reset(ctx context.Context, p commitments.Page, s *sight) error {
	for i := range p.Promises {
		v, ok := latest(p, p.Promises[i].Commitment.RequestHash)
		if !ok || v.Outcome == commitments.Unknown && v.Reason == reasonReorg || v.Stage == commitments.Final || v.Block == s.hash() {
			continue
		}
		a.Log.Warn("The chain was reorganised under a verdict", "slot", uint64(p.Slot), "outcome", v.Outcome.String(), "request_hash", v.RequestHash.String())
		if err := a.record(ctx, p.PageID, commitments.Verdict{RequestHash: v.RequestHash, Reason: reasonReorg, Stage: commitments.Provisional, Block: s.hash()}); err != nil {
			return err
		}
	}
	return nil
}

// judge has the module judge the block, weighs what excuses it, and writes down
// what is new. done: nothing is left to capture or to pack.
func (a *Auditor) judge(ctx context.Context, p commitments.Page, s *sight, all map[phase0.Hash32]promisedTx, c *Capture, at commitments.Stage) (done bool, err error) {
	verdicts, err := a.Module.Audit(ctx, p, s.block)
	if err != nil {
		return false, err
	}
	open := map[phase0.Hash32]*commitments.Promise{}
	for i := range p.Promises {
		open[p.Promises[i].Commitment.RequestHash] = &p.Promises[i]
	}
	done = s.none != "" || len(all) == 0 || c != nil && c.ChildNumber > 0
	waiting := len(open)
	for _, v := range verdicts {
		promise := open[v.RequestHash]
		if promise == nil {
			return false, ErrVerdict.With("a request hash that is not on the page of slot %d", p.Slot)
		}
		if v.Outcome == commitments.Unknown || v.Outcome > commitments.Excused {
			continue
		}
		v.Stage, v.Block, v.Evidence = at, s.hash(), nil
		in, is := all[v.RequestHash]
		switch {
		case s.none != "" && v.Outcome == commitments.Excused && v.Reason == reasonMissed:
			v.Reason = s.none
		case is && v.Outcome == commitments.Broken && s.none == "":
			if v, err = a.weigh(v, in, s, c); errors.Is(err, ErrUndecided) {
				continue
			} else if err != nil {
				return false, err
			}
		}
		if v.Outcome == commitments.Broken {
			digest, packed, err := a.pack(ctx, &p, promise, in, c)
			if err != nil {
				return false, err
			}
			v.Evidence, done = digest, done && packed
		}
		waiting--
		if old, ok := latest(p, v.RequestHash); ok && (old.Settled() || sameVerdict(old, v)) {
			continue
		}
		if err := a.record(ctx, p.PageID, v); err != nil {
			return false, err
		}
	}
	if waiting > 0 {
		return false, ErrUndecided.With("%d promises of slot %d have no verdict", waiting, p.Slot)
	}
	return done, nil
}

// sameVerdict says whether there is nothing to write down. Evidence that was
// found later comes with the next stage.
func sameVerdict(a, b commitments.Verdict) bool {
	return a.Outcome == b.Outcome && a.Reason == b.Reason && a.Stage == b.Stage && a.Block == b.Block
}

// weigh says whether anything excuses that a promised transaction is absent, by
// the contract's rules and names. Without the sender's accounts nothing is known:
// every doubt acquits.
func (a *Auditor) weigh(v commitments.Verdict, in promisedTx, s *sight, c *Capture) (commitments.Verdict, error) {
	err := excuseOf(in, s, c)
	var excuse evidence.Excuse
	switch {
	case errors.Is(err, errGone):
		v.Outcome, v.Reason = commitments.Unknown, reasonTooLate
	case errors.As(err, &excuse):
		v.Outcome, v.Reason = commitments.Excused, string(excuse)
	case err != nil:
		return v, err
	}
	return v, nil
}

var errGone = errors.New("the sender's accounts were not captured in time")

// excuseOf returns an evidence.Excuse, errGone, ErrUndecided while the sender's
// accounts are not captured, or nil: nothing excuses it.
func excuseOf(in promisedTx, s *sight, c *Capture) error {
	if in.excuse != nil {
		return in.excuse
	}
	if in.provable && uint64(s.info.ProposerIndex) != in.ProposerIndex {
		return evidence.OtherProposer
	}
	if c == nil {
		return ErrUndecided.With("the block of slot %d is not captured", in.Slot)
	}
	account, ok := c.account(in.Sender)
	switch {
	case !ok:
		return ErrUndecided.With("an account of slot %d is not captured", in.Slot)
	case account.Gone:
		return errGone
	}
	return in.Excuse(c.Headers, account.Proofs)
}

func (a *Auditor) record(ctx context.Context, id commitments.PageID, v commitments.Verdict) error {
	if err := a.Signer.Note(ctx, id, ledger.Entry{Kind: ledger.KindVerdict, Module: moduleName, Verdict: &v}); err != nil {
		return err
	}
	a.Metrics.judged(v)
	level := slog.LevelInfo
	switch {
	case v.Outcome == commitments.Broken, v.Reason == reasonTooLate:
		level = slog.LevelError
	case v.Outcome != commitments.Kept:
		level = slog.LevelWarn
	}
	a.Log.Log(ctx, level, "Promise judged", "slot", uint64(id.Slot), "outcome", v.Outcome.String(), "reason", v.Reason, "stage", v.Stage.String(),
		"request_hash", v.RequestHash.String(), "evidence", common.BytesToHash(v.Evidence).Hex())
	return nil
}
