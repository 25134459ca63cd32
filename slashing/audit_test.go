package slashing

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"sidecar/internal/metrics"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/beacon"
	"sidecar/internal/ledger"
	"sidecar/signer"
)

var (
	errDown = errors.New("node down")
	// The promises of the tests, by request hash.
	hashA, hashB = phase0.Hash32{0xaa}, phase0.Hash32{0xbb}
)

// court is an auditor with a real ledger; node, execution and module are fakes
// with knobs.
type court struct {
	*Auditor
	ledger  *ledger.Ledger
	node    *node
	log     *strings.Builder
	metrics *metrics.Registry
}

// node is both sides of a node: blocks by slot. down fails every call.
type node struct {
	mu       sync.Mutex
	blocks   map[phase0.Slot]beacon.BlockInfo
	down     bool
	noEL     bool
	wrongEL  bool
	orphaned bool
	finality beacon.Finality
	asked    int
	verdicts func(commitments.Page, commitments.Block) []commitments.Verdict
	auditErr error
}

func (n *node) edit(f func(*node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n)
}

func (n *node) questions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

func (n *node) Block(_ context.Context, slot phase0.Slot) (beacon.BlockInfo, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	b, ok := n.blocks[slot]
	if n.down || !ok {
		return beacon.BlockInfo{}, errDown
	}
	return b, nil
}

func (n *node) Root(_ context.Context, slot phase0.Slot) (phase0.Root, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.down {
		return phase0.Root{}, errDown
	}
	return n.blocks[slot].Root, nil
}

func (n *node) Orphaned(context.Context, phase0.Slot) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.orphaned, nil
}

func (n *node) Finality(context.Context) (beacon.Finality, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.finality, nil
}

func (n *node) CanonicalAt(_ context.Context, slot phase0.Slot) (phase0.Hash32, bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch b := n.blocks[slot]; {
	case n.noEL:
		return phase0.Hash32{}, false, errDown
	case n.wrongEL:
		return phase0.Hash32{9}, true, nil
	default:
		return b.ExecutionHash, !b.Missed && b.ExecutionHash != phase0.Hash32{}, nil
	}
}

func (n *node) BlockByHash(_ context.Context, hash phase0.Hash32) (commitments.Block, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.noEL {
		return commitments.Block{}, errDown
	}
	return commitments.Block{Hash: hash, Number: 1, Txs: [][]byte{{1}}}, nil
}

// The auditor asks for these only to capture blocks with inclusion promises.
func (n *node) CanonicalHeader(context.Context, uint64) ([]byte, phase0.Hash32, error) {
	return nil, phase0.Hash32{}, errDown
}
func (n *node) HeaderRLP(context.Context, phase0.Hash32) ([]byte, error) { return nil, errDown }
func (n *node) AccountProof(context.Context, bellatrix.ExecutionAddress, phase0.Hash32) ([][]byte, error) {
	return nil, errDown
}
func (n *node) Call(context.Context, [20]byte, []byte) ([]byte, error) { return nil, errDown }

// Audit keeps every promise with a block, and excuses those of a missed slot.
func (n *node) Audit(_ context.Context, p commitments.Page, b commitments.Block) (vs []commitments.Verdict, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.auditErr != nil {
		return nil, n.auditErr
	}
	if n.verdicts != nil {
		return n.verdicts(p, b), nil
	}
	for _, q := range p.Promises {
		v := commitments.Verdict{RequestHash: q.Commitment.RequestHash, Outcome: commitments.Kept}
		if b.Missed {
			v.Outcome, v.Reason = commitments.Excused, "slot_missed"
		}
		vs = append(vs, v)
	}
	return vs, nil
}

