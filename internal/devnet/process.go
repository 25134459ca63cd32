package devnet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"sidecar/internal/simnet"
)

// Process is a sidecar in a process of its own: one that can be killed.
type Process struct {
	BuilderURL, GatewayURL, AdminURL string

	cmd  *exec.Cmd
	done chan struct{} // closed once the process is gone
	err  error         // how it ended; after done
}

// startTimeout is how long a process may take until it serves.
const startTimeout = 20 * time.Second

// Spawn starts a command that runs a sidecar over files of Write and logs JSON
// to its standard output, waits until it serves, and points the chain's proposer
// and searcher at it. The process outlives ctx: Kill or Stop it.
func Spawn(ctx context.Context, n *simnet.Net, cmd *exec.Cmd) (*Process, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	running := make(chan started, 1)
	go func() {
		defer close(p.done)
		readLog(out, running)
		p.err = cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case s := <-running:
		p.BuilderURL, p.GatewayURL, p.AdminURL = url(s.Builder), url(s.Gateway), url(s.Metrics)
	case <-p.done:
		return nil, fmt.Errorf("the sidecar ended at its start: %w", p.err)
	case <-ctx.Done():
		p.Kill()
		return nil, errors.Join(ctx.Err(), errors.New("the sidecar does not serve"))
	}
	n.SetBuilderURL(p.BuilderURL)
	n.SetGatewayURL(p.GatewayURL)
	return p, nil
}

// started is the log line that says where a sidecar listens.
type started struct {
	Msg                       string
	Builder, Gateway, Metrics string
}

func url(addr string) string {
	if addr == "" {
		return ""
	}
	return "http://" + addr
}

// readLog reads a log to its end, and reports the line of the start.
func readLog(r io.Reader, running chan<- started) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s started
		if json.Unmarshal(lines.Bytes(), &s) == nil && s.Msg == "Sidecar is running" {
			select {
			case running <- s:
			default:
			}
		}
	}
	_, _ = io.Copy(io.Discard, r)
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process as a power cut would, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // gone already: fine
	<-p.done
}

// Stop ends the process as an operator does, and returns how it ended.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return p.err
}
