package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"pgregory.net/rapid"

	"sidecar/chain"
)

// machine is everything that can happen to a ledger's files, with one clock and
// at most one process at a time. There is no pruning yet, so none here.
//
// What it takes for granted is what docs/decisions/003-hold.md does: putting files
// back takes more than 24 s, and the clock does not go back. Resources have a slot.
type machine struct {
	dir                   string
	now                   atomic.Int64 // Unix milliseconds
	host                  string
	run                   *Ledger             // nil: stopped
	signed                map[string]int      // resource → the digest that was ever answered for it
	saved                 []map[string][]byte // snapshots of the files
	files                 Interchange         // of everything ever signed, as far as it was exported
	hadAll                bool                // the export is complete
	opened, held, refused int
}

func (m *machine) config() Config {
	c := config(filepath.Join(m.dir, "ledger.db"))
	c.Witness, c.Host = filepath.Join(m.dir, "witness"), m.host
	c.Clock = chain.NewClock(testSpec, func() time.Time { return time.UnixMilli(m.now.Load()) })
	return c
}

// snapshot reads the files as they are on disk.
func (m *machine) snapshot(t *rapid.T) map[string][]byte {
	c, shot := m.config(), map[string][]byte{}
	for _, path := range []string{c.Path, journalPath(c.Path), c.Witness} {
		body, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err == nil {
			shot[path] = body
		}
	}
	return shot
}

