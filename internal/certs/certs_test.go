package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestMake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	plan := Plan{Dir: dir, Hosts: []string{"cb_signer", "10.0.0.7"}, Clients: []string{"DA_COMMIT"}, Now: time.Now()}
	if err := Make(plan); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("the authority is no certificate")
	}
	leaf := func(folder string) *x509.Certificate {
		t.Helper()
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, folder, "cert.pem"), filepath.Join(dir, folder, "key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf
	}
	for _, host := range []string{"localhost", "127.0.0.1", "cb_signer", "10.0.0.7"} {
		if _, err := leaf("server").Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("server as %s: %v", host, err)
		}
	}
	if _, err := leaf("server").Verify(x509.VerifyOptions{Roots: roots, DNSName: "elsewhere"}); err == nil {
		t.Error("the server is anybody")
	}
	client := leaf("clients/DA_COMMIT")
	if _, err := client.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil || client.DNSNames[0] != "DA_COMMIT" {
		t.Errorf("client %v: %v", client.DNSNames, err)
	}
	if _, err := client.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("a client can pose as the server")
	}
	for _, key := range []string{"ca_key.pem", "server/key.pem", "clients/DA_COMMIT/key.pem"} {
		if info, err := os.Stat(filepath.Join(dir, key)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", key, info.Mode(), err)
		}
	}
	if err := Make(plan); !errors.Is(err, ErrExists) {
		t.Errorf("again: %v, want %v", err, ErrExists)
	}
}

func TestMake_WithoutClients(t *testing.T) {
	dir := t.TempDir()
	if err := Make(Plan{Dir: dir, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "server", "client_ca.pem")); err == nil {
		t.Error("the server would ask for certificates that nobody has")
	}
}

func TestMake_Names(t *testing.T) {
	for _, name := range []string{"", "..", "a/b", "a b", "a\nb", "ü"} {
		dir := filepath.Join(t.TempDir(), "x")
		if err := Make(Plan{Dir: dir, Clients: []string{name}, Now: time.Now()}); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, want %v", name, err, ErrName)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%q left files", name)
		}
	}
}
