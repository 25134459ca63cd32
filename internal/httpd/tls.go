package httpd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"sidecar/fault"
)

// ErrTLS is a certificate folder that cannot be served with.
var ErrTLS = fault.Define("tls_invalid", fault.Invalid, "The folder of certificates lacks cert.pem or key.pem, or holds what does not fit together; sidecar tls makes one.")

const maxPEM = 1 << 20 // bytes of one file

// LoadTLS reads a folder of certificates: cert.pem and key.pem, and, if callers
// must show a certificate too, client_ca.pem. TLS 1.2 at least. Fault: ErrTLS.
// [Commit-Boost: signer.tls_mode]
func LoadTLS(dir string) (*tls.Config, error) {
	cert, err := readPEM(filepath.Join(dir, "cert.pem"))
	if err != nil {
		return nil, ErrTLS.Wrap(err)
	}
	key, err := readPEM(filepath.Join(dir, "key.pem"))
	if err != nil {
		return nil, ErrTLS.Wrap(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	clear(key)
	if err != nil {
		return nil, ErrTLS.With("%s: cert.pem and key.pem: %v", dir, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	ca, err := readPEM(filepath.Join(dir, "client_ca.pem"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, ErrTLS.Wrap(err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(ca) {
		return nil, ErrTLS.With("%s: no certificate in client_ca.pem", dir)
	}
	return c, nil
}

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the folder
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s has more than %d bytes", path, maxPEM)
	}
	return b, err
}

// peer names the caller's verified certificate.
func (c *conn) peer() (names []string) {
	secure, ok := c.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := secure.ConnectionState()
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	names = append(names, leaf.DNSNames...)
	for _, u := range leaf.URIs {
		names = append(names, u.String())
	}
	return names
}
