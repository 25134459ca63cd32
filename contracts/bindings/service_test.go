package bindings

import (
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/commitments"
	"sidecar/internal/bls"
)

const delay = 72 * 3600

var (
	core1    = common.HexToAddress("0x00000000000000000000000000000000000a110c") // the allocation manager
	guardian = common.HexToAddress("0x0000000000000000000000000000000000009a9d")
	operator = common.HexToAddress("0x000000000000000000000000000000000000e7a1")
	strategy = common.HexToAddress("0x00000000000000000000000000000000000057a7")
)

// echo stands where EigenLayer's allocation manager would: it writes the hash
// of its last input to storage, counts calls, and answers slash id 7 and no
// shares. The real core is in a module of its own, for its licence.
//
//	calldatacopy(0,0,calldatasize) sstore(0, keccak(0,calldatasize)) sstore(1, sload(1)+1) return (7, 64, 0)
const echo = "365f5f37365f205f55600154600101600155" + "60075f526040602052" + "5f604052" + "60605ff3"

// service is a manager with its verifier and the core's stand-in.
type service struct {
	court
	manager Contract
	home    common.Address
}

func newService(t testing.TB, amsterdam bool) *service {
	t.Helper()
	return newServicePaying(t, amsterdam, common.Address{})
}

// newServicePaying is one whose slashed stake goes to somebody.
func newServicePaying(t testing.TB, amsterdam bool, recipient common.Address) *service {
	t.Helper()
	s := &service{court: newCourt(t, amsterdam), manager: load(t, PreconfServiceManager)}
	code, err := hex.DecodeString(echo)
	if err != nil {
		t.Fatal(err)
	}
	s.state.SetCode(core1, code, tracing.CodeChangeUnspecified)
	s.time = genesisTime + (storySlot-100)*slotSeconds
	input, err := s.manager.Deploy(ManagerConfig{
		AllocationManager: core1, Verifier: s.at, Guardian: guardian, MetadataURI: "ipfs://x",
		Strategies: []common.Address{strategy}, AbsentWad: big.NewInt(1e17), DoubleWad: big.NewInt(5e17), DailyWad: big.NewInt(5e17), Delay: delay,
		RedistributionRecipient: recipient,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.home = s.deploy(input)
	return s
}

// do calls the manager; the excuse is "" if it agreed.
func (s *service) do(from common.Address, method string, arguments ...any) (uint64, string) {
	s.t.Helper()
	_, gas, err := s.call(from, s.home, pack(s.t, s.manager, method, arguments...))
	return gas, excuse(s.t, err)
}

// must is do for what has to succeed.
func (s *service) must(from common.Address, method string, arguments ...any) uint64 {
	s.t.Helper()
	gas, why := s.do(from, method, arguments...)
	if why != "" {
		s.t.Fatalf("%s: %s", method, why)
	}
	return gas
}

// registration proves possession of a key to an operator of this manager.
func (s *service) registration(k *bls.SecretKey, operator common.Address) Registration {
	s.t.Helper()
	kind := common.LeftPadBytes([]byte("operator"), 32)
	object := crypto.Keccak256Hash(kind, common.LeftPadBytes(s.home[:], 32), common.LeftPadBytes(operator[:], 32))
	signature, err := NewG2(signed(k, [32]byte(object), 1))
	if err != nil {
		s.t.Fatal(err)
	}
	return Registration{Pubkey: g1(s.t, k.PublicKey()), Nonce: 1, Signature: signature}
}

// key is the story's validator for 1, another for any other number.
func (s *service) key(n byte) *bls.SecretKey {
	if n == 1 {
		return secret(s.t, validatorSecret)
	}
	return secret(s.t, hex.EncodeToString(common.LeftPadBytes([]byte{n}, 32)))
}

func (s *service) join(n byte) uint64 {
	s.t.Helper()
	return s.must(core1, "registerOperator", operator, s.home, []uint32{0}, s.registrations(s.registration(s.key(n), operator)))
}

// registrations is abi.encode(Registration[]).
func (s *service) registrations(r ...Registration) []byte {
	s.t.Helper()
	list := abi.Arguments{s.manager.ABI.Methods["registerKeys"].Inputs[0]}
	data, err := list.Pack(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

func (s *service) addKey(n byte) uint64 {
	s.t.Helper()
	return s.must(operator, "registerKeys", []Registration{s.registration(s.key(n), operator)})
}

// tellHere tells a story whose promise names this manager.
func (s *service) tellHere(st story) told {
	s.t.Helper()
	was := st.commitment
	st.commitment = func(c *commitments.Commitment) { was(c); copy(c.Slasher[:], s.home[:]) }
	e := st.tell(s.t)
	s.remember(e.proof.ChildNumber, e.childHash)
	s.time = max(s.time, e.now)
	return e
}

// tryAbsent submits F1 and returns what the contract called the case.
func (s *service) tryAbsent(st story) (id [32]byte, gas uint64, why string) {
	s.t.Helper()
	e := s.tellHere(st)
	out, gas, err := s.call(stranger, s.home, pack(s.t, s.manager, "submitAbsent", e.delegation, e.promise, e.proof))
	if err != nil {
		return id, 0, excuse(s.t, err)
	}
	return [32]byte(out), gas, ""
}

func (s *service) submitAbsent(st story) (id [32]byte, gas uint64) {
	s.t.Helper()
	id, gas, why := s.tryAbsent(st)
	if why != "" {
		s.t.Fatalf("submit: %s", why)
	}
	return id, gas
}

func (s *service) tryDouble(one, other story) (id [32]byte, gas uint64, why string) {
	s.t.Helper()
	a, b := s.tellHere(one), s.tellHere(other)
	out, gas, err := s.call(stranger, s.home, pack(s.t, s.manager, "submitDouble", a.delegation, a.promise, b.promise))
	if err != nil {
		return id, 0, excuse(s.t, err)
	}
	return [32]byte(out), gas, ""
}

func (s *service) submitDouble(one, other story) (id [32]byte, gas uint64) {
	s.t.Helper()
	id, gas, why := s.tryDouble(one, other)
	if why != "" {
		s.t.Fatalf("submit: %s", why)
	}
	return id, gas
}

func (s *service) execute(id [32]byte) uint64 {
	s.t.Helper()
	return s.must(stranger, "execute", id)
}

// pass lets time go by, and no block with it.
func (s *service) pass(seconds uint64) { s.time += seconds }

// slashes is how often the core was called, and the hash of what it was last
// asked.
func (s *service) asked() (calls uint64, last common.Hash) {
	calls = s.state.GetState(core1, common.Hash{31: 1}).Big().Uint64()
	return calls, s.state.GetState(core1, common.Hash{})
}

// slashing is the one call to the core that a case comes to.
func (s *service) slashing(wad int64, why string) common.Hash {
	s.t.Helper()
	type params struct {
		Operator      common.Address
		OperatorSetId uint32
		Strategies    []common.Address
		WadsToSlash   []*big.Int
		Description   string
	}
	tuple, err := abi.NewType("tuple", "", []abi.ArgumentMarshaling{
		{Name: "operator", Type: "address"}, {Name: "operatorSetId", Type: "uint32"}, {Name: "strategies", Type: "address[]"},
		{Name: "wadsToSlash", Type: "uint256[]"}, {Name: "description", Type: "string"},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	address, err := abi.NewType("address", "", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	packed, err := abi.Arguments{{Type: address}, {Type: tuple}}.Pack(s.home, params{operator, 0, []common.Address{strategy}, []*big.Int{big.NewInt(wad)}, why})
	if err != nil {
		s.t.Fatal(err)
	}
	// slashOperator(address,(address,uint32,address[],uint256[],string)) [EigenLayer v1.9]
	return crypto.Keccak256Hash(common.FromHex("36352057"), packed)
}

// another is the guilty story with another transaction of the same nonce.
func another() story {
	s := guilty()
	s.tx.Value = big.NewInt(1)
	return s
}

// nonce is the guilty story of another nonce of the sender.
func nonce(n uint64) story {
	s := guilty()
	s.tx.Nonce, s.pre, s.post = n, plain(n, 1e18), plain(n, 1e18)
	s.childNumber -= n
	return s
}
