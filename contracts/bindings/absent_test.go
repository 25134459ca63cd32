package bindings

import (
	"math/big"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"sidecar/commitments"
)

// court is a verifier on a machine.
type court struct {
	*machine
	verifier Contract
	at       common.Address
}

func newCourt(t testing.TB, amsterdam bool) court {
	t.Helper()
	m := newMachine(t, amsterdam)
	m.time = genesisTime + storySlot*slotSeconds
	v := load(t, FaultVerifier)
	input, err := v.Deploy(VerifierConfig{
		GenesisTime: genesisTime, SlotMillis: slotSeconds * 1000, FirstSlot: firstSlot, EndSlot: endSlot,
		SigningDomain: domain(), SigningId: signingID,
	})
	if err != nil {
		t.Fatal(err)
	}
	return court{m, v, m.deploy(input)}
}

// absent asks for F1 and returns the fault, the gas and the excuse.
func (c court) absent(e told) (Fault, uint64, string) {
	c.t.Helper()
	c.time = e.now
	c.remember(e.proof.ChildNumber, e.childHash)
	out, gas, err := c.call(stranger, c.at, pack(c.t, c.verifier, "absent", manager, e.delegation, e.promise, e.proof))
	if err != nil {
		return Fault{}, 0, excuse(c.t, err)
	}
	return c.fault("absent", out), gas, ""
}

func (c court) double(d SignedDelegation, one, other SignedPromise) (Fault, uint64, string) {
	c.t.Helper()
	out, gas, err := c.call(stranger, c.at, pack(c.t, c.verifier, "double", manager, d, one, other))
	if err != nil {
		return Fault{}, 0, excuse(c.t, err)
	}
	return c.fault("double", out), gas, ""
}

func (c court) fault(method string, out []byte) Fault {
	c.t.Helper()
	values, err := c.verifier.ABI.Unpack(method, out)
	if err != nil {
		c.t.Fatal(err)
	}
	return *abi.ConvertType(values[0], new(Fault)).(*Fault)
}

func TestAbsent_guilty(t *testing.T) {
	for name, change := range map[string]func(*story){
		"plain":                 func(*story) {},
		"group of two":          func(s *story) { s.group = []common.Hash{{7}} },
		"group of five hundred": func(s *story) { s.group = make([]common.Hash, 9) },
		"leaf at the root":      func(s *story) { s.depth = 1 },
		"as deep as mainnet":    func(s *story) { s.depth = 9 },
		"exact funds": func(s *story) {
			s.pre.Balance = uint256.NewInt(30_000*30e9 + 1e15)
		},
		"base fee at the cap":   func(s *story) { s.baseFee = big.NewInt(30e9) },
		"block as small as gas": func(s *story) { s.gasLimit = 30_000 },
		"block full":            func(s *story) { s.gasUsed = s.gasLimit }, // whoever promises keeps room
		"balance grew":          func(s *story) { s.post.Balance = uint256.NewInt(2e18) },
		"long input": func(s *story) {
			s.tx.Data, s.tx.Gas = make([]byte, 3000), 21_000+64*3000
		},
		"no input, no value": func(s *story) { s.tx.Data, s.tx.Value, s.tx.Gas = nil, new(big.Int), 21_000 },
		"first nonce": func(s *story) {
			s.tx.Nonce, s.pre.Nonce, s.post.Nonce = 0, 0, 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, amsterdam := range []bool{false, true} {
				s := guilty()
				change(&s)
				f, _, why := newCourt(t, amsterdam).absent(s.tell(t))
				if why != "" {
					t.Fatalf("amsterdam %t: acquitted: %s", amsterdam, why)
				}
				if f.Slot != storySlot || f.Id == [32]byte{} {
					t.Errorf("amsterdam %t: fault %+v", amsterdam, f)
				}
			}
		})
	}
}

