package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/internal/app"
	"sidecar/internal/ledger"
)

const ledgerUsage = `sidecar ledger COMMAND [--config FILE], for a ledger that no sidecar has open (a shared one may be
verified, shown and exported at any time):

  verify                        check every record, signature index and the hash chain
  show                          list what was promised, signed and judged
    --json                      one JSON object a line
    --slot N --key 0x… --kind K only these
  export [--out FILE]           write what was signed as sidecar-interchange/1 (docs/interchange.md)
  import [--complete] FILE      take over what was signed elsewhere; refused whole if anything contradicts
    --complete                  state that nothing else was ever promised with these keys: ends every hold,
                                if the sidecar starts within ten minutes
  adopt                         bind a ledger that was moved here to this machine; it then holds for 64 slots
`

// ledgerFlags are the flags of all ledger commands.
type ledgerFlags struct {
	out      string
	complete bool
	show     filter
}

// ledgerCommand runs one of the ledger's commands.
func ledgerCommand(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage.With("name a command\n%s", ledgerUsage)
	}
	flags, file := newFlags(args[0])
	var f ledgerFlags
	switch args[0] {
	case "show":
		f.show.define(flags)
	case "export":
		flags.StringVar(&f.out, "out", "", "")
	case "import":
		flags.BoolVar(&f.complete, "complete", false, "")
	}
	wants := 0
	if args[0] == "import" {
		wants = 1
	}
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return show(ledgerUsage)
	case err != nil:
		return errUsage.Wrap(err)
	case flags.NArg() != wants:
		return errUsage.With("%d arguments, want %d\n%s", flags.NArg(), wants, ledgerUsage)
	}
	run := map[string]func(context.Context, bookAt, ledgerFlags, string) error{
		"verify": ledgerVerify, "show": ledgerShow, "export": ledgerExport, "import": ledgerImport, "adopt": ledgerAdopt,
	}[args[0]]
	if run == nil {
		return errUsage.With("no command ledger %.40q\n%s", args[0], ledgerUsage)
	}
	c, err := load(*file)
	if err != nil {
		return err
	}
	clock := chain.NewClock(c.Chain(), nil)
	at := bookAt{file: app.LedgerConfig(c, clock, nil)}
	if c.Ledger.PostgresDSNFile != "" {
		p := app.PostgresConfig(c, clock, nil)
		at.shared = &p
	}
	return run(ctx, at, f, flags.Arg(0))
}

// bookAt is where a ledger is: in a file, or shared in a database.
type bookAt struct {
	file   ledger.Config
	shared *ledger.PostgresConfig
}

func (b bookAt) walk(show func(ledger.Record) error) (ledger.Summary, error) {
	if b.shared != nil {
		return ledger.WalkPostgres(*b.shared, show)
	}
	return ledger.Walk(b.file.Path, show)
}

func ledgerVerify(_ context.Context, b bookAt, _ ledgerFlags, _ string) error {
	sum, err := b.walk(nil)
	if err != nil {
		return err
	}
	return show(sum.String() + "\n")
}

