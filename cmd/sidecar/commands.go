package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/term"

	"sidecar/fault"
	"sidecar/internal/app"
	"sidecar/internal/config"
	"sidecar/internal/telemetry"
)

// errUsage is a command line that names no command, or a wrong flag.
var errUsage = fault.Define("usage", fault.Invalid, "The command line is not understood; sidecar help shows what is.")

const usage = `sidecar proposes through relays, promises what its blocks will hold, and keeps its word.

  sidecar run     [--config FILE]   serve the Builder API and, if configured, promises
  sidecar check   [--config FILE]   load, resolve and dial everything, and say all that is wrong at once
  sidecar init    [--config FILE]   make the ledger and the proxy keys, once
    --new-keys                      state that no key of FILE ever promised anything: the new ledger need not hold
    --new-history                   make a ledger although proxy keys are there: theirs is lost; the new one holds
  sidecar ledger verify | show | export | import | adopt    look after a ledger that no sidecar has open
  sidecar report  price | near-miss what the prices of FILE would have made of past slots; what nearly broke promises
  sidecar evidence verify FILE      what an evidence file proves, offline; see sidecar evidence verify -h
  sidecar answer  verify FILE       whether a promise is signed by both keys; see sidecar answer verify -h
  sidecar watch   --promise FILE    judge promises that were given to you, from outside; see sidecar watch -h
  sidecar tls     --dir DIR         make certificates for the Signer API and its callers; see sidecar tls -h
  sidecar module  test | new        hold a module to the suite; write a new one; see sidecar module -h
  sidecar prove FILE --rpc URL --key FILE   have a broken promise slashed; see sidecar prove -h
  sidecar avs     register | status | allocate | exit   restaked stake behind the promises; see sidecar avs -h
  sidecar version                   print the version

FILE is sidecar.toml unless CB_CONFIG or the flag says otherwise. Secrets are never flags.
`

// command runs the command that args name.
func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage.With("name a command\n%s", usage)
	}
	if args[0] == "tls" {
		return makeCertificates(args[1:])
	}
	if args[0] == "module" {
		return moduleCommand(ctx, args[1:])
	}
	if args[0] == "report" {
		return reportCommand(ctx, args[1:])
	}
	if args[0] == "evidence" {
		return evidenceCommand(ctx, args[1:])
	}
	if args[0] == "answer" {
		return answerCommand(args[1:])
	}
	if args[0] == "watch" {
		return watchCommand(ctx, args[1:])
	}
	if args[0] == "ledger" {
		return ledgerCommand(ctx, args[1:])
	}
	if args[0] == "avs" {
		return avsCommand(ctx, args[1:])
	}
	if args[0] == "prove" {
		return prove(ctx, args[1:])
	}
	flags, file := newFlags(args[0])
	var made app.InitOptions
	if args[0] == "init" {
		flags.BoolVar(&made.NewKeys, "new-keys", false, "")
		flags.BoolVar(&made.NewHistory, "new-history", false, "")
	}
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return show(usage)
	case err != nil:
		return errUsage.Wrap(err)
	case flags.NArg() > 0:
		return errUsage.With("%.40q is not expected", flags.Arg(0))
	}
	switch args[0] {
	case "run":
		return run(ctx, *file)
	case "check":
		return check(ctx, *file)
	case "init":
		return initialise(ctx, *file, made)
	case "version", "-version", "--version":
		return show(fmt.Sprintf("sidecar %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
	case "help", "-h", "-help", "--help":
		return show(usage)
	}
	return errUsage.With("no command %.40q\n%s", args[0], usage)
}

// newFlags are the flags that every command has.
func newFlags(name string) (flags *flag.FlagSet, file *string) {
	flags = flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file = flags.String("config", orElse(os.Getenv("CB_CONFIG"), "sidecar.toml"), "")
	flags.StringVar(file, "c", *file, "")
	return flags, file
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func show(text string) error {
	_, err := fmt.Fprint(os.Stdout, text)
	return err
}

func load(file string) (*config.Config, error) {
	c, err := config.Load(file, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	for _, w := range c.Warnings() {
		fmt.Fprintf(os.Stderr, "warning: %s\n", w)
	}
	return c, nil
}

func run(ctx context.Context, file string) error {
	c, err := load(file)
	if err != nil {
		return err
	}
	o := logOptions(c)
	direct := telemetry.NewLogger(o)
	out := newSpill(o.Out, func(lost uint64) { direct.Warn("Log lines were lost: nobody reads them fast enough", "lines", lost) })
	defer out.flush()
	o.Out = out
	a, err := app.New(c, version, telemetry.NewLogger(o))
	if err != nil {
		return err
	}
	if c.Gateway != nil {
		spareProcessors()
	}
	a.OnStart(func() { giveBack() })
	return a.Run(ctx)
}

func check(ctx context.Context, file string) error {
	c, err := load(file)
	if err != nil {
		return err
	}
	quiet := logOptions(c)
	quiet.Out = io.Discard
	if err := app.Check(ctx, c, version, telemetry.NewLogger(quiet)); err != nil {
		return err
	}
	return show(fmt.Sprintf("ok: chain %s, %d relays, %d muxes, promises %v\n", c.Chain().Name, len(c.Relays), len(c.Muxes), c.Promises()))
}

func initialise(ctx context.Context, file string, o app.InitOptions) error {
	c, err := load(file)
	if err != nil {
		return err
	}
	return app.Init(ctx, c, o, os.Stdout)
}

// logOptions follow [logs.stdout].
func logOptions(c *config.Config) telemetry.Options {
	o := telemetry.Options{Level: c.Logs.Stdout.Level, Format: "json", Out: os.Stdout}
	if term.IsTerminal(int(os.Stdout.Fd())) { // #nosec G115 -- a descriptor is a small int
		o.Format = "text"
	}
	if j := c.Logs.Stdout.UseJSON; j != nil {
		o.Format = "text"
		if *j {
			o.Format = "json"
		}
	}
	if !c.Logs.Stdout.Enabled {
		o.Out = io.Discard
	}
	return o
}
