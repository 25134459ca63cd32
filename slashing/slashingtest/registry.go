package slashingtest

import (
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"sidecar/commitments"
	"sidecar/contracts/bindings"
	"sidecar/contracts/devcore"
	"sidecar/internal/ecdsa"
	"sidecar/slashing/evidence"
)

// Registry is a stand-in of the Universal Registry Contract with our slasher
// behind it, and the collateral of the scene's validator: ten ether.
type Registry struct {
	At, Slasher common.Address
	Root        common.Hash // of the validator's registration
	Committer   *ecdsa.SecretKey
	scene       *Scene
}

// Ether is so many, in wei.
func Ether(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(params.Ether)) }

// Registry deploys it, with a verifier. A fault costs one ether. Promises from
// here on name its slasher, delegations its committer.
func (s *Scene) Registry() *Registry {
	s.t.Helper()
	at := s.DevCore()
	s.Deploy(Terms{Allocation: at, Strategies: []common.Address{at}}) // for its verifier
	r := &Registry{At: s.Create(s.Owner, devcore.Registry()), scene: s}
	input, err := Load(s.t, bindings.UrcInclusionSlasher).Deploy(r.At, s.Verifier, Ether(1))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Slasher = s.Create(s.Owner, input)
	if r.Committer, err = ecdsa.ParseSecretKey(common.LeftPadBytes([]byte{0xc0}, 32)); err != nil {
		s.t.Fatal(err)
	}
	s.Manager, s.Committer = r.Slasher, common.Address(r.Committer.Address())
	key, err := bindings.NewG1(s.Validator.PublicKey())
	if err != nil {
		s.t.Fatal(err)
	}
	r.Root = crypto.Keccak256Hash(key.XHigh[:], key.XLow[:], key.YHigh[:], key.YLow[:])
	s.Pay(s.Owner, r.At, Ether(10), words("deposit(bytes32)", r.Root[:]))
	return r
}

// words encodes a call whose arguments are words.
func words(signature string, arguments ...[]byte) []byte {
	input := crypto.Keccak256([]byte(signature))[:4]
	for _, a := range arguments {
		input = append(input, common.LeftPadBytes(a, 32)...)
	}
	return input
}

// OptIn has the operator opt in to the slasher with the committer.
func (r *Registry) OptIn() {
	r.scene.t.Helper()
	s := r.scene
	s.Do(s.Owner, r.At, words("optInToSlasher(bytes32,address,address)", r.Root[:], r.Slasher[:], s.Committer[:]))
}

// Collateral is what is left of it, in wei.
func (r *Registry) Collateral() *big.Int {
	r.scene.t.Helper()
	out, err := r.scene.Call(r.scene.Stranger.Address, r.At, words("collateral(bytes32)", r.Root[:]))
	if err != nil {
		r.scene.t.Fatal(err)
	}
	return new(big.Int).SetBytes(out)
}

// Signed has the committer sign a file's promise, as the signing-domain branch
// wants it, and returns what main wants: the committer's signature, too, of its
// form. The stand-in checks no BLS signature: any point will do for those.
func (r *Registry) Signed(f evidence.File) (evidence.File, bindings.Registered) {
	t := r.scene.t
	t.Helper()
	c := f.Promises[0].Commitment
	own, err := r.Committer.Sign(commitments.SigningRoot(phase0.Domain(f.Rules.SigningDomain), f.Rules.ChainID, c.Root(), SigningID, 8))
	if err != nil {
		t.Fatal(err)
	}
	f.Promises = append([]evidence.Promise{}, f.Promises...)
	f.Promises[0].Committer = &evidence.Committer{Nonce: 8, Signature: own[:]}
	tuple := abi.Arguments{Load(t, bindings.UrcInclusionSlasher).ABI.Methods["slash"].Inputs[1]}
	packed, err := tuple.Pack(bindings.CommitmentMain{CommitmentType: c.Type, Payload: c.Payload, Slasher: common.Address(c.Slasher)})
	if err != nil {
		t.Fatal(err)
	}
	main, err := r.Committer.Sign(phase0.Root(crypto.Keccak256(packed)))
	if err != nil {
		t.Fatal(err)
	}
	return f, bindings.Registered{
		Root: r.Root, Signature: f.Delegation.Signature, Proof: []common.Hash{}, Delegation: f.Delegation.Signature, Committer: main[:],
	}
}
