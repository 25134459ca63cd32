package keystore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/errgroup"
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
	FormatLodestar   Format = "lodestar"   // Keys/<any>.json; Secrets: the password file of all of them
	FormatPrysm      Format = "prysm"      // Keys: all-accounts.keystore.json; Secrets: the wallet's password file
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
	secrets, err := s.load()
	if err == nil && len(secrets) == 0 {
		err = ErrEmpty.With("%s, format %s", s.Keys, s.Format)
	}
	if err != nil {
		for _, secret := range secrets {
			secret.Wipe()
		}
		return nil, err
	}
	l := NewLocal()
	for _, secret := range secrets {
		l.add(secret)
	}
	return l, nil
}

// load returns what could be read even if there is an error.
func (s Source) load() (secrets []secretKey, err error) {
	switch s.Format {
	case FormatFile:
		return loadList(s.Keys)
	case FormatPrysm:
		return loadPrysm(s.Keys, s.Secrets)
	}
	found, err := s.find()
	if err != nil {
		return nil, err
	}
	opened, errs := make([]secretKey, len(found)), make([]error, len(found))
	var group errgroup.Group
	group.SetLimit(min(maxParallel, runtime.GOMAXPROCS(0)))
	for i, at := range found {
		group.Go(func() error {
			opened[i], errs[i] = at.load()
			return nil
		})
	}
	_ = group.Wait()
	for i, secret := range opened {
		if errs[i] == nil {
			secrets = append(secrets, secret)
		}
	}
	return secrets, errors.Join(errs...)
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
		return s.findFlat(func(name string) string { return filepath.Join(s.Secrets, name+".txt") })
	case FormatLodestar:
		return s.findFlat(func(string) string { return s.Secrets })
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
		key, err := parsePubkey(e.Name())
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

// findFlat finds the keystores that lie in one folder. What the deposit tool puts
// beside them is no keystore.
func (s Source) findFlat(password func(name string) string) (found []location, err error) {
	entries, err := os.ReadDir(s.Keys)
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if ok && !e.IsDir() && name != "" && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "deposit_data") {
			found = append(found, location{filepath.Join(s.Keys, e.Name()), password(name), nil})
		}
	}
	return found, nil
}

// load opens the keystore of a validator. Every error names the file.
func (at location) load() (secretKey, error) {
	secret, err := at.open()
	if err != nil {
		return nil, err
	}
	if key := secret.name(); !key.IsBLS() || at.want != nil && key.BLS != *at.want {
		secret.Wipe()
		return nil, fmt.Errorf("%s: %w", at.keystore, ErrMismatch.With("its folder names another key, or it is no validator's"))
	}
	return secret, nil
}

// open opens a keystore of either scheme.
func (at location) open() (secretKey, error) {
	text, err := read(at.keystore, maxKeystore)
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	password, err := read(at.password, maxPassword)
	if err != nil {
		return nil, ErrPassword.Wrap(err)
	}
	defer clear(password)
	secret, err := open(text, password)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at.keystore, err)
	}
	return secret, nil
}

// loadList reads a JSON array of 32-byte hex secrets, 0x optional.
func loadList(path string) (secrets []secretKey, err error) {
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
	for i, digits := range list {
		var raw [32]byte
		if !decodeHex(raw[:], digits) {
			return secrets, ErrInvalid.With("%s: secret %d is not 32 bytes of hex", path, i)
		}
		secret, err := parseSecret(SchemeBLS, raw[:])
		clear(raw[:])
		if err != nil {
			return secrets, ErrInvalid.With("%s: secret %d is not a BLS key", path, i)
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}
