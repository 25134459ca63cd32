package keystore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	keystorev4 "github.com/wealdtech/go-eth2-wallet-encryptor-keystorev4"
	"golang.org/x/crypto/scrypt"

	"sidecar/internal/bls"
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

// file is an ERC-2335 keystore. [EIP-2335]
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

// parse reads a keystore and checks every bound. It derives nothing. A second
// check on the decrypting library: it must not meet input it would panic on.
// Faults: ErrInvalid, ErrKDFBounds.
func parse(text []byte) (*file, phase0.BLSPubKey, error) {
	var f file
	var public phase0.BLSPubKey
	if err := json.Unmarshal(text, &f); err != nil {
		// The library's text would quote the file.
		return nil, public, ErrInvalid.With("not a JSON keystore")
	}
	if f.Version != 4 {
		return nil, public, ErrInvalid.With("version %d, want 4", f.Version)
	}
	if n, err := hex.Decode(public[:], hexDigits(f.Pubkey, len(public))); err != nil || n != len(public) {
		return nil, public, ErrInvalid.With("pubkey is not 48 bytes of hex")
	}
	c := &f.Crypto
	if c.Checksum.Function != "sha256" || !isHex(c.Checksum.Message, 32, 32) {
		return nil, public, ErrInvalid.With("checksum is not SHA-256")
	}
	if c.Cipher.Function != "aes-128-ctr" || !isHex(c.Cipher.Params.IV, 16, 16) || !isHex(c.Cipher.Message, 32, 32) {
		return nil, public, ErrInvalid.With("cipher is not AES-128-CTR of a 32-byte secret")
	}
	if !isHex(c.KDF.Params.Salt, 1, maxSalt) {
		return nil, public, ErrInvalid.With("salt is not hex")
	}
	return &f, public, bounded(c)
}

func bounded(c *cryptoPart) error {
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
func open(text, password []byte) (*bls.SecretKey, error) {
	f, public, err := parse(text)
	if err != nil {
		return nil, err
	}
	again, err := json.Marshal(f.Crypto)
	if err != nil {
		return nil, ErrInvalid.With("not a JSON keystore")
	}
	var generic map[string]any
	if err := json.Unmarshal(again, &generic); err != nil {
		return nil, ErrInvalid.With("not a JSON keystore")
	}
	raw, err := keystorev4.New().Decrypt(generic, string(password))
	if err != nil {
		return nil, ErrPassword.With("%#x", public[:])
	}
	defer clear(raw)
	secret, err := bls.ParseSecretKey(raw)
	if err != nil {
		return nil, ErrInvalid.With("%#x: the decrypted bytes are not a BLS key", public[:])
	}
	if got := secret.PublicKey(); got != public {
		return nil, ErrMismatch.With("the file names %#x and holds %#x", public[:], got[:])
	}
	return secret, nil
}

// seal encrypts a secret with scrypt, n = 2^logN. The password is ASCII without
// control characters, so that no normalisation applies to it. [EIP-2335]
func seal(secret *bls.SecretKey, password []byte, logN int) ([]byte, error) {
	if logN < 1 || 1<<logN > maxScryptMemory/(128*8) {
		return nil, ErrKDFBounds.With("scrypt n 2^%d", logN)
	}
	salt, iv, id := make([]byte, 32), make([]byte, 16), make([]byte, 16)
	for _, b := range [][]byte{salt, iv, id} {
		_, _ = rand.Read(b) // never fails [crypto/rand]
	}
	derived, err := scrypt.Key(password, salt, 1<<logN, 8, 1, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	defer clear(derived)
	block, err := aes.NewCipher(derived[:16])
	if err != nil {
		return nil, fmt.Errorf("encrypt key: %w", err)
	}
	message := secret.Bytes()
	cipher.NewCTR(block, iv).XORKeyStream(message, message) // #nosec G407 -- iv is random, see above
	checksum := sha256.Sum256(append(bytes.Clone(derived[16:]), message...))

	public := secret.PublicKey()
	described := fmt.Sprintf("%#x", public[:])
	f := file{UUID: uuid(id), Pubkey: described[2:], Version: 4, Description: &described}
	c := &f.Crypto
	c.KDF.Function = "scrypt"
	c.KDF.Params.DKLen, c.KDF.Params.N, c.KDF.Params.R, c.KDF.Params.P = 32, 1<<logN, 8, 1
	c.KDF.Params.Salt = hex.EncodeToString(salt)
	c.Checksum.Function, c.Checksum.Message = "sha256", hex.EncodeToString(checksum[:])
	c.Cipher.Function, c.Cipher.Message = "aes-128-ctr", hex.EncodeToString(message)
	c.Cipher.Params.IV = hex.EncodeToString(iv)
	return json.Marshal(f)
}

// uuid writes 16 random bytes as a version 4 UUID. [RFC 9562 §5.4]
func uuid(b []byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// hexDigits returns the digits of s if it is n bytes of hex, 0x optional.
func hexDigits(s string, n int) []byte {
	s = strings.TrimPrefix(s, "0x")
	if len(s) != 2*n {
		return nil
	}
	return []byte(s)
}

func isHex(s string, least, most int) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) >= least && len(b) <= most
}

// parseKey reads a public key as it stands in file and folder names.
func parseKey(name string) (key phase0.BLSPubKey, err error) {
	if n, err := hex.Decode(key[:], hexDigits(name, len(key))); err != nil || n != len(key) {
		return key, errors.New("not a public key")
	}
	return key, nil
}
