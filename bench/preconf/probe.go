package main

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// probe measures what the disk takes to make 4 KiB durable, in a file that has
// its size already: the least that any durable answer can cost.
type probe struct {
	file *os.File
	page []byte
	n    int64
	took []time.Duration
}

const probePages = 256

func newProbe(path string) (*probe, error) {
	f, err := os.Create(path) // #nosec G304 -- in our own folder
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(make([]byte, probePages*4096)); err != nil {
		return nil, err
	}
	return &probe{file: f, page: make([]byte, 4096)}, f.Sync()
}

func (p *probe) sync() {
	p.page[0]++
	begin := time.Now()
	if _, err := p.file.WriteAt(p.page, p.n%probePages*4096); err != nil {
		panic(err)
	}
	if err := syscall.Fdatasync(int(p.file.Fd())); err != nil { // #nosec G115 -- a descriptor
		panic(err)
	}
	p.took = append(p.took, time.Since(begin))
	p.n++
}

// between is what all but the first and the last n took.
func (p *probe) between(n int) (sum time.Duration) {
	for _, d := range p.took[n : len(p.took)-n] {
		sum += d
	}
	return sum
}

// processorTime is what all threads of a process have used so far.
func processorTime(pid int) time.Duration {
	var ts unix.Timespec
	clock := int32(^pid<<3 | 2) // #nosec G115 -- the CPU clock of a process, as clock_getcpuclockid makes it
	if err := unix.ClockGettime(clock, &ts); err != nil {
		panic(err)
	}
	return time.Duration(ts.Nano())
}

func (p *probe) close() { _ = p.file.Close() }
