package beacon

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// head is the text of a head event.
func head(slot, current string) string {
	return "event: head\ndata: {\"slot\":\"" + slot + "\",\"block\":\"0x" + strings.Repeat("ab", 32) +
		"\",\"previous_duty_dependent_root\":\"0x" + strings.Repeat("11", 32) +
		"\",\"current_duty_dependent_root\":\"0x" + strings.Repeat(current, 32) + "\"}\n\n"
}

// runSchedule runs a schedule of the validator that proposes slots 150 (epoch 4).
func runSchedule(t *testing.T, n *node, slot phase0.Slot) (*Schedule, *chain.Clock) {
	t.Helper()
	clock := clockAt(prysmSpec(), slot)
	c := newTestClient(t, n, clock)
	s := NewSchedule(c, clock, func() []phase0.BLSPubKey { return ours(t) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s, clock
}

// ours is the recorded proposer of slots 148 and 150.
func ours(t *testing.T) []phase0.BLSPubKey {
	t.Helper()
	n := newNode(t)
	d, err := newTestClient(t, n, clockAt(prysmSpec(), 147)).ProposerDuties(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := d.of(148)
	b, _ := d.of(150)
	return []phase0.BLSPubKey{a.Pubkey, b.Pubkey}
}

func TestSchedule_Recorded(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	keys := ours(t)
	s, _ := runSchedule(t, n, 147)
	if err := NewSchedule(s.client, s.clock, s.keys).Ready(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("before the first answer: got %v", err)
	}
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	if got, index, ok := s.Proposer(148); !ok || got != keys[0] || index != 40 {
		t.Errorf("slot 148: got %v %d %t", got, index, ok)
	}
	if _, _, ok := s.Proposer(149); ok {
		t.Error("slot 149 is not ours")
	}
	for _, slot := range []phase0.Slot{0, 96, 192, 1 << 62, ^phase0.Slot(0)} {
		if _, _, ok := s.Proposer(slot); ok {
			t.Errorf("slot %d: got a proposer", slot)
		}
	}
	up := s.Upcoming()
	if len(up) < 2 || up[0].Slot != 148 || up[1].Slot != 150 {
		t.Errorf("upcoming: got %+v", up)
	}
	for i := 1; i < len(up); i++ {
		if up[i].Slot <= up[i-1].Slot {
			t.Errorf("upcoming is not ascending: %+v", up)
		}
	}
}

func TestSchedule_StopsPromises(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, path, from, to string
		want                 error
	}{
		{"syncing", "/eth/v1/node/syncing", `"is_syncing":false`, `"is_syncing":true`, ErrSyncing},
		{"optimistic", "/eth/v1/node/syncing", `"is_optimistic":false`, `"is_optimistic":true`, ErrSyncing},
		{"el offline", "/eth/v1/node/syncing", `"el_offline":false`, `"el_offline":true`, ErrSyncing},
		{"head of the future", "/eth/v1/node/syncing", `"146"`, `"1460"`, ErrUnavailable},
		{"head of the past", "/eth/v1/node/syncing", `"146"`, `"14"`, ErrSyncing},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			s, _ := runSchedule(t, n, 147)
			eventually(t, "ready", func() bool { return s.Ready() == nil })
			n.edit(tt.path, tt.from, tt.to)
			began := time.Now()
			eventually(t, "not ready", func() bool { return errors.Is(s.Ready(), tt.want) })
			if took := time.Since(began); took > 1500*time.Millisecond {
				t.Errorf("took %s", took)
			}
			if _, _, ok := s.Proposer(148); !ok {
				t.Error("the duties are forgotten")
			}
			n.edit(tt.path, tt.to, tt.from)
			eventually(t, "ready again", func() bool { return s.Ready() == nil })
		})
	}
}

func TestSchedule_AnotherNodeBehindTheAddress(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s, _ := runSchedule(t, n, 147)
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	n.edit("/eth/v1/beacon/genesis", "0x20000089", "0x20000090")
	n.set("/eth/v1/node/syncing", answer{status: 502})
	eventually(t, "other chain", func() bool { return errors.Is(s.Ready(), ErrOtherChain) })
	if _, _, ok := s.Proposer(148); ok {
		t.Error("duties of another chain are believed")
	}
}

func TestSchedule_DependentRoot(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s, _ := runSchedule(t, n, 147)
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	n.events <- head("147", "22")
	const duties = "/eth/v1/validator/duties/proposer/4"
	eventually(t, "asked for the first head", func() bool { return n.count(duties) >= 2 })
	was := n.count(duties)
	n.events <- head("148", "22")
	time.Sleep(50 * time.Millisecond)
	if got := n.count(duties); got != was {
		t.Errorf("same root: asked %d times, want %d", got, was)
	}
	// A reorganisation takes slot 148 from us: the new answer replaces the old.
	n.edit(duties, `"slot":"148"`, `"slot":"147"`)
	n.set(duties, answer{status: 200, body: strings.Replace(n.answers[duties].body, `"slot":"147"`, `"slot":"148"`, 1)})
	n.events <- head("148", "33")
	eventually(t, "asked again", func() bool { return n.count(duties) > was })
	eventually(t, "slot 148 is no longer ours", func() bool { _, _, ok := s.Proposer(148); return !ok })
}

