package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"sidecar/commitments"
	"sidecar/slashing"
)

const watchUsage = `sidecar watch judges promises that were given to you, and keeps the evidence when one is broken. It needs no keys.

  --promise FILE     a promise: {"promise": SignedCommitment, "delegation": SignedDelegation}; may be repeated
  --promises DIR     every .json file of a directory, also those that come later
  --beacon URL       of a beacon node, anybody's
  --rpc URL          of an execution node, anybody's, that keeps the state of the last 128 blocks; --rpc-file FILE keeps
                     the URL out of the process list
  --out DIR          for what is captured and for evidence. Default: preconf-watch
  --once             look once and exit
  --json             one JSON object a line, whenever something is new; else text

Without --once it runs until every promise is final, or for ever with --promises. Exit codes: 0 nothing was broken, 1 a
promise was broken, 4 something is not known (yet). Look at least every 20 minutes after the slot: nodes
forget the accounts that prove it.
`

// watchFlags are the flags of sidecar watch.
type watchFlags struct {
	files            []string
	dir              string
	beacon, rpc, out string
	once, json       bool
}

func (f *watchFlags) parse(args []string) error {
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Func("promise", "", func(s string) error { f.files = append(f.files, s); return nil })
	flags.StringVar(&f.dir, "promises", "", "")
	flags.StringVar(&f.beacon, "beacon", "", "")
	flags.StringVar(&f.rpc, "rpc", "", "")
	rpcFile := flags.String("rpc-file", "", "")
	flags.StringVar(&f.out, "out", "preconf-watch", "")
	flags.BoolVar(&f.once, "once", false, "")
	flags.BoolVar(&f.json, "json", false, "")
	rest, err := parseMixed(flags, args, watchUsage)
	if err == nil {
		f.rpc, err = rpcURL(f.rpc, *rpcFile)
	}
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return errUsage.With("%.40q is not expected\n%s", rest[0], watchUsage)
	case len(f.files) == 0 && f.dir == "":
		return errUsage.With("no promise to watch\n%s", watchUsage)
	case f.beacon == "" || f.rpc == "":
		return errUsage.With("--beacon and --rpc are required\n%s", watchUsage)
	}
	return nil
}

// watchCommand watches promises from outside.
func watchCommand(ctx context.Context, args []string) error {
	var f watchFlags
	if err := f.parse(args); errors.Is(err, flag.ErrHelp) {
		return show(watchUsage)
	} else if err != nil {
		return err
	}
	chain, err := slashing.DialChain(ctx, f.beacon, f.rpc)
	if err != nil {
		return err
	}
	defer chain.Close()
	w := slashing.NewWatch(slashing.WatchConfig{
		Clock: chain.Clock, Spec: chain.Spec, Beacon: chain.Beacon, Execution: chain.Execution, Store: slashing.NewStore(f.out),
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	for _, name := range f.files { // those that were named must be there
		h, err := slashing.ReadHanded(name)
		if err == nil {
			err = w.Add(h)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return f.run(ctx, w)
}

// run looks until there is nothing left to see.
func (f *watchFlags) run(ctx context.Context, w *slashing.Watch) error {
	told, refused := map[string]string{}, map[string]bool{}
	for {
		f.more(w, refused)
		all, done := w.Round(ctx)
		if ctx.Err() == nil || done {
			if err := f.tell(all, told); err != nil {
				return err
			}
		}
		if f.once || ctx.Err() != nil || done && f.dir == "" {
			return answerOf(all)
		}
		w.Wait(ctx)
	}
}

// more adds what is in the directory. A file that is none is named once.
func (f *watchFlags) more(w *slashing.Watch, refused map[string]bool) {
	if f.dir == "" {
		return
	}
	names, _ := filepath.Glob(filepath.Join(f.dir, "*.json"))
	for _, name := range names {
		h, err := slashing.ReadHanded(name)
		if err == nil {
			err = w.Add(h)
		}
		if err != nil && !refused[name] { // it may be half written: it is read again
			refused[name] = true
			fmt.Fprintf(os.Stderr, "warning: %s: %s\n", name, err)
		}
	}
}

// tell prints what is new.
func (f *watchFlags) tell(all []slashing.Watched, told map[string]string) error {
	for _, one := range all {
		text, err := json.Marshal(one)
		if err != nil {
			return err
		}
		line := string(text)
		if !f.json {
			line = fmt.Sprintf("slot %d %s: %s %s %s", one.Slot, one.RequestHash, one.Stage, one.Outcome, one.Reason)
			if one.Trouble != "" {
				line += " (" + one.Trouble + ")"
			}
			if one.Evidence != "" {
				line += "\n  evidence " + one.Evidence
			}
			for _, twin := range one.Twins {
				line += "\n  evidence of two promises " + twin
			}
		}
		hash := one.RequestHash.String() + one.TxHash.Hex()
		if told[hash] == line {
			continue
		}
		told[hash] = line
		if d := one.Deadline; d != nil && !f.json {
			line += fmt.Sprintf("\n  until block %d, %d blocks left", d.Block, d.Left)
		}
		if d := one.TwinsUntil; d != nil && !f.json {
			line += fmt.Sprintf("\n  until slot %d, %d slots left", d.Slot, d.Left)
		}
		if err := show(line + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// answerOf is the exit code.
func answerOf(all []slashing.Watched) error {
	known := true
	for _, one := range all {
		known = known && one.Outcome != commitments.Unknown.String()
		if one.Outcome == commitments.Broken.String() || len(one.Twins) > 0 {
			return exitWith(1)
		}
	}
	if !known {
		return exitWith(4)
	}
	return nil
}
