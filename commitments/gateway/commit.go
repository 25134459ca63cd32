package gateway

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
	"sidecar/modules"
)

// Commit is journey d up to the searcher's answer. The same request always gets
// the same answer, also after a crash.
// Faults: this package's, the module's, the schedule's and the signer's.
func (g *Gateway) Commit(ctx context.Context, r commitments.Request) (commitments.SignedCommitment, error) {
	began := g.Clock.Now()
	s, err := g.commit(ctx, r, nil)
	g.Metrics.request(err, g.Clock.Now().Sub(began))
	return s, err
}

// commit makes the promise; quote, unless nil, is the id of the quote whose price
// it is made at.
func (g *Gateway) commit(ctx context.Context, r commitments.Request, quote *phase0.Hash32) (commitments.SignedCommitment, error) {
	// 1. Promised already? Then that is the answer, whatever has changed since.
	hash := r.Hash()
	if p, id, ok := g.Views.Find(hash); ok {
		return g.reply(ctx, id, p)
	}
	if g.draining.Load() {
		return commitments.SignedCommitment{}, ErrDraining
	}
	// 2. Whose is it, and for which slot?
	m, info, err := g.module(r.Type)
	if err != nil {
		return commitments.SignedCommitment{}, err
	}
	var quoted commitments.Quote
	var price *commitments.Price
	if quote != nil {
		if quoted, err = g.quotes.find(*quote, hash, g.unixMilli()); err != nil {
			return commitments.SignedCommitment{}, err
		}
		price = &quoted.Price
	}
	// 3. Is that slot ours, open, and could the promise be kept?
	id, err := g.placed(ctx, m, info, r, quoted.Slot)
	if err != nil {
		return commitments.SignedCommitment{}, err
	}
	// 4. Draft, journal, sign.
	inTime, cancel := g.until(ctx, g.settled(id.Slot))
	defer cancel()
	s, err := g.promise(inTime, id, m, info, r, hash, price)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return s, ErrTooLate.With("slot %d: the promise was not on disk in time", id.Slot)
	}
	if errors.Is(err, ledger.ErrSlashable) { // the same request was promised meanwhile, for another slot
		if p, id, ok := g.Views.Find(hash); ok {
			return g.reply(ctx, id, p)
		}
	}
	return s, err
}

// place finds the page of a slot, or of our next slot that has a path if the
// request leaves it to us. Faults: ErrTooLate, ErrTooEarly, ErrNotOurs, those of path.
func (g *Gateway) place(ctx context.Context, slot phase0.Slot, types []uint64) (commitments.PageID, error) {
	now := g.Clock.Slot()
	last := now + phase0.Slot(g.MaxSlotsAhead)
	if slot == 0 {
		return g.choose(ctx, types)
	}
	switch {
	case slot <= now:
		return commitments.PageID{}, ErrTooLate.With("slot %d", slot)
	case slot > last || g.Spec.Epoch(slot) > g.Spec.Epoch(now)+1: // duties are known for this epoch and the next
		return commitments.PageID{}, ErrTooEarly.With("slot %d", slot)
	}
	id, ours := g.page(slot)
	switch {
	case !ours:
		return id, ErrNotOurs.With("slot %d", slot)
	case g.closed(id):
		return id, ErrTooLate.With("slot %d", slot)
	}
	if _, err := g.path(ctx, id, types); err != nil {
		return id, err
	}
	if g.closed(id) { // its path closes earlier than was known
		return id, ErrTooLate.With("slot %d", slot)
	}
	return id, nil
}

// choose finds our next slot that is open and has a path.
func (g *Gateway) choose(ctx context.Context, types []uint64) (commitments.PageID, error) {
	err := ErrNotOurs.With("none in the next %d slots", g.MaxSlotsAhead)
	for _, id := range g.upcoming() {
		if g.closed(id) || g.Views.View(id).Closed {
			continue
		}
		var none error
		if _, none = g.path(ctx, id, types); none == nil && !g.closed(id) {
			return id, nil
		}
		if none != nil {
			err = none
		}
	}
	return commitments.PageID{}, err
}

