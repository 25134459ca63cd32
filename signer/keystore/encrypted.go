package keystore

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/errgroup"
)

// EncryptedStore keeps proxy keys in Commit-Boost's ERC-2335 layout, with files
// of our own beside them that Commit-Boost does not read. <scheme> is bls or
// ecdsa, <proxy> a public key or an address.
//
//	<Keys>/<consensus key>/<module>/<scheme>/<proxy>.json     keystore: this file makes it a proxy
//	<Keys>/<consensus key>/<module>/<scheme>/<proxy>.sig      delegation, 0x-prefixed hex
//	<Keys>/<consensus key>/<module>/<scheme>/<proxy>.pop      proof of possession, 0x-prefixed hex; ours
//	<Keys>/<consensus key>/<module>/<scheme>/<proxy>.meta     {"version":1,"expires_at":<unix seconds>}; ours, optional
//	<Keys>/<consensus key>/<module>/<scheme>/<proxy>.pending  a keystore that is no proxy yet; ours
//	<Keys>/<consensus key>/<module>/<scheme>/<proxy>.revoked  never again; ours, with <proxy>.keystore-revoked
//	<Secrets>/<consensus key>/<module>/<scheme>/<proxy>       password
//
// Both folders must exist.
type EncryptedStore struct {
	Keys    string // folder
	Secrets string // folder; not the same disk, if it can be helped

	// LogN is the base-2 logarithm of scrypt's n for new keystores. Optional:
	// 0 means DefaultLogN. Less is for tests.
	LogN int

	disk disk
}

// The extensions of the files of one proxy.
const (
	extKeystore   = ".json"
	extDelegation = ".sig"
	extPossession = ".pop"
	extMeta       = ".meta"
	extPending    = ".pending"
	extRevoked    = ".revoked"
	extRetired    = ".keystore-revoked"
)

// meta is what a delegation does not say.
type meta struct {
	Version int   `json:"version"`    // 1
	Expires int64 `json:"expires_at"` // unix seconds
}

