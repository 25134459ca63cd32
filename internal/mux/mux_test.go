package mux

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"sidecar/internal/metrics"

	"sidecar/internal/config"
)

// key makes a key that is told apart by n.
func key(n int) (k phase0.BLSPubKey) {
	k[0], k[46], k[47] = 0x80, byte(n>>8), byte(n)
	return k
}

func keys(from, to int) (out []phase0.BLSPubKey) {
	for i := from; i < to; i++ {
		out = append(out, key(i))
	}
	return out
}

func hexOf(k phase0.BLSPubKey) string { return hex.EncodeToString(k[:]) }

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newTable(t *testing.T, cfg Config) *Table {
	t.Helper()
	table, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestTable_FileAndStatic(t *testing.T) {
	registry := metrics.NewRegistry()
	metrics := NewMetrics(registry)
	table := newTable(t, Config{Metrics: metrics, Sources: []Source{
		{ID: "a", Static: keys(1, 3)},
		{ID: "b", Static: keys(3, 4), Loader: &config.Loader{Path: "testdata/mux_keys.example.json"}},
	}})
	if got := []int{table.Lookup(key(1)), table.Lookup(key(3)), table.Lookup(key(9))}; got[0] != 1 || got[1] != 2 || got[2] != 0 {
		t.Errorf("before Load: got %v", got)
	}
	if err := table.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, _ := hex.DecodeString("87b5dc7f78b68a7b5e7f2e8b9c2115f968332cbf6fc2caaaaa2c9dc219a58206b72c924805f2278c58b55790a2c3bf17")
	if got := table.Lookup(phase0.BLSPubKey(b)); got != 2 {
		t.Errorf("from the file: got set %d, want 2", got)
	}
	page := httptest.NewRecorder()
	registry.ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{`sidecar_mux_validators{mux="a"} 2`, `sidecar_mux_validators{mux="b"} 4`, `sidecar_mux_loads_total{mux="b",result="ok"} 1`} {
		if !strings.Contains(page.Body.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, page.Body)
		}
	}
	if err := table.Run(t.Context()); err != nil { // nothing to refresh: returns at once
		t.Error(err)
	}
}

