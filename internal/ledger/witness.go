package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sidecar/chain"
)

const (
	witnessVersion = 1
	witnessLimit   = 4096                   // bytes of the file
	witnessPace    = 100 * time.Millisecond // between two writes
	maxHeartbeat   = 12 * time.Second       // between two writes when nothing happens, or a slot if that is shorter
)

// witness is what a second place knows of a ledger. It is written only after
// what it counts is durable: it may be behind the ledger, and is ahead of it
// only if the ledger was put back.
type witness struct {
	Version  int      `json:"version"`
	Instance hexBytes `json:"instance"`
	Host     string   `json:"host,omitempty"`
	Records  uint64   `json:"records"`
	Head     hexBytes `json:"head"`
	Time     int64    `json:"time_ms"` // the heartbeat: when the ledger was last known to be ours alone

	// HoldUntil outlasts a restart: a hold does not end by a crash.
	HoldUntil  uint64 `json:"hold_until_slot,omitempty"`
	HoldReason string `json:"hold_reason,omitempty"`

	// Vouched: the operator states that nothing was promised elsewhere, at Time. Good
	// for the next start that is not a look, if it is soon.
	Vouched bool `json:"vouched,omitempty"`
}

var errNoWitness = errors.New("no witness")

// readWitness returns errNoWitness if there is none, another error if there is
// one that cannot be read.
func readWitness(path string) (w witness, err error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the path
	if errors.Is(err, os.ErrNotExist) {
		return w, errNoWitness
	}
	if err != nil {
		return w, fmt.Errorf("read witness: %w", err)
	}
	body, err := io.ReadAll(io.LimitReader(f, witnessLimit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return w, fmt.Errorf("read witness: %w", err)
	}
	if len(body) > witnessLimit {
		return w, errors.New("read witness: too long")
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return w, fmt.Errorf("read witness: %w", err)
	}
	if w.Version != witnessVersion || len(w.Instance) != 16 || len(w.Head) != 32 {
		return w, errors.New("read witness: it does not make sense")
	}
	return w, nil
}

// writeWitness replaces the file by way of replace.
func writeWitness(path string, w witness, replace func(path string, body []byte) error) error {
	w.Version = witnessVersion
	body, err := json.Marshal(w)
	if err != nil {
		return err
	}
	if err := replace(path, append(body, '\n')); err != nil {
		return fmt.Errorf("write witness: %w", err)
	}
	return nil
}

// replaceFile puts a whole file in place of another, durably. A crash leaves the
// old one or the new one.
func replaceFile(path string, body []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // nothing, once renamed
	_, err = f.Write(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// keeper writes the witness while a ledger is open: soon after it grew, and at
// every slot. A witness that cannot be written stops nobody: it stays behind, and
// a ledger with an old witness holds when it is next opened.
type keeper struct {
	path    string
	clock   *chain.Clock
	pace    time.Duration
	replace func(path string, body []byte) error
	failed  func(error)
	last    witness // owned by run, and by close after it

	grown chan struct{} // of capacity 1: there is something new
	stop  chan struct{}
	done  chan struct{}
}

// run follows the ledger until close.
func (k *keeper) run(durable func() head, beat time.Duration) {
	defer close(k.done)
	heart := time.NewTicker(beat)
	defer heart.Stop()
	for {
		select {
		case <-k.grown:
		case <-heart.C:
		case <-k.stop:
			k.write(durable())
			return
		}
		k.write(durable())
		pause := time.NewTimer(k.pace)
		select {
		case <-pause.C:
		case <-k.stop:
			pause.Stop()
			k.write(durable())
			return
		}
	}
}

func (k *keeper) write(h head) {
	w, now := k.last, k.clock.Now()
	if w.Vouched && h.Records == w.Records && now.Sub(time.UnixMilli(w.Time)) <= gapVouched {
		return // the statement stands
	}
	w.Records, w.Head, w.Time, w.Vouched = h.Records, h.Hash[:], now.UnixMilli(), false
	if err := writeWitness(k.path, w, k.replace); err != nil {
		k.failed(err)
		return
	}
	k.last = w
}

// grew says that there is something new. It never waits.
func (k *keeper) grew() {
	if k == nil {
		return
	}
	select {
	case k.grown <- struct{}{}:
	default:
	}
}
