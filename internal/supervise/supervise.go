// Package supervise keeps a module's process running: it starts it, watches its
// health, starts it again with a growing pause, takes its log lines, and ends it
// with everything it has started.
//
// It promises that whatever the process does (crash in a loop, hang, ignore
// signals, write without end) costs nobody outside this package more than a
// bounded number of log lines, and that Run returns within the grace period of
// its context's end. It does not limit memory or processor time; cgroups do. A
// process that leaves its group (setsid) is beyond its reach.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"sidecar/chain"
	"sidecar/fault"
)

// Why a process is down.
var (
	ErrStart     = fault.Define("module_start_failed", fault.Unavailable, "A module's command cannot be started.")
	ErrExited    = fault.Define("module_exited", fault.Unavailable, "A module's process ended by itself.")
	ErrUnhealthy = fault.Define("module_unhealthy", fault.Unavailable, "A module's process did not answer its health check for too long, and was ended.")
)

// Config is what New needs.
type Config struct {
	Name    string   // of the module, for logs and metrics. Required.
	Command []string // program and arguments; no shell. Required.
	Env     []string // the whole environment, as NAME=value
	Dir     string   // working directory. Default: ours.

	// Healthy asks the module whether it is well. Optional: alive is well.
	Healthy func(ctx context.Context) error
	Every   time.Duration // between health checks; default 1 s
	Misses  int           // in a row, before the process is ended; default 10

	First, Last time.Duration // pauses before a new start, doubling; default 1 s to 60 s
	Grace       time.Duration // from SIGTERM to SIGKILL; default 5 s

	Clock   *chain.Clock // Required.
	Log     *slog.Logger // Optional.
	Metrics *Metrics     // Optional.
}

// Child is a module's process, over all its lives.
type Child struct {
	Config
	lines *lines
}

// New checks c and fills in its defaults. It starts nothing.
func New(c Config) (*Child, error) {
	if c.Name == "" || len(c.Command) == 0 || c.Command[0] == "" || c.Clock == nil {
		return nil, errors.New("supervise: name, command and clock are required")
	}
	for _, d := range []struct {
		to *time.Duration
		by time.Duration
	}{{&c.Every, time.Second}, {&c.First, time.Second}, {&c.Last, time.Minute}, {&c.Grace, 5 * time.Second}} {
		if *d.to <= 0 {
			*d.to = d.by
		}
	}
	if c.Misses <= 0 {
		c.Misses = 10
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Child{Config: c, lines: newLines(c.Clock, c.Log, func(n int) { c.Metrics.dropped(c.Name, n) })}, nil
}

// Run keeps the process running until ctx ends, and returns nil once it and what
// it started are gone.
func (c *Child) Run(ctx context.Context) error {
	for pause := c.First; ; {
		began := c.Clock.Now()
		err := c.live(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if c.Clock.Now().Sub(began) >= c.Last { // it was well for long: begin anew
			pause = c.First
		}
		c.Metrics.restart(c.Name, err)
		c.Log.Warn("Module's process is down and will be started again", "reason", fault.Code(err), "detail", err, "again_in_ms", pause.Milliseconds())
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		pause = min(2*pause, c.Last)
	}
}

// live is one life of the process. Faults: ErrStart, ErrExited, ErrUnhealthy.
func (c *Child) live(ctx context.Context) error {
	p, err := c.start()
	if err != nil {
		return ErrStart.Wrap(err)
	}
	c.Metrics.up(c.Name, true)
	defer c.Metrics.up(c.Name, false)
	c.Log.Info("Module's process started", "pid", p.pid())
	watch, stop := context.WithCancel(ctx)
	sick := make(chan error, 1)
	go func() { sick <- c.watch(watch) }()
	defer func() {
		stop()
		<-sick
		p.bury()
	}()
	select {
	case <-p.gone:
		return ErrExited.With("%v", p.state)
	case err := <-sick:
		sick <- nil // for the deferred wait
		if ctx.Err() == nil {
			p.kill() // it does not answer; it will not heed a signal either
			return ErrUnhealthy.Wrap(err)
		}
	case <-ctx.Done():
	}
	p.end(c.Grace)
	return ctx.Err()
}

// watch returns once the process has missed too many health checks, or ctx ends.
func (c *Child) watch(ctx context.Context) error {
	if c.Healthy == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for missed := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		one, cancel := context.WithTimeout(ctx, c.Every)
		err := c.Healthy(one)
		cancel()
		if err == nil {
			missed = 0
			continue
		}
		if missed++; missed >= c.Misses {
			return fmt.Errorf("%d checks in a row: %w", missed, err)
		}
	}
}

// process is one life of a child.
type process struct {
	cmd   *exec.Cmd
	state string        // how it ended; after gone
	gone  chan struct{} // closed once the process itself is gone
	out   *os.File      // our end of its output
	read  chan struct{} // closed once its output is read to the end

	mu     sync.Mutex
	reaped bool // its number may be another's; under mu
}

// start starts the command with its output in a pipe that we read ourselves:
// whoever inherits it must not keep us waiting.
func (c *Child) start() (*process, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(c.Command[0], c.Command[1:]...), gone: make(chan struct{}), out: out, read: make(chan struct{})} // #nosec G204 -- the operator names it
	p.cmd.Env, p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = append([]string{}, c.Env...), c.Dir, in, in
	apart(p.cmd)
	started := make(chan error, 1)
	go p.run(started)
	err = <-started
	_ = in.Close() // the child's is its own
	if err != nil {
		_ = out.Close()
		<-p.gone
		return nil, err
	}
	go func() {
		defer close(p.read)
		c.lines.read(out)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process and its group at once.
func (p *process) kill() { p.signal(func() { killGroup(p.cmd.Process) }) }

// end asks the process and its group to end, and insists after grace.
func (p *process) end(grace time.Duration) {
	p.signal(func() { endGroup(p.cmd.Process) })
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case <-p.gone:
	case <-t.C:
		p.kill()
	}
}

// bury waits for the process, and for the end of its output.
func (p *process) bury() {
	<-p.gone
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case <-p.read:
	case <-t.C: // somebody outside the group has our pipe
	}
	_ = p.out.Close()
	<-p.read
}

// lastWords is how long a dead process's output is still read.
const lastWords = time.Second