// excuses are the stories of honest validators, each with the name it acquits by.
func excuses() map[string]struct {
	want   string
	change func(*story)
} {
	type c = struct {
		want   string
		change func(*story)
	}
	tx := func(f func(*types.DynamicFeeTx)) func(*story) { return func(s *story) { f(s.tx) } }
	raw := func(f func([]byte) []byte) func(*story) { return func(s *story) { s.raw = f } }
	return map[string]c{
		"included":              {"NonceSpentInBlock", func(s *story) { s.post.Nonce++ }},
		"nonce used before":     {"NonceUsed", func(s *story) { s.pre.Nonce++; s.post.Nonce++ }},
		"nonce gap":             {"NonceGap", func(s *story) { s.pre.Nonce--; s.post.Nonce-- }},
		"funds moved":           {"FundsTooLow", func(s *story) { s.pre.Balance = uint256.NewInt(1e9) }},
		"one wei short":         {"FundsTooLow", func(s *story) { s.pre.Balance = uint256.NewInt(30_000*30e9 + 1e15 - 1) }},
		"value over balance":    {"FundsTooLow", tx(func(x *types.DynamicFeeTx) { x.Value = big.NewInt(1e18) })},
		"fee cap beyond sums":   {"FundsTooLow", tx(func(x *types.DynamicFeeTx) { x.GasFeeCap = new(big.Int).Lsh(gwei, 220) })},
		"value beyond sums":     {"FundsTooLow", tx(func(x *types.DynamicFeeTx) { x.Value = new(big.Int).Lsh(gwei, 220) })},
		"sender has code":       {"SenderHasCode", func(s *story) { s.pre.CodeHash = common.Hash{1}.Bytes() }},
		"base fee above cap":    {"BaseFeeAboveCap", func(s *story) { s.baseFee = big.NewInt(30e9 + 1) }},
		"gas above block":       {"GasAboveBlock", func(s *story) { s.gasLimit = 29_999 }},
		"other proposer":        {"OtherProposer", func(s *story) { s.blockIndex++ }},
		"slot missed, next":     {"OtherSlot", func(s *story) { s.blockSlot++ }},
		"slot missed, previous": {"OtherSlot", func(s *story) { s.blockSlot-- }},
		"before the forks":      {"SlotOutOfRange", func(s *story) { s.slot, s.blockSlot = firstSlot-1, firstSlot-1 }},
		"after the forks":       {"SlotOutOfRange", func(s *story) { s.slot, s.blockSlot = endSlot, endSlot }},
		"tip above cap":         {"TipAboveFeeCap", tx(func(x *types.DynamicFeeTx) { x.GasTipCap = big.NewInt(31e9) })},
		"other chain":           {"OtherChain", tx(func(x *types.DynamicFeeTx) { x.ChainID = big.NewInt(1) })},
		"creation":              {"ContractCreation", tx(func(x *types.DynamicFeeTx) { x.To = nil })},
		"access list":           {"AccessListNotEmpty", tx(func(x *types.DynamicFeeTx) { x.AccessList = types.AccessList{{}} })},
		"gas near the floor":    {"GasBelowFloor", tx(func(x *types.DynamicFeeTx) { x.Gas = 21_000 + 64*5 - 1 })},
		"gas above the cap":     {"GasAboveCap", tx(func(x *types.DynamicFeeTx) { x.Gas = 5_000_001 })},
		"last nonce":            {"NonceTooHigh", tx(func(x *types.DynamicFeeTx) { x.Nonce = 1<<64 - 1 })},
		"high s":                {"SignatureHighS", raw(highS)},
		"short recipient": {"TransactionEncoding", raw(func(b []byte) []byte {
			return relist(b, func(list []any) { list[5] = make([]byte, 19) })
		})},
		"parity beyond a byte": {"SignatureInvalid", raw(func(b []byte) []byte {
			return relist(b, func(list []any) { list[9] = 256 + list[9].(*big.Int).Uint64() })
		})},
		"r is zero": {"SignatureInvalid", raw(func(b []byte) []byte {
			return relist(b, func(list []any) { list[10] = uint64(0) })
		})},
		"legacy transaction":    {"TransactionType", raw(func(b []byte) []byte { return b[1:] })},
		"blob transaction":      {"TransactionType", raw(func(b []byte) []byte { return append([]byte{3}, b[1:]...) })},
		"no transaction":        {"TransactionType", raw(func([]byte) []byte { return nil })},
		"trailing byte":         {"TransactionEncoding", raw(func(b []byte) []byte { return append(b, 0) })},
		"truncated":             {"TransactionEncoding", raw(func(b []byte) []byte { return b[:len(b)-1] })},
		"type and nothing":      {"TransactionEncoding", raw(func(b []byte) []byte { return b[:1] })},
		"not a list":            {"TransactionEncoding", raw(func([]byte) []byte { return []byte{2, 0x80} })},
		"other delegation slot": {"DelegationSlot", func(s *story) { s.delegation = func(d *commitments.Delegation) { d.Slot++ } }},
		"delegation by another": {"DelegationSignature", func(s *story) { s.delegation = func(d *commitments.Delegation) { d.Proposer = d.Delegate } }},
		"promise by another":    {"PromiseSignature", func(s *story) { s.delegation = func(d *commitments.Delegation) { d.Delegate = d.Proposer } }},
		"another slasher":       {"OtherSlasher", func(s *story) { s.commitment = func(c *commitments.Commitment) { c.Slasher[0]++ } }},
		"fabric's type":         {"CommitmentType", func(s *story) { s.commitment = func(c *commitments.Commitment) { c.Type = 1 } }},
		"payload with a tail": {"PayloadEncoding", func(s *story) {
			s.commitment = func(c *commitments.Commitment) { c.Payload = append(c.Payload, make([]byte, 32)...) }
		}},
		"payload cut":            {"PayloadEncoding", func(s *story) { s.commitment = func(c *commitments.Commitment) { c.Payload = c.Payload[:100] } }},
		"payload, dirty padding": {"PayloadEncoding", func(s *story) { s.commitment = func(c *commitments.Commitment) { c.Payload[len(c.Payload)-1] = 1 } }},
		"payload, slot too big":  {"PayloadEncoding", func(s *story) { s.commitment = func(c *commitments.Commitment) { c.Payload[0] = 1 } }},
	}
}

