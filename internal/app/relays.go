package app

import (
	"context"
	"fmt"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/builderapi"
	"sidecar/commitments/gateway"
	"sidecar/internal/config"
	"sidecar/internal/mux"
	"sidecar/internal/relay"
)

// relaySets holds the relays of the file, in the sets that validators belong to.
type relaySets struct {
	table *mux.Table
	sets  []*builderapi.Set // the default first, then one per mux, as the table numbers them
	of    [][]*relay.Client // the clients of each set
	all   []*relay.Client
	// targets are those of each set that are told what a block must hold.
	targets [][]gateway.Target
	sold    []string // through which protocol the slots of a set are sold elsewhere
}

var _ builderapi.Sets = (*relaySets)(nil)

// For returns the set of a validator.
func (r *relaySets) For(validator phase0.BLSPubKey) *builderapi.Set {
	return r.sets[r.table.Lookup(validator)]
}

// All returns every set.
func (r *relaySets) All() []*builderapi.Set { return r.sets }

func newRelaySets(a *App) (*relaySets, error) {
	r := &relaySets{}
	measures := relay.NewMetrics(a.metrics)
	dial := func(list []config.Relay) (out []builderapi.Relay, err error) {
		var clients []*relay.Client
		defer func() { r.of = append(r.of, clients) }()
		for i := range list {
			conf := a.relayConfig(&list[i], measures)
			conf.Proofs = a.config.Gateway != nil && carries(a.config.Gateway.Builders, list[i].ID)
			c, err := relay.New(conf, a.clock)
			if err != nil {
				return nil, fmt.Errorf("relay %s: %w", list[i].ID, err)
			}
			clients = append(clients, c)
			r.all = append(r.all, c)
			out = append(out, c)
		}
		return out, nil
	}
	p := &a.config.PBS
	relays, err := dial(a.config.Relays)
	if err != nil {
		return nil, err
	}
	r.sets = append(r.sets, &builderapi.Set{ID: "default", Relays: relays, Timeout: p.TimeoutGetHeader, Late: p.LateInSlot})
	for i := range a.config.Muxes {
		m := &a.config.Muxes[i]
		relays, err := dial(m.Relays)
		if err != nil {
			return nil, fmt.Errorf("mux %s: %w", m.ID, err)
		}
		set := &builderapi.Set{ID: m.ID, Relays: relays, Timeout: p.TimeoutGetHeader, Late: p.LateInSlot}
		if m.TimeoutGetHeader > 0 {
			set.Timeout = m.TimeoutGetHeader
		}
		if m.LateInSlot > 0 {
			set.Late = m.LateInSlot
		}
		r.sets = append(r.sets, set)
	}
	if err := r.makeTargets(a, measures); err != nil {
		return nil, err
	}
	r.table, err = a.muxTable()
	return r, err
}

// muxTable says which validator belongs to which set. Lido and Stader are read
// from the execution node.
func (a *App) muxTable() (*mux.Table, error) {
	c := mux.FromFile(a.config)
	c.Log, c.Metrics = a.log.With("part", "mux"), mux.NewMetrics(a.metrics)
	if url := a.config.PBS.RPCURL; url != "" {
		node, err := a.executionNode(url)
		if err != nil {
			return nil, err
		}
		c.Caller = node
	}
	return mux.New(c)
}

func (a *App) relayConfig(c *config.Relay, measures *relay.Metrics) relay.Config {
	return relay.Config{
		ID: c.ID, URL: c.URL, Headers: c.Headers, Params: c.GetParams,
		Games: c.EnableTimingGames, TargetFirst: c.TargetFirstRequest, Frequency: c.FrequencyGetHeader,
		Stream: c.GetHeader == config.HeaderStream, Constraints: c.Constraints, Dialect: c.ConstraintsDialect,
		AllowPrivate: c.AllowPrivate != nil && *c.AllowPrivate,
		Version:      a.version, Metrics: measures, Log: a.log.With("part", "relay"),
	}
}

// check asks every relay for its status, all at once.
func (r *relaySets) check(ctx context.Context) (problems []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, c := range r.all {
		wg.Go(func() {
			if err := c.Status(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				problems = append(problems, fmt.Errorf("relay %s: %w", c.Name(), err))
			}
		})
	}
	wg.Wait()
	return problems
}

func (r *relaySets) close() {
	for _, c := range r.all {
		c.Close()
	}
}
