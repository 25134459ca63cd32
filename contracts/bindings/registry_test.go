package bindings

import (
	"encoding/hex"
	"errors"
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/commitments"
	"sidecar/internal/ecdsa"
	"sidecar/slashing/evidence"
)

// TestRegistry_selectors pins what the registries are called by, as they
// publish it: of the signing-domain branch in fabric's Rust bindings, of main by
// its source. [fabric: crates/urc; URC main 132bc79: IRegistry]
func TestRegistry_selectors(t *testing.T) {
	abis, err := registryABIs()
	if err != nil {
		t.Fatal(err)
	}
	for g, want := range map[Generation]map[string]string{
		RegistryMain:          {"slashCommitment": "d5dc72b0", "slashCommitment0": "d5074b44"},
		RegistrySigningDomain: {"slashCommitment": "455bc5a7", "slashCommitment0": "20766026"},
	} {
		for method, selector := range want {
			if got := hex.EncodeToString(abis[g].Methods[method].ID); got != selector {
				t.Errorf("generation %d, %s: %s, want %s", g, abis[g].Methods[method].Sig, got, selector)
			}
		}
	}
}

// committerKey signs commitments for the registry.
func committerKey(t testing.TB) *ecdsa.SecretKey {
	t.Helper()
	k, err := ecdsa.ParseSecretKey(common.LeftPadBytes([]byte{0xc0}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// claimed is a file for the slasher at home, signed by a committer as both
// generations want it, and what the registry knows of its proposer.
func claimed(t testing.TB, home common.Address) (told, Registered) {
	t.Helper()
	key := committerKey(t)
	s := here(home)
	s.delegation = func(d *commitments.Delegation) { d.Committer = key.Address() }
	e := s.tell(t)
	e.file.Slasher = home
	c := e.file.Promises[0].Commitment
	own, err := key.Sign(commitments.SigningRoot(domain(), testChainID, c.Root(), signingID, 8))
	if err != nil {
		t.Fatal(err)
	}
	e.file.Promises[0].Committer = &evidence.Committer{Nonce: 8, Signature: own[:]}
	packed, err := abi.Arguments{load(t, UrcInclusionSlasher).ABI.Methods["slash"].Inputs[1]}.Pack(CommitmentMain{c.Type, c.Payload, common.Address(c.Slasher)})
	if err != nil {
		t.Fatal(err)
	}
	main, err := key.Sign(phase0.Root(crypto.Keccak256(packed)))
	if err != nil {
		t.Fatal(err)
	}
	point := e.file.Delegation.Signature // any point of the group
	return e, Registered{
		Root: common.Hash{1}, Signature: point, Proof: []common.Hash{{2}, {3}}, Nonce: 4, SigningID: common.Hash{5},
		Delegation: point, Committer: main[:],
	}
}

// registryDouble plays the registry of a generation: it reads its calldata by
// its own ABI and calls the slasher, as both generations do once they have
// checked proof and signatures, which it does not.
func (u *urc) registryDouble(g Generation, input []byte) string {
	u.t.Helper()
	abis, err := registryABIs()
	if err != nil {
		u.t.Fatal(err)
	}
	method, err := abis[g].MethodById(input)
	if err != nil {
		u.t.Fatal(err)
	}
	values, err := method.Inputs.Unpack(input[4:])
	if err != nil {
		u.t.Fatal(err)
	}
	by := common.Address(committerKey(u.t).Address())
	var delegation Delegation // zeros for who has opted in
	signed, proof := values[len(values)-2], values[len(values)-1]
	if len(values) == 4 && g == RegistryMain {
		delegation = abi.ConvertType(values[1], new(signedDelegationMain)).(*signedDelegationMain).Delegation
	} else if len(values) == 4 {
		delegation = abi.ConvertType(values[1], new(SignedDelegation)).(*SignedDelegation).Delegation
	}
	name, c := "slash", any(nil)
	if g == RegistryMain {
		c = abi.ConvertType(signed, new(signedCommitmentMain)).(*signedCommitmentMain).Commitment
	} else {
		name, c = "slash0", abi.ConvertType(signed, new(signedCommitment)).(*signedCommitment).Commitment
	}
	out, _, err := u.call(registry, u.home, pack(u.t, u.slasher, name, delegation, c, by, proof, stranger))
	if err == nil && new(big.Int).SetBytes(out).Cmp(big.NewInt(1e18)) != 0 {
		u.t.Errorf("%x slashed", out)
	}
	return excuse(u.t, err)
}

// TestRegistry_slash: the calldata of both roads and both generations is read
// back by the registry's interface, and slashes what it is for, once.
func TestRegistry_slash(t *testing.T) { forks(t, testRegistrySlash) }

func testRegistrySlash(t *testing.T, amsterdam bool) {
	for _, g := range []Generation{RegistryMain, RegistrySigningDomain} {
		for _, optedIn := range []bool{false, true} {
			u := newURC(t, amsterdam)
			e, r := claimed(t, u.home)
			u.remember(e.proof.ChildNumber, e.childHash)
			u.time = e.now
			build := func() ([]byte, error) { return SlashCommitment(e.file, g, r) }
			if optedIn {
				build = func() ([]byte, error) {
					return SlashOptedIn(e.file, g, r.Root, common.Address(committerKey(t).Address()), r.Committer)
				}
			}
			input := must(t)(build())
			if why := u.registryDouble(g, input); why != "" {
				t.Errorf("generation %d, opted in %t: %s", g, optedIn, why)
			}
			if why := u.registryDouble(g, input); why != "FaultKnown" {
				t.Errorf("generation %d, opted in %t, again: %q", g, optedIn, why)
			}
		}
	}
}

// TestRegistry_layout: what the registry reads first is where its interface has
// it: the root, the key, the signature and the branch of a registration.
func TestRegistry_layout(t *testing.T) {
	u := newURC(t, false)
	e, r := claimed(t, u.home)
	abis, err := registryABIs()
	if err != nil {
		t.Fatal(err)
	}
	values, err := abis[RegistrySigningDomain].Methods["slashCommitment"].Inputs.Unpack(must(t)(SlashCommitment(e.file, RegistrySigningDomain, r))[4:])
	if err != nil {
		t.Fatal(err)
	}
	proof := *abi.ConvertType(values[0], new(registrationProof)).(*registrationProof)
	signed := *abi.ConvertType(values[2], new(signedCommitment)).(*signedCommitment)
	signature, err := NewG2(r.Signature)
	if err != nil {
		t.Fatal(err)
	}
	if proof.RegistrationRoot != r.Root || proof.SigningId != r.SigningID || proof.Registration.Nonce != 4 || proof.Registration.Signature != signature ||
		proof.Registration.Pubkey != e.delegation.Delegation.Proposer || len(proof.MerkleProof) != 2 || proof.MerkleProof[1] != r.Proof[1] {
		t.Errorf("registration: %+v", proof)
	}
	if signed.Nonce != 8 || signed.SigningId != signingID || len(signed.Signature) != 65 || signed.Commitment.RequestHash != e.promise.Commitment.RequestHash {
		t.Errorf("commitment: %+v", signed)
	}
}

// TestRegistry_malformed: what the registry would refuse is no calldata.
func TestRegistry_malformed(t *testing.T) {
	u := newURC(t, false)
	e, good := claimed(t, u.home)
	for name, c := range map[string]struct {
		g      Generation
		change func(*evidence.File, *Registered)
	}{
		"the file has no committer": {RegistrySigningDomain, func(f *evidence.File, _ *Registered) { f.Promises[0].Committer = nil }},
		"somebody else's promise":   {RegistrySigningDomain, func(f *evidence.File, _ *Registered) { f.Promises[0].Commitment.RequestHash[0]++ }},
		"another nonce": {RegistrySigningDomain, func(f *evidence.File, _ *Registered) {
			f.Promises[0].Committer = &evidence.Committer{Nonce: 9, Signature: f.Promises[0].Committer.Signature}
		}},
		"another committer":               {RegistrySigningDomain, func(f *evidence.File, _ *Registered) { f.Delegation.Message.Committer = bellatrix.ExecutionAddress{1} }},
		"no registration":                 {RegistrySigningDomain, func(_ *evidence.File, r *Registered) { r.Signature = phase0.BLSSignature{} }},
		"two promises":                    {RegistrySigningDomain, func(f *evidence.File, _ *Registered) { *f = double(t, guilty(), another()) }},
		"main: the file's form":           {RegistryMain, func(f *evidence.File, r *Registered) { r.Committer = f.Promises[0].Committer.Signature }},
		"main: no committer":              {RegistryMain, func(_ *evidence.File, r *Registered) { r.Committer = nil }},
		"main: no delegation of its form": {RegistryMain, func(_ *evidence.File, r *Registered) { r.Delegation = phase0.BLSSignature{} }},
	} {
		f, r := edit(e.file, func(*evidence.File) {}), good
		c.change(&f, &r)
		if _, err := SlashCommitment(f, c.g, r); !errors.Is(err, evidence.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := SlashOptedIn(e.file, RegistrySigningDomain, good.Root, stranger, nil); !errors.Is(err, evidence.ErrMalformed) {
		t.Errorf("opted in with another committer: %v", err)
	}
}
