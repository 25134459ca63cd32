package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/config"
	"sidecar/internal/ledger"
	"sidecar/signer/keystore"
)

// ErrLost is refused rather than healed: a fresh ledger would forget promises.
var ErrLost = fault.Define("ledger_lost", fault.Conflict, "Proxy keys exist and their ledger does not; restore it, or move the keys away and start with new ones.")

// ErrStore is a proxy store that promises cannot be built on.
var ErrStore = fault.Define("proxy_store_unserved", fault.Invalid, "Modules that make promises need signer.local.store with keys_path and secrets_path; proxy_dir is plain text, and for tests.")

// held is what the keystores of the file hold.
type held struct {
	local     *keystore.Local
	consensus []phase0.BLSPubKey
}

// openKeys reads the consensus keys and the proxies, and returns the proxy that
// promises: the one of the built-in module.
func openKeys(c *config.Config, spec chain.Spec) (held, phase0.BLSPubKey, error) {
	var delegate phase0.BLSPubKey
	if c.Signer.Local.Store.KeysPath == "" {
		return held{}, delegate, ErrStore
	}
	local, err := loadConsensus(c)
	if err != nil {
		return held{}, delegate, err
	}
	h := held{local: local, consensus: local.Pubkeys()}
	proxies, err := proxyStore(c, spec).LoadProxies()
	if err != nil {
		return held{}, delegate, fmt.Errorf("load proxy keys: %w", err)
	}
	local.AddProxies(proxies...)
	module := promising(c)
	for _, p := range proxies {
		if p.Module == module {
			return h, p.Key, nil
		}
	}
	return held{}, delegate, ErrNoProxy.With("module %s", module)
}

// promising is the id of the module that makes promises.
func promising(c *config.Config) string {
	for _, m := range c.Modules {
		if m.Type == config.ModuleInclusion {
			return m.ID
		}
	}
	return ""
}

func loadConsensus(c *config.Config) (*keystore.Local, error) {
	l := c.Signer.Local.Loader
	source := keystore.Source{Format: keystore.Format(l.Format), Keys: l.KeysPath, Secrets: l.SecretsPath}
	if l.KeyPath != "" {
		source = keystore.Source{Format: keystore.FormatFile, Keys: l.KeyPath}
	}
	local, err := keystore.Load(source)
	if err != nil {
		return nil, fmt.Errorf("load validator keys: %w", err)
	}
	return local, nil
}

// LedgerConfig is how the configuration's ledger is opened: with a witness and a
// lock beside the proxy keys. A nil log stays silent.
func LedgerConfig(c *config.Config, clock *chain.Clock, log *slog.Logger) ledger.Config {
	spec := c.Chain()
	l := ledger.Config{
		Path: c.Ledger.Path, Witness: c.Ledger.Witness, Network: spec.Name, GenesisForkVersion: spec.GenesisForkVersion, Clock: clock, Log: log,
	}
	if dir := c.Signer.Local.Store.KeysPath; dir != "" {
		l.KeyLock = filepath.Join(dir, ".sidecar-lock")
		if l.Witness == "" {
			l.Witness = filepath.Join(dir, ".sidecar-witness")
		}
	}
	return l
}

// InitOptions are what only the operator can know.
type InitOptions struct {
	// NewKeys states that no key of this configuration ever promised anything: the
	// ledger need not hold. Danger: see ledger.Config.
	NewKeys bool
	// NewHistory makes a ledger beside proxy keys whose own is lost. It holds; what
	// has no slot, such as a module's nonces, is forgotten for good.
	NewHistory bool
}

// Init makes what a promising sidecar must find at its start: the ledger and a
// proxy key. What is there already is left as it is, and said so. A new ledger
// next to existing proxies is refused, unless the operator asks for it: their
// promises would be forgotten.
func Init(ctx context.Context, c *config.Config, o InitOptions, out io.Writer) error {
	if !c.Promises() {
		_, err := fmt.Fprintln(out, "This configuration makes no promises; there is nothing to initialise.")
		return err
	}
	if c.Signer.Local.Store.KeysPath == "" {
		return ErrStore
	}
	spec := c.Chain()
	store := proxyStore(c, spec)
	for _, dir := range []string{store.Keys, store.Secrets} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the proxy store: %w", err)
		}
	}
	proxies, err := store.LoadProxies()
	if err != nil {
		return fmt.Errorf("load proxy keys: %w", err)
	}
	if _, missing := os.Stat(c.Ledger.Path); missing != nil && len(proxies) > 0 && !o.NewHistory {
		return ErrLost.With("%s is missing, and %s holds proxy keys that may have promised", c.Ledger.Path, store.Keys)
	}
	lc := LedgerConfig(c, chain.NewClock(spec, nil), nil)
	lc.NewKeys = o.NewKeys && len(proxies) == 0
	err = ledger.Create(lc)
	switch {
	case errors.Is(err, ledger.ErrExists):
		fmt.Fprintf(out, "The ledger %s is there already.\n", c.Ledger.Path)
	case err != nil:
		return fmt.Errorf("make the ledger: %w", err)
	default:
		fmt.Fprintf(out, "Made the ledger %s. Never copy it back from a backup.\n", c.Ledger.Path)
		if !lc.NewKeys {
			fmt.Fprintln(out, "It promises nothing for the slots of the next 64, unless the keys are stated to be new.")
		}
	}
	for _, p := range proxies {
		if p.Module == promising(c) {
			fmt.Fprintf(out, "Module %s has proxy key %s.\n", p.Module, p.Key)
			return nil
		}
	}
	local, err := loadConsensus(c)
	if err != nil {
		return err
	}
	p, err := store.GenerateProxy(ctx, local, local.Pubkeys()[0], promising(c))
	if err != nil {
		return fmt.Errorf("make the proxy key: %w", err)
	}
	fmt.Fprintf(out, "Made proxy key %s for module %s, delegated by %s.\n", p.Key, p.Module, p.Consensus)
	return nil
}
