package builderapi

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"time"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// settle is how long the auction lets further bids come before it verifies the
// best of those it has. Relays that answer together then cost one verification
// and not one each; while a slower relay is awaited, two milliseconds are nothing.
const settle = 2 * time.Millisecond

// state of a lot.
type state uint8

const (
	fresh    state = iota // passed the cheap checks
	checking              // its signature and its proofs are being verified
	sound                 // may be answered
	refused
)

// lot is one bid of one relay.
type lot struct {
	relay Relay
	order int // of the relay in its set: the last tie-break
	offer relay.Offer
	bid   *wire.Bid
	state state
}

func (l *lot) name() string { return l.relay.Name() }

// better orders lots: higher value, then lower block hash, then the relay named
// first in the configuration.
func better(a, b *lot) bool {
	if c := a.bid.Value.Cmp(&b.bid.Value); c != 0 {
		return c > 0
	}
	if c := bytes.Compare(a.bid.Header.BlockHash[:], b.bid.Header.BlockHash[:]); c != 0 {
		return c < 0
	}
	return a.order < b.order
}

// table holds the lots of one auction. It is owned by one goroutine.
type table struct {
	lots     [][]*lot // by relay, ascending by the start of their requests
	out      []*lot   // refused at sight
	checking int
}

// keepFresh is how many bids of one relay may wait to be verified.
const keepFresh = 2

// add puts a lot on the table. A relay's newer bid replaces its older one
// (builder cancellation), but older sound ones are kept, and one that is still to
// be verified: should the newer turn out bad, it has displaced nothing.
func (t *table) add(l *lot) {
	mine := make([]*lot, 0, len(t.lots[l.order])+1)
	at := -1
	for _, old := range t.lots[l.order] {
		if at < 0 && old.offer.Started.After(l.offer.Started) {
			at = len(mine)
			mine = append(mine, l)
		}
		if old.state != refused {
			mine = append(mine, old)
		}
	}
	if at < 0 {
		mine = append(mine, l)
	}
	waiting := 0
	for i := len(mine) - 1; i >= 0; i-- {
		if mine[i].state != fresh {
			continue
		}
		if waiting++; waiting > keepFresh {
			mine = slices.Delete(mine, i, i+1)
		}
	}
	t.lots[l.order] = mine
}

// best returns the lot that would win now: of each relay its newest lot not
// refused, of those the better one. Nil if there is none.
func (t *table) best(only state, any bool) (win *lot) {
	for _, mine := range t.lots {
		for i := len(mine) - 1; i >= 0; i-- {
			l := mine[i]
			if l.state == refused || !any && l.state != only {
				continue
			}
			if win == nil || better(l, win) {
				win = l
			}
			break
		}
	}
	return win
}

// auction asks the relays of a set and returns the best sound lot, by the
// answer's deadline, and the bids that were heard if somebody wants them. Only the bid that would win is verified, and while slower
// relays are still awaited.
func (s *Service) auction(ctx context.Context, q query, set *Set, answerBy time.Time) (win *lot, heard []Bid) {
	page := s.page(q)
	relays := s.bidders(q, set, &page)
	if len(relays) == 0 {
		return nil, nil
	}
	left := s.Clock.Until(answerBy)
	by := deadlines{answerBy.Add(-reserve(left)), answerBy.Add(-reserve(left) / 4)}
	ctx, cancel := context.WithDeadline(ctx, by.collect)
	defer cancel()
	j := s.judge(ctx, q, &page)

	a := &sale{service: s, judge: j, page: page, table: table{lots: make([][]*lot, len(relays))}}
	a.offers = make(chan *lot, 4*len(relays))
	a.finished = make(chan int, len(relays))
	a.verified = make(chan verdict, max(2, len(relays)))
	a.log = s.Log.With("slot", uint64(q.slot))
	a.ask(ctx, by, relays, q)
	win = a.run(ctx, by)
	if win != nil {
		a.share(win)
	}
	if s.Heard != nil {
		heard = a.table.heard()
	}
	return win, heard
}

