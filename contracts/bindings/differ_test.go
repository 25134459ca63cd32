package bindings

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"sidecar/commitments"
	"sidecar/slashing/evidence"
)

// verdicts returns what Go and the contract say of a file: "" is guilty. A file
// whose points are none cannot be handed to the contract: ok is false.
func (c court) verdicts(f evidence.File, childHash common.Hash) (inGo, onChain string, ok bool) {
	c.t.Helper()
	fault, err := evidence.Judge(f, rules(), manager, childHash)
	inGo = verdict(err)
	d, err := NewSignedDelegation(f.Delegation)
	if err != nil {
		return inGo, "", false
	}
	e := told{delegation: d, childHash: childHash, now: c.time}
	if e.promise, err = NewSignedPromise(f.Promises[0]); err != nil {
		return inGo, "", false
	}
	var id [32]byte
	if f.Kind == evidence.Double {
		other, err := NewSignedPromise(f.Promises[1])
		if err != nil {
			return inGo, "", false
		}
		got, _, why := c.double(d, e.promise, other)
		id, onChain = got.Id, why
	} else {
		e.proof = NewAbsenceProof(*f.Absence)
		got, _, why := c.absent(e)
		id, onChain = got.Id, why
	}
	if onChain == "" && inGo == "" && common.Hash(id) != fault.ID {
		c.t.Errorf("two ids for one fault")
	}
	return inGo, onChain, true
}

func verdict(err error) string {
	var e evidence.Excuse
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return string(e)
	default:
		return "malformed"
	}
}

// TestDiffer_stories: every story has one verdict and one name, in Go and in
// Solidity.
func TestDiffer_stories(t *testing.T) { forks(t, testDifferStories) }

func testDifferStories(t *testing.T, amsterdam bool) {
	for name, c := range excuses() {
		s := guilty()
		c.change(&s)
		e := s.tell(t)
		court := newCourt(t, amsterdam)
		court.time = e.now
		inGo, onChain, ok := court.verdicts(e.file, e.childHash)
		if !ok || inGo != c.want || onChain != c.want {
			t.Errorf("%s: Go says %q, the contract %q, want %q", name, inGo, onChain, c.want)
		}
	}
	e := guilty().tell(t)
	if inGo, onChain, ok := newCourt(t, amsterdam).verdicts(e.file, e.childHash); !ok || inGo != "" || onChain != "" {
		t.Errorf("guilty: Go says %q, the contract %q", inGo, onChain)
	}
}

// double is the file of two promises.
func double(t testing.TB, one, other story) evidence.File {
	t.Helper()
	f := one.tell(t).file
	f.Kind, f.Absence = evidence.Double, nil
	f.Promises = append(f.Promises, other.tell(t).file.Promises...)
	return f
}

// TestDiffer mutates files at random, structure and bytes, and wants the same
// verdict by the same name of both.
func TestDiffer(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 300
	}
	random := rand.New(rand.NewPCG(5, 6)) // #nosec G404 -- a repeatable test
	courts := []court{newCourt(t, false), newCourt(t, true)}
	seen := map[string]int{}
	for round := range rounds {
		c := courts[round%2] // Osaka's rules, then Amsterdam's
		s, o := guilty(), another()
		s.depth, s.group = 1+round%5, make([]common.Hash, round%3)
		e := s.tell(t)
		f := e.file
		if round%4 == 0 {
			f = double(t, s, o)
		}
		for range 1 + random.IntN(2) {
			mutate(random, &f)
		}
		hash := e.childHash
		if f.Absence != nil && random.IntN(20) == 0 {
			hash = common.Hash{1}
		}
		inGo, onChain, ok := c.verdicts(f, hash)
		if !ok {
			seen["not a point"]++
			if inGo == "" {
				t.Errorf("round %d: guilty by points that are none", round)
			}
			continue
		}
		seen[onChain]++
		if inGo != onChain {
			t.Fatalf("round %d: Go says %q, the contract %q", round, inGo, onChain)
		}
	}
	if len(seen) < 15 {
		t.Errorf("only %d verdicts were reached: %v", len(seen), seen)
	}
	t.Logf("%d files, verdicts: %v", rounds, seen)
}

