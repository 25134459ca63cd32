package keystore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
)

// MaxProxies is how many proxy keys one module may have for one validator: each
// costs a second of key derivation at every start.
const MaxProxies = 64

// ProxiesConfig says what a registry is made of.
type ProxiesConfig struct {
	Store Store
	Spec  chain.Spec // delegations are for one network
	Clock *chain.Clock

	// Consensus are the keys of validators that are held. Proxies of others are
	// left out, and reported.
	Consensus []phase0.BLSPubKey

	// Vouch has the validator's key sign a delegation, down the signer's road:
	// on the ledger first. Optional: without it no proxy can be made.
	Vouch func(ctx context.Context, d commitments.ProxyDelegation, module string) (phase0.BLSSignature, error)

	// Revoked says what the ledger knows to be revoked, when the store is opened and at
	// every use: another sidecar may have revoked it. Optional.
	Revoked func(commitments.Key) bool
}

// Proxies holds the proxy keys of all modules, in memory and in a store. It signs
// with them, as a Holder. Its methods may be called from any goroutine.
type Proxies struct {
	config  ProxiesConfig
	secrets *Local
	remarks []Remark
	stored  int
	turn    chan struct{} // holds one: keys are made one after the other

	mu      sync.RWMutex
	known   map[commitments.Key]Proxy
	revoked map[commitments.Key]bool
}

