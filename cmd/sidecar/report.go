package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"sidecar/internal/app"
	"sidecar/internal/config"
	"sidecar/modules/inclusion"
)

const reportUsage = `sidecar report price [--config FILE]    what FILE's prices would have made of the last slots; it only reads

  --slots N        how many slots, up to the head: 1 to 1024. Default 64
  --admin ADDR     host:port of the running sidecar's [metrics], which has the ledger open. Default: what FILE says
  --json           one JSON object instead of a table

"promised" are our own promises, "market" the transactions of each block as if all had been asked for in its order.
Tips are gwei that those accepted paid in the block; "next" is the price of a transfer more, gwei per gas; "worth" is what
the block's gas tipped on average, which the price competes with.
`

// reportCommand runs one of the reports.
func reportCommand(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "near-miss" {
		return nearMissCommand(ctx, args[1:])
	}
	if len(args) == 0 || args[0] != "price" {
		return errUsage.With("name a report\n%s\n%s", reportUsage, nearMissUsage)
	}
	flags, file := newFlags("report price")
	var o app.ReportOptions
	asJSON := flags.Bool("json", false, "")
	flags.Uint64Var(&o.Slots, "slots", 64, "")
	flags.StringVar(&o.Admin, "admin", "", "")
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return show(reportUsage)
	case err != nil:
		return errUsage.Wrap(err)
	case flags.NArg() > 0:
		return errUsage.With("%.40q is not expected\n%s", flags.Arg(0), reportUsage)
	}
	var c *config.Config
	c, err := load(*file)
	if err != nil {
		return err
	}
	r, err := app.ReportPrices(ctx, c, o)
	if err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	out := bufio.NewWriter(os.Stdout)
	return errors.Join(priceTable(out, r), out.Flush())
}

// priceTable writes a report for people.
func priceTable(out io.Writer, r *app.PriceReport) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "asked\taccepted\ttoo cheap\tfull\tgas %\ttips\tnext\t"
	fmt.Fprintf(t, "slot\tblock\tbase fee\tworth\t|\tpromised: %s|\tmarket: %s\n", head, head)
	for i := range r.Slots {
		s := &r.Slots[i]
		block := fmt.Sprint(s.Number)
		if s.Missed {
			block = "missed"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t|\t%s|\t%s\n", s.Slot, block, app.Gwei(&s.BaseFee), app.Gwei(&s.Worth), side(&s.Promised, s.Limit), side(&s.Market, s.Limit))
	}
	fmt.Fprintf(t, "all\t\t\t\t|\t%s|\t%s\n", side(&r.Promised, 0), side(&r.Market, 0))
	if err := t.Flush(); err != nil {
		return err
	}
	source := map[string]string{"ledger": "the ledger", "sidecar": "the running sidecar", "none": "nowhere: the ledger is in use or missing, and there is no [metrics]"}[r.Pages]
	_, err := fmt.Fprintf(out, "\nSlots %d to %d, %d of them at 90 %% or more of what may be promised. Our own promises were read from %s.\n", r.First, r.Last, r.NearCapacity, source)
	return err
}

// side writes one side of a row; limit 0 leaves the share of gas out.
func side(p *inclusion.Replayed, limit uint64) string {
	share := ""
	if limit > 0 {
		share = fmt.Sprint(p.Gas * 100 / limit)
	}
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%s\t%s\t%s\t", p.Asked, p.Accepted, p.TooCheap, p.Full+p.TooBig, share, app.Gwei(&p.Tips), app.Gwei(&p.Last))
}
