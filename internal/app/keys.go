package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/commitments/gateway"
	"sidecar/fault"
	"sidecar/internal/config"
	"sidecar/internal/harden"
	"sidecar/internal/ledger"
	"sidecar/signer"
	"sidecar/signer/keystore"
	"sidecar/signer/keystore/dirk"
	"sidecar/signer/keystore/web3signer"
)

// ErrStore is a proxy store that promises cannot be built on.
var ErrStore = fault.Define("proxy_store_unserved", fault.Invalid, "Modules that make promises need a store for proxy keys, such as signer.local.store.")

// holderTimeout is how long a remote holder has at the start to list its keys.
const holderTimeout = 15 * time.Second

// keys are the keys of a sidecar that signs, and who holds them.
type keys struct {
	holders   *keystore.Holders // of validators' keys and proxies
	consensus []phase0.BLSPubKey
	proxies   *keystore.Proxies // nil: there is no store
}

// openKeys finds the validators' keys and, if there is a store, the proxies.
// vouch is called when a proxy is made, revoked when one is found. What an
// operator should know goes to the log.
func openKeys(ctx context.Context, c *config.Config, clock *chain.Clock, vouch vouching, revoked func(commitments.Key) bool, log *slog.Logger) (k keys, err error) {
	if err := harden.Process(); err != nil {
		log.Warn("The process cannot be shielded from dumps and debuggers", "reason", err)
	}
	consensus, err := openHolders(ctx, c, clock, log)
	if err != nil {
		return k, err
	}
	defer func() {
		if err != nil {
			consensus.Close()
		}
	}()
	k.consensus = consensus.Consensus()
	store := c.Signer.Store()
	if store == (config.KeyStore{}) {
		k.holders = consensus
		return k, nil
	}
	k.proxies, err = keystore.OpenProxies(keystore.ProxiesConfig{
		Store: proxyStore(store), Spec: c.Chain(), Clock: clock, Consensus: k.consensus, Vouch: vouch, Revoked: revoked,
	})
	if err != nil {
		return k, fmt.Errorf("load proxy keys: %w", err)
	}
	for _, r := range k.proxies.Remarks() {
		log.Warn("A proxy key, or their store, needs a look", "path", r.Path, "reason", r.Text)
	}
	if err := k.proxies.Unlocked(); err != nil {
		log.Warn("Keys may be swapped out to disk; raise the limit of locked memory", "reason", err)
	}
	if k.holders, err = consensus.With(k.proxies); err != nil {
		k.proxies.Close()
	}
	return k, err
}

// proxy is a module's proxy of a scheme. Faults: ErrStore, ErrNoProxy, ErrNoCommitter.
func (k keys) proxy(module string, scheme keystore.Scheme) (commitments.Key, error) {
	if k.proxies == nil {
		return commitments.Key{}, ErrStore
	}
	for _, p := range k.proxies.Of(module) {
		if p.Key.IsECDSA() == (scheme == keystore.SchemeECDSA) {
			return p.Key, nil
		}
	}
	if scheme == keystore.SchemeECDSA {
		return commitments.Key{}, ErrNoCommitter.With("module %s", module)
	}
	return commitments.Key{}, ErrNoProxy.With("module %s", module)
}

// party is who promises: the BLS proxy of the first module that does is the
// delegate, its ECDSA proxy the committer. Faults: those of proxy.
func (k keys) party(module string) (p gateway.Party, err error) {
	delegate, err := k.proxy(module, keystore.SchemeBLS)
	if err != nil {
		return p, err
	}
	committer, err := k.proxy(module, keystore.SchemeECDSA)
	return gateway.Party{Delegate: delegate.BLS, Committer: committer.Address}, err
}

