// Package certs makes the certificates of a small private network: an authority,
// a server, and clients that it knows by name. It promises that private keys are
// written with mode 0600 and that no file is ever written over. It never sends,
// renews or revokes anything.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sidecar/fault"
)

// Faults of this package.
var (
	ErrExists = fault.Define("tls_exists", fault.Conflict, "The folder has certificates already; they are never written over.")
	ErrName   = fault.Define("tls_name", fault.Invalid, "A host or client name cannot stand in a certificate, or name a folder.")
)

// How long certificates hold. They begin an hour ago, for clocks that are behind.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 825 * 24 * time.Hour
	backdate      = time.Hour
)

// Plan says what Make makes.
type Plan struct {
	// Dir is the folder to fill. It is made if it is missing.
	Dir string
	// Hosts are the server's names and addresses. localhost, 127.0.0.1 and ::1
	// are always among them.
	Hosts []string
	// Clients are who may connect, by a DNS name of their certificate, such as
	// a module's id. None: the server asks callers for no certificate.
	Clients []string
	// Now begins the certificates. Required.
	Now time.Time
}

// Make writes
//
//	<Dir>/ca.pem, ca_key.pem                            the authority; keep its key off the machine
//	<Dir>/server/cert.pem, key.pem[, client_ca.pem]     for [signer.tls_mode] path
//	<Dir>/clients/<name>/cert.pem, key.pem, ca.pem      for each client
//	<Dir>/commit-boost/cert.pem                         the authority, as modules of Commit-Boost look for it
//
// Faults: ErrExists, ErrName.
func Make(p Plan) error {
	for _, name := range append(append([]string(nil), p.Hosts...), p.Clients...) {
		if name == "" || len(name) > 253 || strings.ContainsAny(name, "/\\ \t\r\n\x00") || strings.HasPrefix(name, ".") {
			return ErrName.With("%.64q", name)
		}
	}
	if _, err := os.Lstat(filepath.Join(p.Dir, "ca.pem")); err == nil {
		return ErrExists.With("%s", p.Dir)
	}
	ca, err := newAuthority(p.Now)
	if err != nil {
		return err
	}
	files := map[string][]byte{"ca.pem": ca.pem, "commit-boost/cert.pem": ca.pem}
	if files["ca_key.pem"], err = keyPEM(ca.key); err != nil {
		return err
	}
	if len(p.Clients) > 0 {
		files["server/client_ca.pem"] = ca.pem
	}
	hosts := append([]string{"localhost", "127.0.0.1", "::1"}, p.Hosts...)
	if err := ca.leaf(files, "server", hosts, x509.ExtKeyUsageServerAuth); err != nil {
		return err
	}
	for _, name := range p.Clients {
		dir := "clients/" + name
		files[dir+"/ca.pem"] = ca.pem
		if err := ca.leaf(files, dir, []string{name}, x509.ExtKeyUsageClientAuth); err != nil {
			return err
		}
	}
	return write(p.Dir, files)
}

// authority signs the others.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	now  time.Time
}

func newAuthority(now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "sidecar authority"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key, certPEM(der), now}, err
}

// leaf adds a certificate and its key to files.
func (a *authority) leaf(files map[string][]byte, dir string, names []string, use x509.ExtKeyUsage) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "sidecar " + filepath.Base(dir)},
		NotBefore: a.now.Add(-backdate), NotAfter: a.now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil && use == x509.ExtKeyUsageServerAuth {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return ErrName.Wrap(err)
	}
	files[dir+"/cert.pem"] = certPEM(der)
	files[dir+"/key.pem"], err = keyPEM(key)
	return err
}

func serial() *big.Int {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails [crypto/rand]
	b[0] &= 0x7f
	b[15] |= 1
	return new(big.Int).SetBytes(b[:])
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// write puts every file where none is: keys with mode 0600.
func write(dir string, files map[string][]byte) error {
	for name, content := range files {
		path, mode := filepath.Join(dir, filepath.FromSlash(name)), os.FileMode(0o644)
		if strings.HasSuffix(name, "key.pem") {
			mode = 0o600
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("make the folder: %w", err)
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode) // #nosec G304 -- the operator names the folder
		if errors.Is(err, os.ErrExist) {
			return ErrExists.With("%s", path)
		}
		if err != nil {
			return fmt.Errorf("write certificates: %w", err)
		}
		_, err = f.Write(content)
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("write certificates: %w", err)
		}
	}
	return nil
}