// FuzzDiffer is the same with changes, and one node of a proof, of a fuzzer's
// choice: put in the place of another, or beside it.
func FuzzDiffer(f *testing.F) {
	f.Add(uint64(1), uint64(2), []byte{}, uint8(0))
	f.Add(uint64(3), uint64(4), []byte{0xc0}, uint8(7))
	c := newCourt(f, false)
	f.Fuzz(func(t *testing.T, one, other uint64, node []byte, place uint8) {
		mine := c
		m := *c.machine
		mine.machine, m.t = &m, t
		s := guilty()
		s.depth = 1 + int(one%5)
		e := s.tell(t)
		random := rand.New(rand.NewPCG(one, other)) // #nosec G404 -- the fuzzer's
		for range random.IntN(3) {
			mutate(random, &e.file)
		}
		proofs := &e.file.Absence.AccountProofs
		list := &proofs.Pre
		if place&1 == 1 {
			list = &proofs.Post
		}
		if n := *list; len(node) > 0 && len(n) > 0 {
			at := int(place>>2) % len(n)
			rest := n[at:]
			if place&2 == 2 {
				rest = n[at+1:]
			}
			*list = append(append(append([]hexutil.Bytes{}, n[:at]...), node), rest...)
		}
		if inGo, onChain, ok := mine.verdicts(e.file, e.childHash); ok && inGo != onChain {
			t.Fatalf("Go says %q, the contract %q", inGo, onChain)
		}
	})
}

// mutate changes one thing in f.
func mutate(random *rand.Rand, f *evidence.File) {
	flip := func(b []byte) {
		if len(b) > 0 {
			b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		}
	}
	p := &f.Promises[random.IntN(len(f.Promises))]
	if f.Absence == nil || random.IntN(2) == 0 {
		mutatePromise(random, f, p, flip)
		return
	}
	a := f.Absence
	nodes := &a.AccountProofs.Pre
	if random.IntN(2) == 0 {
		nodes = &a.AccountProofs.Post
	}
	n := *nodes
	switch random.IntN(9) {
	case 0:
		flip([][]byte{a.Headers.Child, a.Headers.Target, a.Headers.Parent}[random.IntN(3)])
	case 1:
		flip(a.BeaconHeader.ParentRoot[:])
	case 2:
		flip(a.BeaconHeader.BodyRoot[:])
	case 3:
		if len(n) > 0 {
			flip(n[random.IntN(len(n))])
		}
	case 4: // order
		random.Shuffle(len(n), func(i, j int) { n[i], n[j] = n[j], n[i] })
	case 5: // an extra node
		if len(n) > 0 {
			i := random.IntN(len(n))
			*nodes = append(append(append([]hexutil.Bytes{}, n[:i]...), n[random.IntN(len(n))]), n[i:]...)
		}
	case 6: // one missing
		if len(n) > 0 {
			*nodes = n[:len(n)-1]
		}
	case 7:
		a.AccountProofs.Pre, a.AccountProofs.Post = a.AccountProofs.Post, a.AccountProofs.Pre
	case 8:
		a.Headers.Target, a.Headers.Parent = a.Headers.Parent, a.Headers.Target
	}
}

func mutatePromise(random *rand.Rand, f *evidence.File, p *evidence.Promise, flip func([]byte)) {
	d := &f.Delegation
	switch random.IntN(12) {
	case 0, 1, 2:
		flip(p.Commitment.Payload)
	case 3:
		p.Commitment.Payload = p.Commitment.Payload[:random.IntN(len(p.Commitment.Payload)+1)]
	case 4:
		p.Commitment.Type ^= 1 << random.IntN(64)
	case 5:
		flip(p.Commitment.Slasher[:])
	case 6:
		flip([][]byte{p.SigningID[:], d.SigningID[:]}[random.IntN(2)])
	case 7:
		p.Branch = append(append([]common.Hash{}, p.Branch...), common.Hash{byte(random.IntN(256))})
	case 8:
		flip([][]byte{p.Signature[:], d.Signature[:]}[random.IntN(2)])
	case 9:
		copy(p.Signature[:], d.Signature[:])
	case 10:
		*d = swapKeys(*d)
	case 11:
		d.Message.Slot ^= 1 << random.IntN(3)
	}
}

func swapKeys(d commitments.SignedDelegation) commitments.SignedDelegation {
	d.Message.Proposer, d.Message.Delegate = d.Message.Delegate, d.Message.Proposer
	return d
}
