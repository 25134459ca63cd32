package inclusion

import (
	"cmp"
	"context"
	"math/big"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/modules"
)

var _ modules.Reviewer = (*Module)(nil)

// pending is an open promise and its request.
type pending struct {
	promised
	request phase0.Hash32
}

// Review implements modules.Reviewer: it holds the promises of slots after the head
// to what they were admitted under, at the accounts and fees of the head. What a
// reorganisation, a sender or a contract has changed shows; what is new since, a
// higher price above all, does not matter to a promise. Faults: the state's.
func (m *Module) Review(ctx context.Context, pages []commitments.Page) (risks []modules.Risk, err error) {
	// 1. Who has open promises, and which.
	open, err := m.pending(pages)
	if err != nil {
		return nil, err
	}
	senders := make([]bellatrix.ExecutionAddress, 0, len(open))
	for s := range open {
		senders = append(senders, s)
	}
	// 2. Their accounts, all at one head.
	accounts, head, err := m.state.Accounts(ctx, senders)
	if err != nil {
		return nil, err
	}
	// 3. Each sender's promises, in the order they are to be included.
	for i, s := range senders {
		risks = append(risks, m.risks(head, accounts[i], open[s])...)
	}
	return risks, nil
}

// pending are the promises on pages by sender.
func (m *Module) pending(pages []commitments.Page) (map[bellatrix.ExecutionAddress][]pending, error) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	open := map[bellatrix.ExecutionAddress][]pending{}
	for i := range pages {
		p := &pages[i]
		l, err := m.leaf(p)
		if err != nil {
			return nil, err
		}
		for sender, list := range l.senders {
			for _, q := range list {
				if q.at < len(p.Promises) { // the page may be older than what was read
					open[sender] = append(open[sender], pending{q, p.Promises[q.at].Commitment.RequestHash})
				}
			}
		}
	}
	return open, nil
}

// risks are those of one sender.
func (m *Module) risks(head modules.Head, account modules.Account, open []pending) (risks []modules.Risk) {
	slices.SortFunc(open, func(a, b pending) int { return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.at, b.at)) })
	due, balance := new(big.Int), account.Balance.ToBig()
	for _, p := range open {
		if p.slot <= head.Slot { // decided
			continue
		}
		if p.nonce >= account.Nonce {
			due.Add(due, p.cost)
		}
		why := m.stands(head, p.promised)
		switch {
		case p.nonce < account.Nonce:
			why = ErrNonceTooLow
		case account.HasCode && !(account.Delegated && m.policy.delegated):
			why = ErrSenderHasCode
		case gap(account.Nonce, p, open):
			why = ErrNonceGap
		case due.Cmp(balance) > 0:
			why = ErrBalance
		}
		if why != nil {
			risks = append(risks, modules.Risk{RequestHash: p.request, Reason: fault.Code(why)})
		}
	}
	return risks
}

// gap says whether a nonce between the account's and p's is not promised for p's
// slot: a reorganisation has taken back a transaction that p follows on.
func gap(next uint64, p pending, open []pending) bool {
	for n := next; n < p.nonce; n++ {
		if !slices.ContainsFunc(open, func(q pending) bool { return q.slot == p.slot && q.nonce == n }) {
			return true
		}
	}
	return false
}

// stands holds a promise to what its block may have, and to its fees. What cannot be
// told, as the parameters of blobs, is no risk. Faults: ErrGasAboveCap,
// ErrWorstBaseFee, ErrBlobCount, ErrBlobFee.
func (m *Module) stands(head modules.Head, p promised) *fault.Fault {
	blocks := uint64(p.slot - head.Slot)
	if p.slot <= head.Slot {
		return nil
	}
	if p.gas > leastGasLimit(head.GasLimit, blocks) {
		return ErrGasAboveCap
	}
	if worstBaseFee(head.BaseFee.ToBig(), head.GasLimit, blocks, p.cap).Cmp(p.cap) > 0 {
		return ErrWorstBaseFee
	}
	switch f := fault.Of(m.blobFees(p.tx, p.slot, head)); f {
	case ErrBlobCount, ErrBlobFee:
		return f
	}
	return nil
}