func testSpec() chain.Spec {
	return chain.Spec{Name: "test", SlotDuration: 12 * time.Second, SlotsPerEpoch: 32, GenesisTime: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// inCourt holds a court in a bubble: two promises stand for slot 5, and the
// clock for slot 1.
func inCourt(t *testing.T, f func(c *court)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		spec := testSpec()
		path := filepath.Join(t.TempDir(), "ledger.db")
		book := ledger.Config{Path: path, Network: spec.Name, GenesisForkVersion: spec.GenesisForkVersion, Clock: chain.NewClock(spec, nil), NewKeys: true}
		if err := ledger.Create(book); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(book)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for i, hash := range []phase0.Hash32{hashA, hashB} {
			_, err := l.Append(t.Context(), page5, func(commitments.View) (ledger.Entry, error) {
				return ledger.Entry{
					Kind: ledger.KindCommitment, Module: "m", Key: commitments.BLSKey(phase0.BLSPubKey{1}), Root: phase0.Root{byte(i + 1)}, Resources: []string{hash.String()},
					Draft: &commitments.Draft{Commitment: commitments.Commitment{Type: 99, RequestHash: hash}},
				}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(12 * time.Second)
		c := &court{ledger: l, node: &node{blocks: map[phase0.Slot]beacon.BlockInfo{5: block5}}, log: &strings.Builder{}}
		c.metrics = metrics.NewRegistry()
		c.Auditor, err = New(Config{
			Clock: chain.NewClock(spec, nil), Spec: spec, Book: l, Signer: &signer.Signer{Ledger: l}, Module: c.node, Beacon: c.node, Execution: c.node,
			After: 2, Store: NewStore(t.TempDir()), Log: slog.New(slog.NewTextHandler(c.log, nil)), Metrics: NewMetrics(c.metrics),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = c.Run(ctx) }()
		f(c)
		cancel()
		<-done
	})
}

// block5 is the block of slot 5.
var block5 = beacon.BlockInfo{Slot: 5, Root: phase0.Root{5}, ExecutionHash: phase0.Hash32{5}}

var page5 = commitments.PageID{Slot: 5, Proposer: phase0.BLSPubKey{5}}

// verdicts are all the ledger ever had on a promise, in order.
func (c *court) verdicts(hash phase0.Hash32) (all []string) {
	_ = c.ledger.Records(func(r ledger.Record) error {
		if r.Entry != nil && r.Entry.Verdict != nil && r.Entry.Verdict.RequestHash == hash {
			all = append(all, said(*r.Entry.Verdict))
		}
		return nil
	})
	return all
}

// until sleeps until just after the middle of a slot, when the auditor looks.
func (c *court) until(slot phase0.Slot) {
	time.Sleep(c.Clock.Until(c.Clock.Start(slot)) + c.Spec.SlotDuration/2 + time.Millisecond)
	synctest.Wait()
}

func (c *court) outcome(hash phase0.Hash32) string {
	v, ok := c.Result(hash)
	if !ok {
		return "none"
	}
	return said(v)
}

func said(v commitments.Verdict) string {
	return strings.TrimSpace(v.Outcome.String() + " " + v.Stage.String() + " " + v.Reason)
}

func TestAudit_Kept(t *testing.T) {
	inCourt(t, func(c *court) {
		c.until(6)
		if got := c.outcome(hashA); got != "none" || c.node.questions() != 0 {
			t.Errorf("judged before slot + after: %s", got)
		}
		c.until(7)
		if a, b := c.outcome(hashA), c.outcome(hashB); a != "kept provisional" || b != "kept provisional" {
			t.Errorf("got %s, %s", a, b)
		}
		entries := c.ledger.Len()
		c.until(40)
		if asked := c.node.questions(); c.ledger.Len() != entries || asked != 1 {
			t.Errorf("judged again: %d entries, %d questions", c.ledger.Len()-entries, asked)
		}
		c.node.edit(func(n *node) { n.finality.Justified.Epoch = 1 })
		c.until(44)
		if a := c.outcome(hashA); a != "kept justified" {
			t.Errorf("got %s", a)
		}
		c.node.edit(func(n *node) { n.finality.Finalized.Epoch = 1 })
		c.until(48)
		if a := c.outcome(hashA); a != "kept final" {
			t.Errorf("got %s", a)
		}
		asked := c.node.questions()
		c.until(90)
		if now := c.node.questions(); now != asked || c.ledger.Len() != entries+4 {
			t.Errorf("a final verdict is looked at again: %d questions, %d entries", now-asked, c.ledger.Len()-entries)
		}
		for _, stage := range []string{"provisional", "justified", "final"} {
			if got, _ := c.metrics.Value(`sidecar_promises_total{outcome="kept",stage="` + stage + `"}`); got != 2 {
				t.Errorf("metric: got %v %s, want 2", got, stage)
			}
		}
		if _, ok := c.Result(phase0.Hash32{1}); ok {
			t.Error("a verdict on nothing")
		}
	})
}

// TestAudit_Reorg: another block is judged anew, and none excuses, until the slot
// is final; what is final stays.
func TestAudit_Reorg(t *testing.T) {
	inCourt(t, func(c *court) {
		breaks := func(_ commitments.Page, b commitments.Block) (vs []commitments.Verdict) {
			for _, hash := range []phase0.Hash32{hashA, hashB} {
				v := commitments.Verdict{RequestHash: hash, Outcome: commitments.Kept}
				switch {
				case b.Missed:
					v.Outcome, v.Reason = commitments.Excused, "slot_missed"
				case b.Hash == phase0.Hash32{6}:
					v.Outcome, v.Reason = commitments.Broken, "absent"
				}
				vs = append(vs, v)
			}
			return vs
		}
		c.node.edit(func(n *node) { n.verdicts = breaks })
		see := func(b beacon.BlockInfo) {
			c.node.edit(func(n *node) { n.blocks[5] = b; n.orphaned = b.Missed })
		}
		other := beacon.BlockInfo{Slot: 5, Root: phase0.Root{6}, ExecutionHash: phase0.Hash32{6}}
		slot := phase0.Slot(7)
		for _, scene := range []struct {
			block beacon.BlockInfo
			want  string
		}{
			{block5, "kept provisional"}, {other, "broken provisional absent"}, {beacon.BlockInfo{Slot: 5, Missed: true}, "excused provisional slot_orphaned"},
			{block5, "kept provisional"}, {block5, "kept provisional"}, {other, "broken provisional absent"},
		} {
			see(scene.block)
			c.until(slot)
			if got := c.outcome(hashA); got != scene.want {
				t.Errorf("slot %d: got %s, want %s", slot, got, scene.want)
			}
			slot++
		}
		history := c.verdicts(hashA)
		want := []string{
			"kept provisional", "unknown provisional reorganised", "broken provisional absent", "unknown provisional reorganised", "excused provisional slot_orphaned",
			"unknown provisional reorganised", "kept provisional", "unknown provisional reorganised", "broken provisional absent",
		}
		if !slices.Equal(history, want) {
			t.Errorf("the ledger has\n%q, want\n%q", history, want)
		}
		c.node.edit(func(n *node) { n.finality.Finalized.Epoch = 1 })
		c.until(slot)
		see(block5)
		c.until(slot + 40)
		if got := c.outcome(hashA); got != "broken final absent" {
			t.Errorf("after finality: got %s", got)
		}
	})
}

// TestAudit_Empty: a builder's bid without its payload. [EIP-7732]
func TestAudit_Empty(t *testing.T) {
	inCourt(t, func(c *court) {
		c.node.edit(func(n *node) { n.blocks[5] = beacon.BlockInfo{Slot: 5, Root: phase0.Root{5}, Bid: true} })
		c.until(8)
		if got := c.outcome(hashA); got != "excused provisional payload_empty" {
			t.Errorf("got %s", got)
		}
	})
}

func TestAudit_Missed(t *testing.T) {
	inCourt(t, func(c *court) {
		c.node.edit(func(n *node) { n.blocks[5] = beacon.BlockInfo{Slot: 5, Missed: true}; n.noEL = true })
		c.until(8)
		if got := c.outcome(hashA); got != "none" {
			t.Errorf("without the execution node's word: %s", got)
		}
		c.node.edit(func(n *node) { n.noEL = false })
		c.until(20)
		if got := c.outcome(hashA); got != "excused provisional slot_missed" {
			t.Errorf("got %s", got)
		}
	})
}

func TestAudit_Broken(t *testing.T) {
	inCourt(t, func(c *court) {
		c.node.edit(func(n *node) {
			n.verdicts = func(commitments.Page, commitments.Block) []commitments.Verdict {
				return []commitments.Verdict{{RequestHash: hashA, Outcome: commitments.Kept}, {RequestHash: hashB, Outcome: commitments.Broken, Reason: "absent", Evidence: []byte{1}}}
			}
		})
		c.until(8)
		if a, b := c.outcome(hashA), c.outcome(hashB); a != "kept provisional" || b != "broken provisional absent" {
			t.Errorf("got %s, %s", a, b)
		}
		if !strings.Contains(c.log.String(), "level=ERROR") || !strings.Contains(c.log.String(), "outcome=broken reason=absent") {
			t.Errorf("log: %s", c.log)
		}
	})
}
