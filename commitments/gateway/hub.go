package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// ErrSubscribers is the hub's refusal.
var ErrSubscribers = fault.Define("subscribers_full", fault.Busy, "The gateway has as many subscribers, or this caller as many, as it may have.")

const (
	lookEvery     = 100 * time.Millisecond // between two looks at the ledger, while somebody is subscribed
	perSubscriber = 64                     // request hashes of one subscriber
	perCaller     = 4                      // part of all subscribers that one caller may be: a quarter
)

// hub wakes subscribers. Nobody tells it what happens: while somebody is
// subscribed it looks at the ledger, in memory, and lets each subscriber find
// out what is new. So a subscriber sees what is on disk and nothing else, and
// one that reads slowly holds up nobody.
type hub struct {
	most int

	mu   sync.Mutex
	subs map[*subscriber]string // with the caller's name
	of   map[string]int         // subscribers by caller
	more chan struct{}          // has an element if somebody came
}

// subscriber waits on wake, and owns the rest.
type subscriber struct {
	wake chan struct{} // has an element if there may be news
	seen map[phase0.Hash32][]commitments.Step
}

func newHub(most int) *hub {
	return &hub{most: most, subs: map[*subscriber]string{}, of: map[string]int{}, more: make(chan struct{}, 1)}
}

// join adds a subscriber, until leave. Fault: ErrSubscribers.
func (h *hub) join(c caller) (s *subscriber, leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.subs) >= h.most || !c.local && h.of[c.name] >= max(1, h.most/perCaller) {
		return nil, nil, ErrSubscribers
	}
	s = &subscriber{wake: make(chan struct{}, 1), seen: map[phase0.Hash32][]commitments.Step{}}
	h.subs[s] = c.name
	h.of[c.name]++
	poke(h.more)
	return s, sync.OnceFunc(func() { h.leave(s) }), nil
}

func (h *hub) leave(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := h.subs[s]
	delete(h.subs, s)
	if h.of[name]--; h.of[name] <= 0 {
		delete(h.of, name)
	}
}

// len is how many subscribers there are.
func (h *hub) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs)
}

// look wakes all subscribers.
func (h *hub) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		poke(s.wake)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watch wakes subscribers whenever the ledger has moved, until ctx ends.
func (g *Gateway) watch(ctx context.Context) {
	last := uint64(0)
	for ctx.Err() == nil {
		if g.hub.len() == 0 {
			select {
			case <-g.hub.more:
			case <-ctx.Done():
				return
			}
		}
		if now := g.Views.Version() + g.diary.version(); now != last {
			last = now
			g.hub.look()
		}
		pause(ctx, lookEvery)
	}
}

// news returns the steps of a request that the subscriber has not had, oldest
// first. A step that changed, such as a verdict that became final, comes again.
func (s *subscriber) news(now commitments.Status) (out []commitments.Update) {
	old := s.seen[now.RequestHash]
	first := 0
	for first < len(old) && first < len(now.Steps) && old[first] == now.Steps[first] {
		first++
	}
	s.seen[now.RequestHash] = slices.Clone(now.Steps)
	for i := first; i < len(now.Steps); i++ {
		out = append(out, commitments.Update{ID: mark(now.RequestHash, now.Steps[:i+1]), RequestHash: now.RequestHash, Step: now.Steps[i], Status: now})
	}
	return out
}

// from makes a subscriber go on behind the event with this id. If the story is
// another by now, all of it is told again: each step comes at least once.
func (s *subscriber) from(id string, now commitments.Status) {
	count, _, ok := strings.Cut(id, "-")
	n, err := strconv.Atoi(count)
	if !ok || err != nil || n < 1 || n > len(now.Steps) || mark(now.RequestHash, now.Steps[:n]) != id {
		return
	}
	s.seen[now.RequestHash] = slices.Clone(now.Steps[:n])
}

// mark names a request's story up to a step: how many steps, and a digest of
// them. It means the same after a restart.
func mark(hash phase0.Hash32, steps []commitments.Step) string {
	text, _ := json.Marshal(steps) // plain fields cannot fail
	sum := sha256.Sum256(append(hash[:], text...))
	return strconv.Itoa(len(steps)) + "-" + hex.EncodeToString(sum[:6])
}