func ledgerExport(_ context.Context, b bookAt, f ledgerFlags, _ string) error {
	var collect ledger.Collect
	sum, err := b.walk(func(r ledger.Record) error { collect.Add(r); return nil })
	if err != nil {
		return err
	}
	file := collect.Interchange(sum.Network, sum.GenesisForkVersion)
	if f.out == "" {
		return file.Write(os.Stdout)
	}
	// Never over an older one: that may be all there is.
	to, err := os.OpenFile(f.out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- the operator names it
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := errors.Join(file.Write(to), to.Sync(), to.Close()); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

func ledgerImport(ctx context.Context, b bookAt, f ledgerFlags, path string) error {
	from, err := os.Open(path) // #nosec G304 -- the operator names it
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	file, err := ledger.ReadInterchange(bufio.NewReader(from))
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	m, err := b.merge(ctx, file, f.complete)
	if err != nil {
		return err
	}
	if n, last := file.Promises(b.file.Clock.Slot()); n > 0 {
		fmt.Fprintf(os.Stderr, "warning: %d of them promise something for slots to come, up to %d. What they promise is not in such a file: "+
			"this sidecar will not contradict them, and cannot keep them. Who still has the ledger they are from moves that instead.\n", n, uint64(last))
	}
	return show(fmt.Sprintf("Took over %d signing roots and %d limits; %d were known.\n", m.Added, m.Limit, m.Known))
}

// merge takes over what an interchange file holds. A shared ledger's sidecars may
// go on meanwhile, but for the one that leads: its lease is needed.
func (b bookAt) merge(ctx context.Context, file ledger.Interchange, complete bool) (m ledger.Merged, err error) {
	if b.shared == nil {
		return ledger.Import(ctx, b.file, file, complete)
	}
	open := *b.shared
	open.Witness = "" // its judgement is not asked for: this may be the remedy
	l, err := ledger.OpenPostgres(open)
	if err != nil {
		return m, err
	}
	m, err = l.Merge(ctx, file)
	if err = errors.Join(err, l.Close()); err != nil || !complete {
		return m, err
	}
	return m, ledger.VouchPostgres(*b.shared)
}

func ledgerAdopt(_ context.Context, b bookAt, _ ledgerFlags, _ string) error {
	if b.shared != nil {
		return errUsage.With("a shared ledger belongs to no machine")
	}
	h, err := ledger.Adopt(b.file)
	if err != nil {
		return err
	}
	return show(fmt.Sprintf("The ledger belongs to this machine now and holds for %s. The one it came from must never run again.\n", h))
}

// filter says which records are shown, and how.
type filter struct {
	json bool
	slot string
	key  string
	kind string
}

func (f *filter) define(flags *flag.FlagSet) {
	flags.BoolVar(&f.json, "json", false, "")
	flags.StringVar(&f.slot, "slot", "", "")
	flags.StringVar(&f.key, "key", "", "")
	flags.StringVar(&f.kind, "kind", "", "")
}

// line is one entry as it is shown. Its signature may follow much later in the
// chain, and is a line of its own.
type line struct {
	Record    uint64      `json:"record"`
	Entry     uint64      `json:"entry"`
	Slot      phase0.Slot `json:"slot"`
	Kind      string      `json:"kind"`
	Module    string      `json:"module,omitempty"`
	Key       string      `json:"key,omitempty"`
	Digest    string      `json:"digest,omitempty"`
	Resources []string    `json:"resources,omitempty"`
	Signature string      `json:"signature,omitempty"`
	Proxy     string      `json:"proxy_signature,omitempty"` // the delegate's, of a group
}

func ledgerShow(_ context.Context, b bookAt, f ledgerFlags, _ string) error {
	if _, err := strconv.ParseUint(orElse(f.show.slot, "0"), 10, 64); err != nil {
		return errUsage.With("--slot %.40q is no slot", f.show.slot)
	}
	out := bufio.NewWriter(os.Stdout)
	shown := map[uint64]line{} // entries that passed the filter and await a signature
	_, err := b.walk(func(r ledger.Record) error {
		if r.Entry == nil {
			l, ok := shown[r.Seq]
			if !ok {
				return nil
			}
			delete(shown, r.Seq)
			l.Record, l.Signature, l.Resources = r.Number, "0x"+hex.EncodeToString(r.Seal), nil
			if !r.Proxy.IsZero() {
				l.Proxy = r.Proxy.Signature.String()
			}
			return l.print(out, f.show.json)
		}
		l := newLine(r)
		if !f.show.passes(l) {
			return nil
		}
		if r.Entry.Kind.Signed() || r.Entry.Kind == ledger.KindImport {
			shown[r.Seq] = l
		}
		return l.print(out, f.show.json)
	})
	return errors.Join(err, out.Flush())
}

func newLine(r ledger.Record) line {
	e := r.Entry
	l := line{Record: r.Number, Entry: r.Seq, Slot: r.Page.Slot, Kind: e.Kind.String(), Module: e.Module, Resources: e.Resources}
	if !e.Key.IsZero() {
		l.Key = e.Key.String()
	}
	if e.Root != (phase0.Root{}) {
		l.Digest = e.Root.String()
	}
	return l
}

func (f *filter) passes(l line) bool {
	return (f.slot == "" || f.slot == strconv.FormatUint(uint64(l.Slot), 10)) &&
		(f.key == "" || strings.EqualFold(f.key, l.Key)) && (f.kind == "" || f.kind == l.Kind)
}

func (l line) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(l)
	}
	what := strings.Join(l.Resources, " ")
	if l.Signature != "" {
		what = "signed " + l.Signature
	}
	_, err := fmt.Fprintf(out, "%8d  slot %-9d %-13s %-12s %s %s\n", l.Record, uint64(l.Slot), l.Kind, orElse(l.Module, "-"), orElse(l.Digest, "-"), what)
	return err
}
