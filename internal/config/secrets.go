package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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

// Secrets are who may call the Signer API.
type Secrets struct {
	Modules map[string]Secret // of every "commit" module, by id
	Admin   Secret            // "" if nobody administers
}

const maxSecret = 4 << 10 // bytes of a file

// Secrets reads the secrets that the file and the environment name, and checks
// them: every module has one, no two are alike, and a strict module's is strong.
// warnings are what should be better. Errors: Errors.
func (c *Config) Secrets(env func(string) (string, bool)) (out Secrets, warnings []string, err error) {
	var errs Errors
	fail := func(key, format string, args ...any) {
		errs = append(errs, Error{c.file, c.lines[key], key, fmt.Sprintf(format, args...)})
	}
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	list, _ := env("CB_JWTS")
	given, err := ParseSecrets(list)
	if err != nil {
		fail("CB_JWTS", "%v", err)
	}
	out = Secrets{Modules: map[string]Secret{}}
	owner := map[Secret]string{}
	take := func(key, who, file string, s Secret) Secret {
		if file != "" {
			var err error
			if s, err = readSecret(file); err != nil {
				fail(key, "%v", err)
				return ""
			}
		}
		if other := owner[s]; other != "" && s != "" {
			fail(key, "%s has the secret of %s", who, other)
		}
		owner[s] = who
		return s
	}
	admin, _ := env("CB_SIGNER_ADMIN_JWT")
	if c.Signer != nil {
		out.Admin = take("signer.admin_secret_file", "the administrator", c.Signer.AdminSecretFile, Secret(admin))
	}
	for i := range c.Modules {
		m, key := &c.Modules[i], element("modules", i)+".signer.secret_file"
		if m.Type != ModuleCommit {
			continue
		}
		grant := m.SignerGrant()
		before := len(errs)
		s := take(key, m.ID, grant.SecretFile, given[m.ID])
		switch {
		case len(errs) > before:
		case s == "":
			fail(key, "%s has no secret: name a secret_file, or set CB_JWTS", m.ID)
		case s.Weak() && grant.Tokens == TokensStrict:
			fail(key, "the secret of %s has fewer than %d characters, which tokens = \"strict\" does not take", m.ID, WeakSecret)
		case s.Weak():
			warnings = append(warnings, fmt.Sprintf("%s: the secret of %s has fewer than %d characters: it may be guessed", key, m.ID, WeakSecret))
		}
		out.Modules[m.ID] = s
	}
	if len(errs) > 0 {
		return Secrets{}, nil, errs.sorted()
	}
	return out, warnings, nil
}

// readSecret reads a file of one line.
func readSecret(path string) (Secret, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names it
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	s := strings.TrimRight(string(b), "\r\n")
	if s == "" || len(b) > maxSecret || strings.ContainsAny(s, "\r\n\x00") {
		return "", fmt.Errorf("%s is not one line", path)
	}
	return Secret(s), nil
}
