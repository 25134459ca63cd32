package bindings

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/commitments"
)

func TestDouble(t *testing.T) { forks(t, testDouble) }

func testDouble(t *testing.T, amsterdam bool) {
	for name, c := range map[string]struct {
		want       string
		one, other func(*story)
	}{
		"guilty":            {"", func(*story) {}, func(s *story) { s.tx.Gas++ }},
		"guilty in groups":  {"", func(s *story) { s.group = []common.Hash{{1}} }, func(s *story) { s.tx.Gas++; s.group = []common.Hash{{2}, {3}} }},
		"two proposers":     {"", func(*story) {}, func(s *story) { s.index++; s.tx.Gas++ }},
		"the same":          {"SamePromise", func(*story) {}, func(*story) {}},
		"the same by twins": {"SamePromise", func(s *story) { s.group = []common.Hash{{1}} }, func(s *story) { s.commitment = func(c *commitments.Commitment) { c.RequestHash[0]++ } }},
		"two nonces":        {"NoncesDiffer", func(*story) {}, func(s *story) { s.tx.Nonce++ }},
		"another slot":      {"DelegationSlot", func(*story) {}, func(s *story) { s.slot++ }},
		"one is no promise": {"GasBelowFloor", func(*story) {}, func(s *story) { s.tx.Gas = 21_000 }},
		"other half of s":   {"SignatureHighS", func(*story) {}, func(s *story) { s.raw = highS }},
		"out of range":      {"SlotOutOfRange", func(s *story) { s.slot = endSlot }, func(s *story) { s.slot = endSlot }},
	} {
		one, other := guilty(), guilty()
		c.one(&one)
		c.other(&other)
		a, b := one.tell(t), other.tell(t)
		if _, _, got := newCourt(t, amsterdam).double(a.delegation, a.promise, b.promise); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestDouble_senders: the second transaction is another sender's.
func TestDouble_senders(t *testing.T) { forks(t, testDoubleSenders) }

func testDoubleSenders(t *testing.T, amsterdam bool) {
	a := guilty().tell(t)
	s := guilty()
	s.raw = func(b []byte) []byte { b[len(b)-1] ^= 1; return b } // another signature recovers another sender
	b := s.tell(t)
	if _, _, got := newCourt(t, amsterdam).double(a.delegation, a.promise, b.promise); got != "SendersDiffer" {
		t.Errorf("got %q", got)
	}
}

// TestDouble_order: the same fault whichever promise comes first, and another
// than the absence of either.
func TestDouble_order(t *testing.T) { forks(t, testDoubleOrder) }

func testDoubleOrder(t *testing.T, amsterdam bool) {
	c := newCourt(t, amsterdam)
	a, b := guilty().tell(t), another().tell(t)
	one, _, w1 := c.double(a.delegation, a.promise, b.promise)
	two, _, w2 := c.double(a.delegation, b.promise, a.promise)
	if w1 != "" || w2 != "" || one.Id != two.Id {
		t.Errorf("order changes the fault: %q %q", w1, w2)
	}
	if f, _, why := c.absent(a); why != "" || f.Id == one.Id {
		t.Errorf("F1 and F2 share an id, %q", why)
	}
}

// TestDouble_signatures: each of the three signatures is checked.
func TestDouble_signatures(t *testing.T) { forks(t, testDoubleSignatures) }

func testDoubleSignatures(t *testing.T, amsterdam bool) {
	for name, c := range map[string]struct {
		want   string
		change func(d *SignedDelegation, one, other *SignedPromise)
	}{
		"delegation": {"DelegationSignature", func(d *SignedDelegation, _, _ *SignedPromise) { d.Nonce++ }},
		"one":        {"PromiseSignature", func(_ *SignedDelegation, one, _ *SignedPromise) { one.Nonce++ }},
		"other":      {"PromiseSignature", func(_ *SignedDelegation, _, other *SignedPromise) { other.Nonce++ }},
	} {
		a, b := guilty().tell(t), another().tell(t)
		c.change(&a.delegation, &a.promise, &b.promise)
		if _, _, got := newCourt(t, amsterdam).double(a.delegation, a.promise, b.promise); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
