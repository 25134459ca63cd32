package keystore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// crash is the panic that ends a process in a test.
var errCrash = errors.New("crash")

// crasher breaks the durable step of a number: before it is done, or after.
type crasher struct {
	at, seen int
	done     bool // the step persists all the same
	panics   bool // the process ends; else the step returns an error
	steps    []string
}

func (c *crasher) step(name string, do func() error) error {
	c.seen++
	c.steps = append(c.steps, name)
	if c.seen != c.at {
		return do()
	}
	if c.done {
		if err := do(); err != nil {
			return err
		}
	}
	if c.panics {
		panic(errCrash)
	}
	return errCrash
}

// survive runs f and says whether it came back, and with what.
func survive(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return f()
}

// with gives a store a crasher.
func with(s Store, c *crasher) Store {
	switch s := s.(type) {
	case EncryptedStore:
		s.disk.step = c.step
		return s
	case PlainStore:
		s.disk.step = c.step
		return s
	default:
		return nil
	}
}

// variants are the ways to break a step.
func variants(at int) (out []*crasher) {
	for _, done := range []bool{false, true} {
		for _, panics := range []bool{false, true} {
			out = append(out, &crasher{at: at, done: done, panics: panics})
		}
	}
	return out
}

// TestGenerate_CrashTable breaks every durable step of making a proxy, and the
// vouching, in every way. Afterwards the store opens; the proxy that was there
// is usable; the new one is there and whole if the caller was told of it, and
// whole or not there if not; and another can be made.
func TestGenerate_CrashTable(t *testing.T) {
	steps := map[string]int{}
	for at := 1; ; at++ {
		ran := false
		for _, c := range variants(at) {
			for name, store := range stores(t) {
				c := *c
				ran = generateCrash(t, name, store, &c) || ran
				steps[name] = max(steps[name], c.seen)
			}
		}
		if !ran {
			break
		}
	}
	// Folders, five files and a rename, and the vouching in between.
	if steps["encrypted"] < 10 || steps["plain"] < 6 {
		t.Errorf("too few steps were broken: %v", steps)
	}
}

// generateCrash says whether there was such a step.
func generateCrash(t *testing.T, name string, store Store, c *crasher) bool {
	d := newDesk(t, store)
	old := d.make(t, SchemeBLS)
	honest := d.config.Vouch
	d.config.Store = with(store, c)
	d.config.Vouch = func(ctx context.Context, p commitments.ProxyDelegation, module string) (sig phase0.BLSSignature, err error) {
		err = c.step("vouch", func() error {
			sig, err = honest(ctx, p, module)
			return err
		})
		return sig, err
	}
	d.open(t)
	var made Proxy
	err := survive(func() (err error) {
		made, err = d.Generate(context.Background(), "OTHER", d.consensus, SchemeECDSA, d.now.Add(time.Hour))
		return err
	})
	if (err == nil) != (c.seen < c.at) {
		t.Fatalf("%s, step %d (%v): %v", name, c.at, c.steps, err)
	}
	d.config.Store, d.config.Vouch = store, honest
	d.open(t) // fails on half a proxy
	d.signs(t, old)
	got := d.Of("OTHER")
	if err == nil && (len(got) != 1 || got[0].Key != made.Key) {
		t.Errorf("%s: the caller was told of %v; there is %v", name, made, got)
	}
	for _, p := range got {
		if p.Expires.IsZero() || !p.Proven {
			t.Errorf("%s, step %d %s: half a proxy %+v", name, c.at, c.steps[c.at-1], p)
		}
		d.signs(t, p)
	}
	d.signs(t, d.make(t, SchemeECDSA))
	return c.seen >= c.at
}

// TestRevoke_CrashTable: after a crash while revoking, a proxy is whole or never
// loaded; once Revoke came back it is never loaded; with the ledger's note it is
// never loaded whatever broke.
func TestRevoke_CrashTable(t *testing.T) {
	for at := 1; ; at++ {
		ran := false
		for _, c := range variants(at) {
			for name, store := range stores(t) {
				c := *c
				d := newDesk(t, store)
				gone, stays := d.make(t, SchemeBLS), d.make(t, SchemeECDSA)
				d.config.Store = with(store, &c)
				d.open(t)
				err := survive(func() error { return d.Revoke(gone.Key) })
				ran = ran || c.seen >= at
				if _, signs := d.Sign(context.Background(), gone.Key, commitments.Message{}); !errors.Is(signs, ErrRevoked) {
					t.Errorf("%s, step %d: it signs on: %v", name, at, signs)
				}
				d.config.Store = store
				d.open(t)
				d.signs(t, stays)
				if p, ok := d.Lookup(gone.Key); ok && err == nil {
					t.Errorf("%s, step %d: revoked, and loaded again", name, at)
				} else if ok {
					d.signs(t, p)
				}
				d.config.Revoked = func(k commitments.Key) bool { return k == gone.Key }
				d.open(t)
				d.config.Revoked = nil
				d.open(t)
				if _, ok := d.Lookup(gone.Key); ok {
					t.Errorf("%s, step %d: revoked in the ledger, and loaded", name, at)
				}
			}
		}
		if !ran {
			if at < 2 {
				t.Error("no step was broken")
			}
			return
		}
	}
}
