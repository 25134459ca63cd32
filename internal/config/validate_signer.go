package config

import (
	"net/netip"
	"net/url"
	"time"
)

// maxSignerTimeout: a signature that is later helps nobody.
const maxSignerTimeout = 12 * time.Second

func (k *checker) keyLoader(l *KeyLoader) {
	const at = "signer.local.loader"
	switch {
	case l.KeyPath != "":
		k.require(l.KeysPath == "" && l.SecretsPath == "" && l.Format == "", at, "has key_path and keys_path; one of them")
		k.warn(at+".key_path", "holds secrets in plain text, for tests")
	case l.KeysPath == "":
		k.fail(at, "needs key_path, or keys_path with secrets_path and format")
	default:
		formats := []string{FormatLighthouse, FormatTeku, FormatLodestar, FormatNimbus, FormatPrysm}
		l.Format = lower(l.Format)
		k.require(l.SecretsPath != "", at+".secrets_path", "is missing")
		k.require(oneOf(l.Format, formats...), at+".format", "is not %s", list(formats...))
	}
}

// proxyStore checks that proxy keys are kept in one place.
func (k *checker) proxyStore(s *Signer) {
	first := ""
	for _, has := range s.stores() {
		at, store := has.key, has.store
		if store == (KeyStore{}) {
			continue
		}
		k.require(first == "", at, "is a second store for proxy keys, after %s; one of them", first)
		first = at
		if store.ProxyDir != "" {
			k.require(store.KeysPath == "" && store.SecretsPath == "", at, "has proxy_dir and keys_path; one of them")
			k.warn(at+".proxy_dir", "holds secrets in plain text, for tests")
			continue
		}
		k.require(store.KeysPath != "", at+".keys_path", "is missing")
		k.require(store.SecretsPath != "", at+".secrets_path", "is missing")
	}
	if stores := s.stores(); first == "" && len(stores) > 0 && k.c.Promises() {
		k.fail(stores[0].key, "is needed by modules that make promises: a proxy key that is lost cannot be replaced within its delegation")
	}
}

func (k *checker) remoteSigner(r *Remote) {
	const at = "signer.remote"
	k.require(r.URL != "", at+".url", "is missing")
	k.url(r.URL, at+".url")
	if u, err := url.Parse(r.URL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		k.fail(at+".url", "is not https: whoever is on the way could ask for signatures, too")
	}
	k.require((r.CertPath == "") == (r.KeyPath == ""), at+".key_path", "and cert_path go together")
	k.require(r.Timeout > 0 && r.Timeout <= maxSignerTimeout, at+".timeout_ms", "is not within 1 to %d ms", maxSignerTimeout.Milliseconds())
}

func (k *checker) dirkSigner(d *Dirk) {
	const at = "signer.dirk"
	k.require(d.CertPath != "", at+".cert_path", "is missing: Dirk knows its clients by their certificates")
	k.require(d.KeyPath != "", at+".key_path", "is missing")
	k.require(d.MaxResponseSize >= 1<<10 && d.MaxResponseSize <= 64<<20, at+".max_response_size_bytes", "is not within %d to %d", 1<<10, 64<<20)
	k.require(d.Timeout > 0 && d.Timeout <= maxSignerTimeout, at+".timeout_ms", "is not within 1 to %d ms", maxSignerTimeout.Milliseconds())
	k.require(len(d.Hosts) > 0, at+".hosts", "is missing")
	hosts := map[string]int{}
	for i, h := range d.Hosts {
		host := element(at+".hosts", i)
		u, err := url.Parse(h.URL)
		k.require(err == nil && u.Scheme == "https" && u.Hostname() != "", host+".url", "is not a URL with https and a host")
		k.require(len(h.Wallets) > 0, host+".wallets", "is empty")
		if j, twice := hosts[h.URL]; twice {
			k.fail(host+".url", "is also the url of %s", element(at+".hosts", j))
		}
		hosts[h.URL] = i
	}
}

// isLoopback says whether a host is this machine.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
