package events

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"go.uber.org/goleak"

	"sidecar/chain"
	"sidecar/internal/metrics"
	"sidecar/modules"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ modules.Events = (*Log)(nil)

// running opens a log in a directory and runs it until stop is called.
func running(t *testing.T, dir string) (l *Log, stop func()) {
	t.Helper()
	l, err := New(Config{Dir: dir, Clock: chain.NewClock(chain.Spec{}, nil), Lost: new(metrics.Counter)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	stop = func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		ended <- context.Canceled
	}
	t.Cleanup(stop)
	return l, stop
}

func publish(l *Log, slots ...uint64) {
	for _, s := range slots {
		l.Publish(modules.Event{Kind: modules.EventDuty, Slot: phase0.Slot(s), Relay: "r", Proposer: phase0.BLSPubKey{1}, BlockHash: phase0.Hash32{2}})
	}
}

// read reads n events after a number.
func read(t *testing.T, l *Log, seq uint64, n int) (all []modules.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for len(all) < n {
		some, err := l.After(ctx, seq)
		if err != nil {
			t.Fatalf("after %d: %v", seq, err)
		}
		all = append(all, some...)
		seq = all[len(all)-1].Seq
	}
	return all
}

func wants(t *testing.T, all []modules.Event, slots ...uint64) {
	t.Helper()
	if len(all) != len(slots) {
		t.Fatalf("%d events, want %d", len(all), len(slots))
	}
	for i, e := range all {
		if uint64(e.Slot) != slots[i] || e.Kind != modules.EventDuty || e.Relay != "r" || e.At.IsZero() || e.Proposer[0] != 1 || e.BlockHash[0] != 2 {
			t.Errorf("event %d: got %+v, want slot %d", i, e, slots[i])
		}
	}
}

// TestOrder: events come in order, to whoever waits, and again after a restart.
func TestOrder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	l, stop := running(t, dir)
	waits := make(chan []modules.Event, 1)
	go func() {
		all, _ := l.After(context.Background(), 0)
		waits <- all
	}()
	publish(l, 10, 11, 12)
	if all := <-waits; all[0].Slot != 10 || all[0].Seq != 1 {
		t.Errorf("who waited got %+v", all)
	}
	first := read(t, l, 0, 3)
	wants(t, first, 10, 11, 12)
	publish(l, 13)
	stop() // what was published is written
	l, stop = running(t, dir)
	wants(t, read(t, l, 0, 4), 10, 11, 12, 13)
	wants(t, read(t, l, first[1].Seq, 2), 12, 13)
	if again := read(t, l, 0, 1)[0]; again != first[0] {
		t.Errorf("came back as %+v, was %+v", again, first[0])
	}
	publish(l, 14)
	if last := read(t, l, 4, 1)[0]; last.Seq != 5 {
		t.Errorf("numbers begin anew: %+v", last)
	}
	if _, err := l.After(t.Context(), 6); !errors.Is(err, modules.ErrCursor) {
		t.Errorf("a number of the future: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := l.After(short, 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing new: %v", err)
	}
	stop()
}

// TestTorn: a crash in the middle of a line costs that line.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	l, stop := running(t, dir)
	publish(l, 1, 2)
	read(t, l, 0, 2)
	stop()
	path := filepath.Join(dir, newer)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"seq":3,"kind":"du`); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	l, stop = running(t, dir)
	publish(l, 3)
	wants(t, read(t, l, 0, 3), 1, 2, 3)
	stop()
	l, _ = running(t, dir)
	wants(t, read(t, l, 0, 3), 1, 2, 3)
}

// TestFlood: nobody waits, and what was lost is a gap.
func TestFlood(t *testing.T) {
	dir := t.TempDir()
	lost := new(metrics.Counter)
	l, err := New(Config{Dir: dir, Clock: chain.NewClock(chain.Spec{}, nil), Lost: lost})
	if err != nil {
		t.Fatal(err)
	}
	for i := range waiting + 100 { // it does not run yet
		publish(l, uint64(i))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	all := read(t, l, 0, waiting)
	publish(l, 7)
	all = append(all, read(t, l, all[len(all)-1].Seq, 1)...)
	if first := all[0].Seq; first != 101 {
		t.Errorf("numbers begin at %d, and 100 were lost", first)
	}
	cancel()
	<-ended
}

// TestRotation: the log is bounded, in memory and on disk.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	l, stop := running(t, dir)
	const n = 2*perFile + 3000
	for i := range n {
		publish(l, uint64(i))
		if i%500 == 499 {
			for l.seq() < uint64(i+1) {
				time.Sleep(time.Millisecond)
			}
		}
	}
	stop()
	if len(l.kept) > 2*perFile {
		t.Errorf("%d kept", len(l.kept))
	}
	l, _ = running(t, dir)
	if got := len(l.kept); got < perFile || got > 2*perFile+waiting {
		t.Errorf("%d kept after a restart", got)
	}
	if l.last != n || uint64(l.kept[len(l.kept)-1].Slot) != n-1 {
		t.Errorf("the last is %d", l.last)
	}
	if all := read(t, l, 5, 1); all[0].Seq <= 5 { // long gone: the oldest kept
		t.Errorf("got %+v", all[0])
	}
}

// seq is the highest number written.
func (l *Log) seq() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// TestDisk: what cannot be written is lost by count, and the log goes on.
func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "events")
	l, err := New(Config{Dir: dir, Clock: chain.NewClock(chain.Spec{}, nil)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the directory should be
		t.Fatal(err)
	}
	l.write([]modules.Event{{Slot: 1}, {Slot: 2}})
	_ = os.Remove(dir)
	l.write([]modules.Event{{Slot: 3}})
	if all, err := l.After(t.Context(), 0); err != nil || len(all) != 1 || all[0].Slot != 3 || all[0].Seq != 3 {
		t.Errorf("got %+v, %v", all, err)
	}
	_ = l.file.Close()
}
