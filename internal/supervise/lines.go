package supervise

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"sidecar/chain"
)

// Limits of what a process may write into our log.
const (
	maxLine  = 4 << 10 // bytes; the rest of a line is dropped
	maxBurst = 1000    // lines at once
	perSec   = 100     // lines on average
)

// lines passes on what a process writes, line by line. It reads as fast as the
// process writes, so that the process never waits for our log.
type lines struct {
	clock *chain.Clock
	log   *slog.Logger
	drop  func(n int)

	mu     sync.Mutex // over what follows; lives do not overlap, readers may
	tokens float64
	at     time.Time // when tokens was right
	lost   int       // lines since the last that passed
}

func newLines(clock *chain.Clock, log *slog.Logger, drop func(n int)) *lines {
	return &lines{clock: clock, log: log, drop: drop, tokens: maxBurst, at: clock.Now()}
}

// read reads r to its end.
func (l *lines) read(r io.Reader) {
	b := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := b.ReadSlice('\n')
		cut := errors.Is(err, bufio.ErrBufferFull)
		if len(line) > 0 {
			l.pass(line, cut)
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = b.ReadSlice('\n')
		}
		if err != nil {
			l.flush()
			return
		}
	}
}

// pass logs a line, or counts it.
func (l *lines) pass(line []byte, cut bool) {
	l.mu.Lock()
	now := l.clock.Now()
	l.tokens = min(maxBurst, l.tokens+now.Sub(l.at).Seconds()*perSec)
	l.at = now
	if l.tokens < 1 {
		l.lost++
		l.mu.Unlock()
		return
	}
	l.tokens--
	lost := l.lost
	l.lost = 0
	l.mu.Unlock()
	l.tell(lost)
	text := escape(strings.TrimRight(string(line), "\r\n"))
	if cut {
		text += "…"
	}
	if text != "" {
		l.log.Info("Module says", "line", text)
	}
}

// flush says what was lost last.
func (l *lines) flush() {
	l.mu.Lock()
	lost := l.lost
	l.lost = 0
	l.mu.Unlock()
	l.tell(lost)
}

func (l *lines) tell(lost int) {
	if lost > 0 {
		l.drop(lost)
		l.log.Warn("Module writes too much; lines were dropped", "lines", lost)
	}
}

// escape makes text that no terminal obeys: what is not printable is written as
// in Go source.
func escape(text string) string {
	printable := func(r rune) bool { return r != utf8.RuneError && strconv.IsPrint(r) }
	if strings.IndexFunc(text, func(r rune) bool { return !printable(r) }) < 0 {
		return text
	}
	quoted := strconv.Quote(text)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
