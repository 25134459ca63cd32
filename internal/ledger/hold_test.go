package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// housing is the place of a ledger, its witness, and a clock that the test moves.
type housing struct {
	Config
	now atomic.Int64 // Unix milliseconds
}

// housed makes a ledger of new keys in slot 1000, on machine "a".
func housed(t testing.TB, edit ...func(*Config)) *housing {
	t.Helper()
	dir := t.TempDir()
	h := &housing{}
	h.at(1000, 0)
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.Config = config(filepath.Join(dir, "ledger.db"))
	h.Clock = chain.NewClock(testSpec, func() time.Time { return time.UnixMilli(h.now.Load()) })
	h.Witness, h.Host = filepath.Join(dir, "keys", "witness"), "a"
	for _, f := range edit {
		f(&h.Config)
	}
	if err := Create(h.Config); err != nil {
		t.Fatal(err)
	}
	return h
}

// at sets the clock.
func (h *housing) at(slot phase0.Slot, into time.Duration) {
	h.now.Store(testSpec.GenesisTime.Add(time.Duration(slot)*12*time.Second + into).UnixMilli())
}

func (h *housing) open(t testing.TB) *Ledger {
	t.Helper()
	l, err := Open(h.Config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// lived is a ledger with an entry, that was closed in slot 1000.
func lived(t *testing.T) *housing {
	t.Helper()
	h := housed(t)
	l := h.open(t)
	seal(t, l, must(t, l, page(1010), promise(1, "r1")), 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestHold_AtStart: what is known of a ledger decides whether it may promise.
func TestHold_AtStart(t *testing.T) {
	grow := func(t *testing.T, h *housing) {
		t.Helper()
		l := h.open(t)
		must(t, l, page(1020), promise(2, "r2"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]struct {
		begin func(t *testing.T) *housing
		want  Hold
		err   error
	}{
		"new keys":       {func(t *testing.T) *housing { return housed(t) }, Hold{}, nil},
		"new keys, soon": {func(t *testing.T) *housing { h := housed(t); h.at(1040, 0); return h }, Hold{}, nil},
		"new keys, too late to vouch": {func(t *testing.T) *housing { h := housed(t); h.at(1100, 0); return h },
			Hold{1164, holdGap}, nil},
		"new ledger": {func(t *testing.T) *housing { return housed(t, func(c *Config) { c.NewKeys = false }) },
			Hold{1064, holdNew}, nil},
		"restart":       {lived, Hold{}, nil},
		"restart, 24 s": {func(t *testing.T) *housing { h := lived(t); h.at(1002, 0); return h }, Hold{}, nil},
		"restart after more": {func(t *testing.T) *housing { h := lived(t); h.at(1002, time.Second); return h },
			Hold{1066, holdGap}, nil},
		"restart, clock an hour back": {func(t *testing.T) *housing { h := lived(t); h.at(700, 0); return h },
			Hold{1064, holdClock}, nil},
		"witness gone": {func(t *testing.T) *housing {
			h := lived(t)
			_ = os.Remove(h.Witness)
			return h
		}, Hold{1064, holdNoWitness}, nil},
		"witness unreadable": {func(t *testing.T) *housing {
			h := lived(t)
			_ = os.WriteFile(h.Witness, []byte(`{"version":1,`), 0o600)
			return h
		}, Hold{1064, holdUnreadable}, nil},
		"witness of another ledger": {func(t *testing.T) *housing {
			h, other := lived(t), lived(t)
			h.Witness = other.Witness
			return h
		}, Hold{1064, holdOther}, nil},
		"another machine":    {func(t *testing.T) *housing { h := lived(t); h.Host = "b"; return h }, Hold{}, ErrOtherHost},
		"adopted by another": {func(t *testing.T) *housing { h := lived(t); h.Host = "b"; adopt(t, h); return h }, Hold{1064, holdAdopted}, nil},
		"ledger put back": {func(t *testing.T) *housing {
			h := lived(t)
			copyFile(t, h.Path, h.Path+".old")
			grow(t, h)
			copyFile(t, h.Path+".old", h.Path)
			return h
		}, Hold{}, ErrRolledBack},
		"ledger put back, and grown elsewhere": {func(t *testing.T) *housing {
			h := lived(t)
			copyFile(t, h.Path, h.Path+".old")
			grow(t, h)
			copyFile(t, h.Path+".old", h.Path)
			fork := h.Config
			fork.Witness = ""
			l, err := Open(fork)
			if err != nil {
				t.Fatal(err)
			}
			must(t, l, page(1021), promise(3, "r3"))
			must(t, l, page(1021), promise(4, "r4"))
			_ = l.Close()
			return h
		}, Hold{}, ErrRolledBack},
		"both put back": {func(t *testing.T) *housing {
			h := lived(t)
			copyFile(t, h.Path, h.Path+".old")
			copyFile(t, h.Witness, h.Witness+".old")
			grow(t, h)
			copyFile(t, h.Path+".old", h.Path)
			copyFile(t, h.Witness+".old", h.Witness)
			h.at(1003, 0)
			return h
		}, Hold{1067, holdGap}, nil},
		"a crash does not end a hold": {func(t *testing.T) *housing {
			h := lived(t)
			h.at(1100, 0)
			grow(t, &housing{Config: func() Config { c := h.Config; c.Witness = ""; return c }()})
			l := h.open(t)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			h.at(1101, 0)
			return h
		}, Hold{1164, holdGap}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := c.begin(t)
			l, err := Open(h.Config)
			if !errors.Is(err, c.err) {
				t.Fatalf("open: got %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			defer l.Close()
			if got := l.Hold(); got != c.want {
				t.Errorf("hold: got %v, want %v", got, c.want)
			}
		})
	}
}

func adopt(t *testing.T, h *housing) {
	t.Helper()
	if _, err := Adopt(h.Config); err != nil {
		t.Fatal(err)
	}
}

// TestHold_Keeps: a ledger that holds promises nothing new up to its slot, tells
// what stands, and takes notes.
func TestHold_Keeps(t *testing.T) {
	h := lived(t)
	h.at(1100, 0)
	l := h.open(t)
	ctx := context.Background()
	for slot, want := range map[phase0.Slot]error{1100: ErrHolding, 1164: ErrHolding, 1165: nil} {
		e := promise(int(slot), "")
		e.Resources = []string{"r" + string(rune(slot))}
		if _, err := l.Append(ctx, page(slot), constant(e)); !errors.Is(err, want) {
			t.Errorf("slot %d: got %v, want %v", slot, err, want)
		}
	}
	if r, err := l.Append(ctx, page(1010), constant(promise(1, "r1"))); err != nil || len(r.Signature) != 96 {
		t.Errorf("a repeat: %d bytes, %v", len(r.Signature), err)
	}
	if _, err := l.Append(ctx, page(1010), constant(promise(2, "r1"))); !errors.Is(err, ErrSlashable) {
		t.Errorf("a contradiction: got %v, want %v", err, ErrSlashable)
	}
	must(t, l, page(1100), Entry{Kind: KindClose})
	if p := l.Page(page(1100)); !p.Closed {
		t.Error("a note is not shown")
	}
}

// TestHold_EndsByImport: the operator's word that a file is everything.
func TestHold_EndsByImport(t *testing.T) {
	h := lived(t)
	h.at(1100, 0)
	var collect Collect
	if _, err := Walk(h.Path, func(r Record) error { collect.Add(r); return nil }); err != nil {
		t.Fatal(err)
	}
	file := collect.Interchange("holesky", holesky)
	file.Data[0].Signed[0].Signature = nil // of this test's own make
	for _, complete := range []bool{false, true} {
		if _, err := Import(context.Background(), h.Config, file, complete); err != nil {
			t.Fatal(err)
		}
		h.at(1130, 0)
		l := h.open(t)
		if got := l.Hold().Until == 0; got != complete {
			t.Errorf("complete %v: hold %v", complete, l.Hold())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWitness_Follows: the witness has the ledger's counter soon after it grew,
// and at every close; it is never ahead.
func TestWitness_Follows(t *testing.T) {
	h := housed(t)
	l := h.open(t)
	for n := range 50 {
		must(t, l, page(1010), promise(n, ""))
		w, err := readWitness(h.Witness)
		if err != nil {
			t.Fatal(err)
		}
		if at := l.durable.Load(); w.Records > at.Records {
			t.Fatalf("the witness counts %d, the ledger %d", w.Records, at.Records)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		w, err := readWitness(h.Witness)
		if err == nil && w.Records == 50 && w.Host == "a" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("witness: %+v, %v", w, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	must(t, l, page(1010), promise(51, ""))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if w, err := readWitness(h.Witness); err != nil || w.Records != 51 {
		t.Errorf("after close: %+v, %v", w, err)
	}
}

// TestCrash_Witness breaks the witness's one durable step each way. It stops
// nobody, and whatever it left is never ahead of the ledger.
func TestCrash_Witness(t *testing.T) {
	ways := map[string]func(path string, body []byte) error{
		"failed":               func(string, []byte) error { return errDisk },
		"failed but persisted": func(path string, body []byte) error { return errors.Join(replaceFile(path, body), errDisk) },
	}
	for way, replace := range ways {
		t.Run(way, func(t *testing.T) {
			h := lived(t)
			if _, err := openWith(h.Config, realDisk(), replace); !errors.Is(err, errDisk) {
				t.Fatalf("a start without a witness: got %v, want %v", err, errDisk)
			}
			var broken atomic.Bool
			l, err := openWith(h.Config, realDisk(), func(path string, body []byte) error {
				if broken.Load() {
					return replace(path, body)
				}
				return replaceFile(path, body)
			})
			if err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			must(t, l, page(1010), promise(2, "r2"))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			again := h.open(t)
			if again.Hold().Until != 0 || again.Len() != 2 {
				t.Errorf("hold %v, %d entries", again.Hold(), again.Len())
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(h.Path); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHold_ProposalsGoOn: pages, and so headers, are read as ever.
func TestHold_ProposalsGoOn(t *testing.T) {
	h := lived(t)
	h.at(1005, 0)
	l := h.open(t)
	if l.Hold().Until == 0 {
		t.Fatal("it does not hold")
	}
	if p := l.Page(page(1010)); len(p.Promises) != 1 || len(p.Promises[0].Signature) != 96 {
		t.Errorf("page: %+v", p)
	}
	if _, id, ok := l.Find(hashOf(1)); !ok || id != page(1010) {
		t.Error("a promise is not found")
	}
	if v := l.View(page(1011)); len(v.Open) != 1 {
		t.Errorf("view: %+v", v)
	}
}
