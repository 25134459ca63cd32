package slashing

import (
	"context"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/internal/execution"
	"sidecar/slashing/evidence"
)

// witness is an execution node as Verify asks it. Its contract has no code,
// unless it has rules.
type witness struct {
	id, head, time uint64
	hash           common.Hash // of the child's block; zero: unknown
	rules          *evidence.Rules
	down           bool
}

func (w *witness) ChainID(context.Context) (uint64, error) {
	if w.down {
		return 0, errDown
	}
	return w.id, nil
}

func (w *witness) CanonicalHeader(context.Context, uint64) ([]byte, phase0.Hash32, error) {
	if w.hash == (common.Hash{}) {
		return nil, phase0.Hash32{}, execution.ErrUnknownBlock
	}
	return nil, phase0.Hash32(w.hash), nil
}

func (w *witness) HeadNumber(context.Context) (uint64, uint64, error) { return w.head, w.time, nil }

func (w *witness) Call(_ context.Context, to [20]byte, data []byte) ([]byte, error) {
	if w.rules == nil {
		return nil, nil
	}
	verifier := common.Address{0xfe}
	r := w.rules
	if to != verifier {
		return common.LeftPadBytes(verifier[:], 32), nil
	}
	number := func(n uint64) []byte { return common.BigToHash(new(big.Int).SetUint64(n)).Bytes() }
	answers := map[string][]byte{
		string(selector("chainId()")): number(r.ChainID), string(selector("genesisTime()")): number(r.GenesisTime), string(selector("slotMillis()")): number(r.SlotMillis),
		string(selector("firstSlot()")): number(r.FirstSlot), string(selector("endSlot()")): number(r.EndSlot),
		string(selector("signingDomain()")): r.SigningDomain[:], string(selector("signingId()")): r.SigningID[:],
	}
	return answers[string(data)], nil
}

// sampleFile is evidence that was proven on an EVM.
func sampleFile(t *testing.T, name string) ([]byte, evidence.File) {
	t.Helper()
	text, err := os.ReadFile("evidence/testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := evidence.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return text, f
}

func TestVerify(t *testing.T) {
	absentText, absent := sampleFile(t, "absent")
	doubleText, _ := sampleFile(t, "double")
	child, number := absent.ChildHash(), absent.Absence.ChildNumber
	slotTime := absent.Rules.GenesisTime + 1_000_000*absent.Rules.SlotMillis/1000
	good := func() *witness {
		return &witness{id: absent.Rules.ChainID, head: number + 5, time: slotTime + 60, hash: child}
	}
	older := absent.Rules
	older.EndSlot = 1_000_000
	for name, c := range map[string]struct {
		text      []byte
		node      *witness
		trusted   common.Hash
		want, why string
		left      uint64
	}{
		"offline":                    {absentText, nil, common.Hash{}, Guilty, "", 0},
		"two promises, offline":      {doubleText, nil, common.Hash{}, Guilty, "", 0},
		"the trusted hash":           {absentText, nil, child, Guilty, "", 0},
		"another trusted hash":       {absentText, nil, common.Hash{1}, Acquitted, "ChildUnknown", 0},
		"a node":                     {absentText, good(), common.Hash{}, Guilty, "", evidence.Window - 5},
		"a node, with the rules":     {absentText, with(good(), func(w *witness) { w.rules = &absent.Rules }), common.Hash{}, Guilty, "", evidence.Window - 5},
		"a contract of older forks":  {absentText, with(good(), func(w *witness) { w.rules = &older }), common.Hash{}, Acquitted, "SlotOutOfRange", 0},
		"another chain":              {absentText, with(good(), func(w *witness) { w.id = 1 }), common.Hash{}, Acquitted, "OtherChain", 0},
		"reorganised":                {absentText, with(good(), func(w *witness) { w.hash = common.Hash{3} }), common.Hash{}, Acquitted, "ChildUnknown", 0},
		"the last block":             {absentText, with(good(), func(w *witness) { w.head = number + 8190 }), common.Hash{}, Guilty, "", 1},
		"a block too late":           {absentText, with(good(), func(w *witness) { w.head = number + 8191 }), common.Hash{}, TooLate, "", 0},
		"a node that is behind":      {absentText, with(good(), func(w *witness) { w.head, w.hash = number-1, common.Hash{} }), common.Hash{}, Undecided, "", 0},
		"a node that is down":        {absentText, with(good(), func(w *witness) { w.down = true }), common.Hash{}, Undecided, "", 0},
		"two promises, a node":       {doubleText, good(), common.Hash{}, Guilty, "", 0},
		"two promises, too late":     {doubleText, with(good(), func(w *witness) { w.time = slotTime + 8192*12 }), common.Hash{}, TooLate, "", 0},
		"two promises, just in time": {doubleText, with(good(), func(w *witness) { w.time = slotTime + 8191*12 }), common.Hash{}, Guilty, "", 0},
		"malformed":                  {absentText[:len(absentText)-1], nil, common.Hash{}, Malformed, "", 0},
		"nothing":                    {nil, nil, common.Hash{}, Malformed, "", 0},
	} {
		var o VerifyOptions
		if c.node != nil {
			o.Dial = func(evidence.Rules) (Node, error) { return c.node, nil }
		}
		if c.trusted != (common.Hash{}) {
			o.TrustedHash = &c.trusted
		}
		v := Verify(t.Context(), c.text, o)
		if v.Verdict != c.want || v.Excuse != c.why || v.BlocksLeft != c.left {
			t.Errorf("%s: got %s %s, %d blocks left, want %s %s, %d (%s)", name, v.Verdict, v.Excuse, v.BlocksLeft, c.want, c.why, c.left, v.Reason)
		}
		if (v.Verdict == Guilty) != (v.ID != nil && strings.HasPrefix(v.String(), "GUILTY")) && v.Verdict != TooLate {
			t.Errorf("%s: fault %v, %s", name, v.ID, v.String())
		}
		if v.VouchedBy == ByNobody && v.Verdict == Guilty && !strings.Contains(v.String(), "provided block 19990 has hash "+child.Hex()) {
			t.Errorf("%s: the condition is not said: %s", name, v.String())
		}
	}
}

func with(w *witness, change func(*witness)) *witness { change(w); return w }

func TestVerify_dial(t *testing.T) {
	text, _ := sampleFile(t, "absent")
	v := Verify(t.Context(), text, VerifyOptions{Dial: func(evidence.Rules) (Node, error) { return nil, errors.New("no") }})
	if v.Verdict != Undecided {
		t.Errorf("got %s", v.Verdict)
	}
}
