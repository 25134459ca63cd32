package wallet

import (
	"net/netip"
	"testing"
)

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
