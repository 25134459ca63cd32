package relay

import (
	"crypto/tls"
	"encoding/hex"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/bls"
)

// target is where a relay is and which key it signs with.
type target struct {
	secure   bool
	hostname string // without port or brackets
	host     string // as in the Host header
	address  string // to dial: host and port
	pubkey   phase0.BLSPubKey
	query    string // "" or "?a=b", of every request
}

// parseURL reads scheme://0xPUBKEY@host[:port]. The key is validated as a point
// of the subgroup: an infinite or small-order key would accept forged bids.
// The key is not sent to the relay as credentials. Fault: ErrURL.
func parseURL(s string) (t target, err error) {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil {
		return t, ErrURL.With("not a URL") // url.Error quotes the whole input
	}
	switch strings.ToLower(u.Scheme) {
	case "http":
	case "https":
		t.secure = true
	default:
		return t, ErrURL.With("scheme %q, want http or https", clip(u.Scheme, 16))
	}
	t.hostname = u.Hostname()
	if t.hostname == "" || strings.ContainsAny(t.hostname, " ,\r\n\t") {
		return t, ErrURL.With("no host")
	}
	if _, ok := u.User.Password(); ok || u.User == nil {
		return t, ErrURL.With("%s: want the relay's public key before @", clip(t.hostname, 64))
	}
	if t.pubkey, err = parsePubkey(u.User.Username()); err != nil {
		return t, ErrURL.With("%s: %v", clip(t.hostname, 64), err)
	}
	port := u.Port()
	if port == "" {
		port = map[bool]string{false: "80", true: "443"}[t.secure]
	}
	t.address = net.JoinHostPort(t.hostname, port)
	t.host = u.Host
	return t, nil
}

// parsePubkey reads and validates 0x and 96 hex digits.
func parsePubkey(s string) (p phase0.BLSPubKey, err error) {
	if len(s) != 2+2*len(p) || (s[:2] != "0x" && s[:2] != "0X") {
		return p, ErrURL.With("a public key is 0x and 96 hex digits")
	}
	if _, err := hex.Decode(p[:], []byte(s[2:])); err != nil {
		return p, ErrURL.With("a public key is 0x and 96 hex digits")
	}
	_, err = bls.ParsePublicKey(p)
	return p, err
}

// minFrequency keeps timing games from becoming a flood.
const minFrequency = 10 * time.Millisecond

// check refuses settings that could break requests, and fills in defaults.
func check(cfg *Config) error {
	for name, value := range cfg.Headers {
		if !isToken(name) || strings.ContainsAny(value, "\r\n\x00") {
			return ErrConfig.With("header %q", clip(name, 40))
		}
		switch strings.ToLower(name) {
		case "host", "connection", "content-length", "content-encoding", "transfer-encoding", "te", "trailer", "upgrade", "accept-encoding",
			"expect", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol":
			return ErrConfig.With("header %q belongs to the transport", name)
		}
	}
	switch {
	case cfg.TargetFirst < 0 || cfg.Frequency < 0:
		return ErrConfig.With("timing games: a negative duration")
	case cfg.Frequency > 0 && cfg.Frequency < minFrequency:
		return ErrConfig.With("timing games: more than one request each %v", minFrequency)
	case cfg.Dialect == "":
		cfg.Dialect = DialectSpec
	case cfg.Dialect != DialectSpec && cfg.Dialect != DialectFabric:
		return ErrConfig.With("dialect %q, want spec or fabric", clip(cfg.Dialect, 16))
	}
	return nil
}

// isToken says whether s may be a header's name. [RFC 9110: token]
func isToken(s string) bool {
	for _, b := range []byte(s) {
		if b <= ' ' || b > '~' || strings.IndexByte(`"(),/:;<=>?@[\]{}`, b) >= 0 {
			return false
		}
	}
	return s != ""
}

func encodeParams(params map[string]string) string {
	values := url.Values{}
	for k, v := range params {
		values.Set(k, v)
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

func sortHeaders(headers map[string]string) (list [][2]string) {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		list = append(list, [2]string{name, headers[name]})
	}
	return list
}

// tlsConfig is base, or the system's roots, made fit for one relay.
func tlsConfig(base *tls.Config, hostname string) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if base != nil {
		cfg = base.Clone()
		cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	}
	if cfg.ServerName == "" {
		cfg.ServerName = hostname
	}
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(16)
	}
	cfg.NextProtos = []string{"http/1.1"} // HTTP/2 would need a transport of its own
	return cfg
}
