package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// The journal makes a batch durable with one write and one sync, where the
// database takes two syncs and many pages. It is a file beside the ledger's, of
// fixed size and written round and round: the database takes over what it holds
// before it is begun anew (see store.checkpoint), and it is gone after a clean end.
// After a crash the ledger is the database and what the journal adds.
//
// It is a row of frames, each at a multiple of frameAlign so that no write ever
// touches a sector with something durable in it, and each a batch:
//
//	"SLJ\x01" || length of the payload (4) || number of its first record (8) || hash of its last record (32) || payload
//	payload = (length (4) || record)*, zeros up to the next frame
//
// A frame is whole if its records are a chain that ends in its hash. One that is
// cut off was never answered for. Frames of an earlier round have records that
// the database holds; they are passed over.

const (
	frameMagic  = "SLJ\x01"
	frameHead   = 4 + 4 + 8 + 32
	frameAlign  = 4096
	journalSize = 2 << 20 // bytes; a longer batch makes it longer
	journalMost = 2048    // records, before the database takes over
)

// journal is an open journal. Only the writer uses it.
type journal struct {
	path   string
	file   *os.File
	off    int64 // of the next frame
	size   int64
	buffer []byte
	append func(f *os.File, frame []byte, off int64) error // and sync
}

func journalPath(path string) string { return path + "-journal" }

// appendSync writes a frame and returns once it is durable.
func appendSync(f *os.File, frame []byte, off int64) error {
	if _, err := f.WriteAt(frame, off); err != nil {
		return err
	}
	return syncData(f)
}

// openJournal opens the journal of a ledger, or makes one. Its size is on disk
// before it is used, so that a full disk shows now, and a sync later has no
// metadata to write.
func openJournal(path string, d disk) (*journal, error) {
	f, err := os.OpenFile(journalPath(path), os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- the operator names the path
	if err != nil {
		return nil, err
	}
	j := &journal{path: journalPath(path), file: f, size: d.size, append: d.append}
	if err := j.stretch(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// stretch fills the file with zeros up to its size.
func (j *journal) stretch() error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("the journal is not a regular file")
	}
	if have := info.Size(); have < j.size {
		if _, err := j.file.WriteAt(make([]byte, j.size-have), have); err != nil {
			return err
		}
	}
	return errors.Join(j.file.Sync(), syncDir(filepath.Dir(j.path)))
}

// put makes records durable that follow each other and end in h.
func (j *journal) put(records [][]byte, h head) error {
	length := 0
	for _, r := range records {
		length += 4 + len(r)
	}
	if length > 1<<30 {
		return fmt.Errorf("a batch of %d bytes", length)
	}
	total := aligned(frameHead + length)
	b := append(j.buffer[:0], frameMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(length)) // #nosec G115 -- compared above
	b = binary.BigEndian.AppendUint64(b, h.Records+1-uint64(len(records)))
	b = append(b, h.Hash[:]...)
	for _, r := range records {
		b = binary.BigEndian.AppendUint32(b, uint32(len(r))) // #nosec G115 -- a part of length
		b = append(b, r...)
	}
	b = append(b, make([]byte, total-len(b))...)
	if err := j.append(j.file, b, j.off); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.off += int64(total)
	if j.buffer = b; cap(b) > 1<<20 {
		j.buffer = nil
	}
	return nil
}

func aligned(n int) int { return (n + frameAlign - 1) / frameAlign * frameAlign }

// full says that the next batch might not fit.
func (j *journal) full() bool { return j.off > j.size*3/4 }

// remove ends a journal that the database has taken over, durably.
func (j *journal) remove() error {
	return errors.Join(j.file.Close(), os.Remove(j.path))
}

// replay shows the records of a journal that follow at, in order. [no file is
// fs.ErrNotExist]
func replayJournal(path string, at func() head, apply func(record []byte) error) error {
	f, err := os.Open(path) // #nosec G304 -- the operator names the path
	if err != nil {
		return err
	}
	err = func() error {
		for off := int64(0); ; {
			first, records, length, err := readFrame(f, off)
			if err != nil || records == nil {
				return err
			}
			if first > at().Records+1 {
				return ErrRolledBack.With("its journal goes on with record %d, it ends with %d", first, at().Records)
			}
			for _, r := range records {
				n := first
				if first++; n <= at().Records {
					continue // the database holds it
				}
				if err := apply(r); err != nil {
					return fmt.Errorf("journal, record %d: %w", n, err)
				}
			}
			off += int64(aligned(length))
		}
	}()
	return errors.Join(err, f.Close())
}

// readFrame reads the frame at off; no records if there is no whole one. An
// error is the disk's.
func readFrame(f io.ReaderAt, off int64) (first uint64, records [][]byte, length int, err error) {
	var h [frameHead]byte
	if n, err := f.ReadAt(h[:], off); n < len(h) {
		return 0, nil, 0, notEOF(err)
	}
	length = int(binary.BigEndian.Uint32(h[4:]))
	if string(h[:4]) != frameMagic || length < 4+recordHead || length > 1<<31 {
		return 0, nil, 0, nil
	}
	payload, err := io.ReadAll(io.NewSectionReader(f, off+frameHead, int64(length)))
	if err != nil || len(payload) < length {
		return 0, nil, 0, err
	}
	for rest := payload; len(rest) > 0; {
		if len(rest) < 4 {
			return 0, nil, 0, nil
		}
		n := int(binary.BigEndian.Uint32(rest))
		if rest = rest[4:]; n < recordHead || n > len(rest) {
			return 0, nil, 0, nil
		}
		records, rest = append(records, rest[:n:n]), rest[n:]
	}
	first = binary.BigEndian.Uint64(h[8:])
	if !chained(first, records, [32]byte(h[16:])) {
		return 0, nil, 0, nil
	}
	return first, records, frameHead + length, nil
}

// chained says whether records follow each other and end in a hash.
func chained(first uint64, records [][]byte, end [32]byte) bool {
	before := [32]byte(records[0][2:recordHead])
	for _, r := range records {
		if [32]byte(r[2:recordHead]) != before {
			return false
		}
		before = recordHash(first, r)
		first++
	}
	return before == end
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// hasJournal says whether a ledger has a journal, whole or not.
func hasJournal(path string) (bool, error) {
	_, err := os.Lstat(journalPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
