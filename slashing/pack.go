package slashing

import (
	"context"
	"errors"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/commitments"
	"sidecar/slashing/evidence"
)

// absentFile is evidence that a promise was broken; false while its block has no
// child, or without what the contracts want: a provable promise signed by the
// delegate, the delegation, and a beacon node that serves headers.
func absentFile(rules evidence.Rules, s commitments.SignedCommitment, d *commitments.SignedDelegation, sender common.Address, c *Capture) (evidence.File, bool) {
	promise, err := evidence.PromiseOf(s)
	if err != nil || d == nil || c == nil || c.ChildNumber == 0 || c.Beacon == nil {
		return evidence.File{}, false
	}
	account, ok := c.account(sender)
	if !ok || account.Gone {
		return evidence.File{}, false
	}
	return evidence.File{
		Format: evidence.Format, Kind: evidence.Absent, Rules: rules, Slasher: common.Address(s.Commitment.Slasher),
		Delegation: *d, Promises: []evidence.Promise{promise},
		Absence: &evidence.Absence{
			ChildNumber: c.ChildNumber, Headers: c.Headers, AccountProofs: account.Proofs,
			BeaconHeader: evidence.BeaconHeader{
				ParentRoot: common.Hash(c.Beacon.ParentRoot), StateRoot: common.Hash(c.Beacon.StateRoot), BodyRoot: common.Hash(c.Beacon.BodyRoot),
			},
		},
	}, true
}

// doubleFile is evidence of two promises that contradict each other; false if
// either is no proof. The promise of the lower transaction hash comes first, so
// that one fault has one file.
func doubleFile(rules evidence.Rules, one, other commitments.SignedCommitment, d *commitments.SignedDelegation) (evidence.File, bool) {
	if d == nil {
		return evidence.File{}, false
	}
	f := evidence.File{
		Format: evidence.Format, Kind: evidence.Double, Rules: rules, Slasher: common.Address(one.Commitment.Slasher), Delegation: *d,
	}
	for _, s := range []commitments.SignedCommitment{one, other} {
		p, err := evidence.PromiseOf(s)
		if err != nil {
			return evidence.File{}, false
		}
		f.Promises = append(f.Promises, p)
	}
	if made := f.Derive(); made != nil && made.TxHashes[0].Cmp(made.TxHashes[1]) > 0 {
		f.Promises[0], f.Promises[1] = f.Promises[1], f.Promises[0]
	}
	return f, true
}

// prove judges a file as the contract would, by the rules it has, and keeps it
// if it proves guilt. The error is an Excuse, or a fault.
func (s *Store) prove(f evidence.File) (Kept, error) {
	guilty, err := evidence.Judge(f, f.Rules, f.Slasher, f.ChildHash())
	if err != nil {
		return Kept{}, err
	}
	return s.keep(f, guilty)
}

// pack keeps evidence of our own broken promise. packed is false while more may
// come: the block has no child yet. A promise that no contract judges is packed
// by nothing.
func (a *Auditor) pack(ctx context.Context, p *commitments.Page, promise *commitments.Promise, in promisedTx, c *Capture) (digest []byte, packed bool, err error) {
	if !in.provable || p.Delegation == nil {
		return nil, true, nil
	}
	rules, _, err := a.rules.of(ctx, common.Address(promise.Commitment.Slasher), common.Hash(promise.SigningID))
	if err != nil {
		return nil, false, err
	}
	f, ok := absentFile(rules, promise.SignedCommitment, p.Delegation, in.Sender, c)
	if !ok {
		return nil, c == nil || c.ChildNumber > 0, nil
	}
	kept, err := a.Store.prove(f)
	var excuse evidence.Excuse
	switch {
	case errors.As(err, &excuse):
		a.Log.Warn("A broken promise cannot be proven to its contract", "slot", uint64(p.Slot), "reason", string(excuse), "request_hash", promise.Commitment.RequestHash.String())
		return nil, true, nil
	case err != nil:
		return nil, false, err
	}
	a.noted(f, kept)
	return kept.Digest[:], true, nil
}

// doubles keeps evidence of promises on a page that contradict each other. Our
// own ledger refuses the second; a twin with the same key may have signed it.
func (a *Auditor) doubles(ctx context.Context, p *commitments.Page) error {
	for i := range p.Promises {
		one, ok := readInclusion(&p.Promises[i].Commitment, a.Spec.ChainID)
		if !ok || !one.provable || one.excuse != nil {
			continue
		}
		for j := range i {
			other, ok := readInclusion(&p.Promises[j].Commitment, a.Spec.ChainID)
			if !ok || !other.provable || other.excuse != nil || one.Sender != other.Sender || one.Nonce != other.Nonce || one.TxHash == other.TxHash {
				continue
			}
			if err := a.packDouble(ctx, p, i, j); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *Auditor) packDouble(ctx context.Context, p *commitments.Page, i, j int) error {
	one, other := p.Promises[i].SignedCommitment, p.Promises[j].SignedCommitment
	rules, _, err := a.rules.of(ctx, common.Address(one.Commitment.Slasher), common.Hash(one.SigningID))
	if err != nil {
		return err
	}
	f, ok := doubleFile(rules, one, other, p.Delegation)
	if !ok {
		return nil
	}
	kept, err := a.Store.prove(f)
	var excuse evidence.Excuse
	switch {
	case errors.As(err, &excuse): // they name two contracts, or are not signed by this delegate
		return nil
	case err != nil:
		return err
	}
	a.noted(f, kept)
	return nil
}

// noted says once that there is evidence against us.
func (a *Auditor) noted(f evidence.File, k Kept) {
	if !k.Fresh {
		return
	}
	a.Metrics.packed(f.Kind)
	d := f.Derive()
	a.Log.Error("Evidence against this sidecar is kept", "slot", uint64(k.Fault.Slot), "fault", k.Fault.ID.Hex(), "file", k.Path,
		"deadline_block", d.DeadlineBlock, "deadline_slot", d.DeadlineSlot)
}
