package gateway

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/ledger"
	relays "sidecar/internal/relay"
)

// lookAgain is how soon a page with promises that has lost its path is closed.
const lookAgain = 250 * time.Millisecond

// Run closes each page at its cut-off and sends its constraints, and keeps the
// relays probed, until ctx ends. It then ends and waits for all that is under
// way. What a crash left undone is taken up first.
func (g *Gateway) Run(ctx context.Context) error {
	g.begun()
	defer g.stop()
	g.spawn(g.watchPaths)
	g.spawn(g.follow)
	g.spawn(g.watch)
	g.spawn(g.watchRisks)
	g.resume()
	for {
		wait := g.Clock.Until(g.nextCutoff())
		if g.near() { // a page that loses its path closes at once
			wait = min(wait, lookAgain)
		}
		pause(ctx, wait)
		if ctx.Err() != nil {
			return nil
		}
		g.closePages()
	}
}

// near says whether a slot of ours begins within the longest lead.
func (g *Gateway) near() bool {
	longest := g.longestLead()
	for s := g.Clock.Slot() + 1; g.Clock.Until(g.Clock.Start(s)) <= longest; s++ {
		if _, ours := g.page(s); ours {
			return true
		}
	}
	return false
}

// resume takes up what an earlier run left: delegations and constraints of slots
// to come are sent again, for no one knows whether they arrived.
func (g *Gateway) resume() {
	now := g.Clock.Slot()
	first := phase0.Slot(0)
	if back := phase0.Slot(2 * g.Spec.SlotsPerEpoch); now > back {
		first = now - back
	}
	for _, p := range g.Views.Pages(first) {
		switch {
		case p.Slot > now && p.Delegation != nil:
			d := *p.Delegation
			g.spawn(func(ctx context.Context) { g.postDelegation(ctx, p.PageID, d) })
		case p.Slot <= now && !p.Empty() && p.Constraints == nil && len(p.Verdicts) == 0:
			g.Log.Error("Promises were never sent to a relay", "slot", uint64(p.Slot), "promises", len(p.Promises))
			g.Metrics.page("late")
		}
	}
	g.closePages()
}

// closePages begins to enforce every page between its cut-off and its slot. A
// page with a promise has a delegation on disk before, so none is overlooked,
// even if the promise itself is still on its way to the disk.
func (g *Gateway) closePages() {
	now := g.Clock.Slot()
	for _, p := range g.Views.Pages(now + 1) {
		if id := p.PageID; g.closed(id) && g.begin(id, now) {
			g.spawn(func(ctx context.Context) { g.enforce(ctx, id) })
		}
	}
}

// begin says whether a page is to be enforced now, which is once.
func (g *Gateway) begin(id commitments.PageID, now phase0.Slot) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for old := range g.sending {
		if old.Slot < now {
			delete(g.sending, old)
		}
	}
	maps.DeleteFunc(g.shut, func(id commitments.PageID, _ bool) bool { return id.Slot < now })
	maps.DeleteFunc(g.foreign, func(id commitments.PageID, _ string) bool { return id.Slot < now })
	if g.sending[id] {
		return false
	}
	g.sending[id] = true
	return true
}

// enforce closes a page, signs its one constraints message and sends it to every
// relay until the slot begins.
func (g *Gateway) enforce(ctx context.Context, id commitments.PageID) {
	ctx, cancel := g.until(ctx, g.Clock.Start(id.Slot))
	defer cancel()
	s, err := g.seal(ctx, id)
	if errors.Is(err, errNoPromises) {
		return
	}
	if err != nil {
		g.Metrics.page("unsigned")
		g.Log.Error("Constraints could not be signed; promises are at risk", "slot", uint64(id.Slot), "reason", fault.Code(err), "error", err)
		return
	}
	if taken := g.send(ctx, id, s); taken < g.MinAcks {
		g.Metrics.page("untaken")
		g.Log.Error("Too few took the constraints; promises are at risk", "slot", uint64(id.Slot), "constraints", len(s.Message.Constraints),
			"taken", taken, "min_acks", g.MinAcks)
		return
	}
	g.Metrics.page("taken")
}

// seal returns the page's signed constraints message. A crash after the entry
// and before the ink is mended by the same entry: a closed page changes no more,
// and the nonce is the slot.
func (g *Gateway) seal(ctx context.Context, id commitments.PageID) (commitments.SignedConstraints, error) {
	var e ledger.Entry // made outside the lock, from the page as the lock last showed it
	var page commitments.Page
	var last error
	for n := 0; n < maxAttempts; n++ {
		if p := g.Views.Page(id); p.Constraints != nil {
			return *p.Constraints, nil
		}
		r, err := g.Signer.Sign(ctx, id, func(now commitments.View) (ledger.Entry, error) {
			if len(now.Promises) == 0 {
				return ledger.Entry{}, errNoPromises
			}
			if len(now.Promises) != len(page.Promises) {
				page = now.Page
				return ledger.Entry{}, errOvertaken
			}
			return e, nil
		})
		switch {
		case err == nil:
			return commitments.SignedConstraints{
				Message: *e.Constraints, Nonce: e.Nonce, SigningID: e.SigningID, Signature: blsSignature(r),
			}, nil
		case errors.Is(err, errOvertaken):
			if e, err = g.constraintsEntry(page); err != nil {
				return commitments.SignedConstraints{}, err
			}
			continue
		case errors.Is(err, errNoPromises), errors.Is(err, ledger.ErrPoisoned), errors.Is(err, ledger.ErrSlashable):
			return commitments.SignedConstraints{}, err
		}
		if last == nil || ctx.Err() == nil {
			last = err // the cause, rather than the deadline it led to
		}
		if pause(ctx, retryEvery); ctx.Err() != nil {
			break
		}
	}
	return commitments.SignedConstraints{}, last
}

