package app

import (
	"context"
	"fmt"
	"os"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/config"
	"sidecar/internal/harden"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/signer"
	"sidecar/signer/api"
)

// signing is the one road to a signature, and what lies along it. Promises and
// the Signer API both take it.
type signing struct {
	clock  *chain.Clock
	ledger *ledger.Ledger
	keys   keys
	signer *signer.Signer
	policy policies
	api    *api.Service // nil: no module in another process
	log    func(msg string, args ...any)
}

// policies allow what one of them allows.
type policies []signer.Policy

// Allows implements signer.Policy.
func (p *policies) Allows(module string, kind ledger.Kind, key commitments.Key) bool {
	for _, policy := range *p {
		if policy.Allows(module, kind, key) {
			return true
		}
	}
	return false
}

// newSigning opens the ledger first: a sidecar that cannot read what it has
// signed must not start. What fails later closes it again.
func newSigning(a *App) (s *signing, err error) {
	s = &signing{clock: a.clock, log: a.log.With("part", "app").Warn}
	if s.ledger, err = openLedger(a.config, a.clock, a.log.With("part", "ledger"), a.look); err != nil {
		return nil, err
	}
	defer func(opened *signing) { // s is nil by then
		if err != nil {
			opened.close()
		}
	}(s)
	s.ledger.Measure(ledger.NewMetrics(a.metrics), a.clock)
	// New is not waited for by anyone who could cancel it; the holders' own
	// deadlines end it.
	vouch, revoked := vouchBy(func() *signer.Signer { return s.signer }, a.clock), func(k commitments.Key) bool { return s.revoked(k) }
	if s.keys, err = openKeys(context.Background(), a.config, a.clock, vouch, revoked, a.log.With("part", "keys")); err != nil {
		return nil, err
	}
	s.signer = &signer.Signer{Ledger: s.ledger, Keys: s.keys.holders, Policy: &s.policy, Message: signer.MessageOf(a.spec), Quoted: signer.QuoteOf(a.spec), Clock: a.clock,
		Log: a.log.With("part", "signer"), Metrics: signer.NewMetrics(a.metrics)}
	if a.config.SignerAPI() {
		err = s.serveAPI(a)
	}
	return s, err
}

// serveAPI makes the Signer API for modules in processes of their own.
func (s *signing) serveAPI(a *App) error {
	table, err := signerTable(a.config, a.log.With("part", "app").Warn)
	if err != nil {
		return err
	}
	policy, err := api.NewPolicy(table, proxies{s}, api.LedgerRevocations{Notes: s.signer, Book: s.ledger, Clock: a.clock})
	if err != nil {
		return err
	}
	s.policy = append(s.policy, policy)
	c, consensus := a.config.Signer, s.keys.consensus
	s.api, err = api.New(api.Config{
		Spec: a.spec, Clock: a.clock, Log: a.log.With("part", "signer"), Metrics: api.NewMetrics(a.metrics), Policy: policy, Signer: s.signer,
		Consensus: func() []phase0.BLSPubKey { return consensus },
		Reload:    func(context.Context) (api.Table, error) { return reloadTable(a) },
		FailLimit: c.JWTAuthFailLimit, FailTimeout: c.JWTAuthFailTimeout,
		Address: api.Address{Type: c.ReverseProxy.Type, Header: c.ReverseProxy.Header, Trusted: c.ReverseProxy.TrustedCount},
	})
	return err
}

// reloadTable reads the file again for its modules and secrets; the rest of the
// file takes effect at the next start.
func reloadTable(a *App) (api.Table, error) {
	c, err := config.Load(a.config.File(), os.LookupEnv)
	if err != nil {
		return api.Table{}, err
	}
	return signerTable(c, a.log.With("part", "app").Warn)
}

// signerTable is who may ask the Signer API for what.
func signerTable(c *config.Config, warn func(msg string, args ...any)) (t api.Table, err error) {
	secrets, warnings, err := c.Secrets(os.LookupEnv)
	if err != nil {
		return t, err
	}
	for _, w := range warnings {
		warn("A secret is weak", "detail", w)
	}
	t.Admin = secrets.Admin
	for i := range c.Modules {
		m := &c.Modules[i]
		if m.Type != config.ModuleCommit {
			continue
		}
		if m.SigningID == GatewaySigningID || m.SigningID == commitments.QuoteSigningID {
			return t, fmt.Errorf("module %s: its signing id is our own: what it has signed could be taken for a delegation, a promise or a quote", m.ID)
		}
		g := m.SignerGrant()
		grant := api.Grant{AllKeys: g.Keys.All, Keys: g.Keys.Keys, Routes: g.Routes, PerSlot: int(g.PerSlot)}
		for _, kind := range g.Kinds {
			grant.Consensus = grant.Consensus || kind == config.KindConsensus
			grant.Proxy = grant.Proxy || kind == config.KindProxy
		}
		t.Modules = append(t.Modules, api.Module{
			ID: m.ID, SigningID: m.SigningID, Secret: secrets.Modules[m.ID], Grant: grant, Peer: g.ClientName,
			Legacy: g.Generation == config.GenerationLegacy, Strict: g.Tokens == config.TokensStrict,
		})
	}
	return t, nil
}

// signerConns is how many connections modules may have, a quarter of them from one
// address.
const signerConns = 1024

// signerServer is the listener of the Signer API; nil without one.
func (a *App) signerServer(measures *httpd.Metrics) (*httpd.Server, error) {
	if a.signing == nil || a.signing.api == nil {
		return nil, nil
	}
	c := a.config.Signer
	most := connections(signerConns, harden.Descriptors()/2) // beside the gateway's half
	s := httpd.Config{
		MaxConns: most, MaxConnsPerIP: most / 4, MakeRoom: true,
		Name: "signer", Addr: address(c.Host.String(), c.Port), Routes: a.signing.api.Routes(), Log: a.log.With("part", "signer"), Clock: a.clock, Metrics: measures,
	}
	if c.TLS.Type == config.TLSCertificate {
		var err error
		if s.TLS, err = httpd.LoadTLS(c.TLS.Path); err != nil {
			return nil, err
		}
	}
	server, err := httpd.New(s)
	if err != nil {
		return nil, fmt.Errorf("make the Signer API: %w", err)
	}
	return server, nil
}

// close ends what may be open. It may be called on a half-made value.
func (s *signing) close() {
	if s.ledger != nil {
		if err := s.ledger.Close(); err != nil {
			s.log("The ledger did not close well", "reason", fmt.Sprint(err))
		}
	}
	if s.keys.holders != nil {
		s.keys.holders.Close()
	}
}