func TestAbsent_excuses(t *testing.T) {
	for name, c := range excuses() {
		t.Run(name, func(t *testing.T) {
			for _, amsterdam := range []bool{false, true} {
				s := guilty()
				c.change(&s)
				if _, _, got := newCourt(t, amsterdam).absent(s.tell(t)); got != c.want {
					t.Errorf("amsterdam %t: got %q, want %q", amsterdam, got, c.want)
				}
			}
		})
	}
}

// highS replaces the signature by its other half, which recovers the same sender.
func highS(b []byte) []byte {
	return relist(b, func(list []any) {
		n, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
		list[9], list[11] = 1-list[9].(*big.Int).Uint64(), n.Sub(n, list[11].(*big.Int))
	})
}

// relist changes fields of a transaction, in canonical RLP.
func relist(b []byte, change func(list []any)) []byte {
	var tx types.Transaction
	if err := tx.UnmarshalBinary(b); err != nil {
		panic(err)
	}
	v, r, s := tx.RawSignatureValues()
	list := []any{tx.ChainId(), tx.Nonce(), tx.GasTipCap(), tx.GasFeeCap(), tx.Gas(), tx.To(), tx.Value(), tx.Data(), []any{}, v, r, s}
	change(list)
	body, err := rlp.EncodeToBytes(list)
	if err != nil {
		panic(err)
	}
	return append([]byte{2}, body...)
}

