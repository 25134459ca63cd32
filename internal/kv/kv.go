// Package kv keeps a module's own small values in one file: what it would like
// to have again after a restart, and can do without. A value is on disk when Put
// returns; a crash leaves the file as it was before or after, never between.
//
// It is no ledger: nothing in it may decide what is signed. A file that cannot
// be read is left alone, and refuses every call by name.
package kv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"sidecar/fault"
)

// Faults of this package.
var (
	ErrLimit  = fault.Define("kv_limit", fault.Rejected, "A module's store takes 1024 keys of 128 bytes, values of 64 KiB, and 4 MiB in all.")
	ErrBroken = fault.Define("kv_broken", fault.Unavailable, "A module's store cannot be read or written; the module goes on without.")
)

// Limits of one store.
const (
	MaxKeys  = 1024
	MaxKey   = 128      // bytes
	MaxValue = 64 << 10 // bytes
	MaxTotal = 4 << 20  // bytes of keys and values
)

// Store is one file. Its methods may be called from any goroutine.
type Store struct {
	path string

	mu     sync.Mutex
	values map[string][]byte // nil: not read yet
	total  int
	broken error // why the file cannot be read
}

// New returns the store in a file, which is read, or made with its directory, at
// the first use.
func New(path string) *Store { return &Store{path: path} }

type fileJSON struct {
	Version int               `json:"version"`
	Values  map[string][]byte `json:"values"`
}

const version = 1

// open reads the file, once. The caller holds mu.
func (s *Store) open() error {
	if s.values != nil || s.broken != nil {
		return s.broken
	}
	values, err := read(s.path)
	if err != nil {
		s.broken = ErrBroken.Wrap(err)
		return s.broken
	}
	for k, v := range values {
		s.total += len(k) + len(v)
	}
	s.values = values
	return nil
}

func read(path string) (map[string][]byte, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names its directory
	if errors.Is(err, fs.ErrNotExist) {
		return map[string][]byte{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(f, 2*MaxTotal+1))
	if err != nil {
		return nil, err
	}
	if len(text) > 2*MaxTotal {
		return nil, fmt.Errorf("%s is larger than a store can be", path)
	}
	var in fileJSON
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if in.Version != version || in.Values == nil {
		return nil, fmt.Errorf("%s is of version %d, want %d", path, in.Version, version)
	}
	return in.Values, nil
}

// Get returns a copy of a value; nil if there is none. Fault: ErrBroken.
func (s *Store) Get(key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return nil, err
	}
	return bytes.Clone(s.values[key]), nil
}

// Keys are those with a prefix, ascending. Fault: ErrBroken.
func (s *Store) Keys(prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(s.values)), func(k string) bool { return !strings.HasPrefix(k, prefix) }), nil
}

// Put returns once the value is on disk; a nil value is an empty one. If it
// cannot be written the old one stays. Faults: ErrLimit, ErrBroken.
func (s *Store) Put(key string, value []byte) error {
	if key == "" || len(key) > MaxKey || len(value) > MaxValue {
		return ErrLimit.With("key of %d bytes, value of %d", len(key), len(value))
	}
	return s.change(func(values map[string][]byte) { values[key] = append([]byte{}, value...) })
}

// Delete forgets a value, if there is one. Fault: ErrBroken.
func (s *Store) Delete(key string) error {
	return s.change(func(values map[string][]byte) { delete(values, key) })
}

// change writes the file anew and keeps what it wrote.
func (s *Store) change(do func(map[string][]byte)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	values := maps.Clone(s.values)
	do(values)
	total := 0
	for k, v := range values {
		total += len(k) + len(v)
	}
	if len(values) > MaxKeys || total > MaxTotal && total > s.total {
		return ErrLimit.With("%d keys, %d bytes", len(values), total)
	}
	text, err := json.Marshal(fileJSON{version, values})
	if err != nil {
		return ErrBroken.Wrap(err)
	}
	if err := replace(s.path, text); err != nil {
		return ErrBroken.Wrap(err)
	}
	s.values, s.total = values, total
	return nil
}

// replace puts a new file in place of the old: a crash leaves one of the two.
func replace(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	next := path + ".next"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // #nosec G304 -- beside the file
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	d, err := os.Open(dir) // #nosec G304 -- the file's own
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close()) // the name is on disk, too
}
