package relay

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/fault"
)

// authority signs the certificates of a test.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert}
}

// issue makes a certificate for 127.0.0.1, changed by edit.
func (a *authority) issue(t *testing.T, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	if edit != nil {
		edit(leaf)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// serveTLS is a relay that has both forms of getHeader.
func serveTLS(t *testing.T, cfg *tls.Config) *httptest.Server {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("HTTP/%d", r.ProtoMajor)
		}
		if !strings.HasPrefix(r.URL.Path, pathStream) {
			answerSSZ(w, vector(t, "fulu_signed_builder_bid.ssz"))
			return
		}
		if ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil); err == nil {
			_ = ws.WriteMessage(websocket.BinaryMessage, bidFrame(t, 3))
			closeNormally(ws)
			_ = ws.Close()
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = cfg
	server.StartTLS()
	return server
}

// R-60, and that what is in order works, stream included.
func TestTLS(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	good := ca.issue(t, nil)
	for name, c := range map[string]struct {
		server *tls.Config
		system bool
		want   *fault.Fault
	}{
		"good":        {server: &tls.Config{Certificates: []tls.Certificate{good}}},
		"tls 1.2":     {server: &tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}},
		"h2 offered":  {server: &tls.Config{Certificates: []tls.Certificate{good}, NextProtos: []string{"h2", "http/1.1"}}},
		"tls 1.1":     {server: &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, want: ErrTLS},
		"unknown ca":  {server: &tls.Config{Certificates: []tls.Certificate{stranger.issue(t, nil)}}, want: ErrTLS},
		"system only": {server: &tls.Config{Certificates: []tls.Certificate{good}}, system: true, want: ErrTLS},
		"expired": {server: &tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Minute)
		})}}, want: ErrTLS},
		"not yet valid": {server: &tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Minute)
		})}}, want: ErrTLS},
		"wrong name": {server: &tls.Config{Certificates: []tls.Certificate{ca.issue(t, func(c *x509.Certificate) {
			c.IPAddresses, c.DNSNames = nil, []string{"other.example"}
		})}}, want: ErrTLS},
		"client asked for a certificate": {server: &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert}, want: ErrTLS},
	} {
		t.Run(name, func(t *testing.T) {
			server := serveTLS(t, c.server)
			defer server.Close()
			for _, stream := range []bool{false, true} {
				client := dialTo(t, server.URL, func(cfg *Config) {
					cfg.Stream, cfg.StreamGrace = stream, -1
					if !c.system {
						cfg.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10}
					}
				})
				for range 2 { // the second one on a kept connection
					offers, err := collect(t, client, budget(t, time.Second), request())
					wantFault(t, err, c.want)
					if want := map[bool]int{true: 1, false: 0}[c.want == nil]; len(offers) != want {
						t.Errorf("stream %v: got %d offers, want %d", stream, len(offers), want)
					}
				}
			}
		})
	}
}
