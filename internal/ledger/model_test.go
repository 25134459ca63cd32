package ledger

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"pgregory.net/rapid"
	"sidecar/internal/metrics"

	"sidecar/chain"
	"sidecar/commitments"
)

// TestModel_Resources plays random requests, conflicts and restarts against a
// map from resource to root.
func TestModel_Resources(t *testing.T) { forEngines(t, testModel_Resources) }

func testModel_Resources(t *testing.T, e engineCase) {
	if e.name != "bbolt" {
		fewer(t, "20")
	}
	rapid.Check(t, func(t *rapid.T) {
		path := e.create(t)
		l, err := e.open(path, "holesky", holesky)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		model := map[string]Receipt{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l, err = e.open(path, "holesky", holesky); err != nil {
					t.Fatal(err)
				}
			}
			// Slots far apart, so that pages leave memory and come back.
			slot := phase0.Slot(rapid.SampledFrom([]int{1, 2, 3000, 9000}).Draw(t, "slot"))
			root := rapid.IntRange(0, 2).Draw(t, "root")
			resource := fmt.Sprintf("resource %d", rapid.IntRange(0, 3).Draw(t, "resource"))
			r, err := l.Append(context.Background(), page(slot), constant(promise(root, resource)))
			held, taken := model[resource]
			switch {
			case taken && held.Entry.Root != rootOf(root):
				if !errors.Is(err, ErrSlashable) {
					t.Fatalf("conflict: got %v, want %v", err, ErrSlashable)
				}
				continue
			case err != nil:
				t.Fatal(err)
			case taken && (r.Seq != held.Seq || !bytes.Equal(r.Signature, held.Signature)):
				t.Fatalf("repeat: got %d %x, want %d %x", r.Seq, r.Signature, held.Seq, held.Signature)
			case !taken && r.Seq != uint64(len(model)+1):
				t.Fatalf("seq: got %d, want %d", r.Seq, len(model)+1)
			}
			if rapid.Bool().Draw(t, "seal") {
				signature := bytes.Repeat([]byte{byte(root + 1)}, 96)
				if err := sealed(l, context.Background(), r, signature); err != nil {
					t.Fatal(err)
				}
				r.Signature = signature
				if rapid.Bool().Draw(t, "judge") {
					// Notes and verdicts take no part in the model; they only make pages leave.
					if _, err := l.Append(context.Background(), r.Page, constant(verdict(root, 1))); err != nil {
						t.Fatal(err)
					}
					model[fmt.Sprintf("note %d", len(model))] = Receipt{}
				}
			}
			model[resource] = r
		}
	})
}

// fewer makes rapid check less often, where every check is slow.
func fewer(t *testing.T, checks string) {
	t.Helper()
	before := flag.Lookup("rapid.checks").Value.String()
	if err := flag.Set("rapid.checks", checks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flag.Set("rapid.checks", before) })
}

func TestAppend_ConcurrentConflictsHaveOneWinner(t *testing.T) {
	forEngines(t, testAppend_ConcurrentConflictsHaveOneWinner)
}

func testAppend_ConcurrentConflictsHaveOneWinner(t *testing.T, e engineCase) {
	l, path := e.fresh(t)
	const callers, resources = 64, 10
	var mu sync.Mutex
	winners := map[string]map[phase0.Root]int{}
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for n := range resources {
				resource := fmt.Sprintf("resource %d", n)
				r, err := l.Append(context.Background(), page(1), constant(promise(caller%2, resource)))
				if errors.Is(err, ErrSlashable) {
					continue
				}
				if err == nil {
					err = sealed(l, context.Background(), r, bytes.Repeat(r.Entry.Root[:], 3))
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if winners[resource] == nil {
					winners[resource] = map[phase0.Root]int{}
				}
				winners[resource][r.Entry.Root]++
				mu.Unlock()
				if p := l.Page(page(1)); len(p.Promises) == 0 || len(l.View(page(2)).Open) != 1 {
					t.Error("released, and not on the page")
				}
			}
		})
	}
	group.Wait()
	for resource, roots := range winners {
		if len(roots) != 1 {
			t.Errorf("%s: %d roots won", resource, len(roots))
		}
	}
	if got, want := l.Len(), uint64(resources); got != want || len(winners) != resources {
		t.Errorf("%d entries and %d winners, want %d", got, len(winners), want)
	}
	if p := e.reopen(t, l, path).Page(page(1)); len(p.Promises) != resources {
		t.Errorf("%d promises after reopening, want %d", len(p.Promises), resources)
	}
}

