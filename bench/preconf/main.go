// Command preconf drives the gateway of a real sidecar process with real signed
// transactions of many senders, on a whole chain of its own, durability on. It
// prints promises per second, p50 and p99 at 1, 8 and 64 clients beside an
// fdatasync of the same disk in the same run, and getHeader beside the load.
//
//	go run ./preconf -sidecar ../bin/sidecar
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// Sizes of a run. Every slot is filled with as many promises as it may have.
const (
	slotTime  = 12 * time.Second
	slots     = 56 // that are asked for, from the third to come
	perSender = 16 // nonces in a row
	perSlot   = 128
	senders   = perSlot / perSender
)

func main() {
	bin := flag.String("sidecar", "", "the sidecar's binary")
	dir := flag.String("dir", "", "where ledgers and the probe's file are, on the disk to be measured (default: a temporary folder)")
	only := flag.String("clients", "1,8,64", "how many clients ask at a time")
	most := flag.Int("most", slots*perSlot, "requests of a case, at most")
	flag.Parse()
	spareProcessors()
	if err := run(*bin, *dir, *only, *most); err != nil {
		fmt.Fprintln(os.Stderr, "preconf:", err)
		os.Exit(1)
	}
}

func run(bin, dir, only string, most int) error {
	if dir == "" {
		made, err := os.MkdirTemp("", "preconf")
		if err != nil {
			return err
		}
		defer os.RemoveAll(made)
		dir = made
	}
	fmt.Printf("%-8s %9s %10s %9s %9s %9s %9s %9s %9s %9s %9s\n", "clients", "promises", "promises/s", "p50 ms", "p99 ms", "max ms", "sync p50", "sync p99", "p50/sync", "p99/sync", "refused")
	for _, text := range strings.Split(only, ",") {
		clients, err := strconv.Atoi(text)
		if err != nil || clients < 1 {
			return fmt.Errorf("clients %q", text)
		}
		part := filepath.Join(dir, text)
		if err := os.Mkdir(part, 0o700); err != nil {
			return err
		}
		if err := one(bin, part, clients, most); err != nil {
			return fmt.Errorf("%d clients: %w", clients, err)
		}
	}
	return nil
}

// one is a case: a chain, a sidecar with an empty ledger, and the load.
func one(bin, dir string, clients, most int) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	n, err := simnet.Start(ctx, simnet.Options{SlotDuration: slotTime, SlotsPerEpoch: 64, Accounts: slots * senders, GenesisDelay: time.Second})
	if err != nil {
		return err
	}
	defer func() {
		if stopped := n.Stop(); err == nil {
			err = stopped
		}
	}()
	path, err := devnet.Write(ctx, n, devnet.Options{
		Dir: dir, Lead: 4 * time.Second,
		Gateway: fmt.Sprintf("max_gas_percent = 100\nmax_commitments = %d\n[gateway.access]\nmax_requests = 1024", perSlot),
	})
	if err != nil {
		return err
	}
	// #nosec G204 -- the binary that is measured
	side, err := devnet.Spawn(ctx, n, exec.Command(bin, "run", "--config", path))
	if err != nil {
		return err
	}
	defer side.Kill()
	if err := n.WaitSlot(ctx, 2); err != nil {
		return err
	}
	chains, err := prepare(n, n.Clock.Slot()+3)
	if err != nil {
		return err
	}
	p, err := newProbe(filepath.Join(dir, "probe"))
	if err != nil {
		return err
	}
	defer p.close()
	// The header is asked for in the middle of a slot, when its bid is there.
	h := &headers{url: side.BuilderURL, net: n}
	h.askFor(ctx, 2*time.Second)
	idle := h.take()
	l := &load{url: side.GatewayURL, clients: clients, most: most, probe: p}
	during := make(chan struct{})
	loaded, stop := context.WithCancel(ctx)
	go func() { defer close(during); h.askFor(loaded, time.Minute) }()
	before, own := processorTime(side.PID()), processorTime(os.Getpid())
	l.run(chains)
	l.cpu, l.own = processorTime(side.PID())-before, processorTime(os.Getpid())-own
	stop()
	<-during
	l.report()
	h.report(idle)
	if clients == 1 {
		if err := floor(at(p.took, 50)); err != nil {
			return err
		}
	}
	if len(l.took) == 0 {
		return fmt.Errorf("no promise was made: %v", l.refusals)
	}
	return nil
}

// at is a percentile of durations, which it sorts.
func at(d []time.Duration, percent float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(float64(len(d))*percent/100))]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
