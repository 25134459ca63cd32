// Package eigenlayer slashes stake in EigenLayer's real core: a module of its
// own, because the core's licence (BUSL) allows it in tests only.
package eigenlayer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/AllocationManager"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/DelegationManager"
	"github.com/Layr-Labs/eigenlayer-contracts/pkg/bindings/StrategyManager"
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/contracts/bindings"
	"sidecar/e2e/eigenlayer/core"
	"sidecar/internal/bls"
)

const (
	genesisTime = 1_742_213_400
	slotSeconds = 12
	storySlot   = 1_000_000
	delay       = 72 * 3600
)

// Keys published as test vectors. [Commit-Boost: tests/data/keystores, signer tests]
const (
	validatorSecret = "10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"
	delegateSecret  = "0501e85d5bc2e95f70efda47409710a7cf01dd02ff238e3efec679b27331d917"
	senderSecret    = "88bcd6672d95bcba0d52a3146494ed4d37675af4ed2206905eb161aa99a6c0d1"
)

var (
	owner     = at("0f01")
	operator  = at("0f02")
	staker    = at("0f03")
	stranger  = at("0f04")
	guardian  = at("0f05")
	signingID = phase0.Root{0x5c}
	stake     = new(big.Int).Mul(big.NewInt(1000), big.NewInt(1e18))
)

