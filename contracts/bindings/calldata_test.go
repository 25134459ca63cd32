package bindings

import (
	"errors"
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/commitments"
	"sidecar/slashing/evidence"
)

// here is the guilty story, its promise to the contract at home.
func here(home common.Address) story {
	s := guilty()
	s.commitment = func(c *commitments.Commitment) { c.Slasher = bellatrix.ExecutionAddress(home) }
	s.delegation = func(d *commitments.Delegation) { d.Committer = bellatrix.ExecutionAddress(committer) }
	return s
}

// must is for calldata of evidence that is known to be good.
func must(t testing.TB) func([]byte, error) []byte {
	return func(input []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return input
	}
}

// TestCalldata_service: a file of either fault goes through submit and execute,
// and the id is the one the file's judge gives.
func TestCalldata_service(t *testing.T) {
	s := newService(t, false)
	s.join(1)
	e := here(s.home).tell(t)
	e.file.Slasher = s.home
	s.remember(e.proof.ChildNumber, e.childHash)
	s.time = max(s.time, e.now)
	twice := e.file
	twice.Kind, twice.Absence = evidence.Double, nil
	other := here(s.home)
	other.tx.Value = big.NewInt(1)
	twice.Promises = append([]evidence.Promise{}, e.file.Promises[0], other.promise(t, other.signedTx(t)))
	for _, f := range []evidence.File{e.file, twice} {
		want, err := evidence.Judge(f, rules(), s.home, f.ChildHash())
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := s.call(stranger, s.at, must(t)(Judge(f)))
		if err != nil || s.fault(string(f.Kind), out).Id != want.ID {
			t.Errorf("%s: the verifier says %x, %s", f.Kind, out, excuse(t, err))
		}
		out, _, err = s.call(stranger, s.home, must(t)(Submit(f)))
		if err != nil || common.Hash(out) != want.ID {
			t.Fatalf("submit %s: %x, %s", f.Kind, out, excuse(t, err))
		}
		if _, _, err := s.call(stranger, s.home, must(t)(Execute(want.ID))); excuse(t, err) != "TooEarly" {
			t.Errorf("execute %s at once: %v", f.Kind, err)
		}
	}
}

// TestCalldata_registry: the registry's call in both generations.
func TestCalldata_registry(t *testing.T) {
	for _, g := range []Generation{RegistryMain, RegistrySigningDomain} {
		u := newURC(t, false)
		e := here(u.home).tell(t)
		e.file.Slasher = u.home
		u.remember(e.proof.ChildNumber, e.childHash)
		u.time = e.now
		input := must(t)(Slash(e.file, g, stranger))
		if _, _, err := u.call(stranger, u.home, input); excuse(t, err) != "NotRegistry" {
			t.Errorf("generation %d, by a stranger: %v", g, err)
		}
		out, _, err := u.call(registry, u.home, input)
		if err != nil || new(big.Int).SetBytes(out).Cmp(big.NewInt(1e18)) != 0 {
			t.Errorf("generation %d: %x, %s", g, out, excuse(t, err))
		}
	}
}

// TestCalldata_malformed: what no contract can be given has one name.
func TestCalldata_malformed(t *testing.T) {
	good := guilty().tell(t).file
	twice := double(t, guilty(), another())
	for name, c := range map[string]struct {
		file evidence.File
		make func(evidence.File) ([]byte, error)
	}{
		"proposer is no point":           {edit(good, func(f *evidence.File) { f.Delegation.Message.Proposer[0] = 0 }), Submit},
		"delegate is no point":           {edit(good, func(f *evidence.File) { f.Delegation.Message.Delegate[0] = 0 }), Judge},
		"signature is no point":          {edit(good, func(f *evidence.File) { f.Delegation.Signature[0] = 0 }), Submit},
		"promise's is no point":          {edit(good, func(f *evidence.File) { f.Promises[0].Signature[0] = 0 }), Submit},
		"one promise too few":            {edit(twice, func(f *evidence.File) { f.Promises = f.Promises[:1] }), Submit},
		"no absence":                     {edit(good, func(f *evidence.File) { f.Absence = nil }), Judge},
		"two promises, for the registry": {twice, SlashEvidence},
	} {
		if _, err := c.make(c.file); !errors.Is(err, evidence.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// edit changes a copy of a file, promises included.
func edit(f evidence.File, change func(*evidence.File)) evidence.File {
	f.Promises = append([]evidence.Promise{}, f.Promises...)
	change(&f)
	return f
}
