package signer

import (
	"context"
	"slices"
	"sync"
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

// turns has a delegate sign one thing at a time. Groups that come meanwhile wait
// and are signed together, so that the signatures grow and not their number.
type turns struct {
	turn chan struct{} // cap 1

	mu      sync.Mutex
	waiting []*group
}

// inked has the keys of an entry sign, both at the same time.
func (s *Signer) inked(ctx context.Context, r ledger.Receipt) (ink ledger.Ink, err error) {
	if r.Entry.Delegate.IsZero() {
		ink.Signature, err = s.ink(ctx, r.Entry)
		return ink, err
	}
	g, leave := s.join(r)
	if leave == nil {
		ink.Signature, err = s.ink(ctx, r.Entry)
	} else {
		committed := beside(func() { ink.Signature, err = s.ink(ctx, r.Entry) })
		defer committed() // also if the delegate panics
		s.lead(ctx, r, g, leave)
		committed()
	}
	if err != nil {
		return ink, err
	}
	ink.Proxy, err = g.wait(ctx, r.Seq)
	return ink, err
}

// beside runs f in a goroutine; wait waits for it, and panics as it did. It may
// be called again.
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

// join returns the group of an entry. For the first to come there is also leave,
// which the call of lead needs: it sees to it that the group is signed.
func (s *Signer) join(r ledger.Receipt) (g *group, leave func()) {
	of := groupOf{r.Entry.Delegate, r.Entry.SigningID}
	var found any
	var known bool
	fresh := &group{done: make(chan struct{})}
	members := []ledger.Receipt{r}
	leave = func() {}
	if r.Batch != nil {
		found, known = r.Batch.Groups.LoadOrStore(of, fresh)
		members = r.Batch.Receipts
	} else {
		fresh.again = true
		found, known = s.alone.LoadOrStore(r.Seq, fresh)
		leave = func() { s.alone.Delete(r.Seq) }
	}
	if g, ok := found.(*group); known && ok {
		return g, nil
	}
	fresh.take(of, members)
	return fresh, leave
}

// lead has a group signed before it returns, whatever becomes of its own caller:
// others wait for it. Nobody waits longer than for the signature under way, and
// for the next.
func (s *Signer) lead(ctx context.Context, r ledger.Receipt, g *group, leave func()) {
	defer leave()
	of := groupOf{r.Entry.Delegate, r.Entry.SigningID}
	t := s.turnsOf(of)
	t.mu.Lock()
	t.waiting = append(t.waiting, g)
	t.mu.Unlock()
	select {
	case <-g.done:
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }() // also if the holder of the key panics: others wait for the turn
		s.signWaiting(ctx, of, t)
	}
}

func (s *Signer) turnsOf(of groupOf) *turns {
	found, _ := s.turns.LoadOrStore(of, &turns{turn: make(chan struct{}, 1)})
	t, _ := found.(*turns) // nothing else is stored
	return t
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
	g, leave := s.join(r)
	if leave != nil {
		s.lead(ctx, r, g, leave)
	}
	return g.wait(ctx, r.Seq)
}
