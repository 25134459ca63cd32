package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FromEnv reads what Commit-Boost gives its modules: CB_MODULE_ID, CB_SIGNER_URL,
// CB_SIGNER_JWT (the secret) and, optional, CB_SIGNER_TLS_CERTIFICATES, a folder.
// get is os.Getenv, but for tests.
func FromEnv(get func(string) string) (c Config, err error) {
	c = Config{URL: get("CB_SIGNER_URL"), ModuleID: get("CB_MODULE_ID"), Secret: get("CB_SIGNER_JWT")}
	if dir := get("CB_SIGNER_TLS_CERTIFICATES"); dir != "" {
		c.TLS, err = LoadTLS(dir)
	}
	return c, err
}

// LoadTLS reads a folder as "sidecar tls" makes it for a client: ca.pem is whom
// we trust, cert.pem and key.pem who we are. In a folder of Commit-Boost there is
// cert.pem alone, and it is whom we trust.
func LoadTLS(dir string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	roots, err := os.ReadFile(filepath.Join(dir, "ca.pem")) // #nosec G304 -- the operator names the folder
	if errors.Is(err, fs.ErrNotExist) {
		roots, err = os.ReadFile(cert) // #nosec G304 -- likewise
	}
	if err != nil {
		return nil, fmt.Errorf("read certificates: %w", err)
	}
	if !c.RootCAs.AppendCertsFromPEM(roots) {
		return nil, fmt.Errorf("read certificates: none in %s", dir)
	}
	if _, err := os.Stat(key); err == nil {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
