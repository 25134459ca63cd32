// Package mtlstest makes certificates for tests: an authority, and what it
// signs for servers and clients on this machine.
package mtlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates, and keeps everything as PEM files in a folder.
type Authority struct {
	CAPath string // its own certificate

	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// Files are a certificate and its key.
type Files struct{ Cert, Key string }

// New makes an authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{folder: t.TempDir()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	files := a.sign(t, template, "ca")
	a.CAPath = files.Cert
	return a
}

// Issue makes a certificate for a name, good for servers at that name, localhost
// and loopback addresses, and for clients.
func (a *Authority) Issue(t testing.TB, name string) Files {
	t.Helper()
	return a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, name)
}

// Server returns the configuration of a server that wants a certificate of this
// authority from every client.
func (a *Authority) Server(t testing.TB, name string) *tls.Config {
	t.Helper()
	files := a.Issue(t, name)
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

func (a *Authority) sign(t testing.TB, template *x509.Certificate, name string) Files {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	check(err)
	template.NotBefore, template.NotAfter = time.Unix(0, 0), time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC) // at any clock
	parent, signer := a.cert, a.key
	if template.IsCA {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	check(err)
	if template.IsCA {
		a.key = key
		a.cert, err = x509.ParseCertificate(der)
		check(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	f := Files{filepath.Join(a.folder, name+".crt"), filepath.Join(a.folder, name+".key")}
	check(os.WriteFile(f.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(os.WriteFile(f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	return f
}
