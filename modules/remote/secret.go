package remote

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// Secret is what the sidecar and a module share. It prints as a placeholder;
// convert it to a string only to send or to compare it.
type Secret string

const hidden = "remote.Secret(hidden)"

// Format hides the secret from every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText hides the secret from encoders and logs.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

const maxSecretFile = 4 << 10 // bytes

// ReadSecret reads a file of one line.
func ReadSecret(path string) (Secret, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names it
	if err != nil {
		return "", fmt.Errorf("read the module's secret: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return "", fmt.Errorf("read the module's secret: %w", err)
	}
	s := strings.TrimRight(string(b), "\r\n")
	if len(s) < minSecret || len(b) > maxSecretFile || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("%s is not one line of %d printable characters or more, without blanks", path, minSecret)
	}
	return Secret(s), nil
}

// carried says whether a request carries the secret. It takes the same time
// whatever the request carries.
func (s Secret) carried(r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(s))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && ok
}
