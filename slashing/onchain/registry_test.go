package onchain_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/slashing/evidence"
	"sidecar/slashing/onchain"
	"sidecar/slashing/slashingtest"
)

// newBar is a stage with a registry, a stand-in, in the core's place.
func newBar(t *testing.T) (*stage, *slashingtest.Registry) {
	t.Helper()
	s := &stage{Scene: slashingtest.Start(t, slashingtest.Options{}), t: t, path: filepath.Join(t.TempDir(), "journal"), events: make(chan onchain.Event, 1000)}
	return s, s.Registry()
}

// TestPunish: a broken promise to a slasher of the registry, by both roads and in
// both generations: asked first, sent once, and the collateral is burnt.
func TestPunish(t *testing.T) {
	for _, generation := range []string{"main", "signing-domain"} {
		for _, optedIn := range []bool{false, true} {
			s, r := newBar(t)
			f, registered := r.Signed(s.Break())
			s.Mine()
			c := onchain.Claim{Generation: generation, Registered: registered}
			if optedIn {
				c.OptedIn = s.Committer
				r.OptIn()
			}
			p, closed := s.prover(s.URL, same)
			x, err := p.ExamineClaim(t.Context(), f, c, common.Address{})
			if err != nil || x.Punished || x.Registry != r.At || x.Wei.Cmp(slashingtest.Ether(1)) != 0 || x.Gas < 300_000 {
				t.Fatalf("%s, opted in %t: %v", generation, optedIn, err)
			}
			stop := s.lived()
			for again := range 2 {
				x, err = p.Punish(t.Context(), f, c)
				if err != nil || !x.Punished || x.Slash == nil {
					t.Errorf("%s, opted in %t, time %d: %v", generation, optedIn, again, err)
				}
			}
			stop()
			closed()
			if got := r.Collateral(); got.Cmp(slashingtest.Ether(9)) != 0 {
				t.Errorf("%s wei of collateral left", got)
			}
			if n := s.sent(); n != 1 {
				t.Errorf("%d transactions, want 1", n)
			}
		}
	}
}

// TestPunish_refused: an excuse acquits by its name; what the registry refuses is
// not called innocence; nothing is sent.
func TestPunish_refused(t *testing.T) {
	s, r := newBar(t)
	guilty, registered := r.Signed(s.Break())
	tx, slot := s.Transfer(1), s.Slot()+1
	kept, ofKept := r.Signed(s.Told(slot, tx, func() { s.Mine(tx) }))
	s.Mine()
	claim := func(change func(*onchain.Claim)) onchain.Claim {
		c := onchain.Claim{Generation: "signing-domain", Registered: registered}
		change(&c)
		return c
	}
	p, closed := s.prover(s.URL, same)
	defer closed()
	for name, c := range map[string]struct {
		file  evidence.File
		claim onchain.Claim
		is    error
		want  string
	}{
		"kept":              {kept, onchain.Claim{Generation: "signing-domain", Registered: ofKept}, onchain.ErrAcquitted, "NonceSpentInBlock"},
		"no such":           {guilty, claim(func(c *onchain.Claim) { c.Generation = "next" }), evidence.ErrMalformed, "generation"},
		"another root":      {guilty, claim(func(c *onchain.Claim) { c.Root[0]++ }), onchain.ErrReverted, "InvalidProof"},
		"not opted in":      {guilty, claim(func(c *onchain.Claim) { c.OptedIn = s.Committer }), onchain.ErrReverted, "NotOptedIn"},
		"another committer": {guilty, claim(func(c *onchain.Claim) { c.OptedIn = s.Stranger.Address }), evidence.ErrMalformed, "committer"},
	} {
		if _, err := p.Punish(t.Context(), c.file, c.claim); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if n := s.sent(); n != 0 {
		t.Errorf("%d transactions", n)
	}
}