func (g *Gateway) page(slot phase0.Slot) (commitments.PageID, bool) {
	proposer, _, ours := g.Schedule.Proposer(slot)
	return commitments.PageID{Slot: slot, Proposer: proposer}, ours
}

// promise drafts and signs until the draft rests on the present state of the
// page, or ctx ends.
func (g *Gateway) promise(ctx context.Context, id commitments.PageID, m modules.Module, info modules.Info, r commitments.Request, hash phase0.Hash32, quoted *commitments.Price) (commitments.SignedCommitment, error) {
	for {
		view := g.view(id)
		view.Quoted = quoted
		// The same request may have been promised since it was looked for. It must
		// not meet itself in the view: the module would call that a conflict.
		if p, at, ok := g.Views.Find(hash); ok {
			return g.reply(ctx, at, p)
		}
		if err := admit(view, view.Seq, commitments.Draft{}, g.limit(id.Slot), g.MaxCount); err != nil {
			return commitments.SignedCommitment{}, err // full or closed: spare the module
		}
		draft, err := m.Commit(ctx, view, r)
		if err == nil {
			err = checkDraft(draft, info, r, hash, view.Used.Gas)
		}
		if err != nil {
			return commitments.SignedCommitment{}, err
		}
		if _, err := g.delegate(ctx, id); err != nil {
			return commitments.SignedCommitment{}, err
		}
		who, object := g.party(id), draft.Commitment.Root()
		receipt, err := g.Signer.Sign(ctx, id, func(now commitments.View) (ledger.Entry, error) {
			if i := slices.IndexFunc(now.Promises, func(p commitments.Promise) bool { return p.Commitment.RequestHash == hash }); i >= 0 {
				return g.again(now.Promises[i], info, who), nil // the same request won the race: its answer is ours
			}
			if g.closed(id) { // the module may have taken until here
				return ledger.Entry{}, ErrTooLate.With("slot %d", id.Slot)
			}
			if err := admit(now, view.Seq, draft, g.limit(id.Slot), g.MaxCount); err != nil {
				return ledger.Entry{}, err
			}
			return g.entry(draft, object, info, who, g.SigningID, now.Seq+1), nil
		})
		if errors.Is(err, errOvertaken) {
			if ctx.Err() != nil {
				return commitments.SignedCommitment{}, ctx.Err()
			}
			g.Metrics.redraft()
			continue // somebody touched the same name since view: ask again
		}
		return signed(receipt), err
	}
}

// reply gives the answer that a promise already has. After a crash between
// entry and ink it has none: the identical entry is signed again, unless its
// page has settled. Faults: ErrTooLate, the signer's.
func (g *Gateway) reply(ctx context.Context, id commitments.PageID, p commitments.Promise) (commitments.SignedCommitment, error) {
	if len(p.Signature) > 0 {
		return p.SignedCommitment, nil
	}
	if g.Clock.Until(g.settled(id.Slot)) <= 0 {
		return commitments.SignedCommitment{}, ErrTooLate.With("slot %d: the promise was never signed", id.Slot)
	}
	_, info, err := g.module(p.Commitment.Type)
	if err != nil {
		return commitments.SignedCommitment{}, err
	}
	e := g.again(p, info, g.party(id))
	receipt, err := g.Signer.Sign(ctx, id, func(commitments.View) (ledger.Entry, error) { return e, nil })
	return signed(receipt), err
}

// entry is the journal's line of a promise, which the committer and the delegate
// sign; the delegate alone if the slot's delegation names no committer, as those of
// earlier versions do. Only the nonce depends on where it will stand: no committer
// ever uses one again.
func (g *Gateway) entry(d commitments.Draft, object phase0.Root, info modules.Info, who Party, signingID phase0.Root, nonce uint64) ledger.Entry {
	e := ledger.Entry{
		Kind: ledger.KindCommitment, Module: info.ID, Key: commitments.ECDSAKey(who.Committer), Delegate: who.Delegate,
		Root:  commitments.SigningRoot(g.domain, g.Spec.ChainID, object, signingID, nonce),
		Nonce: nonce, SigningID: signingID, Draft: &d,
	}
	if !e.Key.IsECDSA() {
		e.Key, e.Delegate = commitments.BLSKey(who.Delegate), phase0.BLSPubKey{}
	}
	return e
}

