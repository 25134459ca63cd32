package bindings

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"sidecar/commitments"
	"sidecar/contracts/devcore"
	"sidecar/contracts/eigenlayer"
)

// anvilService is the whole service on the second EVM: verifier, manager, and
// for the core our stand-in with its interface (contracts/devcore), on which
// stake really moves. An operator has 1,000 behind the set.
type anvilService struct {
	*anvil
	manager                    Contract
	home, core                 common.Address
	operator, staker, guardian common.Address
	child                      uint64 // of the last story
}

var anvilStake = new(big.Int).Mul(big.NewInt(1000), big.NewInt(1e18))

func newAnvilService(t *testing.T, hardfork string, recipient common.Address) *anvilService {
	t.Helper()
	// 1. A chain that begins a while before the promised slot.
	s := &anvilService{
		anvil:   startAnvil(t, hardfork, "--timestamp", fmt.Sprint(genesisTime+(storySlot-1000)*slotSeconds)),
		manager: load(t, PreconfServiceManager), child: 50,
	}
	s.operator, s.staker, s.guardian = s.more[0], s.more[1], s.more[2]
	// 2. The contracts.
	s.core = s.deploy(devcore.Creation())
	verifier, err := load(t, FaultVerifier).Deploy(VerifierConfig{
		GenesisTime: genesisTime, SlotMillis: slotSeconds * 1000, FirstSlot: firstSlot, EndSlot: endSlot, SigningDomain: domain(), SigningId: signingID,
	})
	if err != nil {
		t.Fatal(err)
	}
	input, err := s.manager.Deploy(ManagerConfig{
		AllocationManager: s.core, Verifier: s.deploy(verifier), Guardian: s.guardian, MetadataURI: "https://service.example",
		Strategies: []common.Address{s.core}, AbsentWad: big.NewInt(1e17), DoubleWad: big.NewInt(5e17), DailyWad: big.NewInt(5e17), Delay: delay,
		RedistributionRecipient: recipient,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.home = s.deploy(input)
	// 3. Stake, and the validator's key.
	keys := &service{court: newCourt(t, false), manager: s.manager, home: s.home}
	type approval struct {
		Signature []byte
		Expiry    *big.Int
	}
	s.tell(s.operator, "registerAsOperator", common.Address{}, uint32(0), "")
	s.tell(s.staker, "depositIntoStrategy", s.core, s.core, anvilStake)
	s.tell(s.staker, "delegateTo", s.operator, approval{Expiry: new(big.Int)}, [32]byte{})
	s.tell(s.operator, "registerForOperatorSets", s.operator, eigenlayer.RegisterParams{
		Avs: s.home, OperatorSetIds: []uint32{0}, Data: keys.registrations(keys.registration(keys.key(1), s.operator)),
	})
	s.tell(s.operator, "modifyAllocations", s.operator, []eigenlayer.AllocateParams{{
		OperatorSet: eigenlayer.OperatorSet{Avs: s.home}, Strategies: []common.Address{s.core}, NewMagnitudes: []uint64{1e18},
	}})
	s.must(nil, "anvil_mine", hexutil.Uint64(400)) // further back than BLOCKHASH reaches
	s.must(nil, "evm_setNextBlockTimestamp", hexutil.Uint64(genesisTime+(storySlot+20)*slotSeconds))
	s.must(nil, "anvil_mine", hexutil.Uint64(1))
	return s
}

// tell has the core called.
func (s *anvilService) tell(from common.Address, method string, arguments ...any) {
	s.t.Helper()
	s.send(from, &s.core, s.ask(method, arguments...))
}

func (s *anvilService) ask(method string, arguments ...any) []byte {
	s.t.Helper()
	input, err := eigenlayer.ABI().Pack(method, arguments...)
	if err != nil {
		s.t.Fatal(err)
	}
	return input
}

// number is the one number that a call of the core answers.
func (s *anvilService) number(input []byte) *big.Int {
	s.t.Helper()
	var out hexutil.Bytes
	s.must(&out, "eth_call", map[string]any{"from": s.from, "to": s.core, "input": hexutil.Bytes(input)}, "latest")
	return new(big.Int).SetBytes(out)
}

func (s *anvilService) balance(of common.Address) *big.Int {
	s.t.Helper()
	return s.number(append(common.FromHex("0x70a08231"), common.LeftPadBytes(of[:], 32)...)) // balanceOf
}

func (s *anvilService) shares() *big.Int {
	s.t.Helper()
	return s.number(s.ask("operatorShares", s.operator, s.core))
}

// absent is the calldata of a story's F1; its child is where the chain's history
// has it.
func (s *anvilService) absent(st story) []byte {
	s.t.Helper()
	was := st.commitment
	st.commitment = func(c *commitments.Commitment) { was(c); copy(c.Slasher[:], s.home[:]) }
	st.childNumber, s.child = s.child, s.child+1
	e := st.tell(s.t)
	slot := common.BigToHash(new(big.Int).SetUint64(st.childNumber))
	s.must(nil, "anvil_setStorageAt", params.HistoryStorageAddress, slot, e.childHash)
	return pack(s.t, s.manager, "submitAbsent", e.delegation, e.promise, e.proof)
}

// twice is the calldata of two stories' F2.
func (s *anvilService) twice(one, other story) []byte {
	s.t.Helper()
	a, b := here(s.home), here(s.home)
	a.tx, b.tx = one.tx, other.tx
	a.delegation, b.delegation = guilty().delegation, guilty().delegation
	e, o := a.tell(s.t), b.tell(s.t)
	return pack(s.t, s.manager, "submitDouble", e.delegation, e.promise, o.promise)
}

// submit sends a proof, as a stranger, and returns the case's id.
func (s *anvilService) submit(input []byte) common.Hash {
	s.t.Helper()
	r := s.send(s.from, &s.home, input)
	if len(r.Logs) != 1 || r.Logs[0].Topics[0] != s.manager.ABI.Events["FaultSubmitted"].ID {
		s.t.Fatalf("%d logs", len(r.Logs))
	}
	return r.Logs[0].Topics[1]
}

func (s *anvilService) execute(id common.Hash) *types.Receipt {
	s.t.Helper()
	return s.send(s.from, &s.home, pack(s.t, s.manager, "execute", [32]byte(id)))
}

// refused is the error by which a case would not be executed.
func (s *anvilService) refused(id common.Hash) string {
	s.t.Helper()
	return s.excuse(s.home, pack(s.t, s.manager, "execute", [32]byte(id)))
}

// pass lets so much time go by.
func (s *anvilService) pass(seconds uint64) {
	s.t.Helper()
	s.must(nil, "evm_increaseTime", hexutil.Uint64(seconds))
	s.must(nil, "anvil_mine", hexutil.Uint64(1))
}

// TestAnvil_service: submit, delay, execute, of both faults, on the second EVM,
// in a set that burns and in one that pays: the stake is gone, and is where it
// should be. What the manager refuses, it refuses there by the same names.
func TestAnvil_service(t *testing.T) {
	burn, fund := common.HexToAddress("0xe16e4"), common.HexToAddress("0xf0d0")
	for _, c := range []struct {
		hardfork  string
		recipient common.Address
		goesTo    common.Address
	}{{"prague", common.Address{}, burn}, {"osaka", common.Address{}, burn}, {"osaka", fund, fund}} {
		t.Run(fmt.Sprintf("%s to %s", c.hardfork, c.goesTo), func(t *testing.T) {
			s := newAnvilService(t, c.hardfork, c.recipient)
			tenths := func(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n*100), big.NewInt(1e18)) }
			// 1. F1, and nothing before its time.
			input := s.absent(guilty())
			id := s.submit(input)
			for what, got := range map[string]string{"TooEarly": s.refused(id), "FaultKnown": s.excuse(s.home, input), "NotPending": s.refused(common.Hash{1})} {
				if got != what {
					t.Errorf("got %q, want %q", got, what)
				}
			}
			for name, want := range map[string]string{"included": "NonceSpentInBlock", "funds moved": "FundsTooLow", "other proposer": "OtherProposer", "slot missed, next": "OtherSlot"} {
				st := guilty()
				excuses()[name].change(&st)
				if got := s.excuse(s.home, s.absent(st)); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			// 2. F2, and a third that the guardian, and nobody else, vetoes.
			double, wrong := s.submit(s.twice(guilty(), another())), s.submit(s.absent(nonce(7)))
			veto := pack(t, s.manager, "veto", [32]byte(wrong))
			if why := s.excuse(s.home, veto); why != "NotGuardian" {
				t.Errorf("a stranger's veto: %q", why)
			}
			s.send(s.guardian, &s.home, veto)
			// 3. After the delay, within a day's cap.
			s.pass(delay)
			if why := s.refused(wrong); why != "NotPending" {
				t.Errorf("vetoed: %q", why)
			}
			s.execute(id)
			if got := s.shares(); got.Cmp(tenths(9)) != 0 {
				t.Errorf("%s shares left, want %s", got, tenths(9))
			}
			if why := s.refused(double); why != "DailyCapReached" {
				t.Errorf("60 %% in a day: %q", why)
			}
			s.pass(86_400)
			s.execute(double)
			half := new(big.Int).Rsh(tenths(9), 1)
			if got := s.shares(); got.Cmp(half) != 0 {
				t.Errorf("%s shares left, want %s", got, half)
			}
			// 4. Where it went.
			for slash := range int64(2) {
				s.tell(s.from, "clearBurnOrRedistributableShares", eigenlayer.OperatorSet{Avs: s.home}, big.NewInt(slash+1))
			}
			if got, want := s.balance(c.goesTo), new(big.Int).Sub(anvilStake, half); got.Cmp(want) != 0 {
				t.Errorf("%s went to %s, want %s", got, c.goesTo, want)
			}
			if got := s.balance(burn); c.goesTo != burn && got.Sign() != 0 {
				t.Errorf("%s burnt", got)
			}
		})
	}
}
