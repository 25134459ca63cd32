package config

import (
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
)

func (k *checker) signer() {
	s := k.c.Signer
	if s == nil {
		k.require(!k.c.Promises(), "signer", "is needed by modules that make promises")
		return
	}
	k.require(s.Local != nil || s.Remote != nil || s.Dirk != nil, "signer", "needs one of [signer.local.loader], [signer.remote] and [signer.dirk]")
	k.require(s.JWTAuthFailLimit >= 0, "signer.jwt_auth_fail_limit", "is negative")
	k.require(s.JWTAuthFailTimeout > 0, "signer.jwt_auth_fail_timeout_seconds", "is 0")
	k.require(oneOf(s.TLS.Type, TLSInsecure, TLSCertificate), "signer.tls_mode.type", "is not insecure or certificate")
	k.require(s.TLS.Type != TLSCertificate || s.TLS.Path != "", "signer.tls_mode.path", "is missing")
	if k.c.SignerAPI() && s.TLS.Type == TLSInsecure && s.Host.IsValid() && !s.Host.IsLoopback() {
		k.require(s.TLS.InsecurePublic, "signer.host", "%s is reached from other machines, and tokens would go there in the clear; sidecar tls makes certificates for signer.tls_mode, or set insecure_public = true there", s.Host)
	}
	k.require(oneOf(s.ReverseProxy.Type, "none", "unique", "rightmost"), "signer.reverse_proxy.type", "is not none, unique or rightmost")
	k.require(s.ReverseProxy.Type == "none" || isToken(s.ReverseProxy.Header), "signer.reverse_proxy.header", "is missing")
	k.require(s.ReverseProxy.Type != "rightmost" || s.ReverseProxy.TrustedCount > 0, "signer.reverse_proxy.trusted_count", "is below 1")
	if s.Local != nil {
		k.keyLoader(&s.Local.Loader)
	}
	if s.Remote != nil {
		k.remoteSigner(s.Remote)
	}
	if s.Dirk != nil {
		k.dirkSigner(s.Dirk)
	}
	k.proxyStore(s)
}

// lower makes Commit-Boost's capitalised names ours.
func lower(s string) string {
	if s != "" && s[0] >= 'A' && s[0] <= 'Z' {
		return string(s[0]|0x20) + s[1:]
	}
	return s
}

func (t Table) keys() []string {
	if t.n == nil {
		return nil
	}
	return t.n.keys
}

func (k *checker) ledger() {
	l := &k.c.Ledger
	k.require(l.Path != "", "ledger.path", "is empty")
	k.require(l.Lease >= time.Second && l.Lease <= 5*time.Minute, "ledger.lease_ms", "is not within 1000 to 300000")
	k.require(len(l.Holder) <= 40, "ledger.holder", "is longer than 40 bytes")
	if l.PostgresDSNFile == "" {
		return
	}
	k.require(!k.given("ledger.path"), "ledger.path", "is given together with postgres_dsn_file: a ledger is in one place")
	k.require(l.Witness == "", "ledger.witness", "is of a ledger in a file; a database that was put back is not noticed")
}

func (k *checker) services() {
	c := k.c
	k.url(c.Beacon.URL, "beacon.url")
	if c.Execution.URL != c.PBS.RPCURL || k.given("execution.url") {
		k.url(c.Execution.URL, "execution.url")
	}
	k.url(c.Execution.SecondURL, "execution.second_url")
	k.require(c.Execution.SecondURL == "" || c.Execution.SecondURL != c.Execution.URL, "execution.second_url", "is the same node as execution.url")
	k.ledger()
	k.wallet()
	k.require(c.Data.Path != "", "data.path", "is empty")
	k.require(c.Audit.AfterSlots >= 1 && c.Audit.AfterSlots <= 8192, "audit.after_slots", "is not within 1 to 8192")
	k.require(c.Logs.File.MaxFiles >= 0, "logs.file.max_files", "is negative")
	if c.Logs.File.Enabled {
		k.warn("logs.file.enabled", "this version does not write log files")
	}
	if c.Promises() {
		k.require(c.Beacon.URL != "", "beacon.url", "is needed by modules that make promises")
		k.require(c.Execution.URL != "", "execution.url", "is needed by modules that make promises")
		if !k.constraintsRelay() && (c.Gateway == nil || len(c.Gateway.Builders) == 0) {
			k.warn("relays", "no relay has constraints = true: every promise is refused for want of a path")
		}
		if c.Gateway == nil {
			k.warn("gateway", "is missing: nobody can ask for promises")
		}
	}
	g := c.Gateway
	if g == nil {
		return
	}
	k.require(c.Promises(), "gateway", "needs a module that makes promises")
	k.require(g.Lead > 0 && g.Lead <= maxTimeout, "gateway.lead_ms", "is not within 1 to %d ms", maxTimeout.Milliseconds())
	if s := c.spec.SlotDuration; s > 0 && g.Lead > 2*s {
		k.warn("gateway.lead_ms", "is longer than two slots (%d ms)", 2*s.Milliseconds())
	}
	k.require(g.MaxGasPercent >= 1 && g.MaxGasPercent <= 100, "gateway.max_gas_percent", "is not within 1 to 100")
	k.require(g.MaxCommitments >= 1 && g.MaxCommitments <= 1024, "gateway.max_commitments", "is not within 1 to 1024")
	// What is promised must come back in the proofs of one bid, in hexadecimal.
	k.require(g.MaxBytes >= 1 && g.MaxBytes <= 2<<20, "gateway.max_bytes", "is not within 1 to %d", 2<<20)
	k.promising(g)
	if w := c.Wallet; w != nil && len(g.Slashers) > 0 {
		k.require(w.Slasher == (bellatrix.ExecutionAddress{}) || slices.Contains(g.Slashers, w.Slasher), "wallet.slasher", "is not among gateway.slashers")
	}
	k.require(g.MaxBlobs <= 21, "gateway.max_blobs", "is above 21")
	k.access(&g.Access)
	if g.Access.TLSPath == "" && g.Host.IsValid() && !g.Host.IsLoopback() {
		k.warn("gateway.host", "%s is reached from other machines in the clear, and whoever is on the way reads the transactions; set gateway.access.tls_path, or have a proxy end TLS", g.Host)
	}
}

// constraintsRelay says whether any relay takes constraints.
func (k *checker) constraintsRelay() bool {
	for _, r := range k.c.Relays {
		if r.Constraints {
			return true
		}
	}
	for _, m := range k.c.Muxes {
		for _, r := range m.Relays {
			if r.Constraints {
				return true
			}
		}
	}
	return false
}
