// Package events keeps what happened to our slots, for modules to read in order
// and again after a restart.
//
// It promises that Publish never waits, that what is kept is in order, and that
// a reader who names the last event it dealt with gets every later one that is
// kept. It keeps the latest 8,192 to 16,384. An event is lost if too many wait or
// the disk fails; then a gap in the numbers says how many.
package events

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/metrics"
	"sidecar/modules"
)

// ErrLog is of events that are lost.
var ErrLog = fault.Define("events_log_failed", fault.Unavailable, "Events cannot be written; they are lost, and counted.")

// Limits.
const (
	perFile = 8192 // events of one of the two files
	waiting = 1024 // events not written yet
	atOnce  = 256  // events of one answer
	maxLine = 4096 // bytes of an event in a file

	maxRelay = 256 // bytes of a relay's name: six of each in JSON fit into a line
)

// Config is what New needs.
type Config struct {
	Dir   string           // of the log's two files; made when it is first written. Required.
	Clock *chain.Clock     // Required.
	Log   *slog.Logger     // Optional.
	Lost  *metrics.Counter // Optional; see NewMetrics.
}

// NewMetrics counts the events that are lost.
func NewMetrics(r *metrics.Registry) *metrics.Counter {
	return r.Counter(metrics.Opts{Name: "sidecar_events_lost_total", Help: "Events for modules that could not be written."})
}

// Log is the log of events. Its methods may be called from any goroutine.
type Log struct {
	Config
	in chan modules.Event

	mu    sync.Mutex
	kept  []modules.Event // ascending by Seq
	last  uint64          // the highest number given
	lost  uint64          // since the last that was written
	more  chan struct{}   // closed, and replaced, when there is more
	file  *os.File        // the newer of the two; nil: not open
	lines int             // in file
}

// New reads what is kept. It makes nothing. Errors: a log that cannot be read.
func New(c Config) (*Log, error) {
	if c.Dir == "" || c.Clock == nil {
		return nil, errors.New("events: dir and clock are required")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{Config: c, in: make(chan modules.Event, waiting), more: make(chan struct{})}
	for _, name := range []string{older, newer} {
		n, err := l.load(filepath.Join(c.Dir, name))
		if err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		l.lines = n
	}
	if n := len(l.kept); n > 0 {
		l.last = l.kept[n-1].Seq
	}
	return l, nil
}

// The two files: when the newer is full it becomes the older.
const newer, older = "events.jsonl", "events.old.jsonl"

// load reads a file up to its first line that is not whole: a crash may have cut
// the last.
func (l *Log) load(path string) (n int, err error) {
	f, err := os.Open(path) // #nosec G304 -- in the log's own directory
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read
	lines := bufio.NewReaderSize(io.LimitReader(f, 4*perFile*maxLine), maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		var e modules.Event
		if err != nil || json.Unmarshal(line, &e) != nil || len(l.kept) > 0 && e.Seq <= l.kept[len(l.kept)-1].Seq {
			return n, nil
		}
		l.kept = append(l.kept, e)
		n++
	}
}

// Publish notes an event; Seq and At are the log's to give. It never waits.
func (l *Log) Publish(e modules.Event) {
	e.At = l.Clock.Now().UTC().Round(0) // as it comes back from a file
	if len(e.Relay) > maxRelay {
		e.Relay = e.Relay[:maxRelay]
	}
	select {
	case l.in <- e:
	default:
		l.drop(1)
	}
}

func (l *Log) drop(n int) {
	l.mu.Lock()
	l.lost += uint64(n) // #nosec G115 -- not negative
	l.mu.Unlock()
	if l.Lost != nil {
		l.Lost.Add(n)
	}
}

// Run writes what is published until ctx ends, and then what is left.
func (l *Log) Run(ctx context.Context) error {
	defer func() {
		l.write(l.batch(nil))
		if l.file != nil {
			_ = l.file.Close() // it is synced
			l.file = nil
		}
	}()
	for {
		select {
		case e := <-l.in:
			l.write(l.batch([]modules.Event{e}))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// batch adds what waits.
func (l *Log) batch(all []modules.Event) []modules.Event {
	for len(all) < waiting {
		select {
		case e := <-l.in:
			all = append(all, e)
		default:
			return all
		}
	}
	return all
}

// write puts events on disk and shows them to readers only then: what a reader
// has seen is there after a crash.
func (l *Log) write(all []modules.Event) {
	if len(all) == 0 {
		return
	}
	l.mu.Lock()
	seq := l.last + l.lost
	l.mu.Unlock()
	var b bytes.Buffer
	for i := range all {
		seq++
		all[i].Seq = seq
		line, err := json.Marshal(all[i])
		if err != nil { // plain fields cannot fail
			continue
		}
		b.Write(append(line, '\n'))
	}
	if err := l.append(b.Bytes(), len(all)); err != nil {
		l.drop(len(all))
		l.Log.Warn("Events are lost", "reason", ErrLog.Code, "detail", err, "events", len(all))
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept, l.last, l.lost = append(l.kept, all...), seq, l.lost-(seq-uint64(len(all))-l.last)
	if n := len(l.kept) - 2*perFile; n > 0 {
		l.kept = slices.Clone(l.kept[n:])
	}
	close(l.more)
	l.more = make(chan struct{})
}

// append writes to the newer file. After an error it is opened anew, behind what
// is whole.
func (l *Log) append(text []byte, n int) (err error) {
	path := filepath.Join(l.Dir, newer)
	defer func() {
		if err != nil && l.file != nil {
			_ = l.file.Close()
			l.file = nil
		}
	}()
	if l.file != nil && l.lines >= perFile {
		_ = l.file.Close() // it is synced
		l.file = nil
	}
	if l.file == nil {
		if err := os.MkdirAll(l.Dir, 0o700); err != nil {
			return err
		}
		if l.lines >= perFile {
			if err := os.Rename(path, filepath.Join(l.Dir, older)); err != nil {
				return err
			}
			l.lines = 0
		}
		if l.file, err = openWhole(path); err != nil {
			return err
		}
	}
	if _, err = l.file.Write(text); err != nil {
		return err
	}
	l.lines += n
	return l.file.Sync()
}

// openWhole opens a file for appending behind its last whole line.
func openWhole(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- in the log's own directory
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 4*perFile*maxLine))
	if err == nil {
		whole := int64(bytes.LastIndexByte(text, '\n') + 1)
		if err = f.Truncate(whole); err == nil {
			_, err = f.Seek(whole, io.SeekStart)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// After returns events with a higher number, as modules.Events says. Fault:
// modules.ErrCursor.
func (l *Log) After(ctx context.Context, seq uint64) ([]modules.Event, error) {
	for {
		l.mu.Lock()
		if seq > l.last {
			l.mu.Unlock()
			return nil, modules.ErrCursor.With("%d, the last is %d", seq, l.last)
		}
		i, found := slices.BinarySearchFunc(l.kept, seq, func(e modules.Event, s uint64) int {
			switch {
			case e.Seq < s:
				return -1
			case e.Seq > s:
				return 1
			}
			return 0
		})
		if found {
			i++
		}
		out := slices.Clone(l.kept[i:min(i+atOnce, len(l.kept))])
		more := l.more
		l.mu.Unlock()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
