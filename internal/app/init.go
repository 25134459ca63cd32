package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/config"
	"sidecar/internal/ledger"
	"sidecar/signer"
	"sidecar/signer/keystore"
)

// ErrLost is refused rather than healed: a fresh ledger would forget promises.
var ErrLost = fault.Define("ledger_lost", fault.Conflict, "Proxy keys exist and their ledger does not; restore it, or move the keys away and start with new ones.")

// Init makes what a promising sidecar must find at its start: the ledger and a
// proxy key. What is there already is left as it is, and said so. A new ledger
// next to existing proxies is refused: their promises would be forgotten.
func Init(ctx context.Context, c *config.Config, out io.Writer) error {
	if !c.Promises() {
		_, err := fmt.Fprintln(out, "This configuration makes no promises; there is nothing to initialise.")
		return err
	}
	store := c.Signer.Store()
	for _, dir := range []string{store.KeysPath, store.SecretsPath, store.ProxyDir} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the proxy store: %w", err)
		}
	}
	spec, module := c.Chain(), promising(c)
	clock := chain.NewClock(spec, nil)
	var road *signer.Signer
	k, err := openKeys(ctx, c, clock, vouchBy(func() *signer.Signer { return road }, clock), slog.New(slog.NewTextHandler(out, nil)))
	if err != nil {
		return err
	}
	defer k.holders.Close()
	if _, missing := os.Stat(c.Ledger.Path); missing != nil && k.proxies.Stored() > 0 {
		return ErrLost.With("%s is missing, and %s%s holds proxy keys that may have promised", c.Ledger.Path, store.KeysPath, store.ProxyDir)
	}
	err = ledger.Create(c.Ledger.Path, spec.Name, spec.GenesisForkVersion)
	switch {
	case errors.Is(err, ledger.ErrExists):
		fmt.Fprintf(out, "The ledger %s is there already.\n", c.Ledger.Path)
	case err != nil:
		return fmt.Errorf("make the ledger: %w", err)
	default:
		fmt.Fprintf(out, "Made the ledger %s. Never copy it back from a backup.\n", c.Ledger.Path)
	}
	if key, err := k.delegate(module); err == nil {
		fmt.Fprintf(out, "Module %s has proxy key %s.\n", module, key)
		return nil
	}
	book, err := ledger.Open(c.Ledger.Path, spec.Name, spec.GenesisForkVersion)
	if err != nil {
		return fmt.Errorf("open the ledger %s: %w", c.Ledger.Path, err)
	}
	delegator := k.consensus[0]
	road = &signer.Signer{
		Ledger: book, Keys: k.holders, Message: signer.MessageOf(spec),
		Policy: signer.Grants{{Module: module, Kind: ledger.KindProxy, Key: commitments.BLSKey(delegator)}},
	}
	p, err := k.proxies.Generate(ctx, module, delegator, keystore.SchemeBLS, time.Time{})
	if err := errors.Join(err, book.Close()); err != nil {
		return fmt.Errorf("make the proxy key: %w", err)
	}
	fmt.Fprintf(out, "Made proxy key %s for module %s, delegated by %s.\n", p.Key, p.Module, p.Consensus)
	return nil
}
