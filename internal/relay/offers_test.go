package relay

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/internal/wire"
)

// bidScript answers each request with its own status and value, after a while.
type bidScript struct {
	after  time.Duration
	status int
	wei    uint64
}

// games is a relay that answers by the number of the request.
func games(t *testing.T, plan ...bidScript) (url string, times func() []time.Time) {
	var n atomic.Int32
	var mu sync.Mutex
	var at []time.Time
	url = serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		at = append(at, time.Now())
		mu.Unlock()
		p := plan[min(int(n.Add(1)), len(plan))-1]
		select {
		case <-time.After(p.after):
		case <-r.Context().Done():
			return
		}
		if p.status == http.StatusOK {
			answerSSZ(w, bidWorth(t, p.wei).Encode(wire.SSZ))
			return
		}
		w.WriteHeader(p.status)
	})
	return url, func() []time.Time {
		mu.Lock()
		defer mu.Unlock()
		return append([]time.Time(nil), at...)
	}
}

// and tries that overlap.
func TestOffers_Games(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		plan   []bidScript
		offers int
		newest uint64
	}{
		"bid, then none":          {[]bidScript{{0, 200, 2}, {0, 204, 0}}, 1, 2},
		"bid, then fault":         {[]bidScript{{0, 200, 2}, {0, 500, 0}}, 1, 2},
		"fault, then bid":         {[]bidScript{{0, 500, 0}, {0, 200, 2}}, 2, 2}, // the last of the plan repeats
		"lower replaces":          {[]bidScript{{0, 200, 2}, {0, 200, 1}, {0, 204, 0}}, 2, 1},
		"first answers last":      {[]bidScript{{150 * ms, 200, 2}, {0, 200, 1}, {0, 204, 0}}, 2, 1},
		"one hangs, others bring": {[]bidScript{{time.Minute, 200, 9}, {0, 200, 1}, {0, 204, 0}}, 1, 1},
		"none and fault":          {[]bidScript{{0, 204, 0}, {0, 500, 0}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, _ := games(t, c.plan...)
			client := dialTo(t, url, func(cfg *Config) { cfg.Games, cfg.Frequency = true, 90*ms })
			offers, err := collect(t, client, budget(t, 250*ms), request())
			if err != nil || len(offers) != c.offers {
				t.Fatalf("got %d offers, want %d, %v", len(offers), c.offers, err)
			}
			if got := newest(offers); got.Bid != nil && got.Bid.Value.Uint64() != c.newest {
				t.Errorf("newest is worth %v, want %d", &got.Bid.Value, c.newest)
			}
			for _, o := range offers {
				if o.Received.Before(o.Started) {
					t.Errorf("received %v before %v", o.Received, o.Started)
				}
			}
		})
	}
}

// All tries fail: the last one's fault is the answer.
func TestOffers_GamesAllFail(t *testing.T) {
	url, _ := games(t, bidScript{0, 400, 0}, bidScript{0, 500, 0})
	client := dialTo(t, url, func(cfg *Config) { cfg.Games, cfg.Frequency = true, 60*time.Millisecond })
	_, err := collect(t, client, budget(t, 100*time.Millisecond), request())
	wantFault(t, err, Err5xx)
}

// gamesAt runs timing games in virtual time, in a slot that began into ago, and
// returns when requests went out, in milliseconds into the slot.
func gamesAt(t *testing.T, into, budget time.Duration, games bool, target, frequency time.Duration) (sent []int64) {
	synctest.Test(t, func(t *testing.T) {
		slot := time.Now().Add(-into)
		clock := chain.NewClock(chain.Spec{GenesisTime: slot, SlotDuration: 12 * time.Second}, nil)
		c, err := New(Config{URL: relayURL("http://relay.example"), Games: games, TargetFirst: target, Frequency: frequency}, clock)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		c.pool.connect = func(context.Context) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, time.Since(slot).Milliseconds())
			return nil, ErrConnect
		}
		ctx, cancel := context.WithTimeout(t.Context(), budget)
		defer cancel()
		_, err = collect(t, c, ctx, HeaderRequest{SlotStart: slot, Fork: chain.Fulu})
		wantFault(t, err, ErrConnect)
		c.Close()
	})
	return sent
}

// The documented example and its edges. [Commit-Boost: timing games]
func TestOffers_GamesSchedule(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		into, budget      time.Duration
		off               bool
		target, frequency time.Duration
		want              string
	}{
		{100 * ms, 950 * ms, false, 200 * ms, 300 * ms, "[200 500 800]"},
		{1500 * ms, 500 * ms, false, 200 * ms, 300 * ms, "[1500 1800]"},
		{100 * ms, 950 * ms, true, 200 * ms, 300 * ms, "[100]"},
		{100 * ms, 950 * ms, false, 200 * ms, 0, "[200]"},
		{100 * ms, 950 * ms, false, 0, 400 * ms, "[100 500 900]"},
		{100 * ms, 50 * ms, false, 200 * ms, 0, "[100]"}, // target out of reach: now
		{-500 * ms, 950 * ms, false, 200 * ms, 0, "[200]"},
		{300 * ms, 300 * ms, false, 0, 300 * ms, "[300]"}, // budget equals frequency: one
	} {
		if got := fmt.Sprint(gamesAt(t, c.into, c.budget, !c.off, c.target, c.frequency)); got != c.want {
			t.Errorf("%+v: sent at %s", c, got)
		}
	}
}

// an answer just after the cut is dropped, and nothing is left behind.
func TestOffers_LateAnswer(t *testing.T) {
	url, _ := games(t, bidScript{shortBudget + time.Millisecond, 200, 1})
	c := dialTo(t, url, nil)
	for range 5 {
		timely(t, shortBudget, func() {
			if offers, _ := collect(t, c, budget(t, shortBudget), request()); len(offers) > 1 {
				t.Errorf("got %d offers", len(offers))
			}
		})
	}
}

// With timing games a caller who stops waiting is not kept, although the relay
// hangs on; without, the one try is the caller's own and ends by the deadline.
func TestOffers_Cancelled(t *testing.T) {
	relay := newChaos(t, silence)
	c := dialTo(t, relay.url, func(cfg *Config) { cfg.Games, cfg.Frequency = true, 300*time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	_, err := collect(t, c, ctx, request())
	if took := time.Since(start); err == nil || took > 300*time.Millisecond {
		t.Errorf("returned after %v with %v", took, err)
	}
}

// Many at once share a pool and do not mix their answers.
func TestOffers_Concurrent(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var slot uint64
		_, _ = fmt.Sscanf(r.URL.Path, pathHeader+"%d/", &slot)
		answerSSZ(w, bidWorth(t, slot).Encode(wire.SSZ))
	})
	c := dialTo(t, url, nil)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			r := request()
			r.Slot = phase0.Slot(1000 + i)
			offers, err := collect(t, c, budget(t, 5*time.Second), r)
			if err != nil || len(offers) != 1 || offers[0].Bid.Value.Uint64() != uint64(r.Slot) {
				t.Errorf("slot %d: %d offers, %v", r.Slot, len(offers), err)
			}
		})
	}
	wg.Wait()
}
