package keystore

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/errgroup"

	"sidecar/internal/bls"
)

// Limits of what is read.
const (
	maxKeystore = 64 << 10 // bytes of one keystore
	maxPassword = 4 << 10  // bytes of one password file
	maxList     = 8 << 20  // bytes of a list of plain secrets
	// One scrypt derivation takes 256 MiB; more of them at a time would exhaust
	// small machines.
	maxParallel = 4
)

// Format is a layout of keys on disk.
type Format string

// The formats. [Commit-Boost: signer.local.loader]
const (
	FormatKeystore   Format = "keystore"   // Keys: one ERC-2335 file; Secrets: its password file
	FormatLighthouse Format = "lighthouse" // Keys/<pubkey>/voting-keystore.json; Secrets/0x<pubkey>
	FormatNimbus     Format = "nimbus"     // Keys/<pubkey>/keystore.json; Secrets/0x<pubkey>
	FormatTeku       Format = "teku"       // Keys/<name>.json; Secrets/<name>.txt
	FormatFile       Format = "file"       // Keys: a JSON array of plain secrets, for tests only
)

// Source says where keys are.
type Source struct {
	Format  Format
	Keys    string // a file or a folder, by Format
	Secrets string // a file or a folder, by Format; unused for FormatFile
}

// Load reads all keys of a source. One broken keystore among ten is an error
// that names its file; all broken ones are named at once. No key at all is an
// error. Faults: ErrInvalid, ErrKDFBounds, ErrPassword, ErrMismatch, ErrEmpty.
func Load(s Source) (*Local, error) {
	if s.Format == FormatFile {
		return loadList(s.Keys)
	}
	found, err := s.find()
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrEmpty.With("%s, format %s", s.Keys, s.Format)
	}
	secrets, errs := make([]*bls.SecretKey, len(found)), make([]error, len(found))
	var group errgroup.Group
	group.SetLimit(min(maxParallel, runtime.GOMAXPROCS(0)))
	for i, at := range found {
		group.Go(func() error {
			secrets[i], errs[i] = at.load()
			return nil
		})
	}
	_ = group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return NewLocal(secrets...), nil
}

// location is one keystore and its password.
type location struct {
	keystore, password string
	want               *phase0.BLSPubKey // the key its folder names
}

func (s Source) find() ([]location, error) {
	switch s.Format {
	case FormatKeystore:
		return []location{{s.Keys, s.Secrets, nil}}, nil
	case FormatLighthouse:
		return s.findNamed("voting-keystore.json")
	case FormatNimbus:
		return s.findNamed("keystore.json")
	case FormatTeku:
		return s.findPaired()
	default:
		return nil, ErrInvalid.With("unknown format %.32q", string(s.Format))
	}
}

// findNamed finds folders named after keys; what else lies there is a client's own.
func (s Source) findNamed(name string) (found []location, err error) {
	entries, err := os.ReadDir(s.Keys)
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	for _, e := range entries {
		key, err := parseKey(e.Name())
		if err != nil {
			continue
		}
		found = append(found, location{
			keystore: filepath.Join(s.Keys, e.Name(), name),
			password: filepath.Join(s.Secrets, fmt.Sprintf("%#x", key[:])),
			want:     &key,
		})
	}
	return found, nil
}

// findPaired finds keystores that share a file name with their password.
func (s Source) findPaired() (found []location, err error) {
	entries, err := os.ReadDir(s.Keys)
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !e.IsDir() {
			found = append(found, location{filepath.Join(s.Keys, e.Name()), filepath.Join(s.Secrets, name+".txt"), nil})
		}
	}
	return found, nil
}

// load opens one keystore. Every error names the file.
func (at location) load() (*bls.SecretKey, error) {
	text, err := read(at.keystore, maxKeystore)
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	password, err := read(at.password, maxPassword)
	if err != nil {
		return nil, ErrPassword.Wrap(err)
	}
	defer clear(password)
	secret, err := open(text, trimNewline(password))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at.keystore, err)
	}
	if at.want != nil && secret.PublicKey() != *at.want {
		return nil, fmt.Errorf("%s: %w", at.keystore, ErrMismatch.With("its folder names another key"))
	}
	return secret, nil
}

// loadList reads a JSON array of 32-byte hex secrets, 0x optional.
func loadList(path string) (*Local, error) {
	text, err := read(path, maxList)
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	defer clear(text)
	var list []string
	if err := json.Unmarshal(text, &list); err != nil {
		// The library's text could quote a secret.
		return nil, ErrInvalid.With("%s: not a JSON array of strings", path)
	}
	if len(list) == 0 {
		return nil, ErrEmpty.With("%s", path)
	}
	l := NewLocal()
	for i, digits := range list {
		var raw [32]byte
		n, err := hex.Decode(raw[:], hexDigits(digits, len(raw)))
		if err != nil || n != len(raw) {
			return nil, ErrInvalid.With("%s: secret %d is not 32 bytes of hex", path, i)
		}
		secret, err := bls.ParseSecretKey(raw[:])
		clear(raw[:])
		if err != nil {
			return nil, ErrInvalid.With("%s: secret %d is not a BLS key", path, i)
		}
		l.Add(secret)
	}
	return l, nil
}

// read reads a regular file of at most limit bytes. Its errors name the file.
func read(path string, limit int64) ([]byte, error) {
	// A pipe or a device could block, or never end. Links are followed: secrets
	// are often mounted as links.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path) // #nosec G304 -- the operator names the path
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return b, nil
}

// trimNewline takes off the one line ending that editors add.
func trimNewline(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}
