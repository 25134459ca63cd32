package onchain

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// State is how far a transaction is.
type State string

// The states. A transaction that is written may be sent; whether it was, the
// chain knows.
const (
	Written State = "written" // signed, on disk, about to be sent
	Settled State = "settled" // the effect of its action is deep enough
	Used    State = "used"    // it, or another of its nonce, is deep enough, without the effect
	Lost    State = "lost"    // its nonce was used by a transaction of somebody else's, deep enough
)

// Record is one line of a journal.
type Record struct {
	Prev    common.Hash    `json:"prev"` // SHA-256 of the line before
	State   State          `json:"state"`
	Action  string         `json:"action"`
	ChainID uint64         `json:"chain_id"`
	From    common.Address `json:"from"`
	Nonce   uint64         `json:"nonce"`
	Hash    common.Hash    `json:"hash"`           // of the transaction
	Raw     hexutil.Bytes  `json:"raw,omitempty"`  // what is sent; of Written only
	At      uint64         `json:"at"`             // number of the head when it was written
	Void    bool           `json:"void,omitempty"` // it does nothing but use the nonce up
}

// Journal is what one key has sent, in a file: one JSON object a line, each with
// the hash of the line before. Nothing is sent before its line is on disk. One
// process has it open at a time.
type Journal struct {
	file    *os.File
	prev    common.Hash
	records []Record
	failed  error // a write that failed: nothing follows it
}

// OpenJournal opens a journal, or makes an empty one. A last line that a crash
// cut short was never acted upon, and is taken off. Faults: ErrJournal,
// ErrLocked.
func OpenJournal(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- the operator's path
	if err != nil {
		return nil, ErrJournal.Wrap(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { // #nosec G115 -- a descriptor is a small int
		return nil, errors.Join(ErrLocked.With("%s", filepath.Base(path)), f.Close())
	}
	j := &Journal{file: f}
	if err := errors.Join(j.read(), syncDir(filepath.Dir(path))); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// read takes what is in the file.
func (j *Journal) read() error {
	text, err := io.ReadAll(j.file)
	if err != nil {
		return ErrJournal.Wrap(err)
	}
	whole := bytes.LastIndexByte(text, '\n') + 1
	for line := range bytes.Lines(text[:whole]) {
		var r Record
		if err := json.Unmarshal(line, &r); err != nil || r.Prev != j.prev {
			return ErrJournal.With("line %d", len(j.records)+1)
		}
		j.records, j.prev = append(j.records, r), sha256.Sum256(line)
	}
	if whole == len(text) {
		return nil
	}
	if err := j.file.Truncate(int64(whole)); err != nil {
		return ErrJournal.Wrap(err)
	}
	if _, err := j.file.Seek(int64(whole), io.SeekStart); err != nil {
		return ErrJournal.Wrap(err)
	}
	return j.file.Sync()
}

// append makes a record durable. After a failure nothing is taken any more:
// what is on disk is not known.
func (j *Journal) append(r Record) error {
	if j.failed != nil {
		return j.failed
	}
	r.Prev = j.prev
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	line = append(line, '\n')
	if _, err = j.file.Write(line); err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.failed = ErrJournal.Wrap(err)
		return j.failed
	}
	j.records, j.prev = append(j.records, r), sha256.Sum256(line)
	return nil
}

// open returns the transactions of one key on one chain that are neither settled
// nor lost, by nonce, in the order they were written.
func (j *Journal) open(chainID uint64, from common.Address) map[uint64][]Record {
	open := map[uint64][]Record{}
	for _, r := range j.records {
		switch {
		case r.ChainID != chainID || r.From != from:
		case r.State == Written:
			open[r.Nonce] = append(open[r.Nonce], r)
		default:
			delete(open, r.Nonce)
		}
	}
	return open
}

// written returns every transaction that one key signed for an action on a
// chain, whatever became of it.
func (j *Journal) written(chainID uint64, from common.Address, action string) (all []Record) {
	for _, r := range j.records {
		if r.State == Written && r.Action == action && r.ChainID == chainID && r.From == from {
			all = append(all, r)
		}
	}
	return all
}

// spent counts the nonces that one action has had since it was last done.
func (j *Journal) spent(chainID uint64, from common.Address, action string) int {
	nonces := map[uint64]bool{}
	for _, r := range j.records {
		switch {
		case r.ChainID != chainID || r.From != from || r.Action != action:
		case r.State == Written:
			nonces[r.Nonce] = true
		case r.State == Settled:
			clear(nonces)
		}
	}
	return len(nonces)
}

// Records returns every line, oldest first.
func (j *Journal) Records() []Record { return j.records }

// Close lets another process have it.
func (j *Journal) Close() error { return j.file.Close() }

// syncDir makes a new file's name durable.
func syncDir(path string) error {
	d, err := os.Open(path) // #nosec G304 -- the folder of the operator's path
	if err != nil {
		return ErrJournal.Wrap(err)
	}
	return errors.Join(d.Sync(), d.Close())
}
