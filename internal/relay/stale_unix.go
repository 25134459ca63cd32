//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package relay

import (
	"errors"
	"net"
	"syscall"
)

// stale says whether an idle connection has an end or unasked bytes waiting:
// neither may reach the next request. It peeks and never blocks.
func stale(raw net.Conn) bool {
	sc, ok := raw.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return true
	}
	var b [1]byte
	var peekErr error
	err = rc.Read(func(fd uintptr) bool {
		_, _, peekErr = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK) // #nosec G115 -- a descriptor
		return true
	})
	return err != nil || !errors.Is(peekErr, syscall.EAGAIN)
}
