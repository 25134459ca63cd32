package main

import (
	"runtime"
	"syscall"
	"testing"
)

// Every thread has the slack: the main one had it before the runtime made others.
func TestSlack(t *testing.T) {
	const getTimerSlack = 30 // PR_GET_TIMERSLACK
	for range 4 {
		done := make(chan uintptr)
		go func() {
			runtime.LockOSThread() // and end with it, so that the next is another
			slack, _, _ := syscall.RawSyscall(syscall.SYS_PRCTL, getTimerSlack, 0, 0)
			done <- slack
		}()
		if got := <-done; got != 1_000_000 {
			t.Errorf("got %d ns, want 1000000", got)
		}
	}
}
