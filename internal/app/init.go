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

// InitOptions are what only the operator can know.
type InitOptions struct {
	// NewKeys states that no key of this configuration ever promised anything: the
	// ledger need not hold. Danger: see ledger.Config.
	NewKeys bool
	// NewHistory makes a ledger beside proxy keys whose own is lost. It holds; what
	// has no slot, such as a module's nonces, is forgotten for good.
	NewHistory bool
}

// Init makes what a sidecar that signs must find at its start: the ledger and,
// if a module promises, its two proxy keys. What is there already is left as
// it is, and said so. A new ledger next to a proxy that promises is refused,
// unless the operator asks for it: its promises would be forgotten. Proxies that Commit-Boost made for its modules
// may come along.
func Init(ctx context.Context, c *config.Config, o InitOptions, out io.Writer) error {
	if !c.Promises() && !c.SignerAPI() {
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
	clock := chain.NewClock(c.Chain(), nil)
	var road *signer.Signer
	k, err := openKeys(ctx, c, clock, vouchBy(func() *signer.Signer { return road }, clock), nil, slog.New(slog.NewTextHandler(out, nil)))
	if err != nil {
		return err
	}
	defer k.holders.Close()
	vouched, err := makeLedger(c, k, o, clock, out)
	if err != nil || !c.Promises() {
		return err
	}
	if err := makeProxies(ctx, c, k, clock, func(s *signer.Signer) { road = s }, out); err != nil || !vouched {
		return err
	}
	return vouchLedger(c, clock) // the proxies are the ledger's first entries, and contradict nothing
}

// makeLedger makes the ledger, unless it is there, or a proxy that promises is
// there whose ledger is lost. vouched says that it made one for new keys.
func makeLedger(c *config.Config, k keys, o InitOptions, clock *chain.Clock, out io.Writer) (vouched bool, err error) {
	name := ledgerName(c)
	if _, err := k.proxy(promising(c), keystore.SchemeBLS); err == nil && c.Promises() && !o.NewHistory {
		l, err := openLedger(c, clock, nil, true)
		switch {
		case errors.Is(err, ledger.ErrMissing):
			return false, ErrLost.With("%s is missing, and there is a proxy key that may have promised", name)
		case err == nil:
			err = l.Close()
		}
		if err != nil && !errors.Is(err, ledger.ErrLocked) && !errors.Is(err, ledger.ErrKeysLocked) {
			return false, err
		}
	}
	newKeys := o.NewKeys && (k.proxies == nil || k.proxies.Stored() == 0)
	err = createLedger(c, clock, newKeys)
	switch {
	case errors.Is(err, ledger.ErrExists):
		fmt.Fprintf(out, "The ledger %s is there already.\n", name)
	case err != nil:
		return false, fmt.Errorf("make the ledger: %w", err)
	default:
		fmt.Fprintf(out, "Made the ledger %s. Never copy it back from a backup.\n", name)
		if !newKeys {
			fmt.Fprintln(out, "It promises nothing for the slots of the next 64, unless the keys are stated to be new.")
		}
	}
	return err == nil && newKeys, nil
}

// makeProxies makes the keys of the module that promises, unless it has them: a BLS
// key, the delegate, and an ECDSA key, the committer. The road that vouches for
// them is handed to use.
func makeProxies(ctx context.Context, c *config.Config, k keys, clock *chain.Clock, use func(*signer.Signer), out io.Writer) error {
	module := promising(c)
	var missing []keystore.Scheme
	for _, scheme := range []keystore.Scheme{keystore.SchemeBLS, keystore.SchemeECDSA} {
		key, err := k.proxy(module, scheme)
		switch {
		case err == nil:
			fmt.Fprintf(out, "Module %s has proxy key %s.\n", module, key)
		case errors.Is(err, ErrNoProxy), errors.Is(err, ErrNoCommitter):
			missing = append(missing, scheme)
		default:
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	book, err := openLedger(c, clock, nil, true)
	if err != nil {
		return err
	}
	delegator := k.consensus[0]
	use(&signer.Signer{
		Ledger: book, Keys: k.holders, Message: signer.MessageOf(c.Chain()), Clock: clock,
		Policy: signer.Grants{{Module: module, Kind: ledger.KindProxy, Key: commitments.BLSKey(delegator)}},
	})
	for _, scheme := range missing {
		var p keystore.Proxy
		if p, err = k.proxies.Generate(ctx, module, delegator, scheme, time.Time{}); err != nil {
			break
		}
		fmt.Fprintf(out, "Made proxy key %s for module %s, delegated by %s.\n", p.Key, p.Module, p.Consensus)
	}
	if err := errors.Join(err, book.Close()); err != nil {
		return fmt.Errorf("make the proxy keys: %w", err)
	}
	return nil
}