// OpenProxies reads a store. A key that does not open, or whose delegation or
// proof is not valid, is an error that names it; all of them are named at once.
// What is left out without an error is in Remarks.
// Faults: ErrInvalid, ErrKDFBounds, ErrPassword, ErrMismatch, ErrDelegation,
// ErrPossession, ErrTwice.
func OpenProxies(c ProxiesConfig) (*Proxies, error) {
	if c.Store == nil || c.Clock == nil {
		return nil, errors.New("proxies: Store and Clock are required")
	}
	p := &Proxies{
		config: c, secrets: NewLocal(), turn: make(chan struct{}, 1),
		known: map[commitments.Key]Proxy{}, revoked: map[commitments.Key]bool{},
	}
	found, remarks, err := c.Store.load()
	p.remarks, p.stored = remarks, len(found)
	errs := []error{err}
	for _, s := range found {
		errs = append(errs, p.take(s))
	}
	if err := errors.Join(errs...); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// take verifies a proxy out of the store and adds it, unless there is a reason
// not to. The secret is moved or wiped.
func (p *Proxies) take(s stored) error {
	defer s.secret.Wipe()
	if err := s.verify(p.config.Spec); err != nil {
		return err
	}
	leaveOut := func(text string) error {
		p.remarks = append(p.remarks, Remark{s.at, text})
		return nil
	}
	switch has, twice := p.known[s.Key]; {
	case p.config.Revoked != nil && p.config.Revoked(s.Key):
		p.revoked[s.Key] = true
		// The marker did not reach the disk when it was revoked: now.
		if err := p.config.Store.revoke(s.Proxy); err != nil {
			return leaveOut(fmt.Sprintf("is revoked in the ledger, and cannot be marked here: %v", err))
		}
		return leaveOut("is revoked in the ledger, and marked here now")
	case !slices.Contains(p.config.Consensus, s.Consensus):
		return leaveOut(fmt.Sprintf("acts for validator %s, whose key is not held", s.Consensus))
	case twice:
		return ErrTwice.With("%s and %s", has.at, s.at)
	case s.Expired(p.config.Clock.Now()):
		p.remarks = append(p.remarks, Remark{s.at, "has expired"})
	}
	p.secrets.add(s.secret)
	p.known[s.Key] = s.Proxy
	return nil
}

// Remarks are what an operator should know about the store as it was opened.
func (p *Proxies) Remarks() []Remark { return p.remarks }

// Stored is how many proxies the store held when it was opened, those that were
// left out included.
func (p *Proxies) Stored() int { return p.stored }

// Of returns the usable proxies of a module, in a constant order.
func (p *Proxies) Of(module string) []Proxy {
	now := p.config.Clock.Now()
	return p.list(func(has Proxy) bool { return has.Module == module && !has.Expired(now) })
}

// All returns every proxy that is not revoked, in a constant order.
func (p *Proxies) All() []Proxy { return p.list(func(Proxy) bool { return true }) }

func (p *Proxies) list(which func(Proxy) bool) (out []Proxy) {
	p.mu.RLock()
	for _, has := range p.known {
		if !p.revoked[has.Key] && which(has) && (p.config.Revoked == nil || !p.config.Revoked(has.Key)) {
			out = append(out, has)
		}
	}
	p.mu.RUnlock()
	slices.SortFunc(out, func(a, b Proxy) int {
		return cmp.Or(compareKeys(commitments.BLSKey(a.Consensus), commitments.BLSKey(b.Consensus)), compareKeys(a.Key, b.Key))
	})
	return out
}

// Find returns a proxy that may sign now. Faults: ErrNotHeld, ErrExpired, ErrRevoked.
func (p *Proxies) Find(key commitments.Key) (Proxy, error) {
	p.mu.RLock()
	has, ok := p.known[key]
	revoked := p.revoked[key]
	p.mu.RUnlock()
	switch {
	case revoked, ok && p.config.Revoked != nil && p.config.Revoked(key):
		return Proxy{}, ErrRevoked.With("%s", key)
	case !ok:
		return Proxy{}, ErrNotHeld.With("%s", key)
	case has.Expired(p.config.Clock.Now()):
		return Proxy{}, ErrExpired.With("%s", key)
	}
	return has, nil
}

// Lookup is Find for those who do not ask why.
func (p *Proxies) Lookup(key commitments.Key) (Proxy, bool) {
	has, err := p.Find(key)
	return has, err == nil
}

// Keys are the keys that may sign now.
func (p *Proxies) Keys() []commitments.Key {
	now := p.config.Clock.Now()
	var keys []commitments.Key
	for _, has := range p.All() {
		if !has.Expired(now) {
			keys = append(keys, has.Key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// Sign signs with a proxy key. Faults: those of Find.
func (p *Proxies) Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	if _, err := p.Find(key); err != nil {
		return nil, err
	}
	return p.secrets.Sign(ctx, key, m)
}

// SignTwice signs with both copies of a BLS proxy key. Faults: those of Find;
// ErrNotHeld of an ECDSA key.
func (p *Proxies) SignTwice(ctx context.Context, key commitments.Key, m commitments.Message) ([2][]byte, error) {
	if _, err := p.Find(key); err != nil {
		return [2][]byte{}, err
	}
	return p.secrets.SignTwice(ctx, key, m)
}

// Generate makes a random proxy key for a module and a validator. expires is
// when it stops signing, cut to the second; zero is never. The order of the
// durable steps is the point: the secret; entry and signature of the validator's
// key, by Vouch; the delegation; and last the file that makes it a proxy. A
// crash between leaves strays, but no proxy without delegation, and none that a
// caller knows of and the store does not.
// Faults: ErrModuleName, ErrScheme, ErrLifetime, ErrNotHeld, ErrTooMany,
// ErrDelegation, Vouch's.
func (p *Proxies) Generate(ctx context.Context, module string, consensus phase0.BLSPubKey, scheme Scheme, expires time.Time) (Proxy, error) {
	if !expires.IsZero() {
		expires = expires.Truncate(time.Second)
	}
	if err := p.mayGenerate(module, consensus, expires); err != nil {
		return Proxy{}, err
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return Proxy{}, ctx.Err()
	}
	if len(p.list(func(has Proxy) bool { return has.Module == module && has.Consensus == consensus })) >= MaxProxies {
		return Proxy{}, ErrTooMany.With("module %s has %d for validator %s", module, MaxProxies, consensus)
	}
	secret, err := newSecret(scheme)
	if err != nil {
		return Proxy{}, err
	}
	defer secret.Wipe()
	s := stored{Proxy{Module: module, Consensus: consensus, Key: secret.name(), Expires: expires, Proven: true}, secret}
	d := s.delegation()
	if s.possession, err = secret.sign(possessionMessage(p.config.Spec, d).Root()); err != nil {
		return Proxy{}, err
	}
	// 1. The secret is on disk. A crash from here on: a stray that no one reads.
	if s.at, err = p.config.Store.stage(s); err != nil {
		return Proxy{}, fmt.Errorf("store proxy key: %w", err)
	}
	// 2. The validator's key vouches for it; both ends are on the ledger. A crash
	// from here on: a delegation to a key that nobody uses.
	if s.Delegation, err = p.config.Vouch(ctx, d, module); err != nil {
		return Proxy{}, fmt.Errorf("sign delegation: %w", err)
	}
	if !bls.Verify(consensus, DelegationMessage(p.config.Spec, d).Root(), s.Delegation) {
		return Proxy{}, ErrDelegation.With("by %s", consensus)
	}
	// 3. It is a proxy. A crash from here on: it is, and nobody was told.
	if err := p.config.Store.complete(s); err != nil {
		return Proxy{}, fmt.Errorf("store proxy key: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.secrets.add(secret)
	p.known[s.Key] = s.Proxy
	return s.Proxy, nil
}

// mayGenerate refuses what costs nothing to refuse.
func (p *Proxies) mayGenerate(module string, consensus phase0.BLSPubKey, expires time.Time) error {
	switch {
	case !folderName(module):
		return ErrModuleName.With("%.64q", module)
	case !slices.Contains(p.config.Consensus, consensus) || p.config.Vouch == nil:
		return ErrNotHeld.With("%s, to delegate with", consensus)
	case !expires.IsZero() && (!expires.After(p.config.Clock.Now()) || expires.Unix() <= 0):
		return ErrLifetime.With("%s", expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// Revoke ends a proxy for good: it signs no more, its secret is zeroed in memory,
// and the store never loads it again. Write the ledger's note first: it is what
// counts if the store cannot be written, in which case Revoke returns an error,
// and the key signs no more all the same. Revoking again tries the store again.
// Fault: ErrNotHeld.
func (p *Proxies) Revoke(key commitments.Key) error {
	p.mu.Lock()
	has, ok := p.known[key]
	if ok {
		p.revoked[key] = true
	}
	p.mu.Unlock()
	if !ok {
		if _, err := p.Find(key); errors.Is(err, ErrRevoked) {
			return nil
		}
		return ErrNotHeld.With("%s", key)
	}
	p.secrets.drop(key)
	if err := p.config.Store.revoke(has); err != nil {
		return fmt.Errorf("mark proxy key %s as revoked: %w", key, err)
	}
	p.mu.Lock()
	delete(p.known, key)
	p.mu.Unlock()
	return nil
}

// Unlocked says why some key may be swapped out to disk; nil if none can.
func (p *Proxies) Unlocked() error { return p.secrets.Unlocked() }

// Close zeroes every secret.
func (p *Proxies) Close() { p.secrets.Close() }

// Format hides the keys from every verb.
func (p *Proxies) Format(f fmt.State, _ rune) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, _ = fmt.Fprintf(f, "keystore.Proxies(%d keys)", len(p.known))
}
