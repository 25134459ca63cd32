package mtls_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"sidecar/internal/mtls"
	"sidecar/internal/mtls/mtlstest"
)

// TestClient: who has a certificate of the authority is let in, both ways.
func TestClient(t *testing.T) {
	ca, other := mtlstest.New(t), mtlstest.New(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", ca.Server(t, "server"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("x")) // and so shakes hands
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	mine, theirs := ca.Issue(t, "client"), other.Issue(t, "client")
	for name, c := range map[string]struct {
		cert mtlstest.Files
		ca   string
		ok   bool
	}{
		"both known":       {mine, ca.CAPath, true},
		"client unknown":   {theirs, ca.CAPath, false},
		"no certificate":   {mtlstest.Files{}, ca.CAPath, false},
		"server unknown":   {mine, other.CAPath, false},
		"system authority": {mine, "", false},
	} {
		conf, err := mtls.Client(c.cert.Cert, c.cert.Key, c.ca, tls.VersionTLS13)
		if err != nil {
			t.Fatal(err)
		}
		conf.ServerName = "server"
		if err := reads(l.Addr(), conf); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	conf, err := mtls.Client("", "", "", tls.VersionTLS10)
	if err != nil || conf.MinVersion != tls.VersionTLS12 || conf.InsecureSkipVerify {
		t.Errorf("oldest version %x, %v", conf.MinVersion, err)
	}
}

func reads(addr net.Addr, conf *tls.Config) error {
	c, err := tls.Dial("tcp", addr.String(), conf)
	if err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return errors.Join(err, c.Close())
}

func TestClient_Refuses(t *testing.T) {
	ca := mtlstest.New(t)
	a, b := ca.Issue(t, "a"), ca.Issue(t, "b")
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string][3]string{
		"no file": {"none", a.Key, ""}, "no key": {a.Cert, "", ""}, "key of another": {a.Cert, b.Key, ""}, "key for a certificate": {a.Key, a.Key, ""},
		"key for an authority": {"", "", a.Key}, "not PEM": {"", "", "mtls.go"}, "a folder": {"", "", t.TempDir()}, "too large": {"", "", big},
	} {
		if _, err := mtls.Client(c[0], c[1], c[2], 0); !errors.Is(err, mtls.ErrFiles) {
			t.Errorf("%s: got %v, want %v", name, err, mtls.ErrFiles)
		}
	}
}
