package main

import (
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// Five mappings of one program, of which the second was written to (relocations),
// the third can be, and the fifth was written to and is swapped out; one of a library.
const smaps = `00402000-00dad000 r-xp 00002000 fd:00 1834                               /usr/bin/side car
Size:               9900 kB
Rss:                7148 kB
Anonymous:             0 kB
Swap:                  0 kB
VmFlags: rd ex mr mw me
00dad000-0191d000 r--p 009ad000 fd:00 1834                               /usr/bin/side car
Anonymous:             4 kB
Swap:                  0 kB
0191d000-019f1000 rw-p 0151d000 fd:00 1834                               /usr/bin/side car
Anonymous:             0 kB
Swap:                  0 kB
01a00000-01b00000 r--p 00000000 fd:00 1834                               /usr/bin/side car
Anonymous:             0 kB
Swap:                  0 kB
01b00000-01c00000 r--p 00000000 fd:00 1834                               /usr/bin/side car
Anonymous:             0 kB
Swap:                  4 kB
SwapPss:               4 kB
7f1200000000-7f1200001000 r-xp 00000000 fd:00 99                         /usr/lib/side car/libc.so.6
Anonymous:             0 kB
Swap:                  0 kB
7fff00000000-7fff00001000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
Swap:                  0 kB
`

func TestUntouched(t *testing.T) {
	got := untouched([]byte(smaps), "/usr/bin/side car")
	want := []mapping{{0x402000, 0xdad000}, {0x1a00000, 0x1b00000}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if got := untouched([]byte("Anonymous: 0 kB\ntorn"), "/usr/bin/side car"); got != nil {
		t.Errorf("got %x of a text without mappings", got)
	}
}

// The program goes on, with less of its file resident.
func TestGiveBack(t *testing.T) {
	before := residentFile(t)
	if space := giveBack(); space == 0 {
		t.Fatal("nothing was given back")
	}
	if after := residentFile(t); after >= before {
		t.Errorf("%d KiB of files are resident, %d before", after, before)
	}
}

// residentFile is how much of mapped files is in memory, in KiB.
func residentFile(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("no /proc/self/status: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
