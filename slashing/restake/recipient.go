package restake

import (
	"context"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/slashing/onchain"
)

// recipient is whom the core pays slashed stake of the set to, and whether that
// is somebody: a set that burns has the core's burn address.
func (s *Service) recipient(ctx context.Context, at string) (to common.Address, pays bool, err error) {
	values, err := s.allocation.Read(ctx, at, "getRedistributionRecipient", s.set())
	if err != nil {
		return to, false, err
	}
	to, _ = values[0].(common.Address)
	pays, err = s.flag(ctx, s.allocation, at, "isRedistributingOperatorSet", s.set())
	return to, pays, err
}

// agreed says that slashed stake goes where the operator thinks: the zero address
// is a set that burns.
func (s *Service) agreed(ctx context.Context, to common.Address) error {
	is, pays, err := s.recipient(ctx, onchain.Latest)
	switch {
	case err != nil:
		return err
	case pays && is == s.Manager.At:
		return ErrRecipient.With("it stays with the service manager, for ever")
	case pays && is != to:
		return ErrRecipient.With("it is paid to %s: name it, if that is agreed", is)
	case !pays && to != (common.Address{}):
		return ErrRecipient.With("the set burns, and pays nobody")
	}
	return nil
}

// gains names who profits from slashing, which somebody does in a set that pays.
func (st *Status) gains(say func(string, ...any)) {
	if !st.Terms.Pays {
		return
	}
	to := st.Terms.GoesTo
	say("slashed stake is paid to %s, which gains by every broken promise: it must be nobody who can bring one about (a builder, a relay, a gateway that promises for these keys)", to)
	switch to {
	case st.Terms.Guardian:
		say("the recipient is the guardian: it gains by not vetoing a wrong case")
	case st.Operator:
		say("the recipient is the operator: it can take its stakers' stake by breaking its own promises")
	}
}
