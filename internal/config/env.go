package config

import (
	"math"
	"net/netip"
	"strconv"
	"time"
)

// override applies Commit-Boost's environment variables, those that concern a
// field of this file. A variable for a table that is not there is left alone:
// containers of one deployment share their environment.
func (k *checker) override(env func(string) (string, bool)) {
	if env == nil {
		return
	}
	c, e := k.c, overrides{k, env}
	e.endpoint("CB_PBS_ENDPOINT", &c.PBS.Host, &c.PBS.Port)
	e.path("CB_CHAIN_SPEC", &c.Network.Path, c.Network.Path != "")
	e.number("CB_METRICS_PORT", math.MaxUint16, func(n uint64) {
		if c.Metrics == nil {
			c.Metrics = new(Metrics)
			c.Metrics.setDefaults()
		}
		c.Metrics.Enabled, c.Metrics.StartPort = true, uint16(n) // #nosec G115 -- bounded by number
	})
	e.path("CB_LOGS_DIR", &c.Logs.File.DirPath, true)
	for _, m := range c.Muxes {
		if l := m.Loader; l != nil {
			e.path("CB_MUX_PATH_"+m.ID, &l.Path, l.Path != "")
		}
	}
	if c.Signer != nil {
		e.signer(c.Signer)
	}
}

// overrides reads environment variables and reports wrong ones.
type overrides struct {
	k   *checker
	env func(string) (string, bool)
}

func (e overrides) signer(s *Signer) {
	e.endpoint("CB_SIGNER_ENDPOINT", &s.Host, &s.Port)
	e.number("CB_SIGNER_JWT_AUTH_FAIL_LIMIT", math.MaxInt32, func(n uint64) {
		s.JWTAuthFailLimit = int(n) // #nosec G115 -- bounded by number
	})
	e.number("CB_SIGNER_JWT_AUTH_FAIL_TIMEOUT_SECONDS", math.MaxInt32, func(n uint64) {
		s.JWTAuthFailTimeout = time.Duration(n) * time.Second // #nosec G115 -- bounded by number
	})
	if d := s.Dirk; d != nil {
		e.path("CB_SIGNER_DIRK_CERT_FILE", &d.CertPath, true)
		e.path("CB_SIGNER_DIRK_KEY_FILE", &d.KeyPath, true)
		e.path("CB_SIGNER_DIRK_CA_CERT_FILE", &d.CACertPath, true)
		e.path("CB_SIGNER_DIRK_SECRETS_DIR", &d.SecretsPath, true)
		e.path("CB_PROXY_STORE_DIR", &d.Store.ProxyDir, d.Store.ProxyDir != "")
	}
	e.path("CB_SIGNER_TLS_CERTIFICATES", &s.TLS.Path, s.TLS.Type == TLSCertificate)
	if s.Local == nil {
		return
	}
	l, st := &s.Local.Loader, &s.Local.Store
	e.path("CB_SIGNER_LOADER_FILE", &l.KeyPath, l.KeyPath != "")
	e.path("CB_SIGNER_LOADER_SECRETS_DIR", &l.SecretsPath, l.KeysPath != "")
	e.path("CB_SIGNER_LOADER_KEYS_DIR", &l.KeysPath, l.KeysPath != "")
	e.path("CB_PROXY_STORE_DIR", &st.ProxyDir, st.ProxyDir != "")
	e.path("CB_PROXY_SECRETS_DIR", &st.SecretsPath, st.KeysPath != "")
	e.path("CB_PROXY_KEYS_DIR", &st.KeysPath, st.KeysPath != "")
}

// path replaces a path, if the file has one of its kind.
func (e overrides) path(name string, into *string, applies bool) {
	v, ok := e.env(name)
	switch {
	case !ok || !applies:
	case v == "":
		e.k.env(name, "is empty")
	default:
		*into = v
	}
}

// endpoint replaces address and port.
func (e overrides) endpoint(name string, host *netip.Addr, port *uint16) {
	v, ok := e.env(name)
	if !ok {
		return
	}
	at, err := netip.ParseAddrPort(v)
	if err != nil {
		e.k.env(name, "is not address:port")
		return
	}
	*host, *port = at.Addr(), at.Port()
}

// number sets a number from 0 to limit.
func (e overrides) number(name string, limit uint64, set func(uint64)) {
	v, ok := e.env(name)
	if !ok {
		return
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n > limit {
		e.k.env(name, "is not a number from 0 to %d", limit)
		return
	}
	set(n)
}