// service is our manager on the core, with an operator whose whole allocation
// is at stake and one validator key.
type service struct {
	*machine
	manager, verifier bindings.Contract
	home              common.Address
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{machine: newMachine(t), manager: load(t, bindings.PreconfServiceManager), verifier: load(t, bindings.FaultVerifier)}
	verifier, err := s.verifier.Deploy(bindings.VerifierConfig{
		GenesisTime: genesisTime, SlotMillis: slotSeconds * 1000, FirstSlot: 1, EndSlot: 2 * storySlot, SigningDomain: domain(), SigningId: signingID,
	})
	if err != nil {
		t.Fatal(err)
	}
	manager, err := s.manager.Deploy(bindings.ManagerConfig{
		AllocationManager: s.Allocation, Verifier: s.create(verifier), Guardian: guardian, MetadataURI: "https://service.example",
		Strategies: []common.Address{s.Strategy}, AbsentWad: big.NewInt(1e17), DoubleWad: big.NewInt(5e17), DailyWad: big.NewInt(5e17), Delay: delay,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.home = s.create(manager)
	s.restake()
	return s
}

// restake puts 1,000 tokens behind the operator and all of them behind the set.
func (s *service) restake() {
	s.t.Helper()
	mint := crypto.Keccak256([]byte("mint(address,uint256)"))[:4]
	if _, _, err := s.call(staker, s.Token, bytes.Join([][]byte{mint, common.LeftPadBytes(staker[:], 32), common.BigToHash(stake).Bytes()}, nil)); err != nil {
		s.t.Fatal(err)
	}
	delegation := DelegationManager.DelegationManagerMetaData
	s.must(operator, s.Delegation, delegation, "registerAsOperator", common.Address{}, uint32(0), "")
	s.must(staker, s.Strategies, StrategyManager.StrategyManagerMetaData, "depositIntoStrategy", s.Strategy, s.Token, stake)
	s.must(staker, s.Delegation, delegation, "delegateTo", operator, DelegationManager.ISignatureUtilsMixinTypesSignatureWithExpiry{Expiry: new(big.Int)}, [32]byte{})

	k := secret(s.t, validatorSecret)
	kind := common.LeftPadBytes([]byte("operator"), 32)
	object := crypto.Keccak256Hash(kind, common.LeftPadBytes(s.home[:], 32), common.LeftPadBytes(operator[:], 32))
	signature, err := bindings.NewG2(signed(k, phase0.Root(object), 1))
	if err != nil {
		s.t.Fatal(err)
	}
	pubkey, err := bindings.NewG1(k.PublicKey())
	if err != nil {
		s.t.Fatal(err)
	}
	list := abi.Arguments{s.manager.ABI.Methods["registerKeys"].Inputs[0]}
	keys, err := list.Pack([]bindings.Registration{{Pubkey: pubkey, Nonce: 1, Signature: signature}})
	if err != nil {
		s.t.Fatal(err)
	}
	allocation := AllocationManager.AllocationManagerMetaData
	s.must(operator, s.Allocation, allocation, "registerForOperatorSets", operator,
		AllocationManager.IAllocationManagerTypesRegisterParams{Avs: s.home, OperatorSetIds: []uint32{0}, Data: keys})
	s.number += uint64(core.Mainnet.Configuration) + 1
	s.must(operator, s.Allocation, allocation, "modifyAllocations", operator, []AllocationManager.IAllocationManagerTypesAllocateParams{{
		OperatorSet: AllocationManager.OperatorSet{Avs: s.home, Id: 0}, Strategies: []common.Address{s.Strategy}, NewMagnitudes: []uint64{1e18},
	}})
	s.pass(3600)
}

// pass lets time go by, and blocks with it.
func (s *service) pass(seconds uint64) {
	s.time += seconds
	s.number += seconds / slotSeconds
}

// double is two signed promises of one slot, sender and nonce.
func (s *service) double() (input []byte) {
	s.t.Helper()
	slot := phase0.Slot((s.time-genesisTime)/slotSeconds - 5)
	validator, delegate := secret(s.t, validatorSecret), secret(s.t, delegateSecret)
	d := commitments.Delegation{Proposer: validator.PublicKey(), Delegate: delegate.PublicKey(), Slot: slot}
	root, err := d.Root()
	if err != nil {
		s.t.Fatal(err)
	}
	var points [3]bindings.G2
	one, other := s.commitment(slot, 1), s.commitment(slot, 2)
	for i, sig := range []phase0.BLSSignature{signed(validator, root, 1), signed(delegate, one.Root(), 1), signed(delegate, other.Root(), 2)} {
		if points[i], err = bindings.NewG2(sig); err != nil {
			s.t.Fatal(err)
		}
	}
	proposer, err1 := bindings.NewG1(d.Proposer)
	proxy, err2 := bindings.NewG1(d.Delegate)
	if err := errors.Join(err1, err2); err != nil {
		s.t.Fatal(err)
	}
	promise := func(c commitments.Commitment, nonce uint64, p bindings.G2) bindings.SignedPromise {
		return bindings.SignedPromise{
			Commitment: bindings.Commitment{CommitmentType: c.Type, Payload: c.Payload, Slasher: common.Address(c.Slasher)},
			Nonce:      nonce, SigningId: signingID, Signature: p, Branch: [][32]byte{},
		}
	}
	signedDelegation := bindings.SignedDelegation{
		Delegation: bindings.Delegation{Proposer: proposer, Delegate: proxy, Slot: uint64(slot), Metadata: []byte{}},
		Nonce:      1, SigningId: signingID, Signature: points[0],
	}
	input, err = s.manager.ABI.Pack("submitDouble", signedDelegation, promise(one, 1, points[1]), promise(other, 2, points[2]))
	if err != nil {
		s.t.Fatal(err)
	}
	return input
}

// commitment promises a transfer of so many wei.
func (s *service) commitment(slot phase0.Slot, wei int64) commitments.Commitment {
	s.t.Helper()
	key, err := crypto.HexToECDSA(senderSecret)
	if err != nil {
		s.t.Fatal(err)
	}
	tx, err := types.SignNewTx(key, types.LatestSignerForChainID(big.NewInt(testChainID)), &types.DynamicFeeTx{
		ChainID: big.NewInt(testChainID), Nonce: 5, GasTipCap: big.NewInt(1), GasFeeCap: big.NewInt(30e9), Gas: 21_000, To: &stranger, Value: big.NewInt(wei),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		s.t.Fatal(err)
	}
	var payload []byte
	for _, n := range []uint64{uint64(slot), 77, 96, uint64(len(raw))} {
		payload = append(payload, common.BigToHash(new(big.Int).SetUint64(n)).Bytes()...)
	}
	payload = append(append(payload, raw...), make([]byte, -len(raw)&31)...)
	return commitments.Commitment{Type: bindings.TypeInclusion, Payload: payload, Slasher: bellatrix.ExecutionAddress(s.home)}
}

func (s *service) shares() *big.Int {
	s.t.Helper()
	return s.must(stranger, s.Delegation, DelegationManager.DelegationManagerMetaData, "operatorShares", operator, s.Strategy)[0].(*big.Int)
}

func (s *service) execute(id []byte) (uint64, error) {
	s.t.Helper()
	input, err := s.manager.ABI.Pack("execute", [32]byte(id))
	if err != nil {
		s.t.Fatal(err)
	}
	_, gas, err := s.call(stranger, s.home, input)
	return gas, err
}

// TestSlash: stake of 1,000, two promises for one nonce, proof, delay, and half
// of the stake is gone, to the burn address.
func TestSlash(t *testing.T) {
	s := newService(t)
	if got := s.shares(); got.Cmp(stake) != 0 {
		t.Fatalf("%s shares before, want %s", got, stake)
	}
	id, submit, err := s.call(stranger, s.home, s.double())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.execute(id); err == nil {
		t.Fatal("executed within the delay")
	}
	s.pass(delay)
	execute, err := s.execute(id)
	if err != nil {
		t.Fatal(err)
	}
	half := new(big.Int).Rsh(stake, 1)
	if got := s.shares(); got.Cmp(half) != 0 {
		t.Errorf("%s shares after, want %s", got, half)
	}
	s.must(stranger, s.Strategies, StrategyManager.StrategyManagerMetaData, "clearBurnOrRedistributableShares",
		StrategyManager.OperatorSet{Avs: s.home, Id: 0}, big.NewInt(1))
	out, _, err := s.call(stranger, s.Token, append(crypto.Keccak256([]byte("balanceOf(address)"))[:4], common.LeftPadBytes(core.Burn[:], 32)...))
	if err != nil || new(big.Int).SetBytes(out).Cmp(half) != 0 {
		t.Errorf("%x burnt, want %s, %v", out, half, err)
	}
	t.Logf("submit %d gas, execute with the real core %d gas", submit, execute)
	const ceiling = 1_400_000
	if submit+execute > ceiling {
		t.Errorf("%d gas, at most %d", submit+execute, ceiling)
	}
}

// TestSlash_stranger: only the manager slashes its set.
func TestSlash_stranger(t *testing.T) {
	s := newService(t)
	allocation := parsed(t, AllocationManager.AllocationManagerMetaData)
	input, err := allocation.Pack("slashOperator", s.home, AllocationManager.IAllocationManagerTypesSlashingParams{
		Operator: operator, Strategies: []common.Address{s.Strategy}, WadsToSlash: []*big.Int{big.NewInt(1e18)}, Description: "mine",
	})
	if err != nil {
		t.Fatal(err)
	}
	invalidCaller := allocation.Errors["InvalidCaller"].ID
	for _, who := range []common.Address{stranger, operator, guardian, owner} {
		if _, _, err := s.call(who, s.Allocation, input); err == nil || !strings.Contains(err.Error(), hex.EncodeToString(invalidCaller[:4])) {
			t.Errorf("%s: %v", who, err)
		}
	}
}

// TestSlash_exit: an operator that leaves is slashed until the core's delay of
// 14 days has passed, and not after it.
func TestSlash_exit(t *testing.T) {
	for name, c := range map[string]struct {
		wait uint64
		gone bool
	}{"within the delay": {13 * 86_400, false}, "after it": {15 * 86_400, true}} {
		s := newService(t)
		id, _, err := s.call(stranger, s.home, s.double())
		if err != nil {
			t.Fatal(err)
		}
		s.must(operator, s.Allocation, AllocationManager.AllocationManagerMetaData, "deregisterFromOperatorSets",
			AllocationManager.IAllocationManagerTypesDeregisterParams{Operator: operator, Avs: s.home, OperatorSetIds: []uint32{0}})
		s.pass(c.wait)
		if _, err := s.execute(id); (err != nil) != c.gone {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func signed(k *bls.SecretKey, object phase0.Root, nonce uint64) phase0.BLSSignature {
	return k.Sign(commitments.SigningRoot(domain(), testChainID, object, signingID, nonce))
}

func domain() phase0.Domain {
	spec := chain.Custom(time.Unix(genesisTime, 0), slotSeconds*time.Second, phase0.Version{0x10, 0, 9, 0x10}, 0, testChainID)
	return spec.Domain(chain.DomainCommitBoost)
}

func secret(t *testing.T, s string) *bls.SecretKey {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	k, err := bls.ParseSecretKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func load(t *testing.T, name string) bindings.Contract {
	t.Helper()
	c, err := bindings.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