// TestVerifier_config: no verifier is made for a chain that cannot be.
func TestVerifier_config(t *testing.T) {
	good := VerifierConfig{GenesisTime: 1, SlotMillis: 12_000, FirstSlot: 1, EndSlot: 2, SigningDomain: [32]byte{1}}
	for name, change := range map[string]func(*VerifierConfig, *machine){
		"":              func(*VerifierConfig, *machine) {},
		"no slot time":  func(c *VerifierConfig, _ *machine) { c.SlotMillis = 0 },
		"no slots":      func(c *VerifierConfig, _ *machine) { c.FirstSlot = 2 },
		"no domain":     func(c *VerifierConfig, _ *machine) { c.SigningDomain = [32]byte{} },
		"too far":       func(c *VerifierConfig, _ *machine) { c.EndSlot = 1 << 40 },
		"huge chain id": func(_ *VerifierConfig, m *machine) { m.config.ChainID = new(big.Int).Lsh(big.NewInt(1), 64) },
		"no chain id":   func(_ *VerifierConfig, m *machine) { m.config.ChainID = new(big.Int) },
	} {
		c, m := good, newMachine(t, false)
		change(&c, m)
		input, err := load(t, FaultVerifier).Deploy(c)
		if err != nil {
			t.Fatal(err)
		}
		_, _, _, err = m.evm().Create(stranger, input, vm.NewGasBudget(30_000_000, 0), new(uint256.Int))
		if (err == nil) != (name == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestAbsent_evidence: proofs that do not hold, in an order no honest tool makes.
func TestAbsent_evidence(t *testing.T) { forks(t, testAbsentEvidence) }

func testAbsentEvidence(t *testing.T, amsterdam bool) {
	for name, c := range map[string]struct {
		want   string
		change func(*told)
	}{
		"child unknown":       {"ChildUnknown", func(e *told) { e.childHash[0]++ }},
		"child of the future": {"ChildUnknown", func(e *told) { e.proof.ChildNumber = 30_000 }},
		"target swapped":      {"TargetNotParent", func(e *told) { e.proof.TargetHeader = e.proof.ParentHeader }},
		"parent swapped":      {"ParentNotParent", func(e *told) { e.proof.ParentHeader = e.proof.TargetHeader }},
		"accounts swapped":    {"PreStateProof", func(e *told) { e.proof.PreState[0], e.proof.PreState[1] = e.proof.PreState[1], e.proof.PreState[0] }},
		"no account before":   {"PreStateProof", func(e *told) { e.proof.PreState = nil }},
		"no account after":    {"PostStateProof", func(e *told) { e.proof.PostState = nil }},
		"node dropped":        {"PostStateProof", func(e *told) { e.proof.PostState = e.proof.PostState[1:] }},
		"node twice":          {"PostStateProof", func(e *told) { e.proof.PostState = append(e.proof.PostState, e.proof.PostState[2]) }},
		"beacon parts swapped": {"OtherProposer", func(e *told) {
			e.proof.BeaconBodyRoot, e.proof.BeaconStateRoot = e.proof.BeaconStateRoot, e.proof.BeaconBodyRoot
		}},
		"delegation, other id":   {"OtherSigningId", func(e *told) { e.delegation.SigningId[0]++ }},
		"promise, other id":      {"OtherSigningId", func(e *told) { e.promise.SigningId[0]++ }},
		"delegation, nonce":      {"DelegationSignature", func(e *told) { e.delegation.Nonce++ }},
		"promise, nonce":         {"PromiseSignature", func(e *told) { e.promise.Nonce++ }},
		"promise, foreign group": {"PromiseSignature", func(e *told) { e.promise.Branch = [][32]byte{{1}} }},
		"infinite key":           {"DelegationSignature", func(e *told) { e.delegation.Delegation.Proposer, e.delegation.Signature = G1{}, G2{} }},
		"infinite signature":     {"PromiseSignature", func(e *told) { e.promise.Signature = G2{} }},
	} {
		s := guilty()
		e := s.tell(t)
		c.change(&e)
		if _, _, got := newCourt(t, amsterdam).absent(e); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestAbsent_window: the chain's history of hashes ends where EIP-2935 says.
func TestAbsent_window(t *testing.T) { forks(t, testAbsentWindow) }

func testAbsentWindow(t *testing.T, amsterdam bool) {
	for age, want := range map[uint64]string{1: "", 256: "", 257: "", 8190: "", 8191: "", 8192: "ChildUnknown"} {
		s := guilty()
		c := newCourt(t, amsterdam)
		s.childNumber = c.number - age
		if _, _, got := c.absent(s.tell(t)); got != want {
			t.Errorf("child %d blocks back: got %q, want %q", age, got, want)
		}
	}
}

func TestAbsent_split(t *testing.T) { forks(t, testAbsentSplit) }

func testAbsentSplit(t *testing.T, amsterdam bool) {
	c := newCourt(t, amsterdam)
	c.config.ChainID = big.NewInt(testChainID + 1)
	if _, _, got := c.absent(guilty().tell(t)); got != "ChainSplit" {
		t.Errorf("got %q", got)
	}
}

// TestAbsent_id: one fault has one id, whatever the proof looks like.
func TestAbsent_id(t *testing.T) { forks(t, testAbsentID) }

func testAbsentID(t *testing.T, amsterdam bool) {
	c := newCourt(t, amsterdam)
	one, _, _ := c.absent(guilty().tell(t))
	s := guilty()
	s.group = []common.Hash{{1}}
	s.commitment = func(c *commitments.Commitment) { c.RequestHash = phase0.Hash32{0xff} }
	s.tx.Data = []byte("other")
	if other, _, why := c.absent(s.tell(t)); why != "" || other.Id != one.Id {
		t.Errorf("the same slot, sender and nonce has two ids, %q", why)
	}
	s = guilty()
	s.tx.Nonce, s.pre.Nonce, s.post.Nonce = 6, 6, 6
	if other, _, why := c.absent(s.tell(t)); why != "" || other.Id == one.Id {
		t.Errorf("two nonces share an id, %q", why)
	}
}
