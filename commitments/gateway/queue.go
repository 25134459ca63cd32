package gateway

import (
	"context"
	"math"
	"time"

	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/internal/quota"
	"sidecar/modules"
)

// queueFor is how long a request for a promise waits for a place: long enough for the
// places to be taken by what offers most, and no longer than its answer may take.
const queueFor = 500 * time.Millisecond

// rankOf is whose call goes first, and the name its share goes by.
func rankOf(c caller, promise bool) (rank quota.Rank, name string) {
	rank, name = quota.StrangersQuestion, c.name
	switch {
	case (c.known || c.local) && promise:
		rank = quota.KnownPromise
	case c.known || c.local:
		rank = quota.KnownQuestion
	case promise:
		rank = quota.StrangersPromise
	}
	if c.local {
		name = ""
	}
	return rank, name
}

// enter takes a place if there is one. Whoever waits gets it after.
func (g *Gateway) enter(c caller, promise bool) (leave func(), ok bool) {
	rank, name := rankOf(c, promise)
	leave, ok = g.places.Enter(name, rank)
	return g.passOn(leave), ok
}

func (g *Gateway) passOn(leave func()) func() {
	return func() { leave(); g.line.Next() }
}

// seat takes a place for one call that only reads, which leave gives back. It does
// not wait. Fault: ErrBusy.
func (g *Gateway) seat(c caller) (leave func(), err error) {
	leave, ok := g.enter(c, false)
	if !ok {
		g.Metrics.shed(c, false)
		return nil, ErrBusy
	}
	return leave, nil
}

// seatFor takes a place for a request for a promise. When there is none it waits its
// turn a little: those who offer the highest tip go first, and when the line is full
// the lowest is refused. What was promised before is not touched by any of this.
// Fault: ErrBusy.
func (g *Gateway) seatFor(ctx context.Context, c caller, read func() (commitments.Request, error)) (leave func(), err error) {
	leave, ok := g.enter(c, true)
	if ok {
		return leave, nil
	}
	if r, err := read(); err == nil { // what cannot be read is worth no place
		ctx, cancel := context.WithTimeout(ctx, g.waitFor)
		defer cancel()
		rank, name := rankOf(c, true)
		if leave, ok = g.line.Wait(ctx, name, rank, g.worth(ctx, r)); ok {
			return g.passOn(leave), nil
		}
	}
	g.Metrics.shed(c, true)
	return nil, ErrBusy
}

// worth is the tip that a request offers, wei per gas, at the base fee of the head if
// that is known; 0 if its module does not tell.
func (g *Gateway) worth(ctx context.Context, r commitments.Request) float64 {
	m, _, err := g.module(r.Type)
	if err != nil {
		return 0
	}
	o, ok := m.(modules.Offerer)
	if !ok {
		return 0
	}
	offer, err := o.Offer(ctx, r)
	if err != nil {
		return 0
	}
	left := offer.Cap
	if g.Head != nil {
		if head, ok := g.Head(); ok {
			if _, under := left.SubOverflow(&offer.Cap, &head.BaseFee); under {
				left.Clear()
			}
		}
	}
	return float64Of(&offer.Tip, &left)
}

// float64Of is the lesser of two amounts. It only orders: no rounding matters.
func float64Of(a, b *uint256.Int) float64 {
	if b.Lt(a) {
		a = b
	}
	f := a.Float64()
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return math.MaxFloat64
	}
	return f
}
