package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/url"
	"os"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"sidecar/slashing"
	"sidecar/slashing/evidence"
)

const evidenceUsage = `sidecar evidence verify FILE    what a preconf-evidence/1 file proves, offline (docs/evidence.md)

  --rpc URL              ask an execution node whether the block the file rests on is the chain's, by which rules its
                         contract judges, and how much time is left; --rpc-file FILE keeps the URL out of the process list
  --trusted-hash HASH    that block's hash, from whoever you trust
  --json                 one JSON object instead of text

FILE may be - for standard input. Exit codes: 0 guilty, 1 acquitted (the excuse is named), 2 malformed, 3 too late,
4 the node does not answer. Without --rpc or --trusted-hash, 0 means: provided that block has that hash.
`

// evidenceExits are the exit codes, by verdict.
var evidenceExits = map[string]int{
	slashing.Guilty: 0, slashing.Acquitted: 1, slashing.Malformed: 2, slashing.TooLate: 3, slashing.Undecided: 4,
}

// evidenceCommand verifies an evidence file. Everything but a wrong command line
// is a finding, with an exit code of its own.
func evidenceCommand(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] != "verify" {
		return errUsage.With("name what to do\n%s", evidenceUsage)
	}
	flags := flag.NewFlagSet("evidence verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	rpc, rpcFile := flags.String("rpc", "", ""), flags.String("rpc-file", "", "")
	trusted, asJSON := flags.String("trusted-hash", "", ""), flags.Bool("json", false, "")
	names, err := parseMixed(flags, args[1:], evidenceUsage)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return show(evidenceUsage)
	case err != nil:
		return err
	case len(names) != 1:
		return errUsage.With("%d files, want one\n%s", len(names), evidenceUsage)
	case (*rpc != "" || *rpcFile != "") && *trusted != "":
		return errUsage.With("either --rpc or --trusted-hash")
	}
	var o slashing.VerifyOptions
	if *trusted != "" {
		b, err := hexutil.Decode(*trusted)
		if err != nil || len(b) != common.HashLength {
			return errUsage.With("--trusted-hash is not 0x and 64 hex digits")
		}
		o.TrustedHash = new(common.Hash)
		copy(o.TrustedHash[:], b)
	}
	node, err := rpcURL(*rpc, *rpcFile)
	if err != nil {
		return err
	}
	if node != "" || *rpcFile != "" {
		if u, err := url.Parse(node); err != nil || u.Host == "" {
			return errUsage.With("--rpc is not a URL")
		}
		o.Dial = slashing.Dial(node)
	}
	text, err := evidenceText(names[0])
	if err != nil {
		return errUsage.Wrap(err) // and not 1, which acquits
	}
	v := slashing.Verify(ctx, text, o)
	if *asJSON {
		err = json.NewEncoder(os.Stdout).Encode(v)
	} else {
		err = show(v.String())
	}
	if code := evidenceExits[v.Verdict]; code != 0 && err == nil {
		return exitWith(code)
	}
	return err
}

// evidenceText reads a file, or standard input, a byte further than a file may
// be long: the parser says so.
func evidenceText(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, evidence.MaxFile+1))
	}
	f, err := os.Open(name) // #nosec G304 -- the operator's own
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, evidence.MaxFile+1))
}
