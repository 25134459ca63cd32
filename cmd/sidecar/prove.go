package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/slashing/evidence"
	"sidecar/slashing/onchain"
)

const proveUsage = `sidecar prove FILE brings a broken promise, anybody's, to the contract it names, and has the stake slashed:
asks the contract first, submits the proof, waits for the delay, executes. It may be interrupted anywhere; the same
command goes on where it was. What is sent is in a journal on disk first.

  --rpc URL             of an execution node on the evidence's chain, anybody's; --rpc-file FILE keeps the URL out of
                        the process list
  --key FILE            of the account that pays: a Web3 Secret Storage keystore (version 3), or 64 hex digits
  --password-file FILE  of the keystore
  --dry-run             only ask the contract; needs no key
  --submit-only         stop when the proof is submitted, deep enough; somebody has to execute after the delay
  --burn                also move the slashed stake to where it goes: the burn address, or whom the set pays
  --registration FILE   the promise's slasher is of the Universal Registry Contract: slash the collateral there; docs/proving.md
                        says what is in FILE. There is no delay: --submit-only and --burn are not for it
  --journal FILE        default: the key's file with .journal after it
  --confirmations N     blocks an effect must have lasted, default 12, at most 64
  --max-fee-gwei N      never pay more per gas, default 200
  --poll DURATION       between looks at the chain, default 4s
  --json                the result as one JSON object, and what happens as JSON lines on standard error

exit codes: 0 slashed (or what was asked), 1 failed, 2 malformed or not understood, 3 too late, 4 the key cannot be used,
5 the journal cannot be used, 7 acquitted by a named excuse or vetoed, 8 interrupted: run it again
`

// chainFlags are those of every command that sends transactions.
type chainFlags struct {
	rpc, rpcFile, key, password, journal string
	confirmations, maxFeeGwei            uint64
	poll                                 time.Duration
	json                                 bool
}

func (c *chainFlags) define(flags *flag.FlagSet) {
	flags.StringVar(&c.rpc, "rpc", "", "")
	flags.StringVar(&c.rpcFile, "rpc-file", "", "")
	flags.StringVar(&c.key, "key", "", "")
	flags.StringVar(&c.password, "password-file", "", "")
	flags.StringVar(&c.journal, "journal", "", "")
	flags.Uint64Var(&c.confirmations, "confirmations", onchain.DefaultConfirmations, "")
	flags.Uint64Var(&c.maxFeeGwei, "max-fee-gwei", onchain.DefaultMaxFeeGwei, "")
	flags.DurationVar(&c.poll, "poll", onchain.DefaultPoll, "")
	flags.BoolVar(&c.json, "json", false, "")
}

// parseMixed parses flags that may stand before and after the arguments.
func parseMixed(flags *flag.FlagSet, args []string, usage string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errUsage.With("%s\n%s", err, usage)
		}
		if flags.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, flags.Arg(0)), flags.Args()[1:]
	}
}

// node returns the node of --rpc or --rpc-file.
func (c *chainFlags) node() (*onchain.Node, error) {
	url, err := rpcURL(c.rpc, c.rpcFile)
	if err != nil {
		return nil, err
	}
	n, err := onchain.NewNode(url)
	if err != nil {
		return nil, errUsage.With("--rpc: %s", err)
	}
	return n, nil
}

// rpcURL is what --rpc says, or the file of --rpc-file holds.
func rpcURL(url, file string) (string, error) {
	if file == "" {
		return url, nil
	}
	if url != "" {
		return "", errUsage.With("either --rpc or --rpc-file")
	}
	text, err := os.ReadFile(file) // #nosec G304 -- the operator's path
	if err != nil {
		return "", errUsage.Wrap(err)
	}
	return strings.TrimSpace(string(text)), nil
}

// sender opens key and journal. close lets the journal go.
func (c *chainFlags) sender(ctx context.Context, n *onchain.Node, chainID uint64) (_ *onchain.Sender, closed func(), err error) {
	if c.key == "" {
		return nil, nil, errUsage.With("--key is required")
	}
	key, plain, err := onchain.LoadKey(c.key, c.password)
	if err != nil {
		return nil, nil, err
	}
	if plain {
		c.report(onchain.Event{Kind: "plain_key", Text: "the key lies in its file as it is; a keystore with a password is better", Alarm: true})
	}
	path := c.journal
	if path == "" {
		path = c.key + ".journal"
	}
	journal, err := onchain.OpenJournal(path)
	if err != nil {
		return nil, nil, err
	}
	s, err := onchain.NewSender(ctx, onchain.SenderConfig{
		Node: n, Key: key, Journal: journal, ChainID: chainID, Confirmations: c.confirmations, Poll: c.poll, Report: c.report,
		MaxFee: new(big.Int).Mul(new(big.Int).SetUint64(c.maxFeeGwei), big.NewInt(1e9)),
	})
	if err != nil {
		key.Wipe()
		return nil, nil, errors.Join(err, journal.Close())
	}
	return s, func() { key.Wipe(); _ = journal.Close() }, nil
}

