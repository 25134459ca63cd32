//go:build !unix

package supervise

import (
	"os"
	"os/exec"
)

// Without process groups only the process itself is ended.

func apart(*exec.Cmd) {}

func killGroup(p *os.Process) { _ = p.Kill() }

func endGroup(p *os.Process) { _ = p.Signal(os.Interrupt) }
