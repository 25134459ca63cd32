//go:build !linux

package harden

import "errors"

var errPlatform = errors.New("not offered on this platform")

// Process is a no-op here, and says so.
func Process() error { return errPlatform }

func mapLocked(size int) ([]byte, error) { return make([]byte, size), errPlatform }

// Descriptors is 0: this platform does not tell.
func Descriptors() uint64 { return 0 }
