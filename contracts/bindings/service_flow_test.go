package bindings

import (
	"bytes"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// TestService_flow: real keys, real proofs, the real verifier behind the
// manager; only the core is a stand-in, which keeps what it was asked.
func TestService_flow(t *testing.T) {
	for _, amsterdam := range []bool{false, true} {
		s := newService(t, amsterdam)
		s.join(1)
		id, _ := s.submitAbsent(guilty())
		calls, _ := s.asked()
		if _, why := s.do(stranger, "execute", id); why != "TooEarly" {
			t.Errorf("before the delay: %q", why)
		}
		s.pass(delay)
		s.execute(id)
		after, last := s.asked()
		if after != calls+1 || last != s.slashing(1e17, "promised transaction absent") {
			t.Errorf("amsterdam %t: the core was asked %d times, for %s", amsterdam, after-calls, last)
		}
		if _, why := s.do(stranger, "execute", id); why != "NotPending" {
			t.Errorf("executed again: %q", why)
		}
	}
}

func TestService_double(t *testing.T) { forks(t, testServiceDouble) }

func testServiceDouble(t *testing.T, amsterdam bool) {
	s := newService(t, amsterdam)
	s.join(1)
	id, _ := s.submitDouble(guilty(), another())
	s.pass(delay)
	s.execute(id)
	if _, last := s.asked(); last != s.slashing(5e17, "two promises for one nonce") {
		t.Errorf("the core was asked for %s", last)
	}
}

// TestService_replay: the same fault in other bytes is the same fault.
func TestService_replay(t *testing.T) { forks(t, testServiceReplay) }

func testServiceReplay(t *testing.T, amsterdam bool) {
	s := newService(t, amsterdam)
	s.join(1)
	s.submitAbsent(guilty())
	if _, _, why := s.tryAbsent(guilty()); why != "FaultKnown" {
		t.Errorf("the same bytes: %q", why)
	}
	again := guilty()
	again.group, again.depth = []common.Hash{{5}}, 5
	if _, _, why := s.tryAbsent(again); why != "FaultKnown" {
		t.Errorf("another road to the same fault: %q", why)
	}
	e := s.tellHere(guilty())
	input := pack(t, s.manager, "submitAbsent", e.delegation, e.promise, e.proof)
	if _, _, err := s.call(stranger, s.home, append(input, make([]byte, 64)...)); excuse(t, err) != "FaultKnown" {
		t.Errorf("trailing bytes: %v", err)
	}
}

// TestService_excuses: excuses come through the manager by their names.
func TestService_excuses(t *testing.T) { forks(t, testServiceExcuses) }

func testServiceExcuses(t *testing.T, amsterdam bool) {
	for _, name := range []string{"included", "nonce gap", "funds moved", "other proposer", "slot missed, next", "delegation by another"} {
		s := newService(t, amsterdam)
		s.join(1)
		c := excuses()[name]
		st := guilty()
		c.change(&st)
		if _, _, why := s.tryAbsent(st); why != c.want {
			t.Errorf("%s: got %q, want %q", name, why, c.want)
		}
	}
	s := newService(t, amsterdam)
	s.join(1)
	st := guilty()
	e := st.tell(t) // the promise names another contract
	s.remember(e.proof.ChildNumber, e.childHash)
	_, why := s.do(stranger, "submitAbsent", e.delegation, e.promise, e.proof)
	if why != "OtherSlasher" {
		t.Errorf("promise to another contract: %q", why)
	}
}

// TestService_keys: whose promises the operator answers for.
func TestService_keys(t *testing.T) { forks(t, testServiceKeys) }

func testServiceKeys(t *testing.T, amsterdam bool) {
	s := newService(t, amsterdam)
	if _, _, why := s.tryAbsent(guilty()); why != "KeyNotActive" {
		t.Errorf("nobody's key: %q", why)
	}
	s = newService(t, amsterdam)
	forged := s.registration(s.key(1), stranger) // possession proven to another operator
	if _, why := s.do(core1, "registerOperator", operator, s.home, []uint32{0}, s.registrations(forged)); why != "PossessionNotProven" {
		t.Errorf("a proof for another operator: %q", why)
	}
	borrowed := s.registration(s.key(2), operator)
	borrowed.Pubkey = g1(t, s.key(1).PublicKey())
	if _, why := s.do(core1, "registerOperator", operator, s.home, []uint32{0}, s.registrations(borrowed)); why != "PossessionNotProven" {
		t.Errorf("another's key: %q", why)
	}
	s.time = genesisTime + storySlot*slotSeconds
	s.join(1) // in the promised slot itself: too late to answer for it
	if _, _, why := s.tryAbsent(guilty()); why != "KeyNotActive" {
		t.Errorf("joined in the slot: %q", why)
	}
}

// TestService_late: F2 has no block to be too old, so it has its own limit.
func TestService_late(t *testing.T) { forks(t, testServiceLate) }

func testServiceLate(t *testing.T, amsterdam bool) {
	s := newService(t, amsterdam)
	s.join(1)
	s.time = genesisTime + (storySlot+8192)*slotSeconds
	if _, _, why := s.tryDouble(guilty(), another()); why != "EvidenceTooOld" {
		t.Errorf("8192 slots back: %q", why)
	}
	s = newService(t, amsterdam)
	s.join(1)
	s.time = genesisTime + (storySlot+8191)*slotSeconds
	if _, _, why := s.tryDouble(guilty(), another()); why != "" {
		t.Errorf("8191 slots back: %q", why)
	}
}

// TestService_nonces: one fault a nonce, and a day's cap over all of them.
func TestService_nonces(t *testing.T) { forks(t, testServiceNonces) }

func testServiceNonces(t *testing.T, amsterdam bool) {
	s := newService(t, amsterdam)
	s.join(1)
	var ids [][32]byte
	for n := range uint64(6) {
		id, _ := s.submitAbsent(nonce(n))
		ids = append(ids, id)
	}
	s.pass(delay)
	s.time = s.time/86_400*86_400 + 86_400
	for i, id := range ids {
		want := ""
		if i == 5 { // 5 · 10 % is what a day may cost
			want = "DailyCapReached"
		}
		if _, why := s.do(stranger, "execute", id); why != want {
			t.Errorf("case %d: got %q, want %q", i, why, want)
		}
	}
}

// TestService_birth: the set is created with the manager as its slasher.
// createOperatorSets(address,(uint32,address[],address)[]) [EigenLayer v1.9]
func TestService_birth(t *testing.T) {
	s := newService(t, false)
	word := func(b []byte) []byte { return common.LeftPadBytes(b, 32) }
	input := bytes.Join([][]byte{
		common.FromHex("3dff8e7d"), word(s.home[:]), word([]byte{64}), word([]byte{1}), word([]byte{32}),
		word(nil), word([]byte{96}), word(s.home[:]), word([]byte{1}), word(strategy[:]),
	}, nil)
	if calls, last := s.asked(); calls != 2 || last != crypto.Keccak256Hash(input) {
		t.Errorf("the core was asked %d times, last for %s", calls, last)
	}
}

// TestService_birthPaying: a set that pays is created with its recipient, which
// no later call names, and the manager as its slasher.
// createRedistributingOperatorSets(address,(uint32,address[],address)[],address[]) [EigenLayer v1.9]
func TestService_birthPaying(t *testing.T) { forks(t, testServiceBirthPaying) }

func testServiceBirthPaying(t *testing.T, amsterdam bool) {
	fund := common.HexToAddress("0x000000000000000000000000000000000000f0d0")
	s := newServicePaying(t, amsterdam, fund)
	word := func(b []byte) []byte { return common.LeftPadBytes(b, 32) }
	input := bytes.Join([][]byte{
		common.FromHex("d1a83f54"), word(s.home[:]), word([]byte{96}), word([]byte{1, 64}), word([]byte{1}), word([]byte{32}),
		word(nil), word([]byte{96}), word(s.home[:]), word([]byte{1}), word(strategy[:]), word([]byte{1}), word(fund[:]),
	}, nil)
	if calls, last := s.asked(); calls != 2 || last != crypto.Keccak256Hash(input) {
		t.Errorf("the core was asked %d times, last for %s", calls, last)
	}
	if _, why := s.do(core1, "registerOperator", fund, s.home, []uint32{0}, []byte{}); why != "OperatorIsRecipient" {
		t.Errorf("the recipient joins: %q", why)
	}
	s.join(1)
	id, _ := s.submitAbsent(guilty())
	s.pass(delay)
	s.execute(id)
	if _, last := s.asked(); last != s.slashing(1e17, "promised transaction absent") {
		t.Error("slashing differs from that of a set that burns")
	}
}
