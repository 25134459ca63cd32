package slashing

import (
	"bytes"
	"context"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"sidecar/chain"
	"sidecar/internal/execution"
	"sidecar/slashing/evidence"
)

// tip is an execution node that knows one header.
type tip struct {
	Execution
	header []byte // nil: none
}

func (n *tip) CanonicalHeader(context.Context, uint64) ([]byte, phase0.Hash32, error) {
	if n.header == nil {
		return nil, phase0.Hash32{}, execution.ErrUnknownBlock
	}
	return n.header, phase0.Hash32{}, nil
}

func (n *tip) HeadNumber(context.Context) (number, timestamp uint64, err error) { return 9, 0, nil }

// headerOn is some header on a block.
func headerOn(t *testing.T, parent phase0.Hash32, extra byte) []byte {
	t.Helper()
	zero := new(uint64)
	text, err := rlp.EncodeToBytes(&types.Header{
		ParentHash: common.Hash(parent), UncleHash: types.EmptyUncleHash, Number: big.NewInt(8), Difficulty: new(big.Int), Extra: []byte{extra}, BaseFee: big.NewInt(1),
		WithdrawalsHash: &common.Hash{1}, BlobGasUsed: zero, ExcessBlobGas: zero, ParentBeaconRoot: &common.Hash{2}, RequestsHash: &common.Hash{3},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCollect_child: evidence rests on the child's hash. When the chain leaves
// the child and not the block, the new child is captured in its place.
func TestCollect_child(t *testing.T) {
	block := phase0.Hash32{7}
	n := &tip{header: headerOn(t, block, 1)}
	c := &Capture{Number: 7, Block: block}
	for i, step := range []struct {
		header []byte
		added  bool
		number uint64
	}{
		{n.header, true, 8}, {n.header, false, 8}, {headerOn(t, block, 2), true, 8}, {nil, true, 0}, {nil, false, 0}, {headerOn(t, block, 3), true, 8},
	} {
		n.header = step.header
		got, added, err := nodes{execution: n}.collect(t.Context(), &sight{}, c, nil, time.Time{})
		if err != nil || added != step.added || got.ChildNumber != step.number || !bytes.Equal(got.Headers.Child, step.header) {
			t.Errorf("step %d: added %t, child %d, %v", i, added, got.ChildNumber, err)
		}
	}
}

// handed is the promise of a sample file, as somebody would hand it in.
func handed(t *testing.T) (Handed, chain.Spec) {
	t.Helper()
	_, f := sampleFile(t, "absent")
	spec := specOf(f.Rules)
	h := Handed{Delegation: &f.Delegation}
	p := f.Promises[0]
	h.Promise.Commitment, h.Promise.SigningID = p.Commitment, p.SigningID
	h.Promise.Proxy.Signature, h.Promise.Proxy.Nonce = p.Signature, p.Nonce
	for _, sibling := range p.Branch {
		h.Promise.Proxy.Branch = append(h.Promise.Proxy.Branch, phase0.Root(sibling))
	}
	return h, spec
}

// TestAdd_forged: a copy of a promise that nobody signed, handed in first, does
// not keep the promise from being watched; nor does one that comes later.
func TestAdd_forged(t *testing.T) {
	h, spec := handed(t)
	spec.GenesisForkVersion = phase0.Version{0x10, 0, 9, 0x10} // Hoodi's, as the sample
	w := NewWatch(WatchConfig{Spec: spec, Clock: chain.NewClock(spec, nil), Execution: &tip{}, Store: NewStore(t.TempDir()), Log: slog.New(slog.DiscardHandler)})
	forged := h
	forged.Promise.Proxy.Signature[5] ^= 1
	for i, step := range []struct {
		Handed
		want string
	}{{forged, "PromiseSignature"}, {forged, "PromiseSignature"}, {h, ""}, {forged, ""}, {h, ""}} {
		if err := w.Add(step.Handed); err != nil {
			t.Fatal(err)
		}
		if len(w.list) != 1 || w.list[0].Reason != step.want || w.list[0].settled != (step.want != "") {
			t.Errorf("step %d: %d watched, %+v", i, len(w.list), w.list[0].Watched)
		}
	}
}

// TestDeadlines: half of the time, and nine tenths, are warned about once for each
// file, evidence of two promises included.
func TestDeadlines(t *testing.T) {
	spec := chain.Custom(time.Unix(1_700_000_000, 0), 12*time.Second, phase0.Version{1}, 0, 1)
	var now time.Time
	var log bytes.Buffer
	w := NewWatch(WatchConfig{Spec: spec, Clock: chain.NewClock(spec, func() time.Time { return now }), Execution: &tip{}, Store: NewStore(t.TempDir()), Log: slog.New(slog.NewTextHandler(&log, nil))})
	one := &watched{alarmed: map[string]int{}, Watched: Watched{Slot: 10, Twins: []string{"a", "b"}}}
	for _, step := range []struct {
		slot, left uint64
		warned     int
		over       bool
	}{{10, 8192, 0, false}, {4200, 4002, 2, false}, {4300, 3902, 2, false}, {7800, 402, 4, false}, {8201, 1, 4, false}, {8202, 0, 4, true}} {
		now = spec.GenesisTime.Add(time.Duration(step.slot) * spec.SlotDuration) // #nosec G115 -- a slot
		w.deadlines(t.Context(), one)
		if d := one.TwinsUntil; d.Slot != 10+evidence.Window || d.Left != step.left || d.TooLate != step.over || strings.Count(log.String(), "running out") != step.warned {
			t.Errorf("slot %d: %+v, want %d left, %d warnings\n%s", step.slot, d, step.left, step.warned, log.String())
		}
	}
}