// again is the entry of a promise that stands: nonce and signing id are those of
// the time, so that its root is the one in the journal.
func (g *Gateway) again(p commitments.Promise, info modules.Info, who Party) ledger.Entry {
	d := commitments.Draft{Commitment: p.Commitment, Constraints: p.Constraints, Cost: p.Cost, Touches: p.Touches}
	return g.entry(d, p.Commitment.Root(), info, who, p.SigningID, p.Nonce)
}

func signed(r ledger.Receipt) commitments.SignedCommitment {
	if r.Entry.Draft == nil {
		return commitments.SignedCommitment{}
	}
	return commitments.SignedCommitment{
		Commitment: r.Entry.Draft.Commitment, Nonce: r.Entry.Nonce, SigningID: r.Entry.SigningID, Signature: r.Signature, Proxy: r.Proxy,
	}
}

// checkDraft holds a module to its request, what is signed is what was asked, and
// to the view it drafted from, whose promises use so much gas.
func checkDraft(d commitments.Draft, info modules.Info, r commitments.Request, hash phase0.Hash32, used uint64) error {
	c := d.Commitment
	switch {
	case c.RequestHash != hash:
		return modules.ErrDraft.With("module %s: request hash", info.ID)
	case c.Type != r.Type || !bytes.Equal(c.Slasher[:], r.Slasher[:]):
		return modules.ErrDraft.With("module %s: type or slasher", info.ID)
	case len(c.Payload) > commitments.MaxPayload || len(d.Constraints) > commitments.MaxConstraints:
		return modules.ErrDraft.With("module %s: too large", info.ID)
	case d.UsedBelow > 0 && d.UsedBelow <= used: // it would be asked again for ever
		return modules.ErrDraft.With("module %s: its price does not hold for what it was shown", info.ID)
	}
	for _, x := range d.Constraints {
		if !slices.Contains(info.ConstraintTypes, x.Type) || len(x.Payload) > commitments.MaxPayload {
			return modules.ErrDraft.With("module %s: constraint of type %d", info.ID, x.Type)
		}
	}
	return nil
}

// Result returns the promise that answers a request hash. Faults: ErrNoPromise,
// the signer's.
func (g *Gateway) Result(ctx context.Context, hash phase0.Hash32) (commitments.SignedCommitment, error) {
	p, id, ok := g.Views.Find(hash)
	if !ok {
		return commitments.SignedCommitment{}, ErrNoPromise
	}
	return g.reply(ctx, id, p)
}

// Slots lists our slots that take promises, with what can be promised.
// Faults: the schedule's.
func (g *Gateway) Slots(ctx context.Context) (commitments.SlotInfoResponse, error) {
	if err := g.Schedule.Ready(); err != nil {
		return commitments.SlotInfoResponse{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	var out commitments.SlotInfoResponse
	if g.draining.Load() {
		return out, nil
	}
	for _, id := range g.upcoming() {
		if g.closed(id) || g.Views.Page(id).Closed {
			continue
		}
		types := g.types(ctx, id)
		if len(types) == 0 {
			continue
		}
		out.Slots = append(out.Slots, commitments.SlotInfo{
			Slot: id.Slot, Offerings: []commitments.Offering{{ChainID: g.Spec.ChainID, CommitmentTypes: types}},
		})
	}
	return out, nil
}

// types are the commitment types that can be kept on a page.
func (g *Gateway) types(ctx context.Context, id commitments.PageID) (all []uint64) {
	for _, m := range g.Modules() {
		info := m.Info()
		if _, err := g.path(ctx, id, info.ConstraintTypes); err == nil {
			all = append(all, info.CommitmentTypes...)
		}
	}
	return all
}

// until returns ctx with a deadline at t on our clock.
func (g *Gateway) until(ctx context.Context, t time.Time) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, g.Clock.Until(t))
}
