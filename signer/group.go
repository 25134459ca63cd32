package signer

import (
	"context"
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// groupTimeout bounds the one key operation of a group, which no caller's own
// deadline may end: others wait for it.
const groupTimeout = 2 * time.Second

// group is one signature of a delegate over commitments that are all on disk:
// those that became durable in one step, or one that is signed again. Who leads
// makes it; everyone else waits for it, with a deadline of his own. It fails for
// all or none, and then each may ask again: nothing of it was shown to anybody.
type group struct {
	done chan struct{} // closed when the rest is final

	seqs    []uint64 // ascending
	proxies []commitments.ProxySignature
	err     error
}

// groupOf is what the commitments of a group have in common.
type groupOf struct {
	delegate  phase0.BLSPubKey
	signingID phase0.Root
}

// inked has the keys of an entry sign. The delegate's signature needs none of the
// committer's, so both are made at the same time by different callers.
func (s *Signer) inked(ctx context.Context, r ledger.Receipt) (ink ledger.Ink, err error) {
	if r.Entry.Delegate.IsZero() {
		ink.Signature, err = s.ink(ctx, r.Entry)
		return ink, err
	}
	g := s.join(ctx, r)
	if ink.Signature, err = s.ink(ctx, r.Entry); err != nil {
		return ink, err
	}
	ink.Proxy, err = g.wait(ctx, r.Seq)
	return ink, err
}

// join returns the group of an entry. The first to come leads: it makes the
// signature before it returns.
func (s *Signer) join(ctx context.Context, r ledger.Receipt) *group {
	of := groupOf{r.Entry.Delegate, r.Entry.SigningID}
	var found any
	var known bool
	fresh := &group{done: make(chan struct{})}
	members := []ledger.Receipt{r}
	if r.Batch != nil {
		found, known = r.Batch.Groups.LoadOrStore(of, fresh)
		members = r.Batch.Receipts
	} else if found, known = s.alone.LoadOrStore(r.Seq, fresh); !known {
		defer s.alone.Delete(r.Seq)
	}
	if g, ok := found.(*group); known && ok {
		return g
	}
	fresh.err = ErrBadSignature.With("the group was not signed") // unless it is
	defer close(fresh.done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), groupTimeout)
	defer cancel()
	fresh.proxies, fresh.err = s.signGroup(ctx, of, fresh.take(of, members))
	return fresh
}

// take notes the members that are of the group and returns their commitments.
func (g *group) take(of groupOf, members []ledger.Receipt) (entries []ledger.Entry) {
	for i := range members {
		if e := &members[i].Entry; (groupOf{e.Delegate, e.SigningID}) == of {
			g.seqs, entries = append(g.seqs, members[i].Seq), append(entries, *e)
		}
	}
	return entries
}

// signGroup has the delegate sign the root of a group: as a module's object, under
// the nonce of its first commitment.
func (s *Signer) signGroup(ctx context.Context, of groupOf, entries []ledger.Entry) ([]commitments.ProxySignature, error) {
	leaves := make([]phase0.Root, len(entries))
	for i := range entries {
		leaves[i] = entries[i].Draft.Commitment.Root()
	}
	root, branches := commitments.Group(leaves)
	nonce := entries[0].Nonce
	m, err := s.groupMessage(root, of.signingID, nonce)
	if err != nil {
		return nil, err
	}
	sig, err := s.sealed(ctx, commitments.BLSKey(of.delegate), m)
	if err != nil {
		return nil, err
	}
	s.Metrics.grouped(len(entries))
	proxies := make([]commitments.ProxySignature, len(entries))
	for i := range proxies {
		proxies[i] = commitments.ProxySignature{Signature: phase0.BLSSignature(sig), Nonce: nonce, Branch: branches[i]}
	}
	return proxies, nil
}

// groupMessage is what a delegate signs for the root of a group.
func (s *Signer) groupMessage(root, signingID phase0.Root, nonce uint64) (commitments.Message, error) {
	return s.Message(ledger.Entry{Kind: ledger.KindRequest, SigningID: signingID, Nonce: nonce, Request: &commitments.ModuleRequest{ObjectRoot: root}})
}

// wait returns the signature with the branch of one member.
func (g *group) wait(ctx context.Context, seq uint64) (commitments.ProxySignature, error) {
	select {
	case <-g.done:
	case <-ctx.Done():
		return commitments.ProxySignature{}, ctx.Err()
	}
	if g.err != nil {
		return commitments.ProxySignature{}, g.err
	}
	i, found := slices.BinarySearch(g.seqs, seq)
	if !found {
		return commitments.ProxySignature{}, ErrIncoherent.With("entry %d is in no group", seq)
	}
	return g.proxies[i], nil
}

// completed is the proxy of a commitment whose ink is another ledger's: as it was
// imported, if it verifies, or made again for this commitment alone. It is not
// kept: the same is made each time.
func (s *Signer) completed(ctx context.Context, r ledger.Receipt) (commitments.ProxySignature, error) {
	e, p := &r.Entry, r.Proxy
	if !p.IsZero() {
		m, err := s.groupMessage(commitments.GroupRoot(e.Draft.Commitment.Root(), p.Branch), e.SigningID, p.Nonce)
		if err != nil {
			return p, err
		}
		if ok, err := s.verify(commitments.BLSKey(e.Delegate), m.Root(), p.Signature[:]); ok || err != nil {
			return p, err
		}
	}
	return s.join(ctx, r).wait(ctx, r.Seq)
}
