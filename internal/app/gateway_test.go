package app

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sidecar/commitments/gateway"
	"sidecar/internal/config"
	"sidecar/internal/harden"
)

// TestConnections: the public never has more than half of the descriptors.
func TestConnections(t *testing.T) {
	for _, tt := range []struct {
		configured  int
		descriptors uint64
		want        int
	}{{1024, 1 << 20, 1024}, {1024, 2048, 1024}, {1024, 1024, 512}, {1024, 256, 128}, {1024, 8, 16}, {1024, 0, 1024}} {
		if got := connections(tt.configured, tt.descriptors); got != tt.want {
			t.Errorf("%d of %d descriptors: got %d, want %d", tt.configured, tt.descriptors, got, tt.want)
		}
	}
	if n := harden.Descriptors(); n > 0 && n < 16 {
		t.Errorf("%d descriptors", n)
	}
}

func TestGatewayAccess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "searchers.txt")
	c := config.DefaultGateway().Access
	c.IdentitiesFile = path
	if _, err := gatewayAccess(&c); !errors.Is(err, gateway.ErrIdentities) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("alice address:0x00000000000000000000000000000000000000a1 rate=7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := gatewayAccess(&c)
	if err != nil || len(a.Identities) != 1 || a.Identities[0].Name != "alice" || a.Identities[0].Rate.PerSecond != 7 || a.Rate.PerSecond != 50 || a.Rate.Burst != 200 {
		t.Errorf("got %+v, %v", a, err)
	}
	if err := os.WriteFile(path, make([]byte, maxIdentities+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gatewayAccess(&c); !errors.Is(err, gateway.ErrIdentities) {
		t.Errorf("too long: %v", err)
	}
}
