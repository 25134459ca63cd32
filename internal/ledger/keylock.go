package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// The lock beside the keys. On one machine the system's file lock decides. On a
// file system that several machines share it may not: there the owner writes
// into the file once a second, and who finds a file that does not change for
// five is the next owner.
const (
	keyLockBeat  = time.Second
	keyLockStale = 5 * time.Second
	keyLockLimit = 1024 // bytes of the file
)

// keyLock is a lock file that is ours.
type keyLock struct {
	file  *os.File
	mark  keyMark
	lost  atomic.Bool // somebody else wrote into the file
	tell  func()      // is called when lost turns true
	stop  chan struct{}
	done  chan struct{}
	close sync.Once
}

// keyMark is what the file says.
type keyMark struct {
	Owner string `json:"owner"` // 32 hex characters, of one opening
	Boot  string `json:"boot"`  // of the owner's kernel
	Beat  uint64 `json:"beat"`
}

// keyPace are the waits, so that tests need not be slow.
type keyPace struct{ beat, stale time.Duration }

// lockKeys takes the lock, waiting for the owner's silence if it may be on
// another machine. Fault: ErrKeysLocked.
func lockKeys(path string, pace keyPace, tell func()) (*keyLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- the operator names the path
	if err != nil {
		return nil, fmt.Errorf("lock the keys: %w", err)
	}
	if err := tryLock(f); err != nil {
		return nil, errors.Join(ErrKeysLocked.With("%s", path), f.Close())
	}
	k := &keyLock{file: f, mark: keyMark{Owner: hex.EncodeToString(randomBytes(16)), Boot: bootID()}, tell: tell, stop: make(chan struct{}), done: make(chan struct{})}
	if err := k.take(path, pace.stale); err != nil {
		return nil, errors.Join(err, unlock(f))
	}
	go k.run(pace.beat) // until release, which waits for it
	return k, nil
}

// take waits until the file is nobody's, and writes our mark into it.
func (k *keyLock) take(path string, stale time.Duration) error {
	before, raw, err := k.read()
	if err != nil {
		return fmt.Errorf("lock the keys: %w", err)
	}
	// The same kernel honours the file lock, and we have it: that owner is dead.
	elsewhere := before.Boot == "" || before.Boot != k.mark.Boot || !lockHolds(path)
	if len(raw) > 0 && elsewhere {
		wait := time.NewTimer(stale)
		defer wait.Stop()
		<-wait.C
		_, again, err := k.read()
		if err != nil {
			return fmt.Errorf("lock the keys: %w", err)
		}
		if !bytes.Equal(raw, again) {
			return ErrKeysLocked.With("%s changes while we look at it", path)
		}
	}
	return k.write()
}

// lockHolds says whether the system's lock keeps a second opening out: some
// network file systems only pretend.
func lockHolds(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600) // #nosec G304 -- the operator names the path
	if err != nil {
		return false
	}
	if tryLock(f) == nil {
		_ = unlock(f)
		return false
	}
	return f.Close() == nil
}

func (k *keyLock) read() (m keyMark, raw []byte, err error) {
	raw, err = io.ReadAll(io.NewSectionReader(k.file, 0, keyLockLimit))
	if err == nil && len(raw) > 0 {
		_ = json.Unmarshal(raw, &m) // what is no mark may still change
	}
	return m, raw, err
}

func (k *keyLock) write() error {
	k.mark.Beat++
	body, err := json.Marshal(k.mark)
	if err != nil {
		return err
	}
	if _, err = k.file.WriteAt(body, 0); err != nil {
		return fmt.Errorf("lock the keys: %w", err)
	}
	if err := k.file.Truncate(int64(len(body))); err != nil {
		return fmt.Errorf("lock the keys: %w", err)
	}
	return nil
}

// run renews the mark. A disk that cannot be read or written is not a loss: on
// this machine the file lock stands. Another's mark is.
func (k *keyLock) run(beat time.Duration) {
	defer close(k.done)
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-k.stop:
			return
		}
		if m, raw, err := k.read(); err == nil && len(raw) > 0 && m.Owner != "" && m.Owner != k.mark.Owner {
			k.lost.Store(true)
			k.tell()
			return
		}
		_ = k.write()
	}
}

// isLost says whether another has the lock that was ours.
func (k *keyLock) isLost() bool { return k != nil && k.lost.Load() }

// release gives the lock up, so that the next owner need not wait.
func (k *keyLock) release() error {
	if k == nil {
		return nil
	}
	var err error
	k.close.Do(func() {
		close(k.stop)
		<-k.done
		if m, _, readErr := k.read(); readErr == nil && m.Owner == k.mark.Owner {
			err = k.file.Truncate(0)
		}
		err = errors.Join(err, unlock(k.file))
	})
	return err
}