func TestSchedule_KeepsTheOldUntilItExpires(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s, clock := runSchedule(t, n, 147)
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	n.set("/eth/v1/validator/duties/proposer/4", answer{status: 200, body: `{"data":[]}`})
	n.events <- head("147", "44")
	eventually(t, "doubted", func() bool { return errors.Is(s.Ready(), ErrBadAnswer) })
	if _, _, ok := s.Proposer(148); !ok {
		t.Error("the old answer is gone")
	}
	s.mu.Lock()
	h := s.epochs[4]
	h.at = clock.Now().Add(-97 * time.Second) // an epoch and a half is 96 s
	s.epochs[4] = h
	s.mu.Unlock()
	if _, _, ok := s.Proposer(148); ok {
		t.Error("an expired answer is believed")
	}
	for _, d := range s.Upcoming() {
		if d.Slot < 160 {
			t.Errorf("an expired duty is offered: %+v", d)
		}
	}
}

func TestSchedule_NodeComesBack(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	for path := range n.answers {
		n.edit(path, "{", "!{")
	}
	s, _ := runSchedule(t, n, 147)
	eventually(t, "asked", func() bool { return n.count("/eth/v1/beacon/genesis") > 1 })
	if err := s.Ready(); err == nil {
		t.Error("ready without a node")
	}
	for path := range n.answers {
		n.edit(path, "!{", "{")
	}
	began := time.Now()
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	if took := time.Since(began); took > 2500*time.Millisecond {
		t.Errorf("took %s", took)
	}
}

func TestSchedule_RetryAfter(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.set("/eth/v1/beacon/genesis", answer{status: 503, header: "1"})
	runSchedule(t, n, 147)
	eventually(t, "asked", func() bool { return n.count("/eth/v1/beacon/genesis") == 1 })
	time.Sleep(500 * time.Millisecond)
	if got := n.count("/eth/v1/beacon/genesis"); got != 1 {
		t.Errorf("asked %d times within the wait", got)
	}
	eventually(t, "asked again", func() bool { return n.count("/eth/v1/beacon/genesis") == 2 })
}

func TestFollow_Recorded(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/prysm/events.sse")
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t)
	c := newTestClient(t, n, clockAt(prysmSpec(), 150))
	n.events <- string(raw)
	got := follow(t, c)
	for _, want := range []phase0.Slot{147, 148, 149} {
		if h := <-got; h.Slot != want || h.CurrentRoot.String()[:10] != "0x9265bd33" {
			t.Errorf("got %+v, want slot %d", h, want)
		}
	}
}

func follow(t *testing.T, c *Client) chan headEvent {
	t.Helper()
	got := make(chan headEvent, 100)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.follow(ctx, func(h headEvent) { got <- h }) }()
	t.Cleanup(func() { cancel(); <-done })
	return got
}

func TestFollow_BadStreams(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]string{
		"huge line":      "data: " + strings.Repeat("x", limitEvent+1),
		"huge event":     strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", limitEvent/1000+1),
		"garbage":        "\x00\xff\xfe garbage\n\n: comment\n\nevent\n\n",
		"not JSON":       "event: head\ndata: {\n\n",
		"no slot":        "event: head\ndata: {}\n\n",
		"null":           "event: head\ndata: null\n\n",
		"unknown event":  strings.Repeat("event: surprise\ndata: {}\n\n", 10000),
		"far future":     head("100000", "22"),
		"far past":       head("2", "22"),
		"not UTF-8":      "event: head\ndata: {\"slot\":\"\xff\xff\"}\n\n",
		"no data at all": "\n\n\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t)
			got := follow(t, newTestClient(t, n, clockAt(prysmSpec(), 147)))
			n.events <- bad
			n.events <- "\n\n"
			for deadline := time.After(4 * time.Second); ; {
				select { // the line that broke the stream may swallow a head: send until one comes
				case n.events <- head("147", "22"):
				case h := <-got:
					if h.Slot != 147 {
						t.Fatalf("got %+v", h)
					}
					return
				case <-deadline:
					t.Fatal("no head")
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

func TestFollow_Stall(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	spec := prysmSpec()
	spec.SlotDuration = 50 * time.Millisecond
	clock := chain.NewClock(spec, func() time.Time { return spec.GenesisTime.Add(147 * spec.SlotDuration) })
	c, err := New(Config{URL: n.URL, Spec: spec, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	got := follow(t, c)
	eventually(t, "opened again", func() bool { n.mu.Lock(); defer n.mu.Unlock(); return n.streams >= 2 })
	n.events <- head("147", "22")
	select {
	case <-got:
	case <-time.After(4 * time.Second):
		t.Fatal("no head after the stall")
	}
}

func FuzzEvents(f *testing.F) {
	raw, err := os.ReadFile("testdata/prysm/events.sse")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(raw))
	f.Add(head("147", "22"))
	c, err := New(Config{URL: "http://127.0.0.1:1", Spec: prysmSpec(), Clock: clockAt(prysmSpec(), 147)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := readEvents(strings.NewReader(s), func(topic string, data []byte) {
			if h, ok := c.parseHead(topic, data); ok && h.Slot > 149 {
				t.Fatalf("slot %d", h.Slot)
			}
		})
		if err == nil {
			t.Fatal("a stream that ended is no error")
		}
	})
}
