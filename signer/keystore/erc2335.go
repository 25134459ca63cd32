package keystore

import (
	"encoding/json"
	"fmt"
	"math/bits"

	"sidecar/commitments"
)

// Bounds of what is derived before the password is known to be right. The
// defaults of every deposit tool (scrypt n=2^18 r=8 p=1, 256 MiB; pbkdf2
// c=2^18) lie well inside.
const (
	maxScryptMemory = 512 << 20 // bytes: 128·n·r
	maxScryptWork   = 1 << 24   // n·r·p
	maxPBKDF2       = 10_000_000
	minDerived      = 32
	maxDerived      = 64
	maxSalt         = 256

	// DefaultLogN is the cost of new keystores: scrypt n = 2^18, r = 8, p = 1.
	DefaultLogN = 18
)

// file is an ERC-2335 keystore. [EIP-2335] Commit-Boost keeps ECDSA proxies in
// it too, with their address for pubkey.
type file struct {
	Crypto      cryptoPart `json:"crypto"`
	UUID        string     `json:"uuid"`
	Path        *string    `json:"path"`
	Pubkey      string     `json:"pubkey"`
	Version     int        `json:"version"`
	Description *string    `json:"description"`
	Name        *string    `json:"name"`
}

type cryptoPart struct {
	KDF struct {
		Function string `json:"function"`
		Params   struct {
			DKLen int    `json:"dklen"`
			N     int    `json:"n,omitempty"`
			R     int    `json:"r,omitempty"`
			P     int    `json:"p,omitempty"`
			C     int    `json:"c,omitempty"`
			PRF   string `json:"prf,omitempty"`
			Salt  string `json:"salt"`
		} `json:"params"`
		Message string `json:"message"`
	} `json:"kdf"`
	Checksum struct {
		Function string   `json:"function"`
		Params   struct{} `json:"params"`
		Message  string   `json:"message"`
	} `json:"checksum"`
	Cipher struct {
		Function string `json:"function"`
		Params   struct {
			IV string `json:"iv"`
		} `json:"params"`
		Message string `json:"message"`
	} `json:"cipher"`
}

// parse reads a keystore of one key and checks every bound. It derives nothing.
// Faults: ErrInvalid, ErrKDFBounds.
func parse(text []byte) (*file, commitments.Key, error) {
	var f file
	var nobody commitments.Key
	if err := json.Unmarshal(text, &f); err != nil {
		// The library's text would quote the file.
		return nil, nobody, ErrInvalid.With("not a JSON keystore")
	}
	if f.Version != 4 {
		return nil, nobody, ErrInvalid.With("version %d, want 4", f.Version)
	}
	key, ok := parseName(f.Pubkey)
	if !ok || key.IsZero() {
		return nil, nobody, ErrInvalid.With("pubkey is not 48 bytes of hex, or an address")
	}
	if len(f.Crypto.Cipher.Message) != 64 {
		return nil, nobody, ErrInvalid.With("cipher is not AES-128-CTR of a 32-byte secret")
	}
	return &f, key, f.Crypto.bounded(32, true)
}

// bounded checks everything that decrypting depends on. most is how many bytes
// may be encrypted, checked whether there must be a checksum.
func (c *cryptoPart) bounded(most int, checked bool) error {
	if without := c.Checksum.Message == "" && !checked; !without && (c.Checksum.Function != "sha256" || !isHex(c.Checksum.Message, 32, 32)) {
		return ErrInvalid.With("checksum is not SHA-256")
	}
	if c.Cipher.Function != "aes-128-ctr" || !isHex(c.Cipher.Params.IV, 16, 16) || !isHex(c.Cipher.Message, 1, most) {
		return ErrInvalid.With("cipher is not AES-128-CTR, or of more than %d bytes", most)
	}
	if !isHex(c.KDF.Params.Salt, 1, maxSalt) {
		return ErrInvalid.With("salt is not hex")
	}
	k := &c.KDF.Params
	if k.DKLen < minDerived || k.DKLen > maxDerived {
		return ErrKDFBounds.With("dklen %d", k.DKLen)
	}
	switch c.KDF.Function {
	case "scrypt":
		if k.N < 2 || k.N > maxScryptWork || bits.OnesCount(uint(k.N)) != 1 { // #nosec G115 -- positive
			return ErrKDFBounds.With("scrypt n %d", k.N)
		}
		if k.R < 1 || k.P < 1 || k.R > maxScryptWork/k.N || k.P > maxScryptWork/(k.N*k.R) || k.N*k.R > maxScryptMemory/128 {
			return ErrKDFBounds.With("scrypt n %d, r %d, p %d", k.N, k.R, k.P)
		}
	case "pbkdf2":
		if k.PRF != "hmac-sha256" {
			return ErrInvalid.With("pbkdf2 with another function than hmac-sha256")
		}
		if k.C < 1 || k.C > maxPBKDF2 {
			return ErrKDFBounds.With("pbkdf2 c %d", k.C)
		}
	default:
		return ErrInvalid.With("key derivation is neither scrypt nor pbkdf2")
	}
	return nil
}

// open decrypts a keystore and checks that it holds the key it names.
// Faults: ErrInvalid, ErrKDFBounds, ErrPassword, ErrMismatch.
func open(text, password []byte) (secretKey, error) {
	f, key, err := parse(text)
	if err != nil {
		return nil, err
	}
	raw, err := f.Crypto.decrypt(password)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	defer clear(raw)
	secret, err := parseSecret(schemeOf(key), raw)
	if err != nil {
		return nil, ErrInvalid.With("%s: the decrypted bytes are not such a key", key)
	}
	if got := secret.name(); got != key {
		secret.Wipe()
		return nil, ErrMismatch.With("the file names %s and holds %s", key, got)
	}
	return secret, nil
}

// seal encrypts a secret with scrypt, n = 2^logN.
func seal(secret secretKey, password []byte, logN int) ([]byte, error) {
	described := fileName(secret.name())
	f := file{UUID: uuid(), Pubkey: secret.name().String()[2:], Version: 4, Description: &described}
	raw := secret.Bytes()
	defer clear(raw)
	if err := f.Crypto.encrypt(raw, password, logN); err != nil {
		return nil, err
	}
	return json.Marshal(f)
}
