//go:build unix

package supervise

import (
	"os"
	"syscall"
)

// killGroup ends a process and all of its group. The group outlives its leader
// while it has members, so its number is not taken by another meanwhile.
func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) } // gone already: fine

// endGroup asks a process and all of its group to end.
func endGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGTERM) }
