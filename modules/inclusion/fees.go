package inclusion

import (
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/modules"
)

// customChain is the name of a chain whose blob schedule nobody gave.
const customChain = "custom"

// gasPerBlob is GAS_PER_BLOB. [EIP-4844]
const gasPerBlob = 1 << 17

// worstBaseFee is the highest base fee after a number of blocks: of full blocks on
// one of gasLimit, which fall as fast as they may, for an odd limit lets the fee
// rise by a little more than an eighth; rounded up, and a wei for the least step.
// It stops above enough. [EIP-1559]
func worstBaseFee(base *big.Int, gasLimit, blocks uint64, enough *big.Int) *big.Int {
	b, step, by := new(big.Int).Set(base), new(big.Int), new(big.Int)
	for ; blocks > 0 && b.Cmp(enough) <= 0; blocks-- {
		target := max(gasLimit/2, 1)
		step.Mul(b, by.SetUint64(target+1))
		step.Quo(step, by.SetUint64(target)).Rsh(step, 3)
		b.Add(b, step).Add(b, one)
		gasLimit = leastGasLimit(gasLimit, 1)
	}
	return b
}

var one = big.NewInt(1)

// leastGasLimit is the lowest gas limit after a number of blocks. [Yellow Paper 4.3.4]
func leastGasLimit(gasLimit, blocks uint64) uint64 {
	for ; blocks > 0 && gasLimit >= 1024; blocks-- {
		gasLimit -= gasLimit / 1024
	}
	return gasLimit
}

// blobParams are the blob parameters of a slot: the node's if it tells them, else
// the network's. The beacon chain's constants are those of a chain with a name.
func (m *Module) blobParams(head modules.Head, slot phase0.Slot) (p chain.BlobParams, err error) {
	switch {
	case head.NextBlobs.Known() && slot >= head.NextBlobsSlot:
		p = head.NextBlobs
	case head.Blobs.Known():
		p = head.Blobs
	case m.spec.Name != customChain:
		p = m.spec.BlobParams(slot)
	}
	if !p.Known() {
		return p, ErrBlobSchedule.With("slot %d", slot)
	}
	return p, nil
}

// worstBlobFee is the highest blob base fee of a slot, in wei per blob gas: every
// slot from the head on has a block full of blobs, at the parameters of its own
// time. It may be cut off above enough. Fault: ErrBlobSchedule. [EIP-4844, EIP-7918]
func (m *Module) worstBlobFee(head modules.Head, slot phase0.Slot, enough *big.Int) (*big.Int, error) {
	excess := new(big.Int).SetUint64(head.ExcessBlobGas)
	last, err := m.blobParams(head, head.Slot)
	if err != nil {
		return nil, err
	}
	for s := head.Slot + 1; s <= slot; s++ {
		p, err := m.blobParams(head, s)
		if err != nil {
			return nil, err
		}
		excess.Add(excess, new(big.Int).SetUint64(excessGrowth(last, p)))
		last = p
	}
	return fakeExponential(excess, last.Fraction, enough), nil
}

// excessGrowth is the most that excess_blob_gas rises from a block of parent's
// parameters to one of child's. Under the reserve price of EIP-7918 the rule is
// another, and the two differ only where the parameters do.
func excessGrowth(parent, child chain.BlobParams) uint64 {
	used := uint64(parent.Max) * gasPerBlob                              // #nosec G115 -- Known
	target := uint64(child.Target) * gasPerBlob                          // #nosec G115 -- Known
	reserve := used * uint64(child.Max-child.Target) / uint64(child.Max) // #nosec G115 -- Known
	if used > reserve+target {
		return used - target
	}
	return reserve
}

// fakeExponential is e^(excess/fraction) as EIP-4844 rounds it. What is beyond
// enough is beyond it, and no more is said of it.
func fakeExponential(excess *big.Int, fraction uint64, enough *big.Int) *big.Int {
	by := new(big.Int).SetUint64(fraction)
	sum, term := new(big.Int), new(big.Int).Set(by)
	most := new(big.Int).Add(enough, one)
	most.Mul(most, by)
	for i := int64(1); term.Sign() > 0 && sum.Cmp(most) < 0; i++ {
		sum.Add(sum, term)
		term.Mul(term, excess).Quo(term, by).Quo(term, big.NewInt(i))
	}
	return sum.Quo(sum, by)
}
