package config

import (
	"encoding/hex"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// named is a relay whose URL parsed, in its place.
type named struct {
	relay    *Relay
	url      *url.URL
	identity string // scheme, key, host and port
	path     string // in the file
}

// relaySets checks the default relays and those of each mux.
func (k *checker) relaySets() {
	c := k.c
	k.require(len(c.Relays) > 0, "relays", "at least one [[relays]] is needed")
	all := k.relays(c.Relays, "relays", c.PBS.LateInSlot)
	for i := range c.Muxes {
		at := element("mux", i) + ".relays"
		k.require(len(c.Muxes[i].Relays) > 0, at, "at least one [[mux.relays]] is needed")
		all = append(all, k.relays(c.Muxes[i].Relays, at, c.Muxes[i].LateInSlot)...)
	}
	k.nameRelays(all)
}

// relays checks one set. A relay may be in several sets, but once in each.
func (k *checker) relays(set []Relay, at string, late time.Duration) (out []named) {
	seen := map[string]string{}
	for i := range set {
		path := element(at, i)
		u := k.relay(&set[i], path, late)
		if u == nil {
			continue
		}
		identity := u.Scheme + "://" + hex.EncodeToString(set[i].Pubkey[:]) + "@" + u.Host
		if other, twice := seen[identity]; twice {
			k.fail(path+".url", "is the relay of %s too", other)
		}
		seen[identity] = path
		out = append(out, named{&set[i], u, identity, path})
	}
	return out
}

// nameRelays sees that an id means one relay in all sets, and gives relays
// without one the host of their URL, with port and key where hosts are shared.
func (k *checker) nameRelays(all []named) {
	owner := map[string]named{}
	for _, n := range all {
		if n.relay.ID == "" {
			continue
		}
		if other, taken := owner[n.relay.ID]; taken && other.identity != n.identity {
			k.fail(n.path+".id", "%q is also the id of %s", n.relay.ID, other.path)
		}
		owner[n.relay.ID] = n
	}
	hosts := map[string]string{}
	shared := map[string]bool{}
	for _, n := range all {
		h := n.url.Hostname()
		shared[h] = shared[h] || hosts[h] != "" && hosts[h] != n.identity
		hosts[h] = n.identity
	}
	for _, n := range all {
		if n.relay.ID != "" {
			continue
		}
		key := hex.EncodeToString(n.relay.Pubkey[:4])
		for _, id := range []string{n.url.Hostname(), n.url.Host, n.url.Host + "-0x" + key} {
			other, taken := owner[id]
			if taken && other.identity == n.identity || !taken && (id != n.url.Hostname() || !shared[id]) {
				n.relay.ID = id
				owner[id] = n
				break
			}
		}
		k.require(n.relay.ID != "", n.path+".id", "is missing, and the URL's host is the id of another relay")
	}
}

// relay checks one relay by itself. It returns nil if the URL is wrong.
func (k *checker) relay(r *Relay, at string, late time.Duration) *url.URL {
	k.require(oneOf(r.GetHeader, HeaderHTTP, HeaderStream), at+".get_header", "is not http or stream")
	k.require(oneOf(r.ConstraintsDialect, DialectSpec, DialectFabric), at+".constraints_dialect", "is not spec or fabric")
	k.require(r.ConstraintsLead >= 0 && r.ConstraintsLead <= maxTimeout, at+".constraints_lead_ms", "is not within 0 to %d", maxTimeout.Milliseconds())
	k.require(len(r.ID) <= 64, at+".id", "is longer than 64 bytes")
	target, frequency := at+".target_first_request_ms", at+".frequency_get_header_ms"
	k.require(r.TargetFirstRequest < late || late <= 0, target, "is not below late_in_slot_time_ms (%d)", late.Milliseconds())
	k.require(!k.given(frequency) || r.FrequencyGetHeader >= 10*time.Millisecond, frequency, "is below 10")
	k.require(r.FrequencyGetHeader <= maxTimeout, frequency, "is above %d", maxTimeout.Milliseconds())
	if !r.EnableTimingGames && (k.given(target) || k.given(frequency)) {
		// Commit-Boost's own example has both with timing games off.
		k.warn(at+".enable_timing_games", "is false: target_first_request_ms and frequency_get_header_ms do nothing")
	}
	for name, value := range r.Headers {
		path := at + ".headers." + name
		k.require(isToken(name), path, "is not a header name")
		k.require(!oneOf(strings.ToLower(name), "host", "content-length", "transfer-encoding", "connection"), path, "is set by the connection")
		k.require(!strings.ContainsAny(value, "\r\n\x00"), path, "has a line break")
	}
	if k.bad[at+".url"] {
		return nil
	}
	u, problem := parseRelay(r)
	if problem != "" {
		k.fail(at+".url", "%s", problem)
		return nil
	}
	if u.Path != "" && u.Path != "/" {
		k.warn(at+".url", "has a path, which is dropped")
	}
	if u.RawQuery != "" {
		k.warn(at+".url", "has a query, which is dropped; get_params are sent")
	}
	if r.AllowPrivate == nil {
		r.AllowPrivate = new(isPrivate(u.Hostname()))
	}
	return u
}

// parseRelay reads scheme://0xPUBKEY@host[:port] and sets the key.
func parseRelay(r *Relay) (u *url.URL, problem string) {
	if r.URL == "" {
		return nil, "is missing"
	}
	u, err := url.Parse(r.URL)
	switch {
	case err != nil, u.Hostname() == "":
		return nil, "is not scheme://0xPUBKEY@host"
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, "is not http or https"
	case u.User == nil:
		return nil, "has no public key: scheme://0xPUBKEY@host"
	}
	if _, secret := u.User.Password(); secret {
		return nil, "has a password beside the public key"
	}
	if port := u.Port(); port != "" {
		if _, err := net.LookupPort("tcp", port); err != nil {
			return nil, "has a port that is none"
		}
	}
	key, err := hex.DecodeString(strings.TrimPrefix(u.User.Username(), "0x"))
	if err != nil || len(key) != len(r.Pubkey) {
		return nil, "has a public key that is not 48 bytes in hexadecimal"
	}
	r.Pubkey = phase0.BLSPubKey(key)
	if !compressed(r.Pubkey) {
		return nil, "has a public key that is not a compressed BLS key"
	}
	return u, ""
}

// isPrivate says whether an operator who wrote this host means his own network.
func isPrivate(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()
	}
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal")
}

// isToken checks a header name. [RFC 9110: token]
func isToken(s string) bool {
	for _, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
