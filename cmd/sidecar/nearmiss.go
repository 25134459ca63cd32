package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"

	"sidecar/internal/app"
)

const nearMissUsage = `sidecar report near-miss [--config FILE]    what nearly broke our promises, or may yet; it only reads

  --slots N        how many slots back: 1 to 1024. Default 64. Slots to come are always reported, if a sidecar runs
  --admin ADDR     host:port of the running sidecar's [metrics]. Default: what FILE says; else the ledger at rest is read
  --json           one JSON object instead of a table

Conditions are in docs/evidence.md. Slots to come are reported without naming promises.
`

// nearMissCommand reports on our own promises, before and after their slots.
func nearMissCommand(ctx context.Context, args []string) error {
	flags, file := newFlags("report near-miss")
	var o app.ReportOptions
	asJSON := flags.Bool("json", false, "")
	flags.Uint64Var(&o.Slots, "slots", 64, "")
	flags.StringVar(&o.Admin, "admin", "", "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return show(nearMissUsage)
	case err != nil:
		return errUsage.Wrap(err)
	case flags.NArg() > 0:
		return errUsage.With("%.40q is not expected\n%s", flags.Arg(0), nearMissUsage)
	}
	c, err := load(*file)
	if err != nil {
		return err
	}
	r, err := app.ReportNearMisses(ctx, c, o)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "slot\tpromise\tcondition\tverdict\tdetail\n")
	for _, m := range r.Misses {
		promise, verdict := "-", m.Outcome+" "+m.Stage
		if m.RequestHash != nil {
			promise = m.RequestHash.String()
		}
		if m.Ahead {
			verdict = "to come"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", m.Slot, promise, m.Condition, verdict, m.Detail)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return show(fmt.Sprintf("\n%d near misses in slots %d to %d, as the %s tells.\n", len(r.Misses), r.First, r.Last, r.From))
}