// stage writes password, keystore, proof and expiry. A crash up to here leaves
// strays that nobody reads.
func (s EncryptedStore) stage(p stored) (string, error) {
	logN := s.LogN
	if logN == 0 {
		logN = DefaultLogN
	}
	password := hex.AppendEncode(nil, random(32))
	defer clear(password)
	keystore, err := seal(p.secret, password, logN)
	if err != nil {
		return "", err
	}
	below := []string{p.Consensus.String(), p.Module, string(p.Scheme())}
	keys, err := s.disk.folders(s.Keys, below...)
	if err != nil {
		return "", err
	}
	secrets, err := s.disk.folders(s.Secrets, below...)
	if err != nil {
		return "", err
	}
	name := fileName(p.Key)
	if err := s.disk.write(filepath.Join(secrets, name), secrets, password, nil); err != nil {
		return "", err
	}
	at := filepath.Join(keys, name)
	err = s.disk.write(at+extPending, keys, keystore, func(text []byte) error {
		opened, err := open(text, password)
		if err != nil {
			return err
		}
		defer opened.Wipe()
		if opened.name() != p.Key {
			return ErrMismatch.With("%s", opened.name())
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if err := s.disk.write(at+extPossession, keys, fmt.Appendf(nil, "%#x", p.possession), nil); err != nil {
		return "", err
	}
	if p.Expires.IsZero() {
		return at, nil
	}
	text, err := json.Marshal(meta{1, p.Expires.Unix()})
	if err != nil {
		return "", err
	}
	return at, s.disk.write(at+extMeta, keys, text, nil)
}

// complete writes the delegation, then gives the keystore its name. A crash
// before that leaves no proxy; nobody was told of it. After it, it is whole.
func (s EncryptedStore) complete(p stored) error {
	err := s.disk.write(p.at+extDelegation, filepath.Dir(p.at), fmt.Appendf(nil, "%#x", p.Delegation[:]), nil)
	if err != nil {
		return err
	}
	return s.disk.rename(p.at+extPending, p.at+extKeystore)
}

// revoke writes the marker, which is enough for us, then takes the keystore's
// name away, for Commit-Boost's sake.
func (s EncryptedStore) revoke(p Proxy) error {
	if err := s.disk.write(p.at+extRevoked, filepath.Dir(p.at), nil, nil); err != nil {
		return err
	}
	if !exists(p.at + extKeystore) {
		return nil // interrupted before, and done then
	}
	return s.disk.rename(p.at+extKeystore, p.at+extRetired)
}

// load reads every proxy and what lies beside it. Broken ones are named, all at
// once. No proxy at all is no error.
func (s EncryptedStore) load() ([]stored, []Remark, error) {
	places, remarks, err := s.find()
	if err != nil {
		return nil, nil, err
	}
	loose := new(looseFiles)
	for _, p := range places {
		loose.look(p.at+extKeystore, 0o022)
		loose.look(p.password, 0o077)
	}
	found, errs := make([]stored, len(places)), make([]error, len(places))
	var group errgroup.Group
	group.SetLimit(min(maxParallel, runtime.GOMAXPROCS(0)))
	for i, p := range places {
		group.Go(func() error {
			found[i], errs[i] = p.load()
			return nil
		})
	}
	_ = group.Wait()
	var sound []stored
	for i := range found {
		if errs[i] == nil {
			sound = append(sound, found[i])
		}
	}
	return sound, append(remarks, loose.remarks()...), errors.Join(errs...)
}

// place is where one proxy of the store is.
type place struct {
	at, password string
	consensus    phase0.BLSPubKey
	module       string
	scheme       Scheme
}

func (s EncryptedStore) find() (places []place, remarks []Remark, err error) {
	entries, err := os.ReadDir(s.Keys)
	if err != nil {
		return nil, nil, ErrInvalid.Wrap(err)
	}
	for _, v := range entries {
		consensus, err := parsePubkey(v.Name())
		if err != nil {
			continue // not of this store
		}
		modules, err := list(filepath.Join(s.Keys, v.Name()))
		if err != nil {
			return nil, nil, err
		}
		for _, m := range modules {
			for _, scheme := range []Scheme{SchemeBLS, SchemeECDSA} {
				below := filepath.Join(v.Name(), m, string(scheme))
				found, notes, err := s.look(below, place{consensus: consensus, module: m, scheme: scheme})
				if err != nil {
					return nil, nil, err
				}
				places, remarks = append(places, found...), append(remarks, notes...)
			}
		}
	}
	return places, remarks, nil
}

// look finds the proxies in one folder; like says what they have in common.
func (s EncryptedStore) look(below string, like place) (places []place, remarks []Remark, err error) {
	names, err := list(filepath.Join(s.Keys, below))
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		ext := filepath.Ext(name)
		stem := strings.TrimSuffix(name, ext)
		at := filepath.Join(s.Keys, below, stem)
		switch {
		case ext == extPending:
			remarks = append(remarks, Remark{at, "is a proxy key that was never finished; nobody was told of it"})
		case ext != extKeystore || strings.HasPrefix(name, "."):
		case exists(at + extRevoked):
			remarks = append(remarks, Remark{at, "is revoked, and its keystore is still there: Commit-Boost would use it"})
		default:
			p := like
			p.at, p.password = at, filepath.Join(s.Secrets, below, stem)
			places = append(places, p)
		}
	}
	return places, remarks, nil
}

// load reads the files of one proxy. Every error names a file.
func (p place) load() (stored, error) {
	secret, err := location{keystore: p.at + extKeystore, password: p.password}.open()
	if err != nil {
		return stored{}, err
	}
	s := stored{Proxy{Module: p.module, Consensus: p.consensus, Key: secret.name(), at: p.at}, secret}
	if named, ok := parseName(filepath.Base(p.at)); schemeOf(s.Key) != p.scheme || ok && named != s.Key {
		return s, ErrMismatch.With("%s%s: its name, or its folder, is another key's", p.at, extKeystore)
	}
	if err := readHex(p.at+extDelegation, s.Delegation[:]); err != nil {
		return s, ErrDelegation.Wrap(err)
	}
	if exists(p.at + extPossession) {
		s.possession, s.Proven = make([]byte, s.Key.SignatureLength()), true
		if err := readHex(p.at+extPossession, s.possession); err != nil {
			return s, ErrPossession.Wrap(err)
		}
	}
	if exists(p.at + extMeta) {
		s.Expires, err = readMeta(p.at + extMeta)
	}
	return s, err
}

// readMeta is strict: a limit that is not understood must not be ignored.
func readMeta(path string) (time.Time, error) {
	text, err := read(path, maxPassword)
	if err != nil {
		return time.Time{}, ErrInvalid.Wrap(err)
	}
	m, err := parseMeta(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w", path, err)
	}
	return time.Unix(m.Expires, 0), nil
}

func parseMeta(text []byte) (m meta, err error) {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil || d.More() || m.Version != 1 || m.Expires <= 0 {
		return meta{}, ErrInvalid.With("not the expiry of a proxy key, version 1")
	}
	return m, nil
}

// readHex fills into from a file of hex, 0x optional.
func readHex(path string, into []byte) error {
	text, err := read(path, maxPassword)
	if err != nil {
		return err
	}
	if !decodeHex(into, string(trimNewline(text))) {
		return fmt.Errorf("%s: not %d bytes of hex", path, len(into))
	}
	return nil
}

// looseFiles counts files that others may read or write: the umask of whoever
// made them, so no error.
type looseFiles struct {
	first string
	count int
}

func (l *looseFiles) look(path string, forbidden os.FileMode) {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&forbidden == 0 {
		return
	}
	if l.count++; l.count == 1 {
		l.first = path
	}
}

func (l *looseFiles) remarks() []Remark {
	if l.count == 0 {
		return nil
	}
	return []Remark{{l.first, fmt.Sprintf("can be read or written by others, as can %d files in all; make them 0600", l.count)}}
}
