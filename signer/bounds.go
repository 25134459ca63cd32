package signer

import (
	"context"
	"errors"
	"log/slog"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// defaultLookahead is two epochs: what is farther ahead has no proposer yet.
const defaultLookahead phase0.Slot = 64

// plausible says whether a slot may be signed for. A slot no clock will ever see
// is refused here, before it can touch anything that lasts. A slot that is over
// is not an error yet, because what is signed for it may be asked for again: the
// gateway answers a repeated request so after a crash. over is the fault for
// everything else.
func (s *Signer) plausible(slot phase0.Slot) (over, err error) {
	if s.Clock == nil {
		return nil, commitments.ErrSlotRange.With("the signer has no clock")
	}
	now, ahead := s.Clock.Slot(), s.Lookahead
	if ahead == 0 {
		ahead = defaultLookahead
	}
	switch {
	case slot > now && slot-now > ahead:
		return nil, commitments.ErrSlotRange.With("slot %d is more than %d ahead of %d", uint64(slot), uint64(ahead), uint64(now))
	case slot < now && now-slot > 1:
		return commitments.ErrSlotRange.With("slot %d is over, it is %d", uint64(slot), uint64(now)), nil
	}
	return nil, nil
}

// audit leaves a trace of a contradiction that was refused: somebody, perhaps a
// module that lost its mind, asked us to break our word.
func (s *Signer) audit(err error) {
	var c *ledger.Contradiction
	if !errors.Is(err, ledger.ErrSlashable) || !errors.As(err, &c) {
		return
	}
	s.Metrics.contradicted(c.Kind)
	if s.Log != nil {
		s.Log.LogAttrs(context.Background(), slog.LevelWarn, "A contradiction was refused",
			slog.String("module", c.Module), slog.String("kind", c.Kind.String()), slog.String("key", c.Key.String()), slog.String("resource", c.Resource),
			slog.String("stands", c.Stands.String()), slog.Uint64("entry", c.Seq), slog.String("asked", c.Asked.String()))
	}
}

// named fills in which root stands, where guard refused by the page alone.
func (s *Signer) named(v commitments.View, err error) error {
	var c *ledger.Contradiction
	if !errors.As(err, &c) {
		return err
	}
	e := ledger.Entry{Kind: c.Kind}
	switch {
	case c.Kind == ledger.KindDelegation && v.Delegation != nil:
		e.Delegation, e.Nonce, e.SigningID = &v.Delegation.Message, v.Delegation.Nonce, v.Delegation.SigningID
	case c.Kind == ledger.KindConstraints && v.Constraints != nil:
		e.Constraints, e.Nonce, e.SigningID = &v.Constraints.Message, v.Constraints.Nonce, v.Constraints.SigningID
	default:
		return err
	}
	if m, msgErr := s.Message(e); msgErr == nil {
		c.Stands = m.Root()
	}
	return err
}
