package signer

import (
	"context"
	"errors"
	"testing"

	"sidecar/commitments"
)

// twice is a keystore with two copies of the delegate's key.
type twice struct {
	*duo
	spoil func(sigs *[2][]byte) // may be nil
	calls int
}

func (w *twice) SignTwice(_ context.Context, key commitments.Key, m commitments.Message) (sigs [2][]byte, err error) {
	w.calls++
	for i := range sigs {
		sig := w.keys.keys[key.BLS].Sign(m.Root())
		sigs[i] = sig[:]
	}
	if w.spoil != nil {
		w.spoil(&sigs)
	}
	return sigs, nil
}

// TestDelegated_Twice: no bit that flips in one of two computations gets out, nor
// what both have wrong from the start or by the time a pairing is due.
func TestDelegated_Twice(t *testing.T) {
	flip := func(sigs ...int) func(*[2][]byte) {
		return func(both *[2][]byte) {
			for _, i := range sigs {
				both[i][95] ^= 1
			}
		}
	}
	short := func(both *[2][]byte) { both[0], both[1] = both[0][:95], both[1][:95] }
	for name, c := range map[string]struct {
		before int // signatures that were good
		spoil  func(*[2][]byte)
		bad    bool
	}{
		"good":                  {0, nil, false},
		"good, later":           {5, nil, false},
		"the first":             {0, flip(0), true},
		"the second":            {0, flip(1), true},
		"the first, later":      {5, flip(0), true},
		"the second, later":     {5, flip(1), true},
		"both, at the start":    {0, flip(0, 1), true},
		"both, a pairing's due": {pairEvery, flip(0, 1), true},
		"short, later":          {5, short, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDuo(t)
			w := &twice{duo: d}
			d.Keys = w
			e := d.promise(t, 1)
			m, err := d.Signer.groupMessage(e.Draft.Commitment.Root(), e.SigningID, 7)
			if err != nil {
				t.Fatal(err)
			}
			for range c.before {
				if _, err := d.delegated(t.Context(), d.proxy, m); err != nil {
					t.Fatal(err)
				}
			}
			w.spoil = c.spoil
			sig, err := d.delegated(t.Context(), d.proxy, m)
			if c.bad && (!errors.Is(err, ErrBadSignature) || sig != nil) {
				t.Fatalf("got %x, %v, want %v", sig, err, ErrBadSignature)
			}
			if ok, _ := d.verify(commitments.BLSKey(d.proxy), m.Root(), sig); !c.bad && (err != nil || !ok) {
				t.Fatalf("got %x, %v", sig, err)
			}
			// And once it is mended the same is signed.
			w.spoil = nil
			if _, err := d.delegated(t.Context(), d.proxy, m); err != nil || w.calls != c.before+2 {
				t.Fatalf("mended: %v, %d calls", err, w.calls)
			}
		})
	}
}
