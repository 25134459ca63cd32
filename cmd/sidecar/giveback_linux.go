package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// giveBack lets go of the pages of this program that only its start needed: code
// and constants, which the kernel maps in pieces of 64 KiB around every byte that
// is touched, three quarters of what an idle sidecar has resident. They stay in
// the kernel's cache of files, which may now use their memory for something else.
// Who needs one again has it mapped in a microsecond.
//
// Only mappings of the program's own file of which no page was written, in memory
// or in swap, are let go, so nothing is lost. It reports how much address space that was, in bytes;
// 0 where /proc or madvise refuse, and then everything stays as it is.
func giveBack() (space uintptr) {
	self, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return 0
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return 0
	}
	for _, m := range untouched(smaps, self) {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED); errno == 0 {
			space += m.to - m.from
		}
	}
	return space
}

// mapping is a range of addresses; to is the first behind it.
type mapping struct{ from, to uintptr }

// untouched finds in the text of /proc/PID/smaps (proc(5)) the mappings of a file
// that cannot be written to and have no page of their own, neither in memory nor
// swapped out.
func untouched(smaps []byte, file string) (found []mapping) {
	var m mapping
	candidate, clean := false, false
	for raw := range bytes.Lines(smaps) {
		line := strings.TrimSpace(string(raw))
		if own, ok := strings.CutPrefix(line, "Anonymous:"); ok {
			clean = strings.TrimSpace(own) == "0 kB"
			continue
		}
		if own, ok := strings.CutPrefix(line, "Swap:"); ok { // after Anonymous
			if candidate && clean && strings.TrimSpace(own) == "0 kB" {
				found = append(found, m)
			}
			candidate = false
			continue
		}
		var next mapping
		var perms string // rwxp
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &next.from, &next.to, &perms); n == 3 && len(perms) == 4 {
			m, clean, candidate = next, false, perms[1] == '-' && strings.HasSuffix(line, " "+file)
		}
	}
	return found
}