// page reads what was promised. Without promises nothing else is asked.
func (s *Service) page(q query) commitments.Page {
	if s.Pages == nil {
		return commitments.Page{PageID: q.page()}
	}
	return s.Pages.Page(q.page())
}

// bidders leaves out the relays in the penalty box, and on a page with promises
// those that cannot prove anything or refused its constraints. There a penalty does not count: a promise
// is worth more than a grudge.
func (s *Service) bidders(q query, set *Set, page *commitments.Page) (out []Relay) {
	for _, r := range set.Relays {
		switch {
		case !page.Empty() && r.ProvesBids() && (s.Barred == nil || !s.Barred(q.page(), r.Name())):
			out = append(out, r)
		case page.Empty() && !s.box.holds(r.Name(), q.slot):
			out = append(out, r)
		}
	}
	return out
}

// verdict is the result of a lot's dear checks.
type verdict struct {
	lot    *lot
	reason error
}

// sale is one running auction.
type sale struct {
	service  *Service
	judge    *judge
	page     commitments.Page
	table    table
	open     int       // relays not heard to the end when run begins
	soon     time.Time // what is here until then waits for one another
	offers   chan *lot
	finished chan int
	verified chan verdict
	log      *slog.Logger
}

// ask asks all relays, and hears those that answer within the time the auction
// lets bids come anyway. The others are heard by a goroutine each.
func (a *sale) ask(ctx context.Context, by deadlines, relays []Relay, q query) {
	request := relay.HeaderRequest{
		Slot: q.slot, SlotStart: a.service.Clock.Start(q.slot), Fork: q.fork, ParentHash: q.parent,
		Pubkey: q.validator, UserAgent: q.userAgent, WithProofs: !a.page.Empty(),
	}
	a.open, a.soon = len(relays), a.service.Clock.Now().Add(settle)
	if by.collect.Before(a.soon) {
		a.soon = by.collect
	}
	asked := make([]*relay.Asked, len(relays))
	for i, r := range relays {
		_ = a.service.guarded(r, func() error { asked[i] = r.Ask(ctx, request, a.soon); return nil })
		if asked[i] == nil {
			a.listen(ctx, r, i, func(emit func(relay.Offer)) error { return r.Offers(ctx, request, emit) })
		}
	}
	// The last that was asked most likely answers last: when it has, the others
	// need no waiting for.
	for i, r := range slices.Backward(relays) {
		if asked[i] == nil {
			continue
		}
		done, err := asked[i].Soon(func(o relay.Offer) {
			a.receive(&lot{relay: r, order: i, offer: o, bid: o.Bid})
		})
		if !done {
			a.listen(ctx, r, i, asked[i].Hear)
			continue
		}
		a.open--
		a.gave(r, err)
	}
}

// listen hears one relay in a goroutine.
func (a *sale) listen(ctx context.Context, r Relay, order int, hear func(emit func(relay.Offer)) error) {
	a.service.detach(func(context.Context) {
		a.gave(r, a.service.guarded(r, func() error {
			return hear(func(o relay.Offer) {
				select {
				case a.offers <- &lot{relay: r, order: order, offer: o, bid: o.Bid}:
				case <-ctx.Done():
				}
			})
		}))
		a.finished <- order
	})
}

// gave records how asking a relay ended.
func (a *sale) gave(r Relay, err error) {
	if err != nil {
		a.service.Metrics.judged(r.Name(), fault.Code(err))
		a.log.Debug("Relay gave no bid", "relay", r.Name(), "reason", fault.Code(err))
	}
}

