//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package relay

import "net"

// stale cannot be told here; the one retry of a reused connection remains.
func stale(net.Conn) bool { return false }
