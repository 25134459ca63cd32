package keystore

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// loadPrysm reads Prysm's all-accounts.keystore.json: one encrypted message with
// the secrets of all keys. Public keys stand beside the secrets inside it, and
// are checked. [Prysm: accounts keystore representation]
func loadPrysm(path, passwordPath string) ([]secretKey, error) {
	text, err := read(path, maxList)
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	password, err := read(passwordPath, maxPassword)
	if err != nil {
		return nil, ErrPassword.Wrap(err)
	}
	defer clear(password)
	secrets, err := openPrysm(text, password)
	if err != nil {
		return secrets, fmt.Errorf("%s: %w", path, err)
	}
	return secrets, nil
}

// openPrysm decrypts Prysm's keystore. Faults: ErrInvalid, ErrKDFBounds,
// ErrPassword, ErrMismatch. Secrets read before an error are returned, too.
func openPrysm(text, password []byte) (secrets []secretKey, err error) {
	var outer struct {
		Crypto cryptoPart `json:"crypto"`
	}
	if err := json.Unmarshal(text, &outer); err != nil {
		return nil, ErrInvalid.With("not a JSON keystore")
	}
	if err := outer.Crypto.bounded(maxList, false); err != nil {
		return nil, err
	}
	message, err := outer.Crypto.decrypt(password)
	if err != nil {
		return nil, err
	}
	defer clear(message)
	var inner struct {
		Private [][]byte `json:"private_keys"` // base64
		Public  [][]byte `json:"public_keys"`
	}
	defer func() {
		for _, raw := range inner.Private {
			clear(raw)
		}
	}()
	if err := json.Unmarshal(message, &inner); err != nil {
		// Without a checksum a wrong password shows here. The library's text
		// could quote a secret.
		return nil, ErrPassword.With("what is decrypted is not JSON")
	}
	if len(inner.Private) != len(inner.Public) {
		return nil, ErrMismatch.With("%d secrets, %d public keys", len(inner.Private), len(inner.Public))
	}
	for i, raw := range inner.Private {
		secret, err := parseSecret(SchemeBLS, raw)
		if err != nil {
			return secrets, ErrInvalid.With("secret %d is not a BLS key", i)
		}
		secrets = append(secrets, secret)
		if !bytes.Equal(secret.name().Bytes(), inner.Public[i]) {
			return secrets, ErrMismatch.With("secret %d is not that of its public key", i)
		}
	}
	return secrets, nil
}
