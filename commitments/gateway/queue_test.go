package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/modules"
)

// offerer is a module whose requests offer the second byte of their transaction, and
// may pay twice that for the base fee too.
type offerer struct{ *module }

func (offerer) Offer(_ context.Context, r commitments.Request) (modules.Offer, error) {
	_, tx, err := commitments.DecodeInclusion(r.Payload)
	if err != nil {
		return modules.Offer{}, err
	}
	return modules.Offer{Tip: *uint256.NewInt(uint64(tx[1])), Cap: *uint256.NewInt(2 * uint64(tx[1]))}, nil
}

// TestQueue: when all places are taken requests wait; when the line is full the one
// that offers least is refused, whether it came first or last. The promise that was
// made and the one that is being made are not touched.
func TestQueue(t *testing.T) {
	h := open(t, func(c *Config) {
		m := offerer{c.Modules()[0].(*module)}
		c.Modules, c.MaxRequests = func() []modules.Module { return []modules.Module{m} }, 1
	})
	h.waitFor = time.Minute
	made := request('m', 1)
	if _, err := h.Commit(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	inside, leave := make(chan struct{}, 8), make(chan struct{})
	h.module.stall = func() { inside <- struct{}{}; <-leave }
	url := h.serve()
	rest := func(sender, tip byte) chan string {
		done := make(chan string, 1)
		go func() {
			status, body := ask(t, "POST", url+rest+"commitmentRequest", "application/json", text(t, request(sender, tip)))
			done <- fmt.Sprint(status, " ", body)
		}()
		return done
	}
	rpc := func(sender, tip byte) chan string {
		done := make(chan string, 1)
		go func() {
			_, body := ask(t, "POST", url, "application/json", `{"jsonrpc":"2.0","id":1,"method":"commitmentRequest","params":[`+text(t, request(sender, tip))+`]}`)
			done <- body
		}()
		return done
	}
	wants := func(name, part string, done chan string) {
		t.Helper()
		select {
		case got := <-done:
			if !strings.Contains(got, part) {
				t.Errorf("%s: got %s, want %s", name, got, part)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: no answer", name)
		}
	}
	waits := func() {
		t.Helper()
		for end := time.Now().Add(time.Minute); h.line.Len() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nobody waits")
			}
		}
	}
	working := rest('a', 1)
	<-inside
	low := rpc('b', 5)
	waits()
	high := rest('c', 9)
	wants("the lowest in the line", "gateway_busy", low) // it made room
	wants("lower than the line", "429 ", rest('d', 8))
	wants("what cannot be read", "429 ", func() chan string {
		done := make(chan string, 1)
		status, body := ask(t, "POST", url+"/commitments/v0/gateway/commitmentRequest", "application/json", "{")
		done <- fmt.Sprint(status, " ", body)
		return done
	}())
	close(leave)
	wants("who had a place", "200 ", working)
	wants("the highest", "200 ", high)
	if h.places.Used() != 0 || h.line.Len() != 0 {
		t.Errorf("%d places stay taken, %d wait", h.places.Used(), h.line.Len())
	}
	if len(h.Views.Page(h.id()).Promises) != 3 {
		t.Error("a promise is missing")
	}
}

// TestWorth: what counts is what is left of the fee cap at the head's base fee.
func TestWorth(t *testing.T) {
	var head modules.Head
	known := false
	h := open(t, func(c *Config) {
		m := offerer{c.Modules()[0].(*module)}
		c.Modules, c.Head = func() []modules.Module { return []modules.Module{m} }, func() (modules.Head, bool) { return head, known }
	})
	for _, tt := range []struct {
		base uint64
		want float64
	}{{0, 10}, {10, 10}, {15, 5}, {20, 0}, {1000, 0}} {
		head.BaseFee, known = *uint256.NewInt(tt.base), true
		if got := h.worth(t.Context(), request(1, 10)); got != tt.want {
			t.Errorf("base fee %d: worth %v, want %v", tt.base, got, tt.want)
		}
	}
	known = false
	if got := h.worth(t.Context(), request(1, 10)); got != 10 {
		t.Errorf("no head: worth %v", got)
	}
	if got := h.worth(t.Context(), commitments.Request{Type: 77}); got != 0 {
		t.Errorf("nobody's type: worth %v", got)
	}
}
