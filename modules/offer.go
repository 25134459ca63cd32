package modules

import (
	"context"

	"github.com/holiman/uint256"

	"sidecar/commitments"
)

// Offer is what a request offers at most, in wei per gas.
type Offer struct {
	Tip uint256.Int // of priority fee
	Cap uint256.Int // of base fee and priority fee together
}

// Offerer is implemented by modules that can tell quickly what a request offers. The
// gateway asks when it has more requests than places: those that offer least are
// refused first. Nothing else rests on the answer, for nobody has looked at the
// sender's signature or balance yet.
type Offerer interface {
	// Offer reads the request and nothing else. Faults: of kind Invalid or Rejected.
	Offer(ctx context.Context, req commitments.Request) (Offer, error)
}

var _ Offerer = (*around)(nil)

// Offer asks the module, if it is an Offerer; of one that is not, no request offers
// anything.
func (a *around) Offer(ctx context.Context, req commitments.Request) (Offer, error) {
	inner, ok := a.inner.(Offerer)
	if !ok {
		return Offer{}, nil
	}
	return answer(ctx, a, opOffer, func(ctx context.Context) (Offer, error) { return inner.Offer(ctx, req) })
}
