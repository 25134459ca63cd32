// Command devnet starts a whole chain in this process, puts a sidecar beside it
// and shows the main job: a promise asked for, signed, proven and kept, and then
// a builder that breaks its word and is refused. With --break it goes on: stake
// behind the promises, one of them broken, proven on the chain, and slashed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"sidecar/chain"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
	"sidecar/internal/telemetry"
)

func main() {
	verbose := flag.Bool("v", false, "show the sidecar's log")
	keep := flag.Bool("keep", false, "go on until interrupted, for a look with other tools")
	slot := flag.Duration("slot", 2*time.Second, "duration of a slot, in whole seconds")
	var o options
	flag.BoolVar(&o.breaks, "break", false, "go on to a promise that restaked stake backs, broken, proven and slashed")
	flag.BoolVar(&o.standIn, "stand-in", false, "with --break: the stand-in of EigenLayer's core even where the real one can be built")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := show(ctx, *slot, *verbose, *keep, o); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "devnet:", err)
		os.Exit(1)
	}
}

// options say how far the story goes.
type options struct{ breaks, standIn bool }

// show plays the story, from the first block to the refused lie, or to the slash.
func show(ctx context.Context, slot time.Duration, verbose, keep bool, o options) (err error) {
	dir, err := os.MkdirTemp("", "devnet")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log := slog.New(slog.DiscardHandler)
	if verbose {
		log = telemetry.NewLogger(telemetry.Options{Level: slog.LevelInfo, Format: "text", Out: os.Stderr})
	}
	n, err := simnet.Start(ctx, simnet.Options{
		SlotDuration: slot, Fork: chain.Fulu, SSZ: true, Accounts: devnet.StakeAccounts,
		Relays: []simnet.RelayOptions{{Name: "keeper", Constraints: true}, {Name: "plain"}},
	})
	if err != nil {
		return fmt.Errorf("start the chain: %w", err)
	}
	defer func() { err = errors.Join(err, n.Stop()) }()
	s, err := devnet.Start(ctx, n, devnet.Options{Dir: dir, Log: log})
	if err != nil {
		return fmt.Errorf("start the sidecar: %w", err)
	}
	defer func() { err = errors.Join(err, s.Stop()) }()

	t := &story{net: n, sidecar: s, dir: dir, standIn: o.standIn, request: n.Searcher.Request}
	t.say("chain", "geth in process, chain id %d, slots of %v; genesis %s", n.Spec.ChainID, slot, n.Spec.GenesisTime.Format("15:04:05"))
	t.say("chain", "relay keeper honours constraints, relay plain does not; one builder, one proposer, one searcher")
	t.say("sidecar", "Builder API %s, Commitments API %s", s.BuilderURL, s.GatewayURL)
	t.say("sidecar", "promises with proxy keys %s and %.18s…, delegated by validator %.18s…", s.Signers.Committer, s.Signers.Delegate.String(), n.Validators[0].Pubkey.String())
	acts := []func(context.Context) error{t.propose, t.keepPromise, t.breakPromise}
	if o.breaks {
		acts = append(acts, t.restake, t.slash)
	}
	for _, act := range acts {
		if err := act(ctx); err != nil {
			return err
		}
	}
	fmt.Println("\nThe main job is done.")
	if keep {
		t.say("chain", "running on; interrupt to stop")
		<-ctx.Done()
	}
	return nil
}
