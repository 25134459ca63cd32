package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

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
	proxies   []keystore.Proxy
}

// openKeys reads the consensus keys and, if there is a store, the proxies.
func openKeys(c *config.Config, spec chain.Spec) (held, error) {
	local, err := loadConsensus(c)
	if err != nil {
		return held{}, err
	}
	h := held{local: local, consensus: local.Pubkeys()}
	if c.Signer.Local.Store.KeysPath == "" {
		return h, nil
	}
	if h.proxies, err = proxyStore(c, spec).LoadProxies(); err != nil {
		return held{}, fmt.Errorf("load proxy keys: %w", err)
	}
	local.AddProxies(h.proxies...)
	return h, nil
}

// delegate is the proxy that promises: the one of the built-in module.
func (h held) delegate(c *config.Config) (phase0.BLSPubKey, error) {
	if c.Signer.Local.Store.KeysPath == "" {
		return phase0.BLSPubKey{}, ErrStore
	}
	module := promising(c)
	for _, p := range h.proxies {
		if p.Module == module {
			return p.Key, nil
		}
	}
	return phase0.BLSPubKey{}, ErrNoProxy.With("module %s", module)
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

// Init makes what a sidecar that signs must find at its start: the ledger and,
// if a built-in module promises, its proxy key. What is there already is left as
// it is, and said so. A new ledger next to a proxy that promises is refused: its
// promises would be forgotten. Proxies that Commit-Boost made for its modules
// may come along.
func Init(ctx context.Context, c *config.Config, out io.Writer) error {
	if !c.Promises() && !c.SignerAPI() {
		_, err := fmt.Fprintln(out, "This configuration makes no promises; there is nothing to initialise.")
		return err
	}
	spec := c.Chain()
	store := proxyStore(c, spec)
	var proxies []keystore.Proxy
	switch {
	case store.Keys == "" && c.Promises():
		return ErrStore
	case store.Keys != "":
		for _, dir := range []string{store.Keys, store.Secrets} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("make the proxy store: %w", err)
			}
		}
		var err error
		if proxies, err = store.LoadProxies(); err != nil {
			return fmt.Errorf("load proxy keys: %w", err)
		}
	}
	proxies = slices.DeleteFunc(proxies, func(p keystore.Proxy) bool { return !c.Promises() || p.Module != promising(c) })
	if _, missing := os.Stat(c.Ledger.Path); missing != nil && len(proxies) > 0 {
		return ErrLost.With("%s is missing, and %s holds proxy keys that may have promised", c.Ledger.Path, store.Keys)
	}
	if err := makeLedger(c, spec, out); err != nil || !c.Promises() {
		return err
	}
	return makeProxy(ctx, c, store, proxies, out)
}

func makeLedger(c *config.Config, spec chain.Spec, out io.Writer) error {
	err := ledger.Create(c.Ledger.Path, spec.Name, spec.GenesisForkVersion)
	switch {
	case errors.Is(err, ledger.ErrExists):
		fmt.Fprintf(out, "The ledger %s is there already.\n", c.Ledger.Path)
	case err != nil:
		return fmt.Errorf("make the ledger: %w", err)
	default:
		fmt.Fprintf(out, "Made the ledger %s. Never copy it back from a backup.\n", c.Ledger.Path)
	}
	return nil
}

// makeProxy makes the key of the module that promises, unless it has one.
func makeProxy(ctx context.Context, c *config.Config, store keystore.ProxyStore, has []keystore.Proxy, out io.Writer) error {
	if len(has) > 0 {
		fmt.Fprintf(out, "Module %s has proxy key %s.\n", has[0].Module, has[0].Key)
		return nil
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