// gated returns a ledger whose commits wait for the test: each commit announces
// itself on arrived and goes on when released.
func gated(t *testing.T) (l *Ledger, arrived, release chan struct{}) {
	t.Helper()
	first, path := fresh(t)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	arrived, release = make(chan struct{}), make(chan struct{})
	l, err := openWith(config(path), broken(func(d *disk) {
		d.append = func(f *os.File, frame []byte, off int64) error {
			arrived <- struct{}{}
			<-release
			return appendSync(f, frame, off)
		}
	}), replaceFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, arrived, release
}

func TestGroupCommit_NothingIsReleasedBeforeTheSync(t *testing.T) {
	l, arrived, release := gated(t)
	const callers = 16
	answers := make(chan Receipt, callers+1)
	ask := func(n int) {
		r, err := l.Append(context.Background(), page(1), constant(promise(n, fmt.Sprint(n))))
		if err != nil {
			t.Error(err)
		}
		answers <- r
	}
	go ask(0)
	<-arrived // the first batch is at the disk
	for n := range callers {
		go ask(n + 1)
	}
	time.Sleep(20 * time.Millisecond) // they all wait in the queue now
	if len(answers) != 0 || l.Len() != 0 || len(l.Page(page(1)).Promises) != 0 {
		t.Fatal("released or shown before the sync")
	}
	release <- struct{}{}
	<-arrived // all the others, in one batch
	<-answers
	if len(answers) != 0 || l.Len() != 1 {
		t.Fatalf("%d answers, %d entries before the second sync", len(answers), l.Len())
	}
	release <- struct{}{}
	seen := map[uint64]bool{}
	for range callers {
		select {
		case r := <-answers:
			seen[r.Seq] = true
		case <-arrived:
			t.Fatal("a third commit: they did not share one")
		case <-time.After(5 * time.Second):
			t.Fatal("no answer")
		}
	}
	if len(seen) != callers || l.Len() != callers+1 {
		t.Errorf("%d positions for %d callers, %d entries", len(seen), callers, l.Len())
	}
}

// TestGroupCommit_SealsDoNotTouchOldPages: a page that a reader holds stays as
// it was, whatever a batch of seals does to the page.
func TestGroupCommit_SealsDoNotTouchOldPages(t *testing.T) {
	l, arrived, release := gated(t)
	held := make(chan struct{}) // closed: commits wait for the test
	go func() {
		for range arrived {
			select {
			case <-held:
				time.Sleep(50 * time.Millisecond) // the next batch gathers
			default:
			}
			release <- struct{}{}
		}
	}()
	id := page(1)
	d := &commitments.Delegation{Proposer: id.Proposer, Slot: 1}
	receipts := []Receipt{must(t, l, id, Entry{Kind: KindDelegation, Key: commitments.BLSKey(phase0.BLSPubKey{9}), Root: rootOf(1), Resources: names("d"), Delegation: d})}
	for n := range 8 {
		receipts = append(receipts, must(t, l, id, promise(n, "")))
	}
	before := l.Page(id)
	close(held)
	var group sync.WaitGroup
	group.Go(func() { must(t, l, page(2), promise(99, "")) }) // occupies the writer
	for _, r := range receipts {
		time.Sleep(3 * time.Millisecond) // in this order: the delegation first
		group.Go(func() { seal(t, l, r, 7) })
	}
	group.Wait()
	for i := range before.Promises {
		if len(before.Promises[i].Signature) != 0 || len(l.Page(id).Promises[i].Signature) != 96 {
			t.Errorf("promise %d: a held page changed, or the new one did not", i)
		}
	}
}

func TestMetrics(t *testing.T) {
	registry := metrics.NewRegistry()
	m := NewMetrics(registry)
	value := func(name string) float64 {
		gauge, isGauge := registry.Value(name)
		count, isHistogram := registry.Value(name + "_count")
		if !isGauge && !isHistogram {
			t.Fatalf("no metric %s", name)
		}
		return gauge + count
	}
	first, path := fresh(t)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	var failing atomic.Bool
	l, err := openWith(config(path), broken(func(d *disk) {
		d.append = func(f *os.File, frame []byte, off int64) error {
			if failing.Load() {
				return errDisk
			}
			return appendSync(f, frame, off)
		}
	}), replaceFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	l.Measure(m, chain.NewClock(chain.Spec{}, nil))
	must(t, l, page(1), promise(1, ""))
	if value("sidecar_ledger_commit_seconds") != 1 || value("sidecar_ledger_batch_records") != 1 || value("sidecar_ledger_healthy") != 1 {
		t.Error("one commit is not one commit")
	}
	failing.Store(true)
	if _, err := l.Append(context.Background(), page(1), constant(promise(2, ""))); !errors.Is(err, ErrPoisoned) || value("sidecar_ledger_healthy") != 0 {
		t.Errorf("poisoned: %v, healthy %v", err, value("sidecar_ledger_healthy"))
	}
}

func TestAppend_CallerLeaves(t *testing.T) {
	l, arrived, release := gated(t)
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error)
	go func() {
		_, err := l.Append(ctx, page(1), constant(promise(1, "r")))
		failed <- err
	}()
	<-arrived
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	release <- struct{}{}
	// The entry stands, as documented; the same question has the same answer.
	r := must(t, l, page(1), promise(1, "r"))
	if r.Seq != 1 || len(l.Page(page(1)).Promises) != 1 {
		t.Errorf("seq %d, page %+v", r.Seq, l.Page(page(1)))
	}
}

func TestClose_FinishesWhatWaits(t *testing.T) {
	l, arrived, release := gated(t)
	results := make(chan error, 2)
	for n := range 2 {
		go func() {
			_, err := l.Append(context.Background(), page(1), constant(promise(n, fmt.Sprint(n))))
			results <- err
		}()
	}
	<-arrived
	closed := make(chan error)
	go func() { closed <- l.Close() }()
	go func() {
		release <- struct{}{}
		select { // the second batch, if the second caller was late
		case <-arrived:
			release <- struct{}{}
		case <-time.After(time.Second):
		}
	}()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	var done uint64
	for range 2 {
		if err := <-results; err == nil {
			done++
		} else if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	if got := l.Len(); got != done || done == 0 {
		t.Errorf("%d entries, %d were answered", got, done)
	}
}
