package main

import (
	"os"
	"runtime"
)

// spare is how many more of the runtime's processors a sidecar with a gateway has
// than there are.
const spare = 2

// spareProcessors gives the runtime more processors than the machine has, unless
// the operator named a number. Key operations are calls into C of up to a
// millisecond, and a call keeps its processor of the runtime's for as long: on two
// cores two of them would stop everything else, also what is back from the disk.
// The kernel shares the cores better. It is for sidecars with a gateway only, since
// the Builder API alone has no use for it. Measured: docs/performance.md.
func spareProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spare)
	}
}
