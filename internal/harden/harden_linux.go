package harden

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Process forbids core dumps of this process and that another process of the
// same user reads its memory (ptrace, /proc/PID/mem, /proc/PID/environ). Call it
// before a secret is read. Children start as they would without it, except for
// the core size limit, which they inherit.
func Process() error {
	var errs []error
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		errs = append(errs, fmt.Errorf("forbid dumps and debuggers: %w", err))
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		errs = append(errs, fmt.Errorf("forbid core dumps: %w", err))
	}
	return errors.Join(errs...)
}

// mapLocked returns memory that is never written to disk, and an error if it may
// be after all; nil memory if there is none.
func mapLocked(size int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map memory for keys: %w", err)
	}
	// Of these three only the lock may be refused to an ordinary user.
	err = errors.Join(unix.Mlock(memory), unix.Madvise(memory, unix.MADV_DONTDUMP), unix.Madvise(memory, unix.MADV_DONTFORK))
	if err != nil {
		return memory, fmt.Errorf("lock memory for keys: %w", err)
	}
	return memory, nil
}

// Descriptors is how many files and sockets this process may have open; 0 if it
// cannot be told. Go has raised the limit as far as it may be by now.
func Descriptors() uint64 {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return limit.Cur
}
