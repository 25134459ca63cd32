// Package mtls reads the certificates with which we show who we are to the
// holders of keys, and by which we know them.
package mtls

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"sidecar/fault"
)

// ErrFiles is every error of this package.
var ErrFiles = fault.Define("tls_files_invalid", fault.Invalid, "A certificate, its key, or the file of an authority is missing or malformed.")

// maxFile bounds a PEM file, in bytes.
const maxFile = 1 << 20

// Client returns a configuration for a client. certPath and keyPath are PEM
// files, or both empty for no certificate of ours; caPath is the authority of
// the server's certificate, or empty for the system's. least is the oldest
// version of TLS, never below 1.2. Fault: ErrFiles.
func Client(certPath, keyPath, caPath string, least uint16) (*tls.Config, error) {
	c := &tls.Config{MinVersion: max(least, tls.VersionTLS12)}
	if certPath != "" || keyPath != "" {
		cert, err := read(certPath)
		if err != nil {
			return nil, err
		}
		key, err := read(keyPath)
		if err != nil {
			return nil, err
		}
		defer clear(key)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, ErrFiles.With("%s and %s are not a certificate and its key", certPath, keyPath)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if caPath != "" {
		text, err := read(caPath)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, ErrFiles.With("%s holds no certificate", caPath)
		}
	}
	return c, nil
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxFile) {
		err = fmt.Errorf("%s: not a file of at most %d bytes", path, maxFile)
	}
	if err != nil {
		return nil, ErrFiles.Wrap(err)
	}
	text, err := os.ReadFile(path) // #nosec G304 -- the operator names the path
	if err == nil && !bytes.Contains(text, []byte("-----BEGIN ")) {
		err = errors.New(path + ": not PEM")
	}
	if err != nil {
		return nil, ErrFiles.Wrap(err)
	}
	return text, nil
}