// report shows what happens, on standard error.
func (c *chainFlags) report(e onchain.Event) {
	if c.json {
		_ = json.NewEncoder(os.Stderr).Encode(e)
		return
	}
	kind := strings.ReplaceAll(e.Kind, "_", " ")
	if e.Alarm {
		kind = "warning: " + kind
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", kind, e.Text)
}

// print writes a result on standard output.
func (c *chainFlags) print(v any, text string) error {
	if !c.json {
		return show(text)
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}

// prove runs the command.
func prove(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("prove", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	var c chainFlags
	c.define(flags)
	dryRun, submitOnly, burn := flags.Bool("dry-run", false, ""), flags.Bool("submit-only", false, ""), flags.Bool("burn", false, "")
	registration := flags.String("registration", "", "")
	switch rest, err := parseMixed(flags, args, proveUsage); {
	case errors.Is(err, flag.ErrHelp):
		return show(proveUsage)
	case err != nil:
		return err
	case len(rest) != 1:
		return errUsage.With("%d files, want one\n%s", len(rest), proveUsage)
	default:
		args = rest
	}
	f, err := readEvidence(args[0])
	if err != nil {
		return err
	}
	n, err := c.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if *registration != "" {
		if *submitOnly || *burn {
			return errUsage.With("--submit-only and --burn are not for --registration")
		}
		return c.punish(ctx, n, f, *registration, *dryRun)
	}
	if *dryRun {
		return c.examine(ctx, n, f)
	}
	s, closed, err := c.sender(ctx, n, f.Rules.ChainID)
	if err != nil {
		return err
	}
	defer closed()
	p := &onchain.Prover{Node: n, Sender: s}
	if *submitOnly {
		r, err := p.Submit(ctx, f)
		if err != nil {
			return err
		}
		return c.print(r, fmt.Sprintf("submitted: case %s, %s\n", r.ID, r.Status))
	}
	r, err := p.Run(ctx, f)
	if err == nil && *burn {
		err = p.Burn(ctx, r)
	}
	if err != nil {
		return err
	}
	return c.print(r, describe(r))
}

// readEvidence reads a file, of at most what evidence may have.
func readEvidence(path string) (evidence.File, error) {
	file, err := os.Open(path) // #nosec G304 -- the operator's path
	if err != nil {
		return evidence.File{}, errUsage.Wrap(err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, evidence.MaxFile+1))
	if err != nil {
		return evidence.File{}, err
	}
	return evidence.Parse(text)
}

// examine is the dry run.
func (c *chainFlags) examine(ctx context.Context, n *onchain.Node, f evidence.File) error {
	x, err := (&onchain.Prover{Node: n}).Examine(ctx, f, common.Address{})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("guilty: %s, slot %d, transaction %s\nfault %s at %s, status %s\n%s\n", x.Kind, x.Slot, x.TxHash, x.ID, x.Manager, x.Status, x.Deadline)
	if x.CostWei != nil {
		text += fmt.Sprintf("submitting it takes %d gas, %s ETH at twice today's base fee\n", x.Gas, ether(x.CostWei.Int))
	}
	return c.print(x, text)
}

// describe says what became of the stake.
func describe(r *onchain.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "slashed: %s, slot %d, transaction %s\n", r.Kind, r.Slot, r.TxHash)
	if r.Case != nil {
		fmt.Fprintf(&b, "operator %s", r.Case.Operator)
	}
	if r.SlashID == nil {
		fmt.Fprintf(&b, "; somebody else executed it\n")
		return b.String()
	}
	fmt.Fprintf(&b, ", slash %s of the set of %s\n", r.SlashID, r.Manager)
	for i, t := range r.Taken {
		share := "?"
		if i < len(r.Wads) {
			share = percent(r.Wads[i].Int)
		}
		fmt.Fprintf(&b, "strategy %s: %s shares, %s of the allocation\n", t.Strategy, ether(t.Shares.Int), share)
	}
	verb := "goes to"
	if r.Burn != nil {
		verb = "went to"
	}
	fmt.Fprintf(&b, "it %s %s\n", verb, r.To)
	return b.String()
}

// ether writes a number of 1e-18 for people, exactly.
func ether(n *big.Int) string {
	s := new(big.Rat).SetFrac(n, big.NewInt(1e18)).FloatString(18)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

func percent(wad *big.Int) string {
	s := new(big.Rat).SetFrac(wad, big.NewInt(1e16)).FloatString(2)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + " %"
}
