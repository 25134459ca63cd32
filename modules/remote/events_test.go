package remote_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/modules"
	"sidecar/modules/remote"
)

// happened is a log of events.
type happened struct {
	mu   sync.Mutex
	list []modules.Event
	last uint64
	more chan struct{}
}

func (h *happened) add(n int, kind modules.EventKind) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range n {
		h.last++
		h.list = append(h.list, modules.Event{
			Seq: h.last, Kind: kind, At: time.UnixMilli(1_700_000_000_123).UTC(), Slot: phase0.Slot(h.last), Proposer: phase0.BLSPubKey{1},
			BlockHash: phase0.Hash32{2}, Relay: "a", ValueWei: "7", Refused: true,
		})
	}
	if h.more != nil {
		close(h.more)
		h.more = nil
	}
}

func (h *happened) After(ctx context.Context, seq uint64) ([]modules.Event, error) {
	for {
		h.mu.Lock()
		if seq > h.last {
			h.mu.Unlock()
			return nil, modules.ErrCursor.With("%d", seq)
		}
		var out []modules.Event
		for _, e := range h.list {
			if e.Seq > seq && len(out) < 5 {
				out = append(out, e)
			}
		}
		if h.more == nil {
			h.more = make(chan struct{})
		}
		more := h.more
		h.mu.Unlock()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// listener is a module's process that is told of events.
type listener struct {
	inbox *remote.Inbox
	url   string
	stop  func()
}

func listening(t *testing.T, listen string) listener {
	t.Helper()
	l := listener{inbox: new(remote.Inbox)}
	h, err := remote.Handler(remote.ServeConfig{
		Secret: secret, Module: obedient{func(context.Context) error { return nil }}, Events: l.inbox,
	})
	if err != nil {
		t.Fatal(err)
	}
	l.url, l.stop = listenOn(t, listen, h)
	return l
}

// sidecar tells a module at a URL of events, until stop.
func sidecar(t *testing.T, url string, from modules.Events) (m modules.Module, stop func()) {
	t.Helper()
	m, err := remote.New(remote.Config{
		ID: "obedient", URL: url, Secret: secret, CommitmentTypes: []uint64{5}, ConstraintTypes: []uint64{5}, Events: from,
		Budgets: modules.Budgets{Slot: 10 * time.Second, Verify: 10 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	r, _ := modules.RunnerOf(m)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return m, stop
}

// read reads until an event has the number last. Events come in order, without
// a gap, and as they were published.
func read(t *testing.T, from *remote.Inbox, seq, last uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for seq < last {
		list, err := from.After(ctx, seq)
		if err != nil {
			t.Fatalf("after %d: %v", seq, err)
		}
		for _, e := range list {
			if want := (modules.Event{
				Seq: seq + 1, Kind: e.Kind, At: time.UnixMilli(1_700_000_000_123).UTC(), Slot: phase0.Slot(seq + 1), Proposer: phase0.BLSPubKey{1},
				BlockHash: phase0.Hash32{2}, Relay: "a", ValueWei: "7", Refused: true,
			}); e != want {
				t.Fatalf("got %+v, want %+v", e, want)
			}
			seq++
		}
	}
}

// TestEvents_Remote: a module in another process is told of everything in order,
// and again of what it has not dealt with after either of the two was killed. It
// alone says where to begin.
func TestEvents_Remote(t *testing.T) {
	var h happened
	l := listening(t, "127.0.0.1:0")
	_, stop := sidecar(t, l.url, &h)
	h.add(12, modules.EventDuty)
	read(t, l.inbox, 0, 12)
	h.add(3, modules.EventBid)
	read(t, l.inbox, 12, 15)
	h.add(1, modules.EventReorg)

	l.stop() // the module is killed; it had dealt with 9
	l = listening(t, strings.TrimPrefix(l.url, "http://"))
	read(t, l.inbox, 9, 16)

	stop() // the sidecar is killed
	_, stop = sidecar(t, l.url, &h)
	h.add(2, modules.EventBlockSeen)
	read(t, l.inbox, 16, 18)
	stop()

	var another happened // the log is lost
	another.add(3, modules.EventDuty)
	sidecar(t, l.url, &another)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if list, err := l.inbox.After(ctx, 18); !errors.Is(err, modules.ErrCursor) {
		t.Fatalf("got %v, %v, want %v", list, err, modules.ErrCursor)
	}
	read(t, l.inbox, 0, 3)
}

// TestEvents_Deaf: a module that takes no events, hangs over them or lies about
// them costs nobody anything: what else it is asked it answers, and Run ends.
func TestEvents_Deaf(t *testing.T) {
	for name, do := range map[string]http.HandlerFunc{
		"takes none":    say(404, `{"code":404,"message":"no","reason":"not_found"}`),
		"never answers": hang,
		"never moves":   say(200, `{"after":0}`),
		"from nowhere":  say(200, `{"after":18446744073709551615}`),
		"no number":     say(200, `{}`),
		"another field": say(200, `{"after":0,"before":1}`),
		"minus":         say(200, `{"after":-1}`),
		"hangs up":      raw("HTTP/1.1 200 OK\r\n"),
		"fails":         say(500, `{"code":500,"message":"no","reason":"internal"}`),
		"too much":      func(w http.ResponseWriter, _ *http.Request) { endless(w) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(chan struct{}, 1)
			r := newRogue(t, func(w http.ResponseWriter, q *http.Request) {
				if strings.HasSuffix(q.URL.Path, "/events") {
					select {
					case told <- struct{}{}:
					default:
					}
					do(w, q)
					return
				}
				say(200, `{}`)(w, q)
			})
			var h happened
			h.add(20, modules.EventDuty)
			m, stop := sidecar(t, r.URL, &h)
			select {
			case <-told:
			case <-time.After(30 * time.Second):
				t.Fatal("not told")
			}
			for range 20 {
				if err := m.Verify(t.Context(), commitments.Page{}, commitments.Candidate{}); err != nil {
					t.Fatalf("verify: %v", err)
				}
			}
			stop()
			if n := r.asked.Load(); n > 40 {
				t.Errorf("told %d times", n-20)
			}
		})
	}
}

// listenOn serves h at an address until stop, which ends it as a kill would.
func listenOn(t *testing.T, listen string, h http.Handler) (url string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	stop = func() { _ = s.Close() }
	t.Cleanup(stop)
	return "http://" + l.Addr().String(), stop
}

func endless(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"after":`)
	for {
		if _, err := io.WriteString(w, strings.Repeat("0", 1<<16)); err != nil {
			return
		}
	}
}
