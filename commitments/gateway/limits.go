package gateway

import (
	"math/bits"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/modules"
)

// limit is what the promises of a slot may cost together: of gas a share of what
// its block may have at least, of blobs no more than it may have at most. It waits
// for nothing, for it is asked for under the ledger's lock too.
func (g *Gateway) limit(slot phase0.Slot) commitments.Cost {
	limit := g.Limit
	if g.Head != nil && g.GasPercent > 0 {
		if head, ok := g.Head(); ok {
			limit.Gas = gasShare(head, slot, g.GasPercent)
		}
	}
	limit.Blobs = min(limit.Blobs, uint64(g.Spec.MaxBlobs(slot))) // #nosec G115 -- validated
	return limit
}

// gasShare is a share, in percent, of the lowest gas limit the block of a slot may
// have after head: each block may have less than its parent by a part in 1,024.
// [Yellow Paper 4.3.4]
func gasShare(head modules.Head, slot phase0.Slot, percent uint64) uint64 {
	gas := min(head.GasLimit, 1<<56) // nothing that follows overflows
	for s := head.Slot; s < slot && gas >= 1024; s++ {
		gas -= gas / 1024
	}
	return gas / 100 * percent
}

// admit says whether draft, made from a view at position seen, may join the page
// now. It is a pure function, for it runs under the ledger's lock.
func admit(now commitments.View, seen uint64, d commitments.Draft, limit commitments.Cost, count int) error {
	if now.Closed {
		return ErrTooLate.With("slot %d", now.Slot)
	}
	if overtaken(now.Page, seen, d.Touches) || slices.ContainsFunc(now.Open, func(p commitments.Page) bool { return overtaken(p, seen, d.Touches) }) {
		return errOvertaken
	}
	sum, constraints := d.Cost, len(d.Constraints)
	for i := range now.Promises {
		p := &now.Promises[i]
		sum.Gas, sum.Blobs, sum.Bytes = add(sum.Gas, p.Cost.Gas), add(sum.Blobs, p.Cost.Blobs), add(sum.Bytes, p.Cost.Bytes)
		constraints += len(p.Constraints)
	}
	switch {
	case len(now.Promises) >= count || constraints > commitments.MaxConstraints:
		return ErrFullCount.With("%d promises of %d", len(now.Promises), count)
	case sum.Gas > limit.Gas:
		return ErrFullGas.With("gas %d of %d", sum.Gas, limit.Gas)
	case sum.Blobs > limit.Blobs:
		return modules.ErrFullBlobs.With("blobs %d of %d", sum.Blobs, limit.Blobs)
	case sum.Bytes > limit.Bytes:
		return ErrFullBytes.With("bytes %d of %d", sum.Bytes, limit.Bytes)
	case d.UsedBelow > 0 && usedBy(now.Page).Gas >= d.UsedBelow:
		return errOvertaken // the price it was drafted at holds no longer
	}
	return nil
}

// overtaken says whether a promise made after seen touches one of names. The
// promises of a page are in the order they were made: what is new stands last.
func overtaken(p commitments.Page, seen uint64, names []string) bool {
	for i := len(p.Promises) - 1; i >= 0 && p.Promises[i].Seq > seen; i-- {
		if slices.ContainsFunc(p.Promises[i].Touches, func(t string) bool { return slices.Contains(names, t) }) {
			return true
		}
	}
	return false
}

// add is a + b, or the greatest number if that is more.
func add(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	return sum | -carry
}
