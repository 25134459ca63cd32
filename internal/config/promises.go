package config

import (
	"slices"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Builder is a builder the operator has an agreement with: it takes constraints,
// and bids of its blocks prove that it kept them.
type Builder struct {
	// ID names the builder in logs and metrics. Required.
	ID string `toml:"id"`
	// URL is scheme://0xPUBKEY@host[:port] of its Constraints API. With Relays
	// nothing is signed by the key; without, it signs the builder's own bids. Required.
	URL string `toml:"url"`
	// Headers go with every request. Optional.
	Headers map[string]string `toml:"headers"`
	// ConstraintsDialect is "spec" or "fabric". Default "spec".
	ConstraintsDialect string `toml:"constraints_dialect"`
	// ConstraintsLead is as that of a relay. Optional.
	ConstraintsLead time.Duration `toml:"constraints_lead_ms"`
	// Relays are the ids of relays that its bids come through, with their proofs.
	// Optional: without any the builder serves bids itself and is asked like a relay.
	Relays []string `toml:"relays"`
	// Muxes are the ids of muxes whose validators it builds for. Optional: without
	// any it builds for the validators that have none.
	Muxes []string `toml:"muxes"`
	// AllowPrivate is as that of a relay. Optional.
	AllowPrivate *bool `toml:"allow_private"`

	pubkey phase0.BLSPubKey
}

func (b *Builder) setDefaults() { b.ConstraintsDialect = DialectSpec }

// Relay is the builder as a relay that takes constraints.
func (b *Builder) Relay() Relay {
	return Relay{
		ID: b.ID, URL: b.URL, Headers: b.Headers, GetHeader: HeaderHTTP, Constraints: true, ConstraintsDialect: b.ConstraintsDialect,
		ConstraintsLead: b.ConstraintsLead, AllowPrivate: b.AllowPrivate, Pubkey: b.pubkey,
	}
}

// Committer is who promises for some validators, instead of the default proxies.
type Committer struct {
	// Delegate is a BLS proxy key of the store: it signs promises and constraints.
	// Required.
	Delegate phase0.BLSPubKey `toml:"delegate"`
	// Address is an ECDSA proxy of the store: the committer that delegations name.
	// Optional: the default.
	Address bellatrix.ExecutionAddress `toml:"address"`
	// Validators promise so. Optional with Muxes.
	Validators []phase0.BLSPubKey `toml:"validators"`
	// Muxes are the ids of muxes whose validators promise so. Optional.
	Muxes []string `toml:"muxes"`
}

// Exclusive keeps validators out whose slots are sold through another protocol: a
// slot promised twice is a slashing.
type Exclusive struct {
	// Protocol is its name, for logs and answers: "ethgas", "mev-commit". Required.
	Protocol string `toml:"protocol"`
	// Validators are sold there. Optional with Muxes.
	Validators []phase0.BLSPubKey `toml:"validators"`
	// Muxes are the ids of muxes whose validators are. Optional.
	Muxes []string `toml:"muxes"`
}

// Collateral is where the stake behind promises is: an operator's, in the operator
// set of a manager of ours. It is read from the execution node, and nothing is
// decided by it.
type Collateral struct {
	// Manager is the contract that slashes. Required.
	Manager bellatrix.ExecutionAddress `toml:"manager"`
	// Operator is whose stake it is. Required.
	Operator bellatrix.ExecutionAddress `toml:"operator"`
}

// Receivers are the builders that may see constraints before the block: of the
// validators of some muxes or, without any, of those that have none.
type Receivers struct {
	// Keys are the builders' BLS keys. Required.
	Keys []phase0.BLSPubKey `toml:"keys"`
	// Muxes are ids of muxes. Optional.
	Muxes []string `toml:"muxes"`
}

// Of says whether they are those of a mux; "" is of validators without one.
func (r *Receivers) Of(mux string) bool {
	return slices.Contains(r.Muxes, mux) || mux == "" && len(r.Muxes) == 0
}

// LeadOf is how long before its slot a relay must have a page's constraints.
func (g *Gateway) LeadOf(r *Relay) time.Duration {
	switch {
	case r.ConstraintsLead > 0:
		return r.ConstraintsLead
	case r.ConstraintsDialect == DialectFabric:
		return max(g.FabricLead, g.Lead)
	}
	return g.Lead
}

// ethgas is how the relays of ETHGas are known: by the head of their one key.
var ethgas = []byte{0x88, 0xef, 0x30, 0x61}

// SoldBy names the protocol that a set's relays give away, "" if none: a validator
// that bids through the relays of ETHGas has sold its slots there.
func SoldBy(relays []Relay) string {
	for i := range relays {
		if r := &relays[i]; slices.Equal(r.Pubkey[:4], ethgas) || strings.Contains(strings.ToLower(r.URL), "ethgas.") {
			return "ethgas"
		}
	}
	return ""
}

// promising checks who promises, for whom, and who is told.
func (k *checker) promising(g *Gateway) {
	k.require(g.FabricLead > 0 && g.FabricLead <= maxTimeout, "gateway.fabric_lead_ms", "is not within 1 to %d", maxTimeout.Milliseconds())
	k.require(g.PostsEnd > 0 && g.PostsEnd < g.Lead || !k.given("gateway.posts_end_ms"), "gateway.posts_end_ms", "is not within 1 and lead_ms (%d)", g.Lead.Milliseconds())
	k.require(g.MinAcks >= 1 && g.MinAcks <= 16, "gateway.min_acks", "is not within 1 to 16")
	k.require(g.MaxUnproven >= 0 && g.MaxUnproven <= 1000, "gateway.max_unproven", "is not within 0 to 1000")
	owner := map[phase0.BLSPubKey]string{}
	for i := range g.Builders {
		k.builder(&g.Builders[i], element("gateway.builders", i))
	}
	k.require(oneOf(g.SignatureForm, "v27", "v0", "object"), "gateway.signature_form", "is not v27, v0 or object")
	if c := g.Collateral; c != nil {
		k.require(c.Manager != bellatrix.ExecutionAddress{}, "gateway.collateral.manager", "is missing")
		k.require(c.Operator != bellatrix.ExecutionAddress{}, "gateway.collateral.operator", "is missing")
	}
	for i := range g.Receivers {
		k.receivers(g, &g.Receivers[i], element("gateway.receivers", i))
	}
	for i := range g.Committers {
		c, at := &g.Committers[i], element("gateway.committers", i)
		k.require(compressed(c.Delegate), at+".delegate", "is missing, or is not a compressed BLS public key")
		k.members(c.Validators, c.Muxes, at)
		for n, key := range c.Validators {
			if other, twice := owner[key]; twice {
				k.fail(element(at+".validators", n), "is in %s too", other)
			}
			owner[key] = at
		}
	}
	for i := range g.Exclusive {
		e, at := &g.Exclusive[i], element("gateway.exclusive", i)
		k.require(e.Protocol != "" && len(e.Protocol) <= 32, at+".protocol", "is missing, or longer than 32 bytes")
		k.members(e.Validators, e.Muxes, at)
	}
	if protocol := SoldBy(k.c.Relays); protocol != "" {
		k.warn("relays", "are those of %s: validators without a mux are taken to be sold there, and nothing is promised for them", protocol)
	}
}

// members checks a group of validators.
func (k *checker) members(keys []phase0.BLSPubKey, muxes []string, at string) {
	k.require(len(keys)+len(muxes) > 0, at+".validators", "is empty, and there are no muxes")
	k.require(len(keys) <= maxKeys, at+".validators", "has more than %d keys", maxKeys)
	for n, key := range keys {
		path := element(at+".validators", n)
		k.require(k.bad[path] || compressed(key), path, "is not a compressed BLS public key")
	}
	for n, id := range muxes {
		k.require(slices.ContainsFunc(k.c.Muxes, func(m Mux) bool { return m.ID == id }), element(at+".muxes", n), "is not the id of a mux")
	}
}

// receivers checks who may see constraints. A set has one list, for it has one
// message; and no relay of the fabric dialect, which then would show it to nobody:
// its reader of receivers' signatures takes none. [preconfirmations: Constraints API]
func (k *checker) receivers(g *Gateway, r *Receivers, at string) {
	k.require(len(r.Keys) > 0 && len(r.Keys) <= maxReceivers, at+".keys", "has not 1 to %d keys", maxReceivers)
	for n, key := range r.Keys {
		path := element(at+".keys", n)
		k.require(k.bad[path] || compressed(key), path, "is not a compressed BLS public key")
	}
	for n, id := range r.Muxes {
		k.require(slices.ContainsFunc(k.c.Muxes, func(m Mux) bool { return m.ID == id }), element(at+".muxes", n), "is not the id of a mux")
	}
	for n, set := range k.sets() {
		mux := ""
		if n > 0 {
			mux = k.c.Muxes[n-1].ID
		}
		if !r.Of(mux) {
			continue
		}
		for i := range g.Receivers {
			other := &g.Receivers[i]
			k.require(other == r || !other.Of(mux), at, "has validators that another of gateway.receivers has")
		}
		fabric := slices.ContainsFunc(set, func(r Relay) bool { return r.Constraints && r.ConstraintsDialect == DialectFabric }) ||
			slices.ContainsFunc(g.Builders, func(b Builder) bool {
				return b.ConstraintsDialect == DialectFabric && (slices.Contains(b.Muxes, mux) || mux == "" && len(b.Muxes) == 0)
			})
		k.require(!fabric, at, "is told to a relay or builder of the fabric dialect, which shows nobody what names receivers")
	}
}

// builder checks one builder. Its id is a relay's in logs, so it is no relay's.
func (k *checker) builder(b *Builder, at string) {
	k.require(b.ID != "", at+".id", "is missing")
	r := b.Relay()
	k.relay(&r, at, k.c.PBS.LateInSlot)
	b.pubkey, b.AllowPrivate = r.Pubkey, r.AllowPrivate
	known := map[string]bool{}
	for _, set := range k.sets() {
		for i := range set {
			known[set[i].ID] = true
		}
	}
	k.require(!known[b.ID], at+".id", "is the id of a relay")
	for i := range k.c.Gateway.Builders {
		other := &k.c.Gateway.Builders[i]
		k.require(other == b || other.ID != b.ID, at+".id", "%q is the id of another builder", b.ID)
	}
	for n, id := range b.Relays {
		k.require(known[id], element(at+".relays", n), "is not the id of a relay")
	}
	for n, id := range b.Muxes {
		k.require(slices.ContainsFunc(k.c.Muxes, func(m Mux) bool { return m.ID == id }), element(at+".muxes", n), "is not the id of a mux")
	}
}

// sets are the relays of each set.
func (k *checker) sets() (all [][]Relay) {
	all = append(all, k.c.Relays)
	for i := range k.c.Muxes {
		all = append(all, k.c.Muxes[i].Relays)
	}
	return all
}
