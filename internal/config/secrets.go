package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Secret is a shared secret of tokens, as text. It prints as a placeholder.
// Convert it to a string only to sign or to verify.
type Secret string

// WeakSecret is how many characters a secret has at least that nobody guesses.
const WeakSecret = 32

const hidden = "config.Secret(hidden)"

// Format hides the secret from every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the secret from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Weak says whether somebody might guess it.
func (s Secret) Weak() bool { return len(s) < WeakSecret }

// Fingerprint tells secrets of a module apart without being one.
func (s Secret) Fingerprint(module string) [32]byte {
	return sha256.Sum256([]byte("sidecar/token/v1\x00" + module + "\x00" + string(s)))
}

// ParseSecrets reads "MODULE=secret,MODULE=secret". A secret may hold "=", as
// base64 does, and no comma. [Commit-Boost: CB_JWTS]
func ParseSecrets(list string) (map[string]Secret, error) {
	out := map[string]Secret{}
	if strings.TrimSpace(list) == "" {
		return out, nil
	}
	for _, pair := range strings.Split(list, ",") {
		id, secret, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if !ok || id == "" || secret == "" {
			return nil, errors.New("is not a list of MODULE=secret")
		}
		if _, twice := out[id]; twice {
			return nil, fmt.Errorf("names module %.64q twice", id)
		}
		out[id] = Secret(secret)
	}
	return out, nil
}
