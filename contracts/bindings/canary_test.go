package bindings

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/commitments"
	"sidecar/slashing/evidence"
)

// TestCanary: an honest validator's file, changed in any way and encoded anew
// with the right digest, never proves guilt: not in Go, and not on the chain.
func TestCanary(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12)) // #nosec G404 -- a repeatable test
	c := newCourt(t, false)
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	stories := excuses()
	names := make([]string, 0, len(stories))
	for name := range stories {
		names = append(names, name)
	}
	slices.Sort(names) // so that the same mutations meet the same stories
	for _, name := range names {
		s := guilty()
		stories[name].change(&s)
		e := s.tell(t)
		whole, err := evidence.Encode(e.file)
		if err != nil {
			t.Fatal(err)
		}
		for round := range rounds {
			f, err := evidence.Parse(whole) // a mutation changes what it shares
			if err != nil {
				t.Fatal(err)
			}
			for range 1 + random.IntN(3) {
				mutate(random, &f)
			}
			text, err := evidence.Encode(f)
			if err != nil {
				t.Fatal(err)
			}
			again, err := evidence.Parse(text)
			if err != nil {
				continue // it has lost its shape
			}
			hash := e.childHash
			if random.IntN(2) == 0 {
				hash = again.ChildHash() // the mutated child is the chain's
			}
			if inGo, err := evidence.Judge(again, rules(), manager, hash); err == nil {
				t.Errorf("%s, round %d: guilty by mutation in Go: %+v", name, round, inGo)
			}
			if round < 3 { // the differential tests hold the two together
				if _, onChain, ok := c.verdicts(again, hash); ok && onChain == "" {
					t.Errorf("%s, round %d: guilty by mutation on the chain", name, round)
				}
			}
		}
	}
}

// TestCanary_bytes: no byte of an acquitting file changes to guilt, digest and
// all: the file is malformed.
func TestCanary_bytes(t *testing.T) {
	s := guilty()
	s.post.Nonce++
	text, err := evidence.Encode(s.tell(t).file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		other := bytes.Clone(text)
		other[i] ^= 1
		if f, err := evidence.Parse(other); err == nil {
			t.Errorf("byte %d: still a file, %s", i, f.Digest)
		}
	}
}

// TestHonest: what may happen to a validator that keeps its word as far as it
// can acquits, by one name in Go and in Solidity. The stories of one promise are
// excuses(); these are about who signed, what else was signed, and which chain.
func TestHonest(t *testing.T) { forks(t, testHonest) }

func testHonest(t *testing.T, amsterdam bool) {
	same := func(s *story) {}
	for name, c := range map[string]struct {
		want   string
		one    func(*story)
		other  func(*story) // of two promises; nil for one
		change func(*evidence.File)
	}{
		"the parent changed by a reorganisation": {"ParentNotParent", same, nil, func(f *evidence.File) { f.Absence.Headers.Parent = f.Absence.Headers.Child }},
		"the block was reorganised out":          {"TargetNotParent", same, nil, func(f *evidence.File) { f.Absence.Headers.Target = f.Absence.Headers.Parent }},
		"the duty moved to another validator":    {"OtherProposer", func(s *story) { s.blockIndex++ }, nil, nil},
		"the slot was missed":                    {"OtherSlot", func(s *story) { s.blockSlot++ }, nil, nil},
		"a fork the verifier does not know":      {"SlotOutOfRange", func(s *story) { s.slot, s.blockSlot = endSlot, endSlot }, nil, nil},
		"larger than the block may be":           {"GasAboveBlock", func(s *story) { s.gasLimit = 29_999 }, nil, nil},
		"a delegation for another slot":          {"DelegationSlot", func(s *story) { s.delegation = func(d *commitments.Delegation) { d.Slot++ } }, nil, nil},
		"a forged delegation":                    {"DelegationSignature", same, nil, func(f *evidence.File) { f.Delegation.Signature = f.Promises[0].Signature }},
		"a delegation stretched after signing":   {"DelegationSlot", same, nil, func(f *evidence.File) { f.Delegation.Message.Slot++ }},
		"a promise somebody else signed":         {"PromiseSignature", same, nil, func(f *evidence.File) { f.Promises[0].Signature = f.Delegation.Signature }},
		"a branch to another group":              {"PromiseSignature", same, nil, func(f *evidence.File) { f.Promises[0].Branch = []common.Hash{{1}} }},
		"twins that sign the same promise":       {"SamePromise", same, func(s *story) { s.group = []common.Hash{{9}} }, nil},
		"promises of two nonces":                 {"NoncesDiffer", same, func(s *story) { s.tx.Nonce++ }, nil},
		"promises of two slots":                  {"DelegationSlot", same, func(s *story) { s.slot++ }, nil},
		"promises of two senders":                {"SendersDiffer", same, func(s *story) { s.raw = func(b []byte) []byte { b[len(b)-1] ^= 1; return b } }, nil},
		"one of two is no promise":               {"GasBelowFloor", same, func(s *story) { s.tx.Gas = 21_000 }, nil},
	} {
		s := guilty()
		c.one(&s)
		e := s.tell(t)
		f := e.file
		if c.other != nil {
			o := guilty()
			c.other(&o)
			f = double(t, s, o)
		}
		if c.change != nil {
			f = edit(f, c.change)
		}
		court := newCourt(t, amsterdam)
		court.time = e.now
		if inGo, onChain, ok := court.verdicts(f, e.childHash); !ok || inGo != c.want || onChain != c.want {
			t.Errorf("%s: Go says %q, the contract %q, want %q", name, inGo, onChain, c.want)
		}
	}
}