// constraintsEntry is the journal's line that closes a page: every constraint of
// every promise, in the order the promises were made, the unsigned included.
func (g *Gateway) constraintsEntry(p commitments.Page) (ledger.Entry, error) {
	key := g.partyFor(p.Proposer).Delegate
	if p.Delegation != nil {
		key = p.Delegation.Message.Delegate
	}
	msg := commitments.ConstraintsMessage{Proposer: p.Proposer, Delegate: key, Slot: p.Slot, Receivers: g.receivers(p.Proposer)}
	for i := range p.Promises {
		msg.Constraints = append(msg.Constraints, p.Promises[i].Constraints...)
	}
	object, err := msg.Root()
	if err != nil {
		return ledger.Entry{}, err
	}
	nonce := uint64(p.Slot)
	return ledger.Entry{
		Kind: ledger.KindConstraints, Module: moduleName, Key: commitments.BLSKey(key),
		Root:  commitments.SigningRoot(g.domain, g.Spec.ChainID, object, g.SigningID, nonce),
		Nonce: nonce, SigningID: g.SigningID, Constraints: &msg,
	}, nil
}

// receivers are who may see a proposer's constraints: each once, ascending.
func (g *Gateway) receivers(proposer phase0.BLSPubKey) []phase0.BLSPubKey {
	if g.ReceiversFor == nil {
		return nil
	}
	keys := slices.SortedFunc(slices.Values(g.ReceiversFor(proposer)), func(a, b phase0.BLSPubKey) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(keys)
}

// send posts a constraints message to every target at once, the same bytes until
// each has taken them or the posts end, and returns how many did. A relay that says
// no is not asked for a bid of the page, unless it changes its mind.
func (g *Gateway) send(ctx context.Context, id commitments.PageID, s commitments.SignedConstraints) int {
	targets := g.TargetsFor(id.Proposer)
	done := make(chan outcome, len(targets))
	for _, r := range targets {
		go func() {
			done <- g.deliver(ctx, g.postsEnd(id.Slot), r.Name(), func(ctx context.Context) error {
				err := r.PostConstraints(ctx, s)
				g.standing.refuse(id, r.Name(), refuses(err))
				return err
			})
		}()
	}
	taken := 0
	for range targets {
		o := <-done
		if g.receipt(ctx, id, messageConstraints, o); o.err == nil {
			taken++
		}
	}
	return taken
}

// refuses says whether an error is a relay's no. Its silence is none, and neither is
// a 5xx: it may have taken the constraints before, as a fabric relay that is sent
// the same bytes again, and a bid that proves them is worth more than its answer. Nor
// is that it is too busy.
func refuses(err error) bool { return errors.Is(err, relays.Err4xx) && !relays.Later(err) }

// postsEnd is when the last attempt of a post for a slot begins.
func (g *Gateway) postsEnd(slot phase0.Slot) time.Time { return g.Clock.Start(slot).Add(-g.PostsEnd) }

// receipt keeps what a target said to a delegation or to constraints, and when:
// evidence, should it come to that.
func (g *Gateway) receipt(ctx context.Context, id commitments.PageID, message string, o outcome) {
	g.Metrics.post(message, o.relay, o.err)
	result := "accepted"
	switch {
	case o.err == nil:
		g.Log.Info("Relay took the "+message, "slot", uint64(id.Slot), "relay", o.relay, "attempts", o.attempts, "ms", o.took.Milliseconds())
	default:
		result = "refused" // or silent: the reason tells
		g.Log.Warn("Relay did not take the "+message, "slot", uint64(id.Slot), "relay", o.relay, "reason", fault.Code(o.err), "attempts", o.attempts)
	}
	g.note(ctx, id, map[string]string{
		"message": message, "relay": o.relay, "outcome": result, "reason": fault.Code(o.err),
		"attempts": strconv.Itoa(o.attempts), "at_ms": strconv.FormatInt(g.Clock.Now().UnixMilli(), 10),
	})
}

// note writes a receipt. It may come after the deadline that ended the post.
func (g *Gateway) note(ctx context.Context, id commitments.PageID, what map[string]string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if err := g.Signer.Note(ctx, id, ledger.Entry{Kind: ledger.KindReceipt, Module: moduleName, Note: what}); err != nil {
		g.Log.Warn("Receipt is not in the ledger", "slot", uint64(id.Slot), "error", err)
	}
}
