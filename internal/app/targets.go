package app

import (
	"fmt"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/builderapi"
	"sidecar/commitments"
	"sidecar/commitments/gateway"
	"sidecar/internal/config"
	"sidecar/internal/relay"
)

// carries says whether a builder's bids come through a relay.
func carries(builders []config.Builder, relayID string) bool {
	return slices.ContainsFunc(builders, func(b config.Builder) bool { return slices.Contains(b.Relays, relayID) })
}

// makeTargets finds whom each set's validators may tell what their blocks must
// hold: the relays that take constraints, and the builders that are trusted with
// them. A builder that serves bids itself joins the set like a relay.
func (r *relaySets) makeTargets(a *App, measures *relay.Metrics) error {
	g := a.config.Gateway
	if g == nil {
		g = config.DefaultGateway()
	}
	sets := [][]config.Relay{a.config.Relays}
	r.sold = []string{config.SoldBy(a.config.Relays)}
	for i := range a.config.Muxes {
		m := &a.config.Muxes[i]
		sets, r.sold = append(sets, m.Relays), append(r.sold, config.SoldBy(m.Relays))
	}
	r.targets = make([][]gateway.Target, len(sets))
	for n, set := range sets {
		for i, c := range r.of[n] {
			if set[i].Constraints {
				r.targets[n] = append(r.targets[n], gateway.Target{Relay: c, Lead: g.LeadOf(&set[i])})
			}
		}
	}
	for i := range g.Builders {
		if err := r.addBuilder(a, g, &g.Builders[i], measures); err != nil {
			return err
		}
	}
	return nil
}

func (r *relaySets) addBuilder(a *App, g *config.Gateway, b *config.Builder, measures *relay.Metrics) error {
	conf := b.Relay()
	c, err := relay.New(a.relayConfig(&conf, measures), a.clock)
	if err != nil {
		return fmt.Errorf("builder %s: %w", b.ID, err)
	}
	r.all = append(r.all, c)
	for n := range r.sets {
		if n == 0 && len(b.Muxes) > 0 || n > 0 && !slices.Contains(b.Muxes, a.config.Muxes[n-1].ID) {
			continue
		}
		t := gateway.Target{Relay: c, Strength: gateway.PathBuilder, Lead: g.LeadOf(&conf)}
		for _, through := range r.of[n] {
			if slices.Contains(b.Relays, through.Name()) {
				t.Bids = append(t.Bids, through)
			}
		}
		switch {
		case len(b.Relays) == 0:
			r.of[n] = append(r.of[n], c)
			r.sets[n].Relays = append(r.sets[n].Relays, builderapi.Relay(c))
		case len(t.Bids) == 0:
			continue // none of its relays serves this set's validators
		}
		r.targets[n] = append(r.targets[n], t)
	}
	return nil
}

// receivers says who may see the constraints of a validator.
func (a *App) receivers(g *config.Gateway) func(phase0.BLSPubKey) []phase0.BLSPubKey {
	if len(g.Receivers) == 0 {
		return nil
	}
	of := make([][]phase0.BLSPubKey, len(a.config.Muxes)+1)
	for n := range of {
		mux := ""
		if n > 0 {
			mux = a.config.Muxes[n-1].ID
		}
		for i := range g.Receivers {
			if g.Receivers[i].Of(mux) {
				of[n] = g.Receivers[i].Keys
			}
		}
	}
	return func(validator phase0.BLSPubKey) []phase0.BLSPubKey { return of[a.relays.table.Lookup(validator)] }
}

// allTargets lists the targets of all sets, each once.
func (r *relaySets) allTargets() (out []gateway.Target) {
	seen := map[string]bool{}
	for _, set := range r.targets {
		for _, t := range set {
			if !seen[t.Name()] {
				seen[t.Name()] = true
				out = append(out, t)
			}
		}
	}
	return out
}

// targetsFor lists those of a validator's set.
func (r *relaySets) targetsFor(validator phase0.BLSPubKey) []gateway.Target {
	return r.targets[r.table.Lookup(validator)]
}

// members says which validators a table of the file means: by key or by mux.
type members struct {
	keys map[phase0.BLSPubKey]bool
	sets map[int]bool
}

func (a *App) members(keys []phase0.BLSPubKey, muxes []string) members {
	m := members{map[phase0.BLSPubKey]bool{}, map[int]bool{}}
	for _, k := range keys {
		m.keys[k] = true
	}
	for i := range a.config.Muxes {
		m.sets[i+1] = slices.Contains(muxes, a.config.Muxes[i].ID)
	}
	return m
}

func (m members) has(key phase0.BLSPubKey, set int) bool { return m.keys[key] || m.sets[set] }

// exclusive says through which protocol a validator's slots are sold elsewhere: the
// file says so, or its relays are those of one.
func (a *App) exclusive(g *config.Gateway) func(phase0.BLSPubKey) string {
	groups := make([]members, len(g.Exclusive))
	for i, e := range g.Exclusive {
		groups[i] = a.members(e.Validators, e.Muxes)
	}
	return func(validator phase0.BLSPubKey) string {
		set := a.relays.table.Lookup(validator)
		for i := range groups {
			if groups[i].has(validator, set) {
				return g.Exclusive[i].Protocol
			}
		}
		return a.relays.sold[set]
	}
}

// parties says who promises for a validator. The keys must be proxies of the store.
func (a *App) parties(g *config.Gateway, otherwise gateway.Party) (func(phase0.BLSPubKey) gateway.Party, error) {
	groups, who := make([]members, len(g.Committers)), make([]gateway.Party, len(g.Committers))
	for i, c := range g.Committers {
		groups[i] = a.members(c.Validators, c.Muxes)
		if _, err := a.signing.keys.proxies.Find(commitments.BLSKey(c.Delegate)); err != nil {
			return nil, fmt.Errorf("gateway.committers[%d].delegate: %w", i, err)
		}
		who[i] = gateway.Party{Delegate: c.Delegate, Committer: c.Address}
		if c.Address == (bellatrix.ExecutionAddress{}) {
			who[i].Committer = otherwise.Committer
			continue
		}
		if _, err := a.signing.keys.proxies.Find(commitments.ECDSAKey(c.Address)); err != nil {
			return nil, fmt.Errorf("gateway.committers[%d].address: %w", i, err)
		}
	}
	return func(validator phase0.BLSPubKey) gateway.Party {
		set := a.relays.table.Lookup(validator)
		for i := range groups { // a key that is named comes before its mux
			if groups[i].keys[validator] {
				return who[i]
			}
		}
		for i := range groups {
			if groups[i].sets[set] {
				return who[i]
			}
		}
		return otherwise
	}, nil
}
