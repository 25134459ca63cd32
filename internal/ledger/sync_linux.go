package ledger

import (
	"os"
	"syscall"
)

// syncData makes what was written to a file durable, without metadata that
// nobody needs to read it.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd())) // #nosec G115 -- a descriptor
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
