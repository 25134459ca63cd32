package beacon

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Duty is one slot of one proposer.
type Duty struct {
	Slot   phase0.Slot
	Pubkey phase0.BLSPubKey
	Index  phase0.ValidatorIndex
}

// Duties is who proposes in an epoch, as long as DependentRoot stays canonical.
type Duties struct {
	Epoch         phase0.Epoch
	DependentRoot phase0.Root
	Proposers     []Duty // ascending by slot, at most one per slot
}

// ProposerDuties asks who proposes in an epoch: the current one or the next. An
// answer with a foreign slot, two proposers of one slot or a missing field is
// refused whole. Faults: ErrUnavailable, ErrBadAnswer. [Beacon API: getProposerDuties]
func (c *Client) ProposerDuties(ctx context.Context, epoch phase0.Epoch) (Duties, error) {
	var v struct {
		DependentRoot *phase0.Root `json:"dependent_root"`
		Data          []struct {
			Pubkey *phase0.BLSPubKey      `json:"pubkey"`
			Index  *phase0.ValidatorIndex `json:"validator_index"`
			Slot   *phase0.Slot           `json:"slot"`
		} `json:"data"`
	}
	path := "/eth/v1/validator/duties/proposer/" + strconv.FormatUint(uint64(epoch), 10)
	if _, err := c.get(ctx, "duties", path, limitSmall, &v); err != nil {
		return Duties{}, named(err, "duties")
	}
	if v.DependentRoot == nil || v.Data == nil {
		return Duties{}, ErrBadAnswer.With("duties without their fields")
	}
	if uint64(len(v.Data)) > c.spec.SlotsPerEpoch {
		return Duties{}, ErrBadAnswer.With("%d duties in an epoch of %d slots", len(v.Data), c.spec.SlotsPerEpoch)
	}
	d := Duties{epoch, *v.DependentRoot, make([]Duty, 0, len(v.Data))}
	for _, e := range v.Data {
		if e.Pubkey == nil || e.Index == nil || e.Slot == nil {
			return Duties{}, ErrBadAnswer.With("a duty without its fields")
		}
		if c.spec.Epoch(*e.Slot) != epoch {
			return Duties{}, ErrBadAnswer.With("slot %d is not in epoch %d", *e.Slot, epoch)
		}
		d.Proposers = append(d.Proposers, Duty{*e.Slot, *e.Pubkey, *e.Index})
	}
	slices.SortFunc(d.Proposers, func(a, b Duty) int { return cmp.Compare(a.Slot, b.Slot) })
	for i := 1; i < len(d.Proposers); i++ {
		if d.Proposers[i].Slot == d.Proposers[i-1].Slot {
			return Duties{}, ErrBadAnswer.With("two proposers of slot %d", d.Proposers[i].Slot)
		}
	}
	return d, nil
}

// of returns the duty of a slot.
func (d Duties) of(slot phase0.Slot) (Duty, bool) {
	i, ok := slices.BinarySearchFunc(d.Proposers, slot, func(d Duty, s phase0.Slot) int { return cmp.Compare(d.Slot, s) })
	if !ok {
		return Duty{}, false
	}
	return d.Proposers[i], true
}