func TestTable_LoadRefused(t *testing.T) {
	many := `["` + strings.Repeat(hexOf(key(1))+`","`, maxKeys) + hexOf(key(2)) + `"]`
	for name, c := range map[string]struct {
		file, want string
	}{
		"missing":    {"", "no such file"},
		"not JSON":   {"{", "not a JSON array"},
		"object":     {"{}", "not a JSON array"},
		"null":       {"null", "null"},
		"trailing":   {`["` + hexOf(key(1)) + `"] x`, "not a JSON array"},
		"number":     {"[1]", "not a JSON array"},
		"short key":  {`["0x12"]`, "key 0 is not 48 bytes"},
		"infinity":   {`["0xc0` + strings.Repeat("0", 94) + `"]`, "not a compressed"},
		"flag unset": {`["0x00` + strings.Repeat("1", 94) + `"]`, "not a compressed"},
		"no keys":    {"[]", "no validators"},
		"too many":   {many, "more than 100000 keys"},
		"too large":  {strings.Repeat(" ", maxBody+1), "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "none")
			if c.file != "" {
				path = write(t, c.file)
			}
			table := newTable(t, Config{Sources: []Source{{ID: "a", Loader: &config.Loader{Path: path}}}})
			if err := table.Load(t.Context()); !errors.Is(err, ErrLoad) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestTable_Disjoint: static keys are checked by New, loaded ones by Load, and
// all loaders are run before an error is returned.
func TestTable_Disjoint(t *testing.T) {
	if _, err := New(Config{Sources: []Source{{ID: "a", Static: keys(1, 3)}, {ID: "b", Static: keys(2, 3)}}}); !errors.Is(err, ErrOverlap) {
		t.Errorf("static: got %v", err)
	}
	if _, err := New(Config{Sources: []Source{{ID: "a", Static: []phase0.BLSPubKey{key(1), key(1)}}}}); err != nil {
		t.Errorf("twice in one mux: got %v", err)
	}
	table := newTable(t, Config{Sources: []Source{
		{ID: "a", Static: keys(1, 3)},
		{ID: "b", Loader: &config.Loader{Path: write(t, `["0x`+hexOf(key(2))+`"]`)}},
	}})
	err := table.Load(t.Context())
	if !errors.Is(err, ErrOverlap) || !strings.Contains(err.Error(), "in mux a and in mux b") {
		t.Errorf("loaded: got %v", err)
	}
	if got := table.Lookup(key(2)); got != 1 {
		t.Errorf("after a failed Load: got set %d, want 1", got)
	}
	table = newTable(t, Config{Sources: []Source{{ID: "a", Loader: &config.Loader{Path: "none"}}, {ID: "b", Loader: &config.Loader{}}}})
	if err := table.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "mux a:") || !strings.Contains(err.Error(), "mux b:") {
		t.Errorf("two errors: got %v", err)
	}
}

func TestNew_Needs(t *testing.T) {
	for name, cfg := range map[string]Config{
		"caller":   {Sources: []Source{{ID: "a", Loader: &config.Loader{Registry: config.RegistryLido}}}},
		"interval": {Sources: []Source{{ID: "a", Loader: &config.Loader{Registry: config.RegistrySSV, EnableRefreshing: true}}}},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrLoad) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestTable_Refresh drives two refreshed Lido operators in virtual time: keys
// come and go, failures and contradictions keep what was.
func TestTable_Refresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lido := &fakeLido{keys: map[uint64][]phase0.BLSPubKey{8: keys(10, 20), 9: keys(30, 35)}}
		var warnings atomic.Int32
		source := func(id string, operator uint64, static ...phase0.BLSPubKey) Source {
			return Source{id, static, &config.Loader{Registry: config.RegistryLido, NodeOperatorID: operator, LidoModuleID: 1, EnableRefreshing: true, HTTPTimeout: time.Second}}
		}
		table := newTable(t, Config{
			Network: "mainnet", Refresh: 384 * time.Second, Caller: lido, Log: slog.New(counter{&warnings}),
			Sources: []Source{source("a", 8, key(1)), source("b", 9), {ID: "c", Static: keys(50, 51)}},
		})
		if err := table.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- table.Run(ctx) }()
		step := func(name string, change func(), warned int32, want map[int]int) {
			t.Helper()
			lido.mu.Lock()
			change()
			lido.mu.Unlock()
			warnings.Store(0)
			time.Sleep(384 * time.Second) // virtual
			synctest.Wait()
			for k, set := range want {
				if got := table.Lookup(key(k)); got != set {
					t.Errorf("%s: key %d: got set %d, want %d", name, k, got, set)
				}
			}
			if got := warnings.Load(); got != warned {
				t.Errorf("%s: got %d warnings, want %d", name, got, warned)
			}
		}
		step("nothing new", func() {}, 0, map[int]int{1: 1, 10: 1, 19: 1, 20: 0, 30: 2, 50: 3})
		step("one key comes, one goes", func() { lido.keys[8] = keys(11, 21) }, 0, map[int]int{1: 1, 10: 0, 20: 1, 30: 2})
		step("static keys stay", func() { lido.keys[8] = append(keys(11, 21), key(1)) }, 0, map[int]int{1: 1})
		step("and stay", func() { lido.keys[8] = keys(11, 21) }, 0, map[int]int{1: 1, 20: 1})
		step("registry fails", func() { lido.fail = errors.New("no node") }, 2, map[int]int{11: 1, 30: 2})
		step("registry is empty", func() { lido.fail, lido.keys[9] = nil, nil }, 1, map[int]int{30: 2, 34: 2})
		step("key of another mux", func() { lido.keys[9] = keys(20, 36) }, 1, map[int]int{20: 1, 21: 0, 30: 2, 35: 0})
		step("key of a static mux", func() { lido.keys[9] = keys(30, 51) }, 1, map[int]int{50: 3, 36: 0})
		step("recovered", func() { lido.keys[9] = keys(30, 36) }, 0, map[int]int{35: 2})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// counter is a slog.Handler that counts warnings.
type counter struct{ n *atomic.Int32 }

func (c counter) Enabled(context.Context, slog.Level) bool { return true }
func (c counter) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c counter) WithGroup(string) slog.Handler            { return c }
func (c counter) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn {
		c.n.Add(1)
	}
	return nil
}

func TestFromFile(t *testing.T) {
	c, err := config.Load("../config/testdata/commit-boost-mux.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := FromFile(c)
	if got.Network != "holesky" || got.Refresh != 384*time.Second || len(got.Sources) != 3 || got.Sources[1].Loader.NodeOperatorID != 8 ||
		got.SSVNodeURL != "http://localhost:16000/v1/" || len(got.Sources[0].Static) != 1 {
		t.Errorf("got %+v", got)
	}
}

func BenchmarkLookup(b *testing.B) {
	table, err := New(Config{Sources: []Source{{ID: "a", Static: keys(0, 10_000)}}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		table.Lookup(key(77))
	}
}
