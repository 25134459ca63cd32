package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/slashing/evidence"
	"sidecar/slashing/onchain"
)

// maxClaim bounds the file of --registration.
const maxClaim = 64 << 10

// readClaim reads what the registry wants beside the evidence, strictly.
func readClaim(path string) (c onchain.Claim, err error) {
	file, err := os.Open(path) // #nosec G304 -- the operator's path
	if err != nil {
		return c, errUsage.Wrap(err)
	}
	defer func() { _ = file.Close() }()
	d := json.NewDecoder(io.LimitReader(file, maxClaim))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, errUsage.With("--registration: %s", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, errUsage.With("--registration: more than one object, or too long")
	}
	return c, nil
}

// punish is prove at the Universal Registry Contract.
func (c *chainFlags) punish(ctx context.Context, n *onchain.Node, f evidence.File, path string, dryRun bool) error {
	claim, err := readClaim(path)
	if err != nil {
		return err
	}
	if dryRun {
		x, err := (&onchain.Prover{Node: n}).ExamineClaim(ctx, f, claim, common.Address{})
		if err != nil {
			return err
		}
		return c.print(x, describePunishment(x))
	}
	s, closed, err := c.sender(ctx, n, f.Rules.ChainID)
	if err != nil {
		return err
	}
	defer closed()
	x, err := (&onchain.Prover{Node: n, Sender: s}).Punish(ctx, f, claim)
	if err != nil {
		return err
	}
	return c.print(x, describePunishment(x))
}

func describePunishment(x *onchain.Punishment) string {
	var b strings.Builder
	line := func(format string, arguments ...any) { fmt.Fprintf(&b, format+"\n", arguments...) }
	line("guilty: slot %d, transaction %s, promised by committer %s", x.Slot, x.TxHash, x.Committer)
	switch {
	case x.Slash != nil:
		line("slashed: %s ETH of the collateral at registry %s, burnt in block %d", ether(x.Wei.Int), x.Registry, x.Slash.Block)
	case x.Punished:
		line("slashed before: %s ETH of the collateral at registry %s", ether(x.Wei.Int), x.Registry)
	default:
		line("registry %s would burn %s ETH of the collateral, for %d gas", x.Registry, ether(x.Wei.Int), x.Gas)
		line("%s", x.Deadline)
	}
	return b.String()
}
