package config

import (
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

const (
	maxTimeout   = time.Minute
	maxKeys      = 100_000 // per mux
	maxReceivers = 64      // of one list
)

// all checks every table.
func (k *checker) all() {
	k.chain()
	k.pbs()
	k.relaySets()
	k.muxes()
	k.signer()
	k.modules()
	k.services()
	k.listeners()
}

func (k *checker) timeout(d time.Duration, key string) {
	k.require(d > 0 && d <= maxTimeout, key, "is not within 1 to %d ms", maxTimeout.Milliseconds())
}

// late bounds how far into a slot bids may be asked for. Longer than a slot is
// allowed, with a warning: it means that nobody is ever late.
func (k *checker) late(d time.Duration, key string) {
	k.require(d > 0 && d <= time.Hour, key, "is not within 1 to %d ms", time.Hour.Milliseconds())
}

func (k *checker) pbs() {
	p := &k.c.PBS
	k.timeout(p.TimeoutGetHeader, "pbs.timeout_get_header_ms")
	k.timeout(p.AnswerWithin, "pbs.answer_within_ms")
	k.timeout(p.TimeoutGetPayload, "pbs.timeout_get_payload_ms")
	k.timeout(p.TimeoutRegisterValidator, "pbs.timeout_register_validator_ms")
	k.late(p.LateInSlot, "pbs.late_in_slot_time_ms")
	k.require(p.TimeoutGetHeader < p.LateInSlot || k.bad["pbs.late_in_slot_time_ms"], "pbs.timeout_get_header_ms",
		"is not below late_in_slot_time_ms (%d)", p.LateInSlot.Milliseconds())
	if p.AnswerWithin >= time.Second {
		k.warn("pbs.answer_within_ms", "beacon nodes give up after 1000 ms, measured before our socket")
	}
	if s := k.c.spec.SlotDuration; s > 0 && p.LateInSlot > s {
		k.warn("pbs.late_in_slot_time_ms", "is longer than a slot (%d ms)", s.Milliseconds())
	}

	k.require(p.MinBid.Lt(ether(1)), "pbs.min_bid_eth", "is not below 1")
	k.require(!p.MaxValue.IsZero(), "pbs.max_value_eth", "is 0: no bid would be taken")
	k.require(p.MinBid.Lt(&p.MaxValue) || p.MaxValue.IsZero(), "pbs.max_value_eth", "is not above min_bid_eth")
	if p.SkipSigverify {
		k.warn("pbs.skip_sigverify", "bids are taken without checking who made them")
	}

	k.url(p.RPCURL, "pbs.rpc_url")
	k.require(!p.ExtraValidation || p.RPCURL != "", "pbs.extra_validation_enabled", "needs rpc_url")
	k.require(p.SSVNodeAPIURL != "", "pbs.ssv_node_api_url", "is empty")
	k.require(p.SSVPublicAPIURL != "", "pbs.ssv_public_api_url", "is empty")
	k.url(p.SSVNodeAPIURL, "pbs.ssv_node_api_url")
	k.url(p.SSVPublicAPIURL, "pbs.ssv_public_api_url")
	k.require(p.HTTPTimeout > 0 && p.HTTPTimeout <= 10*time.Minute, "pbs.http_timeout_seconds", "is not within 1 to 600")
	k.require(p.RegisterRetryLimit > 0 && p.RegisterRetryLimit <= 100, "pbs.register_validator_retry_limit", "is not within 1 to 100")
	k.require(p.MuxRefresh > 0 && p.MuxRefresh <= 7*24*time.Hour, "pbs.mux_registry_refresh_interval_seconds", "is not within 1 to 604800")
	k.require(p.Penalty.Misses >= 0 && p.Penalty.Misses <= 1000, "pbs.penalty.misses", "is not within 0 to 1000")
	k.require(p.Penalty.Slots >= 1 && p.Penalty.Slots <= 1_000_000, "pbs.penalty.slots", "is not within 1 to 1000000")
}

// url checks an absolute http or https URL; "" is fine. The value, which may
// hold a password, is never in the message.
func (k *checker) url(text, key string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	k.require(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "", key, "is not a URL with http or https and a host")
}

func (k *checker) muxes() {
	ids := map[string]int{}
	owner := map[phase0.BLSPubKey]int{}
	for i := range k.c.Muxes {
		m, at := &k.c.Muxes[i], element("mux", i)
		k.require(m.ID != "", at+".id", "is missing")
		if j, twice := ids[m.ID]; twice && m.ID != "" {
			k.fail(at+".id", "%q is also the id of %s", m.ID, element("mux", j))
		}
		ids[m.ID] = i
		k.require(len(m.ValidatorPubkeys) > 0 || m.Loader != nil, at+".validator_pubkeys", "is empty, and there is no loader")
		k.require(len(m.ValidatorPubkeys) <= maxKeys, at+".validator_pubkeys", "has more than %d keys", maxKeys)
		for n, key := range m.ValidatorPubkeys {
			path := element(at+".validator_pubkeys", n)
			if k.bad[path] {
				continue
			}
			k.require(compressed(key), path, "is not a compressed BLS public key")
			if j, twice := owner[key]; twice && j != i {
				k.fail(path, "is in %s too; a validator has one set of relays", element("mux", j))
			}
			owner[key] = i
		}
		if key := at + ".timeout_get_header_ms"; k.given(key) { // what is inherited was checked
			k.timeout(m.TimeoutGetHeader, key)
		}
		if key := at + ".late_in_slot_time_ms"; k.given(key) {
			k.late(m.LateInSlot, key)
		}
		inherited := k.bad["pbs.timeout_get_header_ms"] || k.bad["pbs.late_in_slot_time_ms"]
		k.require(m.TimeoutGetHeader < m.LateInSlot || inherited, at+".timeout_get_header_ms",
			"%d is not below late_in_slot_time_ms (%d)", m.TimeoutGetHeader.Milliseconds(), m.LateInSlot.Milliseconds())
		if m.Loader != nil {
			k.loader(m.Loader, at+".loader")
		}
	}
}

// compressed checks the flag bits of a public key; the curve is checked where
// the key is used.
func compressed(key phase0.BLSPubKey) bool { return key[0]&0x80 != 0 && key[0]&0x40 == 0 }

func (k *checker) loader(l *Loader, at string) {
	if l.Path != "" || k.bad[at] {
		return
	}
	if (l.URL != "") == (l.Registry != "") {
		k.fail(at, "needs a path, or one of url and registry")
		return
	}
	k.require(l.HTTPTimeout > 0 && l.HTTPTimeout <= 10*time.Minute, at+".http_timeout_seconds", "is not within 1 to 600")
	if l.URL != "" {
		k.url(l.URL, at+".url")
		if u, err := url.Parse(l.URL); err == nil && u.Scheme == "http" {
			k.warn(at+".url", "is not https: whoever is on the way chooses the keys")
		}
		k.require(!l.EnableRefreshing, at+".enable_refreshing", "is for registries; a url is read at start only")
		return
	}
	k.require(k.given(at+".node_operator_id"), at+".node_operator_id", "is missing")
	switch l.Registry {
	case RegistrySSV:
		k.require(k.network("mainnet", "holesky", "hoodi"), at+".registry", "SSV is on Mainnet, Holesky and Hoodi only")
	case RegistryLido:
		k.require(k.network("mainnet", "holesky", "hoodi", "sepolia"), at+".registry", "Lido is on Mainnet, Holesky, Hoodi and Sepolia only")
		k.require(k.c.PBS.RPCURL != "", at+".registry", "Lido needs pbs.rpc_url")
	case RegistryStader:
		k.require(k.network("mainnet"), at+".registry", "Stader is on Mainnet only")
		k.require(k.c.PBS.RPCURL != "", at+".registry", "Stader needs pbs.rpc_url")
		k.require(l.StaderPool == StaderPermissioned || l.StaderPool == StaderPermissionless, at+".stader_pool", "is not permissioned or permissionless")
	default:
		k.require(false, at+".registry", "%.40q is not lido, ssv or stader", l.Registry)
	}
}

// network says whether we are on one of them, or do not know for another error.
func (k *checker) network(names ...string) bool {
	for _, name := range names {
		if k.c.spec.Name == name {
			return true
		}
	}
	return k.c.spec.Name == ""
}

// listeners checks that no two share a port, and warns of ports others reach.
func (k *checker) listeners() {
	type listener struct {
		key  string
		host netip.Addr
		port uint16
	}
	c := k.c
	all := []listener{{"pbs", c.PBS.Host, c.PBS.Port}}
	if c.Gateway != nil {
		all = append(all, listener{"gateway", c.Gateway.Host, c.Gateway.Port})
	}
	if c.Wallet != nil {
		all = append(all, listener{"wallet", c.Wallet.Host, c.Wallet.Port})
	}
	if c.Metrics != nil && c.Metrics.Enabled {
		all = append(all, listener{"metrics", c.Metrics.Host, c.Metrics.StartPort})
	}
	if c.Signer != nil {
		all = append(all, listener{"signer", c.Signer.Host, c.Signer.Port})
	}
	for i, l := range all {
		port := l.key + ".port"
		if l.key == "metrics" {
			port = "metrics.start_port"
		}
		for _, other := range all[:i] {
			if l.port != 0 && l.port == other.port && (l.host == other.host || l.host.IsUnspecified() || other.host.IsUnspecified()) {
				k.require(false, port, "%d is the port of %s too", l.port, other.key)
			}
		}
		if l.port == 0 && (l.key != "signer" || c.SignerAPI()) {
			k.warn(port, "is 0: any free port")
		}
		if l.key != "gateway" && l.key != "wallet" && l.key != "signer" && l.host.IsValid() && !l.host.IsLoopback() {
			k.warn(l.key+".host", "%s is reached from other machines, and nothing authenticates them", l.host)
		}
	}
}

func oneOf(text string, of ...string) bool {
	for _, s := range of {
		if text == s {
			return true
		}
	}
	return false
}

func list(of ...string) string {
	return strings.Join(of[:len(of)-1], ", ") + " or " + of[len(of)-1]
}
