package gateway

import (
	"context"
	"fmt"
	"slices"

	"sidecar/commitments"
	"sidecar/fault"
)

// Capabilities say what is promised now, for which slots, and what is left.
// Faults: the schedule's.
func (g *Gateway) Capabilities(ctx context.Context) (commitments.Capabilities, error) {
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	offered, err := g.Slots(ctx)
	if err != nil {
		return commitments.Capabilities{}, err
	}
	out := commitments.Capabilities{
		ChainID: g.Spec.ChainID, NowMS: g.Clock.Now().UnixMilli(), SlotMS: g.Spec.SlotDuration.Milliseconds(),
		MaxBatch: maxBatch, MaxBody: g.maxBody(), MissedSlot: "excused", SigningID: g.SigningID.String(), MaxSubscribers: perSubscriber,
		Modules: []commitments.ModuleCapability{}, Slots: []commitments.SlotCapability{},
		Withheld: g.withheld(ctx), Domain: fmt.Sprintf("%#x", g.domain[:]), Slashers: []string{},
		Collateral: commitments.Collateral{State: commitments.CollateralUnknown},
	}
	if g.Collateral != nil {
		out.Collateral = g.Collateral()
	}
	for _, a := range g.Slashers {
		out.Slashers = append(out.Slashers, fmt.Sprintf("%#x", a[:]))
	}
	for _, m := range g.Modules() {
		info := m.Info()
		out.Modules = append(out.Modules, commitments.ModuleCapability{
			ID: info.ID, SigningID: info.SigningID.String(), CommitmentTypes: filled(info.CommitmentTypes),
			ConstraintTypes: filled(info.ConstraintTypes), Excuses: filled(info.Excuses),
		})
	}
	for _, s := range offered.Slots {
		id, ours := g.page(s.Slot)
		if !ours || len(s.Offerings) == 0 { // the schedule changed meanwhile
			continue
		}
		out.Slots = append(out.Slots, g.capability(id, s.Offerings[0].CommitmentTypes))
	}
	out.Privacy = privacy(out.Slots)
	return out, nil
}

// capability is what is left of one slot.
func (g *Gateway) capability(id commitments.PageID, types []uint64) commitments.SlotCapability {
	page := g.Views.Page(id)
	who, path, limit := g.party(id), g.pathNow(id), g.limit(id.Slot)
	c := commitments.SlotCapability{
		Slot: uint64(id.Slot), Proposer: id.Proposer.String(), Delegate: who.Delegate.String(), Committer: fmt.Sprintf("%#x", who.Committer[:]),
		CommitmentTypes: types, StartsAtMS: g.Clock.Start(id.Slot).UnixMilli(), ClosesAtMS: g.Clock.Start(id.Slot).Add(-g.lead(id)).UnixMilli(),
		GasLeft: limit.Gas, BlobsLeft: limit.Blobs, BytesLeft: limit.Bytes, CountLeft: g.MaxCount, Path: string(path.Strength),
		Receivers: []string{},
	}
	for _, key := range g.receivers(id.Proposer) {
		c.Receivers = append(c.Receivers, key.String())
	}
	for i := range page.Promises {
		p := &page.Promises[i]
		c.GasLeft, c.BlobsLeft, c.BytesLeft = less(c.GasLeft, p.Cost.Gas), less(c.BlobsLeft, p.Cost.Blobs), less(c.BytesLeft, p.Cost.Bytes)
		c.CountLeft = max(c.CountLeft-1, 0)
	}
	return c
}

// privacy is what holds for all slots.
func privacy(slots []commitments.SlotCapability) string {
	if len(slots) == 0 || slices.ContainsFunc(slots, func(s commitments.SlotCapability) bool { return len(s.Receivers) == 0 }) {
		return "public"
	}
	return "receivers"
}

// withheld are our open slots for which nothing is promised, and why not.
func (g *Gateway) withheld(ctx context.Context) []commitments.WithheldSlot {
	list := []commitments.WithheldSlot{}
	if g.draining.Load() {
		return list
	}
	for _, id := range g.upcoming() {
		if g.closed(id) || g.Views.Page(id).Closed {
			continue
		}
		if err := g.offered(ctx, id); err != nil {
			list = append(list, commitments.WithheldSlot{Slot: uint64(id.Slot), Reason: fault.Code(err), Detail: err.Error()})
		}
	}
	return list
}

// pathNow is the path of a page as far as is known, for any type of promise.
func (g *Gateway) pathNow(id commitments.PageID) (best Path) {
	for _, m := range g.Modules() {
		if p := g.judge(g.TargetsFor(id.Proposer), id, m.Info().ConstraintTypes); len(p.Targets) > len(best.Targets) {
			best = p
		}
	}
	return best
}

// less is a - b, or zero.
func less(a, b uint64) uint64 { return a - min(a, b) }

// filled is a list that JSON writes as [] if it is empty.
func filled[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
