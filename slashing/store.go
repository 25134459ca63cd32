package slashing

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/fault"
	"sidecar/slashing/evidence"
)

// ErrStore is a directory that cannot be written or read.
var ErrStore = fault.Define("audit_store_failed", fault.Internal, "What was captured of a block, or evidence, cannot be written or read.")

// Limits of the store.
const (
	maxCaptures = 4096     // files; a slot of ours and its reorganisations take few
	maxCapture  = 16 << 20 // bytes of one
)

// Store keeps captures and evidence in files: every file is whole and on disk,
// or not there. A file that does not read, or is another block's, is taken as
// missing: what is captured can be captured again while the nodes have it.
type Store struct{ dir string }

// NewStore keeps its files under dir, which is made when it is first written.
func NewStore(dir string) *Store { return &Store{dir} }

func (s *Store) capturePath(slot phase0.Slot, block phase0.Hash32) string {
	return filepath.Join(s.dir, "captures", fmt.Sprintf("%d-%#x.json", slot, block[:]))
}

// get returns what was captured of a block; nil for nothing.
func (s *Store) get(slot phase0.Slot, block phase0.Hash32) *Capture {
	text, err := readLimited(s.capturePath(slot, block), maxCapture)
	var c Capture
	if err != nil || json.Unmarshal(text, &c) != nil || c.Slot != slot || c.Block != block {
		return nil
	}
	return &c
}

// put writes a capture in place of an earlier one of the block. Fault: ErrStore.
func (s *Store) put(c *Capture) error {
	text, err := json.Marshal(c)
	if err != nil {
		return ErrStore.Wrap(err)
	}
	if len(text) > maxCapture {
		return ErrStore.With("capture of %d bytes", len(text))
	}
	return replace(s.capturePath(c.Slot, c.Block), text)
}

// prune removes captures of slots before first, and the oldest of too many.
func (s *Store) prune(first phase0.Slot) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "captures"))
	if err != nil {
		return // nothing was captured
	}
	type file struct {
		slot uint64
		name string
	}
	var files []file
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) { // a crash left it
			_ = os.Remove(filepath.Join(s.dir, "captures", e.Name()))
		}
		digits, _, _ := strings.Cut(e.Name(), "-")
		if slot, err := strconv.ParseUint(digits, 10, 64); err == nil {
			files = append(files, file{slot, e.Name()})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.slot, b.slot) })
	for i, f := range files {
		if f.slot < uint64(first) || len(files)-i > maxCaptures {
			_ = os.Remove(filepath.Join(s.dir, "captures", f.name)) // the next prune tries again
		}
	}
}

// Kept is an evidence file on disk.
type Kept struct {
	Fault  evidence.Fault
	Path   string
	Digest common.Hash
	Fresh  bool // it was not there before
}

// keep writes an evidence file, named by its fault. Files are never removed: a
// fault can be executed days later. Fault: ErrStore.
func (s *Store) keep(f evidence.File, guilty evidence.Fault) (Kept, error) {
	text, err := evidence.Encode(f)
	if err != nil {
		return Kept{}, err
	}
	again, err := evidence.Parse(text)
	if err != nil {
		return Kept{}, err
	}
	k := Kept{guilty, filepath.Join(s.dir, "evidence", fmt.Sprintf("%s-%s.json", f.Kind, guilty.ID.Hex())), again.Digest, true}
	if old, err := readLimited(k.Path, evidence.MaxFile); err == nil && string(old) == string(text) {
		k.Fresh = false
		return k, nil
	}
	return k, replace(k.Path, text)
}

// unfinished begins the names of files that are not whole.
const unfinished = ".new-"

// replace puts a file at path that is whole and on disk when it is seen.
func replace(path string, text []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ErrStore.Wrap(err)
	}
	f, err := os.CreateTemp(dir, unfinished+"*")
	if err != nil {
		return ErrStore.Wrap(err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // or it stays: nobody reads it
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return ErrStore.Wrap(err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return ErrStore.Wrap(err)
	}
	d, err := os.Open(dir) // #nosec G304 -- the store's own
	if err != nil {
		return ErrStore.Wrap(err)
	}
	if err = errors.Join(d.Sync(), d.Close()); err != nil { // the name is on disk too
		return ErrStore.Wrap(err)
	}
	return nil
}

func readLimited(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && (info.Size() > most || !info.Mode().IsRegular()) {
		err = fs.ErrInvalid
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path) // #nosec G304 -- the store's own
}