func (m *machine) put(t *rapid.T, shot map[string][]byte, paths ...string) {
	for _, path := range paths {
		_ = os.Remove(path)
		if body, ok := shot[path]; ok {
			if err := os.WriteFile(path, body, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (m *machine) pass(t *rapid.T, least, most int) {
	m.now.Add(1000 * int64(rapid.IntRange(least, most).Draw(t, "seconds")))
}

func (m *machine) stop(t *rapid.T) {
	if m.run == nil {
		return
	}
	if err := m.run.Close(); err != nil {
		t.Fatal(err)
	}
	m.run = nil
}

// start opens what is there. A ledger that is refused stays where it is, as
// before: the operator looks at it later.
func (m *machine) start(t *rapid.T) {
	if m.run != nil {
		return
	}
	l, err := Open(m.config())
	switch {
	case errors.Is(err, ErrRolledBack), errors.Is(err, ErrOtherHost):
		m.refused++
	case err != nil:
		t.Fatal(err)
	default:
		m.run = l
		if m.opened++; l.Hold().Until >= m.config().Clock.Slot() {
			m.held++
		}
	}
}

func (m *machine) requests(t *rapid.T) {
	for range rapid.IntRange(1, 6).Draw(t, "requests") {
		m.request(t)
	}
}

// request asks for a plausible slot, as the signer would.
func (m *machine) request(t *rapid.T) {
	if m.run == nil {
		t.Skip("stopped")
	}
	now := m.config().Clock.Slot()
	slot := now + phase0.Slot(rapid.SampledFrom([]int{0, 1, 20, 40, 63, 64}).Draw(t, "ahead"))
	slot -= slot % 16 // so that requests meet
	if slot+1 < now {
		slot += 16
	}
	name, digest := fmt.Sprintf("claim/%d", slot), rapid.IntRange(1, 3).Draw(t, "digest")
	e := promise(digest, name)
	r, err := m.run.Append(context.Background(), page(slot), constant(e))
	if errors.Is(err, ErrSlashable) || errors.Is(err, ErrHolding) {
		return
	}
	if err == nil {
		err = sealed(m.run, context.Background(), r, append(e.Root[:], make([]byte, 64)...))
	}
	if err != nil {
		t.Fatal(err)
	}
	if had, ok := m.signed[name]; ok && had != digest {
		t.Fatalf("%s: digest %d was signed, and now %d", name, had, digest)
	}
	m.signed[name], m.hadAll = digest, false
}

func (m *machine) actions() map[string]func(*rapid.T) {
	c := func() Config { return m.config() }
	return map[string]func(*rapid.T){
		"request":  m.requests,
		"request2": m.requests,
		"request3": m.requests,
		"request4": m.requests,
		"restart":  func(t *rapid.T) { m.stop(t); m.pass(t, 0, 30); m.start(t) },
		"crash": func(t *rapid.T) {
			shot := m.snapshot(t)
			m.stop(t)
			m.put(t, shot, c().Path, journalPath(c().Path), c().Witness)
			m.pass(t, 0, 30)
			m.start(t)
		},
		"clock jump": func(t *rapid.T) { m.pass(t, 0, 100*12) },
		"copy":       func(t *rapid.T) { m.saved = append(m.saved, m.snapshot(t)) },
		"restore": func(t *rapid.T) {
			if len(m.saved) == 0 {
				t.Skip("nothing saved")
			}
			m.stop(t)
			m.pass(t, 25, 200)
			shot := rapid.SampledFrom(m.saved).Draw(t, "snapshot")
			m.put(t, shot, c().Path)
			if rapid.Bool().Draw(t, "journal too") {
				m.put(t, shot, journalPath(c().Path))
			}
			if rapid.Bool().Draw(t, "witness too") {
				m.put(t, shot, c().Witness)
			}
			m.start(t)
		},
		"lose the witness": func(t *rapid.T) { m.stop(t); _ = os.Remove(c().Witness); m.start(t) },
		"move": func(t *rapid.T) {
			m.stop(t)
			m.host = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "host")
			if rapid.Bool().Draw(t, "adopt") {
				if _, err := Adopt(c()); err != nil && !errors.Is(err, ErrRolledBack) {
					t.Fatal(err)
				}
			}
			m.start(t)
		},
		"export": func(t *rapid.T) {
			if m.refused > 0 || len(m.saved) > 0 {
				t.Skip("the ledger may not have everything")
			}
			m.stop(t)
			var collect Collect
			if _, err := Walk(c().Path, func(r Record) error { r.Seal = nil; collect.Add(r); return nil }); err != nil {
				t.Fatal(err)
			}
			m.files, m.hadAll = collect.Interchange("holesky", holesky), true
			m.start(t)
		},
		"import": func(t *rapid.T) {
			if m.files.Data == nil {
				t.Skip("nothing exported")
			}
			m.stop(t)
			_, err := Import(context.Background(), c(), m.files, m.hadAll)
			if err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrOtherHost) && !errors.Is(err, ErrChain) && !errors.Is(err, ErrRolledBack) {
				t.Fatal(err)
			}
			m.start(t)
		},
		"look": func(t *rapid.T) { // as sidecar check does
			m.stop(t)
			look := c()
			look.Look = true
			if l, err := Open(look); err == nil {
				err = l.Close()
				if err != nil {
					t.Fatal(err)
				}
			}
			m.pass(t, 0, 300)
			m.start(t)
		},
		"": func(t *rapid.T) {},
	}
}

// TestMachine: whatever happens, no resource has two digests over all the
// processes there ever were.
func TestMachine(t *testing.T) {
	var opened, held, refused, signed int
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{dir: tempDir(t), host: "a", signed: map[string]int{}}
		m.now.Store(testSpec.GenesisTime.Add(12_000 * time.Second).UnixMilli())
		if err := Create(m.config()); err != nil {
			t.Fatal(err)
		}
		m.start(t)
		defer func() {
			if m.run != nil {
				_ = m.run.Close()
			}
		}()
		t.Repeat(m.actions())
		opened, held, refused, signed = opened+m.opened, held+m.held, refused+m.refused, signed+len(m.signed)
	})
	t.Logf("%d starts, %d of them held, %d refused; %d resources signed", opened, held, refused, signed)
	if held == 0 || refused == 0 || signed == 0 || held == opened {
		t.Error("the test proves nothing")
	}
}
