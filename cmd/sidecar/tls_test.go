package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"sidecar/internal/certs"
)

func TestTLS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	args := []string{"tls", "--dir", dir, "--host", "cb_signer", "--client", "A", "--client", "B"}
	if err := command(t.Context(), args); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"server/cert.pem", "server/client_ca.pem", "clients/A/key.pem", "clients/B/key.pem"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			t.Error(err)
		}
	}
	if err := command(t.Context(), args); !errors.Is(err, certs.ErrExists) {
		t.Errorf("again: %v", err)
	}
	for _, wrong := range [][]string{{"tls"}, {"tls", "--dir", dir, "x"}, {"tls", "--what"}} {
		if err := command(t.Context(), wrong); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", wrong, err)
		}
	}
}
