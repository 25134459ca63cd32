package main

import (
	"fmt"
	"os"
	"runtime"
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
