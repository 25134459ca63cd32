package main

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"
)

const (
	spillLines = 4096        // that wait to be written
	spillFlush = time.Second // how long the end of the program waits for them
)

// spill passes log lines on without ever making their author wait. A reader of
// our output that has stopped reading (a pager, a full disk's collector) costs
// log lines, which are counted, and never a proposal.
type spill struct {
	out   io.Writer
	tell  func(lost uint64) // writes to out that lines were lost
	lines chan spilled
	lost  atomic.Uint64
}

// spilled is a line, or a wish to know when all before it are written.
type spilled struct {
	line    []byte
	written chan struct{}
}

// newSpill starts to write to out. The goroutine ends with the program.
func newSpill(out io.Writer, tell func(lost uint64)) *spill {
	s := &spill{out: out, tell: tell, lines: make(chan spilled, spillLines)}
	go s.run()
	return s
}

// Write never waits and never fails.
func (s *spill) Write(line []byte) (int, error) {
	select {
	case s.lines <- spilled{line: bytes.Clone(line)}:
	default:
		s.lost.Add(1)
	}
	return len(line), nil
}

func (s *spill) run() {
	for l := range s.lines {
		if n := s.lost.Swap(0); n > 0 {
			s.tell(n)
		}
		if l.written != nil {
			close(l.written)
			continue
		}
		_, _ = s.out.Write(l.line) // there is nobody left to tell
	}
}

// flush waits a moment until what was written so far is out.
func (s *spill) flush() {
	over := time.NewTimer(spillFlush)
	defer over.Stop()
	written := make(chan struct{})
	select {
	case s.lines <- spilled{written: written}:
	case <-over.C:
		return
	}
	select {
	case <-written:
	case <-over.C:
	}
}
