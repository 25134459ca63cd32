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
	c := k.c
	text := func(name, key string, into *string, applies bool) {
		if v, ok := env(name); ok && applies {
			*into = v
			if v == "" {
				k.env(name, "is empty")
			}
			delete(k.bad, key)
		}
	}
	endpoint := func(name string, host *netip.Addr, port *uint16) {
		v, ok := env(name)
		if !ok {
			return
		}
		at, err := netip.ParseAddrPort(v)
		if err != nil {
			k.env(name, "is not address:port")
			return
		}
		*host, *port = at.Addr(), at.Port()
	}
	number := func(name string, limit uint64, set func(uint64)) {
		v, ok := env(name)
		if !ok {
			return
		}
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil || n > limit {
			k.env(name, "is not a number from 0 to %d", limit)
			return
		}
		set(n)
	}

	endpoint("CB_PBS_ENDPOINT", &c.PBS.Host, &c.PBS.Port)
	text("CB_CHAIN_SPEC", "chain.path", &c.Network.Path, c.Network.Path != "")
	number("CB_METRICS_PORT", math.MaxUint16, func(n uint64) {
		if c.Metrics == nil {
			c.Metrics = new(Metrics)
			c.Metrics.setDefaults()
		}
		c.Metrics.Enabled, c.Metrics.StartPort = true, uint16(n) // #nosec G115 -- bounded above
	})
	text("CB_LOGS_DIR", "logs.file.dir_path", &c.Logs.File.DirPath, true)
	for i := range c.Muxes {
		if l := c.Muxes[i].Loader; l != nil {
			text("CB_MUX_PATH_"+c.Muxes[i].ID, element("mux", i)+".loader", &l.Path, l.Path != "")
		}
	}
	s := c.Signer
	if s == nil {
		return
	}
	endpoint("CB_SIGNER_ENDPOINT", &s.Host, &s.Port)
	number("CB_SIGNER_JWT_AUTH_FAIL_LIMIT", math.MaxInt32, func(n uint64) { s.JWTAuthFailLimit = int(n) }) // #nosec G115 -- bounded
	number("CB_SIGNER_JWT_AUTH_FAIL_TIMEOUT_SECONDS", math.MaxInt32, func(n uint64) {
		s.JWTAuthFailTimeout = time.Duration(n) * time.Second // #nosec G115 -- bounded
	})
	if l := s.Local; l != nil {
		const at = "signer.local."
		text("CB_SIGNER_LOADER_FILE", at+"loader.key_path", &l.Loader.KeyPath, l.Loader.KeyPath != "")
		text("CB_SIGNER_LOADER_KEYS_DIR", at+"loader.keys_path", &l.Loader.KeysPath, l.Loader.KeysPath != "")
		text("CB_SIGNER_LOADER_SECRETS_DIR", at+"loader.secrets_path", &l.Loader.SecretsPath, l.Loader.KeysPath != "")
		text("CB_PROXY_STORE_DIR", at+"store.proxy_dir", &l.Store.ProxyDir, l.Store.ProxyDir != "")
		text("CB_PROXY_KEYS_DIR", at+"store.keys_path", &l.Store.KeysPath, l.Store.KeysPath != "")
		text("CB_PROXY_SECRETS_DIR", at+"store.secrets_path", &l.Store.SecretsPath, l.Store.KeysPath != "")
	}
}
