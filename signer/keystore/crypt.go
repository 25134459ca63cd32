package keystore

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/pbkdf2"
	"golang.org/x/crypto/scrypt"
	"golang.org/x/text/unicode/norm"
)

// normalise makes of a password what is derived from: NFKD, without control
// characters, code point by code point. It takes off line endings on the way.
// [EIP-2335: Password requirements]
func normalise(password []byte) []byte {
	// Append, since Bytes may return what it was given, which is not ours to clear.
	decomposed := norm.NFKD.Append(make([]byte, 0, 4*len(password)), password...)
	defer clear(decomposed)
	kept := make([]byte, 0, len(decomposed))
	for b := decomposed; len(b) > 0; {
		r, n := utf8.DecodeRune(b)
		if r > 0x1f && (r < 0x7f || r > 0x9f) {
			kept = append(kept, b[:n]...) // bytes that are not UTF-8 stay as they are
		}
		b = b[n:]
	}
	return kept
}

// derive makes the 32 bytes or more of a decryption key. Parameters were bounded.
func (c *cryptoPart) derive(password []byte) ([]byte, error) {
	password = normalise(password)
	defer clear(password)
	k := &c.KDF.Params
	salt, err := hex.DecodeString(k.Salt)
	if err != nil {
		return nil, ErrInvalid.With("salt is not hex")
	}
	if c.KDF.Function == "pbkdf2" {
		return pbkdf2.Key(password, salt, k.C, k.DKLen, sha256.New), nil
	}
	derived, err := scrypt.Key(password, salt, k.N, k.R, k.P, k.DKLen)
	if err != nil {
		return nil, ErrKDFBounds.With("scrypt n %d, r %d, p %d", k.N, k.R, k.P)
	}
	return derived, nil
}

// decrypt returns what is encrypted; the caller clears it. Call bounded first.
// Faults: ErrPassword, ErrInvalid, ErrKDFBounds.
func (c *cryptoPart) decrypt(password []byte) ([]byte, error) {
	derived, err := c.derive(password)
	if err != nil {
		return nil, err
	}
	defer clear(derived)
	message, err := hex.DecodeString(c.Cipher.Message)
	if err != nil {
		return nil, ErrInvalid.With("cipher text is not hex")
	}
	want, err := hex.DecodeString(c.Checksum.Message)
	if err != nil {
		return nil, ErrInvalid.With("checksum is not hex")
	}
	if sum := checksum(derived, message); len(want) > 0 && subtle.ConstantTimeCompare(sum[:], want) != 1 {
		return nil, ErrPassword.With("the checksum is another's")
	}
	return message, crypt(derived, c.Cipher.Params.IV, message)
}

// encrypt fills c in for a message, with fresh salt and initialisation vector.
func (c *cryptoPart) encrypt(message, password []byte, logN int) error {
	if logN < 1 || 1<<logN > maxScryptMemory/(128*8) {
		return ErrKDFBounds.With("scrypt n 2^%d", logN)
	}
	salt, iv := random(32), random(16)
	c.KDF.Function = "scrypt"
	k := &c.KDF.Params
	k.DKLen, k.N, k.R, k.P, k.Salt = 32, 1<<logN, 8, 1, hex.EncodeToString(salt)
	derived, err := c.derive(password)
	if err != nil {
		return err
	}
	defer clear(derived)
	c.Cipher.Function, c.Cipher.Params.IV = "aes-128-ctr", hex.EncodeToString(iv)
	message = bytes.Clone(message)
	if err := crypt(derived, c.Cipher.Params.IV, message); err != nil {
		return err
	}
	sum := checksum(derived, message)
	c.Cipher.Message = hex.EncodeToString(message)
	c.Checksum.Function, c.Checksum.Message = "sha256", hex.EncodeToString(sum[:])
	return nil
}

// crypt is AES-128-CTR, in place, either way.
func crypt(derived []byte, ivHex string, message []byte) error {
	iv, err := hex.DecodeString(ivHex)
	if err != nil || len(iv) != aes.BlockSize {
		return ErrInvalid.With("initialisation vector is not 16 bytes of hex")
	}
	block, err := aes.NewCipher(derived[:16])
	if err != nil {
		return fmt.Errorf("set AES up: %w", err)
	}
	cipher.NewCTR(block, iv).XORKeyStream(message, message) // #nosec G407 -- iv is the file's, random when it was made
	return nil
}

// checksum tells a wrong password from a right one. [EIP-2335: Checksum]
func checksum(derived, cipherText []byte) [32]byte {
	h := sha256.New()
	_, _ = h.Write(derived[16:32]) // never fails [hash.Hash]
	_, _ = h.Write(cipherText)
	return [32]byte(h.Sum(nil))
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails [crypto/rand]
	return b
}

// uuid makes a random version 4 UUID. [RFC 9562 §5.4]
func uuid() string {
	b := random(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
