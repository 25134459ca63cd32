package wallet

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sidecar/chain"
)

// TestBuckets: burst at once, then rate; addresses do not disturb each other, and
// no number of them costs more memory than is bounded.
func TestBuckets(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b := NewBuckets(chain.NewClock(testSpec(), func() time.Time { return now }), 2, 4)
	for i := range 4 {
		if _, ok := b.Allow("a", 1); !ok {
			t.Fatalf("call %d of the burst is refused", i)
		}
	}
	if wait, ok := b.Allow("a", 1); ok || wait != 500*time.Millisecond {
		t.Errorf("the fifth: %v, %v", wait, ok)
	}
	if _, ok := b.Allow("b", 4); !ok {
		t.Error("another address is refused")
	}
	if _, ok := b.Allow("c", 100); !ok {
		t.Error("what costs more than the burst is never allowed")
	}
	now = now.Add(-time.Hour) // a clock that goes back gives nothing
	if _, ok := b.Allow("a", 1); ok {
		t.Error("a clock that goes back gives")
	}
	now = now.Add(time.Hour + 500*time.Millisecond)
	if _, ok := b.Allow("a", 1); !ok {
		t.Error("refused after the time it was told")
	}
	for i := range 3 * maxBuckets {
		b.Allow(fmt.Sprint(i), 1)
	}
	if len(b.known) > maxBuckets {
		t.Errorf("%d addresses are remembered", len(b.known))
	}
	if _, ok := b.Allow("one more", 4); ok {
		t.Error("addresses beyond the bound do not share a bucket")
	}
	now = now.Add(time.Minute)
	if _, ok := b.Allow("one more", 4); !ok || len(b.known) != 1 {
		t.Errorf("after a minute %d addresses are remembered", len(b.known))
	}
}

// TestPeer: an IPv4 address, however it is written, or a /64.
func TestPeer(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "": "invalid Prefix",
	} {
		a, _ := netip.ParseAddr(text)
		if got := peer(a); got != want {
			t.Errorf("%q counts as %s, want %s", text, got, want)
		}
	}
}
