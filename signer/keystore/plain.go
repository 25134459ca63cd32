package keystore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// PlainStore keeps proxy keys in Commit-Boost's file layout, in plain text: for
// tests, and to bring such a directory along.
//
//	<Folder>/<module>/<bls|ecdsa>/<proxy>  {"secret": …, "delegation": {"message": …, "signature": …}}
//	<Folder>/.new/                         files that are no proxies yet; ours
//	<Folder>/.revoked/                     files that no longer are; ours
//
// Our proof of possession and expiry are two more fields, which Commit-Boost
// does not read. It reads every other file of a folder of proxies, and fails on
// those it cannot read: nothing else may lie there, not even for a moment.
type PlainStore struct {
	Folder string // must exist

	disk disk
}

// plainFile is the content of one file.
type plainFile struct {
	Secret     string `json:"secret"` // 0x, 32 bytes
	Delegation struct {
		Message struct {
			Delegator phase0.BLSPubKey `json:"delegator"`
			Proxy     string           `json:"proxy"` // 0x, lower case
		} `json:"message"`
		Signature phase0.BLSSignature `json:"signature"`
	} `json:"delegation"`
	Possession string `json:"possession,omitempty"` // 0x, 96 or 65 bytes
	Expires    int64  `json:"expires_at,omitempty"` // unix seconds
}

const (
	folderNew     = ".new"
	folderRevoked = ".revoked"
)

func (s PlainStore) stage(p stored) (string, error) {
	at, err := s.disk.folders(s.Folder, p.Module, string(p.Scheme()))
	if err != nil {
		return "", err
	}
	at = filepath.Join(at, fileName(p.Key))
	return at, s.write(p, filepath.Join(s.Folder, folderNew, fileName(p.Key)+extPending))
}

func (s PlainStore) complete(p stored) error {
	if err := s.write(p, p.at); err != nil {
		return err
	}
	return s.disk.remove(filepath.Join(s.Folder, folderNew, fileName(p.Key)+extPending))
}

func (s PlainStore) write(p stored, path string) error {
	temp, err := s.disk.folders(s.Folder, folderNew)
	if err != nil {
		return err
	}
	var f plainFile
	raw := p.secret.Bytes()
	defer clear(raw)
	f.Secret, f.Possession = fmt.Sprintf("%#x", raw), fmt.Sprintf("%#x", p.possession)
	f.Delegation.Message.Delegator, f.Delegation.Message.Proxy = p.Consensus, p.Key.String()
	f.Delegation.Signature = p.Delegation
	if !p.Expires.IsZero() {
		f.Expires = p.Expires.Unix()
	}
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	defer clear(text)
	return s.disk.write(path, temp, text, func(text []byte) error {
		again, err := parsePlain(text, p.Scheme())
		if err == nil {
			defer again.secret.Wipe()
		}
		return err
	})
}

// revoke moves the file away: from then on it is no proxy.
func (s PlainStore) revoke(p Proxy) error {
	away, err := s.disk.folders(s.Folder, folderRevoked, p.Module)
	if err != nil {
		return err
	}
	if !exists(p.at) {
		return nil // interrupted before, and done then
	}
	return s.disk.rename(p.at, filepath.Join(away, filepath.Base(p.at)))
}

func (s PlainStore) load() (found []stored, remarks []Remark, err error) {
	entries, err := os.ReadDir(s.Folder)
	if err != nil {
		return nil, nil, ErrInvalid.Wrap(err)
	}
	var errs []error
	loose := new(looseFiles)
	for _, m := range entries {
		if strings.HasPrefix(m.Name(), ".") {
			continue
		}
		for _, scheme := range []Scheme{SchemeBLS, SchemeECDSA} {
			folder := filepath.Join(s.Folder, m.Name(), string(scheme))
			names, err := list(folder)
			errs = append(errs, err)
			for _, name := range names {
				at := filepath.Join(folder, name)
				loose.look(at, 0o077)
				p, err := loadPlain(at, scheme)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				p.Module, p.at = m.Name(), at
				if exists(filepath.Join(s.Folder, folderRevoked, p.Module, name)) {
					p.secret.Wipe()
					remarks = append(remarks, Remark{at, "is revoked, and there again"})
					continue
				}
				found = append(found, p)
			}
		}
	}
	unfinished, err := list(filepath.Join(s.Folder, folderNew))
	errs = append(errs, err)
	for _, name := range unfinished {
		remarks = append(remarks, Remark{filepath.Join(s.Folder, folderNew, name), "is a proxy key that was never finished"})
	}
	if len(found) > 0 {
		remarks = append(remarks, Remark{s.Folder, "holds secrets in plain text, for tests"})
	}
	return found, append(remarks, loose.remarks()...), errors.Join(errs...)
}

func loadPlain(path string, scheme Scheme) (stored, error) {
	text, err := read(path, maxKeystore)
	if err != nil {
		return stored{}, ErrInvalid.Wrap(err)
	}
	defer clear(text)
	p, err := parsePlain(text, scheme)
	if err != nil {
		return stored{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// parsePlain reads the content of one file. Its errors quote nothing of it.
func parsePlain(text []byte, scheme Scheme) (p stored, err error) {
	var f plainFile
	if err := json.Unmarshal(text, &f); err != nil {
		return p, ErrInvalid.With("not a JSON proxy key")
	}
	var raw [32]byte
	defer clear(raw[:])
	if !decodeHex(raw[:], f.Secret) {
		return p, ErrInvalid.With("the secret is not 32 bytes of hex")
	}
	if p.secret, err = parseSecret(scheme, raw[:]); err != nil {
		return p, ErrInvalid.With("the secret is not a key")
	}
	defer func() {
		if err != nil {
			p.secret.Wipe()
		}
	}()
	p.Consensus, p.Key, p.Delegation = f.Delegation.Message.Delegator, p.secret.name(), f.Delegation.Signature
	if named, ok := parseName(f.Delegation.Message.Proxy); !ok || named != p.Key {
		return p, ErrMismatch.With("its delegation is for another key")
	}
	if f.Expires < 0 {
		return p, ErrInvalid.With("it expires before 1970")
	}
	if f.Expires > 0 {
		p.Expires = time.Unix(f.Expires, 0)
	}
	if f.Possession != "" {
		p.possession, p.Proven = make([]byte, p.Key.SignatureLength()), true
		if !decodeHex(p.possession, f.Possession) {
			return p, ErrPossession.With("not %d bytes of hex", len(p.possession))
		}
	}
	return p, nil
}
