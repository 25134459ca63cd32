package onchain

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"
	"golang.org/x/crypto/pbkdf2"
	"golang.org/x/crypto/scrypt"

	"sidecar/internal/ecdsa"
)

// Bounds of what a keystore may ask for.
const (
	maxKeyFile    = 64 << 10 // bytes
	maxScryptWork = 1 << 29  // bytes of memory: 128·n·r
	maxIterations = 10_000_000
)

// LoadKey reads the key that pays: from a Web3 Secret Storage file, version 3,
// with a file that holds its password, or, without a password file, from a file
// of 64 hex digits. plain says that it was the latter: whoever reads that file
// has the key. Fault: ErrKey.
func LoadKey(path, passwordPath string) (key *ecdsa.SecretKey, plain bool, err error) {
	text, err := readSecret(path)
	if err != nil {
		return nil, false, err
	}
	defer clear(text)
	var secret []byte
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '{' {
		if passwordPath == "" {
			return nil, false, ErrKey.With("a keystore needs a file with its password")
		}
		password, err := readSecret(passwordPath)
		if err != nil {
			return nil, false, err
		}
		defer clear(password)
		if secret, err = openV3(trimmed, bytes.TrimRight(password, "\r\n")); err != nil {
			return nil, false, err
		}
	} else {
		plain = true
		secret, err = hex.DecodeString(strings.TrimPrefix(string(trimmed), "0x"))
		if err != nil {
			return nil, true, ErrKey.With("neither a keystore nor 64 hex digits")
		}
	}
	defer clear(secret)
	if key, err = ecdsa.ParseSecretKey(secret); err != nil {
		return nil, plain, ErrKey.Wrap(err)
	}
	return key, plain, nil
}

// readSecret reads a small file that only its owner may read.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator's path
	if err != nil {
		return nil, ErrKey.Wrap(err)
	}
	defer func() { _ = f.Close() }()
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, ErrKey.Wrap(err)
	case info.Mode().Perm()&0o077 != 0:
		return nil, ErrKey.With("others may read %s: chmod 600 it", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil || len(text) > maxKeyFile {
		return nil, ErrKey.Wrap(errors.Join(err, errors.New("a file too large, or one that cannot be read")))
	}
	return text, nil
}

// v3 is a Web3 Secret Storage file.
type v3 struct {
	Version int `json:"version"`
	Crypto  struct {
		Cipher       string `json:"cipher"`
		CipherText   string `json:"ciphertext"`
		CipherParams struct {
			IV string `json:"iv"`
		} `json:"cipherparams"`
		KDF       string `json:"kdf"`
		KDFParams struct {
			DKLen, C, N, R, P int
			PRF, Salt         string
		} `json:"kdfparams"`
		MAC string `json:"mac"`
	} `json:"crypto"`
}

// openV3 decrypts a keystore. [Web3 Secret Storage Definition, version 3]
func openV3(text, password []byte) ([]byte, error) {
	var k v3
	if err := json.Unmarshal(text, &k); err != nil || k.Version != 3 || k.Crypto.Cipher != "aes-128-ctr" {
		return nil, ErrKey.With("not a Web3 Secret Storage file of version 3 with aes-128-ctr")
	}
	cipherText, err1 := hex.DecodeString(k.Crypto.CipherText)
	iv, err2 := hex.DecodeString(k.Crypto.CipherParams.IV)
	mac, err3 := hex.DecodeString(k.Crypto.MAC)
	if errors.Join(err1, err2, err3) != nil || len(iv) != aes.BlockSize {
		return nil, ErrKey.With("a field is not hex, or of another length")
	}
	derived, err := k.derive(password)
	if err != nil {
		return nil, err
	}
	defer clear(derived)
	if subtle.ConstantTimeCompare(crypto.Keccak256(derived[16:32], cipherText), mac) != 1 {
		return nil, ErrKey.With("the password is wrong, or the file damaged")
	}
	block, err := aes.NewCipher(derived[:16])
	if err != nil {
		return nil, ErrKey.Wrap(err)
	}
	cipher.NewCTR(block, iv).XORKeyStream(cipherText, cipherText) // #nosec G407 -- iv is the file's
	return cipherText, nil
}

func (k *v3) derive(password []byte) ([]byte, error) {
	p := k.Crypto.KDFParams
	salt, err := hex.DecodeString(p.Salt)
	if err != nil || p.DKLen != 32 {
		return nil, ErrKey.With("salt is not hex, or the derived key not of 32 bytes")
	}
	switch k.Crypto.KDF {
	case "scrypt":
		if p.N < 2 || p.R < 1 || p.P < 1 || p.P > 16 || p.R > 64 || p.N > maxScryptWork/(128*p.R) {
			return nil, ErrKey.With("scrypt n %d, r %d, p %d", p.N, p.R, p.P)
		}
		derived, err := scrypt.Key(password, salt, p.N, p.R, p.P, p.DKLen)
		if err != nil {
			return nil, ErrKey.Wrap(err)
		}
		return derived, nil
	case "pbkdf2":
		if p.PRF != "hmac-sha256" || p.C < 1 || p.C > maxIterations {
			return nil, ErrKey.With("pbkdf2 with %.20q, %d times", p.PRF, p.C)
		}
		return pbkdf2.Key(password, salt, p.C, p.DKLen, sha256.New), nil
	}
	return nil, ErrKey.With("key derivation %.20q", k.Crypto.KDF)
}