// openHolders opens every place of validators' keys that the file names.
func openHolders(ctx context.Context, c *config.Config, clock *chain.Clock, log *slog.Logger) (h *keystore.Holders, err error) {
	ctx, cancel := context.WithTimeout(ctx, holderTimeout)
	defer cancel()
	var places []keystore.Place
	if l := c.Signer.Local; l != nil {
		local, err := loadLocal(l.Loader)
		if err != nil {
			return nil, fmt.Errorf("load validator keys: %w", err)
		}
		places = append(places, keystore.Place{Name: "local", Holder: local})
	}
	if r := c.Signer.Remote; r != nil {
		remote, err := web3signer.Open(ctx, web3signer.Config{
			URL: r.URL, Domain: c.Chain().Domain(chain.DomainCommitBoost),
			CertPath: r.CertPath, KeyPath: r.KeyPath, CAPath: r.CACertPath, Timeout: r.Timeout,
		})
		if err != nil {
			return nil, fmt.Errorf("open the Web3Signer: %w", err)
		}
		places = append(places, keystore.Place{Name: "web3signer", Holder: remote})
	}
	if d := c.Signer.Dirk; d != nil {
		cluster, err := openDirk(ctx, d, clock, log)
		if err != nil {
			return nil, fmt.Errorf("open Dirk: %w", err)
		}
		places = append(places, keystore.Place{Name: "dirk", Holder: cluster})
	}
	if h, err = keystore.NewHolders(places...); err != nil {
		return nil, fmt.Errorf("find validator keys: %w", err)
	}
	return h, nil
}

func openDirk(ctx context.Context, d *config.Dirk, clock *chain.Clock, log *slog.Logger) (*dirk.Holder, error) {
	conf := dirk.Config{
		CertPath: d.CertPath, KeyPath: d.KeyPath, CAPath: d.CACertPath,
		MaxResponse: int(d.MaxResponseSize), Timeout: d.Timeout, Clock: clock, // #nosec G115 -- validated
	}
	for _, h := range d.Hosts {
		conf.Hosts = append(conf.Hosts, dirk.Host{URL: h.URL, Name: h.ServerName, Wallets: h.Wallets})
	}
	cluster, err := dirk.Open(ctx, conf)
	if err != nil {
		return nil, err
	}
	for _, err := range cluster.Silent() {
		log.Warn("A Dirk server did not list its accounts; those of its own are unknown until a restart", "reason", err)
	}
	return cluster, nil
}

func loadLocal(l config.KeyLoader) (*keystore.Local, error) {
	if l.KeyPath != "" {
		return keystore.Load(keystore.Source{Format: keystore.FormatFile, Keys: l.KeyPath})
	}
	return keystore.Load(keystore.Source{Format: keystore.Format(l.Format), Keys: l.KeysPath, Secrets: l.SecretsPath})
}

// proxyStore is where the file says proxies are.
func proxyStore(s config.KeyStore) keystore.Store {
	if s.ProxyDir != "" {
		return keystore.PlainStore{Folder: s.ProxyDir}
	}
	return keystore.EncryptedStore{Keys: s.KeysPath, Secrets: s.SecretsPath}
}

// vouching has a validator's key sign a delegation to a proxy.
type vouching func(ctx context.Context, d commitments.ProxyDelegation, module string) (phase0.BLSSignature, error)

// vouchBy takes the one road: the delegation is on the ledger before it is
// signed. The signer may be made after this is called, and before it is used.
func vouchBy(s func() *signer.Signer, clock *chain.Clock) vouching {
	return func(ctx context.Context, d commitments.ProxyDelegation, module string) (sig phase0.BLSSignature, err error) {
		road := s()
		e := ledger.Entry{Kind: ledger.KindProxy, Module: module, Key: commitments.BLSKey(d.Delegator), Proxy: &d}
		m, err := road.Message(e)
		if err != nil {
			return sig, err
		}
		e.Root = m.Root()
		id := commitments.PageID{Slot: clock.Slot(), Proposer: d.Delegator}
		r, err := road.Sign(ctx, id, func(commitments.View) (ledger.Entry, error) { return e, nil })
		if err == nil {
			copy(sig[:], r.Signature)
		}
		return sig, err
	}
}

// promising is the id of the first module that makes promises: its proxy key is
// the delegate, and signs for the others that promise, too.
func promising(c *config.Config) string {
	for i := range c.Modules {
		if m := &c.Modules[i]; m.Promises() {
			return m.ID
		}
	}
	return ""
}