// run is the auction's loop: it alone touches the table.
func (a *sale) run(ctx context.Context, by deadlines) *lot {
	open := a.open
	answer := time.NewTimer(a.service.Clock.Until(by.answer))
	defer answer.Stop()
	var calm <-chan time.Time // runs from the first bid on, while relays are awaited
	if open > 0 && a.table.best(fresh, true) != nil {
		calm = time.After(a.service.Clock.Until(a.soon))
	}
	calmed, collected := false, ctx.Done()
	for {
		if win := a.table.best(fresh, true); open == 0 && (win == nil || win.state == sound) {
			return win
		} else if win != nil && win.state == fresh && open == 0 && a.table.checking == 0 && a.judge.quick {
			// Nothing else can happen before this verdict: no need to wait for it.
			win.state = checking
			a.table.checking++
			a.conclude(verdict{win, a.judge.dear(ctx, win)})
			continue
		} else if win != nil && (calmed || open == 0) {
			a.check(ctx, win)
		}
		select {
		case l := <-a.offers:
			a.receive(l)
			if calm == nil {
				calm = time.After(settle)
			}
		case <-a.finished:
			if open--; open == 0 {
				a.drainOffers()
			}
		case <-calm:
			calmed = true
		case v := <-a.verified:
			a.conclude(v)
		case <-collected:
			// The relays' time is over: what lies on the table is all there is.
			a.drainOffers()
			open, collected = 0, nil
		case <-answer.C:
			return a.table.best(sound, false)
		}
	}
}

// receive judges a bid by the cheap checks and puts it on the table.
func (a *sale) receive(l *lot) {
	if reason := a.judge.cheap(l); reason != nil {
		a.refuse(l, reason)
		if a.service.Heard != nil && len(a.table.out) < maxHeard {
			a.table.out = append(a.table.out, l)
		}
		return
	}
	a.table.add(l)
}

// drainOffers takes what relays sent before they finished.
func (a *sale) drainOffers() {
	for {
		select {
		case l := <-a.offers:
			a.receive(l)
		default:
			return
		}
	}
}

// check has the bid that would win verified. On a page with promises every
// relay's is, at once: a proof may take its time and be worth nothing, and
// without a bid the promises break.
func (a *sale) check(ctx context.Context, win *lot) {
	if a.page.Empty() {
		a.verify(ctx, win, 2) // a better bid need not wait for a lesser one's verdict
		return
	}
	for _, mine := range a.table.lots {
		for i := len(mine) - 1; i >= 0; i-- {
			if mine[i].state != refused {
				a.verify(ctx, mine[i], cap(a.verified))
				break
			}
		}
	}
}

// verify starts the dear checks of a fresh lot, unless as many as may run do.
func (a *sale) verify(ctx context.Context, l *lot, most int) {
	if l.state != fresh || a.table.checking >= most {
		return
	}
	a.table.checking++
	l.state = checking
	ctx = context.WithoutCancel(ctx) // the relays' deadline is not the verifier's
	a.service.detach(func(context.Context) {
		a.verified <- verdict{l, a.judge.dear(ctx, l)}
	})
}

// conclude moves a verified lot on.
func (a *sale) conclude(v verdict) {
	a.table.checking--
	if v.reason != nil {
		a.refuse(v.lot, v.reason)
		return
	}
	v.lot.state = sound
	a.service.offered.add(a.judge.query, v.lot)
	a.service.Metrics.judged(v.lot.name(), "accepted")
}

// share remembers every relay that offered the winning block. Only one of its
// bids was verified, but each of them can deliver it, and its word for that counts.
func (a *sale) share(win *lot) {
	for _, mine := range a.table.lots {
		for _, l := range mine {
			if l.state != refused && l.bid.Header.BlockHash == win.bid.Header.BlockHash {
				a.service.offered.add(a.judge.query, l)
			}
		}
	}
}

// refuse takes a lot out of the auction, and says why.
func (a *sale) refuse(l *lot, reason error) {
	l.state = refused
	a.service.Metrics.judged(l.name(), fault.Code(reason))
	a.log.Warn("Bid refused", "relay", l.name(), "reason", fault.Code(reason), "detail", reason.Error(),
		"block_hash", l.bid.Header.BlockHash.String(), "value_eth", ether(&l.bid.Value))
}
