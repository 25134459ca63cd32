package supervise

import (
	"os/exec"
	"syscall"
	"unsafe"
)

// apart gives the process a group of its own: a signal to the sidecar's does not
// reach it, one signal reaches all it starts, and it does not outlive a sidecar
// that was killed.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitExit returns once the process has ended, and leaves it to be reaped: its
// number is still its own. It returns false if it cannot tell. [waitid(2): WNOWAIT]
func awaitExit(pid int) bool {
	const byPID, exited, noWait = 1, 0x4, 0x1000000
	var info [128]byte // siginfo_t, which we do not read
	for {
		_, _, e := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid), uintptr(unsafe.Pointer(&info)), exited|noWait, 0, 0) // #nosec G103 G115 -- as package os does
		if e != syscall.EINTR {
			return e == 0
		}
	}
}
