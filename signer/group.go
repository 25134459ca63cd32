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

// group is commitments that a delegate signs at once: what became durable in one
// step of the ledger, or one that is signed again. All of them are on disk. It fails
// for all or none, and then each may ask again: nothing of it was shown to anybody.
type group struct {
	done chan struct{} // closed when proxies and err are final

	founder uint64   // the entry that came first
	again   bool     // of one entry, whose signatures failed or were lost before
	seqs    []uint64 // ascending
	entries []ledger.Entry
	proxies []commitments.ProxySignature
	err     error
}

// groupOf is what the commitments of a group have in common.
type groupOf struct {
	delegate  phase0.BLSPubKey
	signingID phase0.Root
}

// inked has the keys of an entry sign. g is its group; nil if it has no delegate.
// Alone in it, the keys sign at the same time; else each caller has the committer
// sign while the group gathers.
func (s *Signer) inked(ctx context.Context, r ledger.Receipt, g *group) (ink ledger.Ink, err error) {
	if g != nil && g.founder == r.Seq && len(g.entries) == 1 {
		committed := beside(func() { ink.Signature, err = s.ink(ctx, r.Entry) })
		defer committed() // also if the delegate panics
		proxy, refused := s.together(ctx, r, g)
		if committed(); err != nil {
			return ink, err
		}
		ink.Proxy = proxy
		return ink, refused
	}
	if ink.Signature, err = s.ink(ctx, r.Entry); err != nil || g == nil {
		return ink, err
	}
	ink.Proxy, err = s.together(ctx, r, g)
	return ink, err
}

// beside runs f in a goroutine. wait waits for its end, and panics as it did; it
// may be called again.
func beside(f func()) (wait func()) {
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		f()
	}()
	return func() {
		<-done
		if p := panicked; p != nil {
			panicked = nil
			panic(p)
		}
	}
}

// enlist returns the group of an entry, and nil if it has no delegate. The first
// of a group to come puts it among those that wait for the delegate's turn.
func (s *Signer) enlist(r ledger.Receipt) *group {
	if r.Entry.Delegate.IsZero() {
		return nil
	}
	of := groupOf{r.Entry.Delegate, r.Entry.SigningID}
	var found any
	var known bool
	fresh := &group{done: make(chan struct{}), founder: r.Seq}
	members := []ledger.Receipt{r}
	if r.Batch != nil {
		found, known = r.Batch.Groups.LoadOrStore(of, fresh)
		members = r.Batch.Receipts
	} else {
		fresh.again = true
		found, known = s.alone.LoadOrStore(r.Seq, fresh)
	}
	if g, ok := found.(*group); known && ok {
		return g
	}
	fresh.take(of, members)
	t := s.turnsOf(of)
	t.mu.Lock()
	t.waiting = append(t.waiting, fresh)
	t.mu.Unlock()
	return fresh
}

// together returns the delegate's signature for one member of a group. Whoever
// gets the turn signs for all that wait, whatever becomes of its own caller. Nobody
// waits longer than for the signature under way, and for the next.
func (s *Signer) together(ctx context.Context, r ledger.Receipt, g *group) (commitments.ProxySignature, error) {
	of := groupOf{r.Entry.Delegate, r.Entry.SigningID}
	t := s.turnsOf(of)
	select {
	case <-g.done:
	case t.turn <- struct{}{}:
		func() {
			defer func() { <-t.turn }() // also if the holder of the key panics: others wait for the turn
			if t.anyone() {
				s.coming.settle(ctx)
				s.signWaiting(ctx, of, t)
			}
		}()
	case <-ctx.Done():
		return commitments.ProxySignature{}, ctx.Err()
	}
	return g.of(ctx, r.Seq)
}

// take notes the members that are of the group.
func (g *group) take(of groupOf, members []ledger.Receipt) {
	for i := range members {
		if e := &members[i].Entry; (groupOf{e.Delegate, e.SigningID}) == of {
			g.seqs, g.entries = append(g.seqs, members[i].Seq), append(g.entries, *e)
		}
	}
}

// signWaiting signs all that waits: as one group, under the nonce of a commitment
// that is signed for the first time. Where there is none, one by one.
func (s *Signer) signWaiting(ctx context.Context, of groupOf, t *turns) {
	t.mu.Lock()
	groups := t.waiting
	t.waiting = nil
	t.mu.Unlock()
	first := slices.IndexFunc(groups, func(g *group) bool { return !g.again })
	if first < 0 {
		for i := range groups {
			defer s.signTogether(ctx, of, groups[i:i+1]) // also if the holder of the key panics
		}
		return
	}
	groups[0], groups[first] = groups[first], groups[0]
	s.signTogether(ctx, of, groups)
}

// signTogether signs groups as one, and tells those who wait.
func (s *Signer) signTogether(ctx context.Context, of groupOf, groups []*group) {
	var entries []ledger.Entry
	for _, g := range groups {
		entries = append(entries, g.entries...)
	}
	proxies, err := []commitments.ProxySignature(nil), error(ErrBadSignature.With("the group was not signed")) // unless it is
	defer func() {
		for _, g := range groups {
			if g.err = err; err == nil {
				g.proxies, proxies = proxies[:len(g.entries)], proxies[len(g.entries):]
			}
			close(g.done)
			s.alone.CompareAndDelete(g.founder, g)
		}
	}()
	nonce := entries[0].Nonce
	if groups[0].again {
		nonce += nonceAgain
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), groupTimeout)
	defer cancel()
	proxies, err = s.signGroup(ctx, of, entries, nonce)
}

// nonceAgain sets the nonces of what is signed again apart from those of groups: a
// delegate signs one root for one nonce, ever. A commitment is in one group only, and
// alone it has one root. No ledger has that many entries, and every reader of JSON
// has numbers that large.
const nonceAgain = 1 << 52

// signGroup has the delegate sign the root of a group, as a module's object.
func (s *Signer) signGroup(ctx context.Context, of groupOf, entries []ledger.Entry, nonce uint64) ([]commitments.ProxySignature, error) {
	leaves := make([]phase0.Root, len(entries))
	for i := range entries {
		leaves[i] = entries[i].Draft.Commitment.Root()
	}
	root, branches := commitments.Group(leaves)
	m, err := s.groupMessage(root, of.signingID, nonce)
	if err != nil {
		return nil, err
	}
	sig, err := s.delegated(ctx, of.delegate, m)
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

// of returns the signature with the branch of one member.
func (g *group) of(ctx context.Context, seq uint64) (commitments.ProxySignature, error) {
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
	return s.together(ctx, r, s.enlist(r))
}
