package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
)

// spareProcessors has the generator, whose chain verifies with C as well, share the
// cores as the sidecar does, unless GOMAXPROCS says otherwise.
func spareProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
	}
}

// cpu is the processor time of two processes.
type cpu struct{ sidecar, here time.Duration }

// tick is the unit of /proc/PID/stat. [proc_pid_stat(5): sysconf(_SC_CLK_TCK)]
const tick = 10 * time.Millisecond

func cpuOf(pid int) (c cpu) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err == nil {
		c.here = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	for _, i := range []int{11, 12} { // utime and stime, counted after the name
		if i < len(fields) {
			n, _ := strconv.Atoi(string(fields[i]))
			c.sidecar += time.Duration(n) * tick
		}
	}
	return c
}

func (c cpu) report(since cpu, elapsed time.Duration, promises int) {
	of := func(d time.Duration) float64 { return d.Seconds() / elapsed.Seconds() }
	each := func(d time.Duration) time.Duration {
		return (d / time.Duration(max(promises, 1))).Round(time.Microsecond)
	}
	side, here := c.sidecar-since.sidecar, c.here-since.here
	fmt.Printf("         processors: sidecar %.2f (%v a promise), generator and chain %.2f (%v a promise)\n", of(side), each(side), of(here), each(here))
}

// floor is what a promise costs at least, without anything around it: two syncs,
// for the entry is on disk before the keys sign and their signatures before they
// leave, and the dearer of the two keys, which sign at the same time.
func floor(sync time.Duration) error {
	delegate, err := bls.NewSecretKey(nil)
	if err != nil {
		return err
	}
	committer, err := ecdsa.NewSecretKey()
	if err != nil {
		return err
	}
	var slow, quick []time.Duration
	for i := range 200 {
		root := phase0.Root{byte(i)}
		begin := time.Now()
		delegate.Sign(root)
		slow = append(slow, time.Since(begin))
		begin = time.Now()
		sig, err := committer.Sign(root)
		if err != nil {
			return err
		}
		if _, err := ecdsa.Recover(root, sig); err != nil {
			return err
		}
		quick = append(quick, time.Since(begin))
	}
	least := 2*sync + max(at(slow, 50), at(quick, 50))
	fmt.Printf("floor: two syncs and a BLS signature (%.2f ms; ECDSA beside it %.2f ms): %.2f ms, %.1f syncs\n",
		ms(at(slow, 50)), ms(at(quick, 50)), ms(least), ms(least)/ms(sync))
	return nil
}
