// Package mux knows which set of relays a validator belongs to, and where the
// keys of a set come from: a list, a file, a URL, or a registry of operators.
//
// Lookup never blocks. A validator is in one set only. A key that is written in
// the configuration never leaves its set, and what a registry says is refused
// when it contradicts another set, is incomplete, or suddenly empty.
package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/errgroup"

	"sidecar/fault"
	"sidecar/internal/config"
)

// Faults of this package.
var (
	ErrLoad    = fault.Define("mux_load_failed", fault.Upstream, "The keys of a mux could not be read from its file, URL or registry.")
	ErrOverlap = fault.Define("mux_overlap", fault.Invalid, "A validator is in two muxes.")
)

const (
	maxKeys     = 100_000  // per set
	maxBody     = 10 << 20 // bytes of one answer or file
	maxLoads    = 4        // loaders at the same time
	loadTimeout = 10 * time.Minute
)

// Caller makes an eth_call at the latest block.
type Caller interface {
	Call(ctx context.Context, to [20]byte, data []byte) ([]byte, error)
}

// Source is where the keys of one set come from.
type Source struct {
	ID     string
	Static []phase0.BLSPubKey
	Loader *config.Loader // nil: only Static
}

// Config makes a Table.
type Config struct {
	Sources      []Source // of set 1, 2, …
	Network      string   // chain.Spec.Name, which chooses contracts
	SSVNodeURL   string   // for SSV
	SSVPublicURL string   // for SSV
	Refresh      time.Duration
	Caller       Caller       // needed by Lido and Stader
	Client       *http.Client // its redirects are not followed; nil: one of fetch.New
	Log          *slog.Logger
	Metrics      *Metrics // may be nil
}

// FromFile fills what the configuration file says.
func FromFile(c *config.Config) Config {
	out := Config{Network: c.Chain().Name, SSVNodeURL: c.PBS.SSVNodeAPIURL, SSVPublicURL: c.PBS.SSVPublicAPIURL, Refresh: c.PBS.MuxRefresh}
	for _, m := range c.Muxes {
		out.Sources = append(out.Sources, Source{m.ID, m.ValidatorPubkeys, m.Loader})
	}
	return out
}

// Table maps validators to sets.
type Table struct {
	cfg  Config
	web  web
	sets atomic.Pointer[map[phase0.BLSPubKey]int]

	mu     sync.Mutex           // held by Load and refresh
	loaded [][]phase0.BLSPubKey // by source, what its loader last said; under mu
}

// New checks cfg and makes a table that holds the static keys. Fault: ErrOverlap.
func New(cfg Config) (*Table, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	t := &Table{cfg: cfg, web: newWeb(cfg.Client), loaded: make([][]phase0.BLSPubKey, len(cfg.Sources))}
	for _, s := range cfg.Sources {
		if l := s.Loader; l != nil && onChain(l) && cfg.Caller == nil {
			return nil, ErrLoad.With("mux %s: %s needs an execution node", s.ID, l.Registry)
		}
		if refreshes(s) && cfg.Refresh <= 0 {
			return nil, ErrLoad.With("mux %s: no refresh interval", s.ID)
		}
	}
	sets, err := t.build(t.loaded)
	if err != nil {
		return nil, err
	}
	t.sets.Store(&sets)
	return t, nil
}

func onChain(l *config.Loader) bool {
	return l.Registry == config.RegistryLido || l.Registry == config.RegistryStader
}

func refreshes(s Source) bool {
	return s.Loader != nil && s.Loader.Registry != "" && s.Loader.EnableRefreshing
}

// Lookup returns the set of a validator: i+1 for Sources[i], 0 for the default.
func (t *Table) Lookup(key phase0.BLSPubKey) int { return (*t.sets.Load())[key] }

// Load runs all loaders and swaps the table, or leaves it as it was. A set must
// have a key, unless it is refreshed and may get one. Errors of all loaders are
// joined. Faults: ErrLoad, ErrOverlap.
func (t *Table) Load(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, errs := t.loadAll(ctx, func(s Source) bool { return s.Loader != nil })
	for i, s := range t.cfg.Sources {
		switch {
		case errs[i] != nil || len(s.Static)+len(next[i]) > 0:
		case refreshes(s):
			t.cfg.Log.Warn("Mux has no validators yet", "mux", s.ID)
		default:
			errs[i] = ErrLoad.With("mux %s has no validators", s.ID)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	sets, err := t.build(next)
	if err != nil {
		return err
	}
	t.store(next, sets)
	return nil
}

// Run refreshes registries with enable_refreshing until ctx ends, and then
// returns nil. Without such a registry it returns at once.
func (t *Table) Run(ctx context.Context) error {
	if !slices.ContainsFunc(t.cfg.Sources, refreshes) {
		return nil
	}
	tick := time.NewTicker(t.cfg.Refresh)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.refresh(ctx)
		}
	}
}

