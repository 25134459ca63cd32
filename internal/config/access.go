package config

import (
	"net/netip"
	"net/url"
	"strings"
)

// Access says who may ask the gateway, and how much.
type Access struct {
	// IdentitiesFile lists callers we know, one a line: a name, then
	// sha256:<hash of an API key> or address:<0x address that signs>, and
	// optionally rate=<per second> and burst=<at once>. Optional.
	IdentitiesFile string `toml:"identities_file"`
	// RequireIdentity refuses callers who are not in the file; without a file,
	// those who do not sign with X-Flashbots-Signature. Default false.
	RequireIdentity bool `toml:"require_identity"`
	// RatePerSecond is how often one address (IPv6: one /64) may ask for long, and
	// each identity without a rate of its own. Default 50; 0 is no limit. Callers
	// on this machine have no limit.
	RatePerSecond float64 `toml:"rate_per_second"`
	// Burst is how often at once. Default 200.
	Burst float64 `toml:"burst"`
	// MaxRequests run at a time; one caller may have a quarter, strangers together
	// 60 percent. Default 128.
	MaxRequests int `toml:"max_requests"`
	// MaxSubscribers of the stream of statuses; one caller may be a quarter of
	// them. Default 256.
	MaxSubscribers int `toml:"max_subscribers"`
	// MaxConnections may be open. Default 1024, and never more than half of the
	// descriptors that the process may have.
	MaxConnections int `toml:"max_connections"`
	// MaxConnectionsPerAddress of one address (IPv6: one /64). Default 256. Raise
	// it behind a proxy.
	MaxConnectionsPerAddress int `toml:"max_connections_per_address"`
	// TrustedProxies are networks whose requests name, in ForwardedHeader, whom
	// they come from. Default: none.
	TrustedProxies []netip.Prefix `toml:"trusted_proxies"`
	// ForwardedHeader is a list of addresses; the last one that is not a trusted
	// proxy's counts. Default "X-Forwarded-For".
	ForwardedHeader string `toml:"forwarded_header"`
	// TLSPath is a directory with cert.pem and key.pem; with client_ca.pem callers
	// must have a certificate, too. Optional: plain HTTP, for a proxy that ends TLS.
	TLSPath string `toml:"tls_path"`
	// CORSOrigins are the origins whose web pages may ask, or "*". Default: none.
	CORSOrigins []string `toml:"cors_origins"`
}

func (a *Access) setDefaults() {
	*a = Access{
		RatePerSecond: 50, Burst: 200, MaxRequests: 128, MaxSubscribers: 256, MaxConnections: 1024, MaxConnectionsPerAddress: 256,
		ForwardedHeader: "X-Forwarded-For",
	}
}

// access checks gateway.access.
func (k *checker) access(a *Access) {
	const at = "gateway.access."
	k.require(a.RatePerSecond >= 0 && a.RatePerSecond <= 1e6, at+"rate_per_second", "is not within 0 to 1000000")
	k.require(a.Burst >= 1 && a.Burst <= 1e6, at+"burst", "is not within 1 to 1000000")
	for key, n := range map[string]int{
		"max_requests": a.MaxRequests, "max_subscribers": a.MaxSubscribers, "max_connections": a.MaxConnections, "max_connections_per_address": a.MaxConnectionsPerAddress,
	} {
		k.require(n >= 1 && n <= 65536, at+key, "is not within 1 to 65536")
	}
	k.require(isToken(a.ForwardedHeader), at+"forwarded_header", "is not the name of a header")
	for i, p := range a.TrustedProxies {
		k.require(p.Bits() > 0, element(at+"trusted_proxies", i), "is everybody: whoever asks could write the header")
	}
	for i, o := range a.CORSOrigins {
		u, err := url.Parse(o)
		ok := o == "*" || err == nil && u.Scheme != "" && u.Host != "" && o == strings.ToLower(u.Scheme+"://"+u.Host)
		k.require(ok, element(at+"cors_origins", i), `is not an origin such as "https://app.example.org", or "*"`)
	}
}
