package bindings

import (
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/commitments"
)

var (
	registry  = common.HexToAddress("0x0000000000000000000000000000000000005efc")
	committer = common.HexToAddress("0x000000000000000000000000000000000000c033")
)

// urc is the slasher, called as the registry calls it. The registry itself is
// not here: what it checks before (signatures, delegation, opt-in) is its own.
type urc struct {
	court
	slasher Contract
	home    common.Address
}

func newURC(t testing.TB, amsterdam bool) *urc {
	t.Helper()
	u := &urc{court: newCourt(t, amsterdam), slasher: load(t, UrcInclusionSlasher)}
	input, err := u.slasher.Deploy(registry, u.at, big.NewInt(1e18))
	if err != nil {
		t.Fatal(err)
	}
	u.home = u.deploy(input)
	return u
}

// slash tells the story to the slasher in one of the registry's generations:
// "slash" is main's, "slash0" the signing domain's.
func (u *urc) slash(from common.Address, method string, s story, change func(*Delegation)) string {
	u.t.Helper()
	was := s.commitment
	s.commitment = func(c *commitments.Commitment) {
		c.Slasher = bellatrix.ExecutionAddress(u.home)
		was(c)
	}
	e := s.tell(u.t)
	u.remember(e.proof.ChildNumber, e.childHash)
	u.time = e.now
	d := e.delegation.Delegation
	d.Committer = committer
	change(&d)
	evidence, err := abi.Arguments{u.verifier.ABI.Methods["absent"].Inputs[3]}.Pack(e.proof)
	if err != nil {
		u.t.Fatal(err)
	}
	var c any = e.promise.Commitment
	if method == "slash" {
		c = CommitmentMain{e.promise.Commitment.CommitmentType, e.promise.Commitment.Payload, e.promise.Commitment.Slasher}
	}
	out, _, err := u.call(from, u.home, pack(u.t, u.slasher, method, d, c, committer, evidence, stranger))
	if err != nil {
		return excuse(u.t, err)
	}
	if wei := new(big.Int).SetBytes(out); wei.Cmp(big.NewInt(1e18)) != 0 {
		u.t.Errorf("%s slashes %s wei", method, wei)
	}
	return ""
}

func TestURC(t *testing.T) { forks(t, testURC) }

func testURC(t *testing.T, amsterdam bool) {
	asIs := func(*Delegation) {}
	for _, method := range []string{"slash", "slash0"} {
		u := newURC(t, amsterdam)
		if why := u.slash(registry, method, guilty(), asIs); why != "" {
			t.Errorf("%s: %q", method, why)
		}
		if why := u.slash(registry, method, guilty(), asIs); why != "FaultKnown" {
			t.Errorf("%s again: %q", method, why)
		}
		if why := u.slash(registry, method, nonce(6), func(d *Delegation) { *d = Delegation{} }); why != "" {
			t.Errorf("%s, opt-in: %q", method, why)
		}
		if why := u.slash(stranger, method, nonce(7), asIs); why != "NotRegistry" {
			t.Errorf("%s by a stranger: %q", method, why)
		}
	}
}

func TestURC_generations(t *testing.T) { forks(t, testURCGenerations) }

func testURCGenerations(t *testing.T, amsterdam bool) {
	u := newURC(t, amsterdam)
	if why := u.slash(registry, "slash", guilty(), func(*Delegation) {}); why != "" {
		t.Fatal(why)
	}
	if why := u.slash(registry, "slash0", guilty(), func(*Delegation) {}); why != "FaultKnown" {
		t.Errorf("the same fault through the other generation: %q", why)
	}
}

func TestURC_excuses(t *testing.T) { forks(t, testURCExcuses) }

func testURCExcuses(t *testing.T, amsterdam bool) {
	for name, c := range map[string]struct {
		want   string
		story  func(*story)
		change func(*Delegation)
	}{
		"delegated slot":  {"DelegationSlot", func(*story) {}, func(d *Delegation) { d.Slot++ }},
		"committer":       {"OtherCommitter", func(*story) {}, func(d *Delegation) { d.Committer[0]++ }},
		"no committer":    {"OtherCommitter", func(*story) {}, func(d *Delegation) { d.Committer = common.Address{} }},
		"fabric's type":   {"CommitmentType", func(s *story) { s.commitment = func(c *commitments.Commitment) { c.Type = 1 } }, func(*Delegation) {}},
		"another slasher": {"OtherSlasher", func(s *story) { s.commitment = func(c *commitments.Commitment) { c.Slasher[0]++ } }, func(*Delegation) {}},
		"included":        {"NonceSpentInBlock", func(s *story) { s.post.Nonce++ }, func(*Delegation) {}},
		"missed":          {"OtherSlot", func(s *story) { s.blockSlot++ }, func(*Delegation) {}},
	} {
		s := guilty()
		c.story(&s)
		for _, method := range []string{"slash", "slash0"} {
			if got := newURC(t, amsterdam).slash(registry, method, s, c.change); got != c.want {
				t.Errorf("%s, %s: got %q, want %q", method, name, got, c.want)
			}
		}
	}
}