// refresh reads registries again. A set keeps its old keys when its registry
// fails, answers nothing where it had keys, or names a validator of another set.
func (t *Table) refresh(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, errs := t.loadAll(ctx, refreshes)
	now := slices.Clone(t.loaded)
	sets := *t.sets.Load()
	for i, s := range t.cfg.Sources {
		if !refreshes(s) {
			continue
		}
		err := errs[i]
		if err == nil && len(next[i]) == 0 && len(now[i]) > 0 {
			err = ErrLoad.With("registry has no keys of operator %d, where it had %d", s.Loader.NodeOperatorID, len(now[i]))
		}
		if err == nil {
			old := now[i]
			now[i] = next[i]
			if with, overlap := t.build(now); overlap != nil {
				now[i], err = old, overlap
			} else {
				sets = with
			}
		}
		if err != nil && ctx.Err() == nil {
			t.cfg.Log.Warn("Mux keeps its validators", "mux", s.ID, "reason", fault.Code(err), "err", err)
		}
	}
	t.store(now, sets)
}

func (t *Table) store(loaded [][]phase0.BLSPubKey, sets map[phase0.BLSPubKey]int) {
	t.loaded = loaded
	t.sets.Store(&sets)
	counts := make([]int, len(t.cfg.Sources)+1)
	for _, set := range sets {
		counts[set]++
	}
	for i, s := range t.cfg.Sources {
		t.cfg.Metrics.validators(s.ID, counts[i+1])
	}
}

// build makes the map of all sets. Fault: ErrOverlap.
func (t *Table) build(loaded [][]phase0.BLSPubKey) (map[phase0.BLSPubKey]int, error) {
	sets := map[phase0.BLSPubKey]int{}
	for i, s := range t.cfg.Sources {
		for _, keys := range [...][]phase0.BLSPubKey{s.Static, loaded[i]} {
			for _, key := range keys {
				if other, taken := sets[key]; taken && other != i+1 {
					return nil, ErrOverlap.With("validator %s is in mux %s and in mux %s", key, t.cfg.Sources[other-1].ID, s.ID)
				}
				sets[key] = i + 1
			}
		}
	}
	return sets, nil
}

// loadAll runs the loaders of the sources that want selects.
func (t *Table) loadAll(ctx context.Context, want func(Source) bool) (keys [][]phase0.BLSPubKey, errs []error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	defer t.web.close()
	keys = make([][]phase0.BLSPubKey, len(t.cfg.Sources))
	errs = make([]error, len(t.cfg.Sources))
	var group errgroup.Group
	group.SetLimit(maxLoads)
	for i, s := range t.cfg.Sources {
		if !want(s) {
			continue
		}
		group.Go(func() error {
			list, err := t.load(ctx, s)
			if err == nil && len(list) > maxKeys {
				err = fmt.Errorf("more than %d keys", maxKeys)
			}
			if err != nil {
				errs[i] = ErrLoad.Wrap(fmt.Errorf("mux %s: %w", s.ID, err))
			}
			keys[i] = list
			t.cfg.Metrics.loads(s.ID, err)
			return nil
		})
	}
	_ = group.Wait() // errors are in errs
	return keys, errs
}

func (t *Table) load(ctx context.Context, s Source) ([]phase0.BLSPubKey, error) {
	l := s.Loader
	switch {
	case l.Path != "":
		return loadFile(l.Path)
	case l.URL != "":
		return t.web.loadURL(ctx, l)
	case l.Registry == config.RegistrySSV:
		return t.loadSSV(ctx, s)
	case l.Registry == config.RegistryLido:
		return loadLido(ctx, t.cfg.Caller, t.cfg.Network, l)
	case l.Registry == config.RegistryStader:
		return loadStader(ctx, t.cfg.Caller, t.cfg.Network, l)
	}
	return nil, errors.New("loader names no source")
}
