package ledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// TestPostgres_HoldsAfterAGap: where nobody led for a while, the database may be a
// copy, or one that was put back. Whoever leads then promises nothing, and so does
// the next, until the operator states that nothing was promised elsewhere.
func TestPostgres_HoldsAfterAGap(t *testing.T) {
	e := pgCase(testDSN(t))
	for name, c := range map[string]struct {
		since string // when the lease ended
		hold  bool
	}{
		"a moment":    {"clock_timestamp()", false},
		"20 s":        {"clock_timestamp() - interval '20 seconds'", false},
		"26 s":        {"clock_timestamp() - interval '26 seconds'", true},
		"not known":   {"'-infinity'", true},
		"still ahead": {"clock_timestamp() + interval '100 milliseconds'", false},
	} {
		t.Run(name, func(t *testing.T) {
			l, where := e.fresh(t)
			now := pgConfig(where).Clock.Slot()
			must(t, l, page(now), promise(1, "r1"))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			dsn, _ := readDSN(where)
			sql(t, dsn, "update ledger_lease set expires_at = "+c.since)
			for _, who := range []string{"the first", "the next"} {
				l = sidecarAt(t, where, who)
				within(t, pgPatience, "it leads", func() bool { return l.Standing().Leads })
				if got := l.Hold(); (got.Until >= now+64) != c.hold || c.hold && got.Reason != holdGap {
					t.Errorf("%s: hold %s", who, got)
				}
				_, err := l.Append(context.Background(), page(now), constant(promise(2, "r2")))
				if c.hold != errors.Is(err, ErrHolding) || !c.hold && err != nil {
					t.Errorf("%s: got %v", who, err)
				}
				must(t, l, page(now), promise(1, "r1")) // what stands is answered
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if !c.hold {
				return
			}
			if err := VouchPostgres(pgConfig(where)); err != nil {
				t.Fatal(err)
			}
			sql(t, dsn, "update ledger_lease set expires_at = clock_timestamp() - interval '9 minutes'")
			l = sidecarAt(t, where, "vouched for")
			must(t, l, page(now), promise(2, "r2"))
			if err := VouchPostgres(pgConfig(where)); !errors.Is(err, ErrLease) {
				t.Errorf("while one leads: got %v, want %v", err, ErrLease)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			sql(t, dsn, "update ledger_lease set expires_at = clock_timestamp() - interval '1 minute'")
			if l = sidecarAt(t, where, "later"); l.Hold().Until == 0 {
				t.Error("the statement outlasted what was promised after it")
			}
		})
	}
}

// TestPostgres_Witness: a database that was put back while no sidecar ran is
// refused, by every sidecar that knew more.
func TestPostgres_Witness(t *testing.T) {
	e := pgCase(testDSN(t))
	where := e.create(t)
	at := func(name string) PostgresConfig {
		c := shortLease(where, name)
		c.Witness = filepath.Join(filepath.Dir(where), "witness-"+name)
		return c
	}
	open := func(name string) (*Ledger, error) {
		l, err := OpenPostgres(at(name))
		if err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		return l, err
	}
	one, err := open("one")
	if err != nil {
		t.Fatal(err)
	}
	two, err := open("two")
	if err != nil {
		t.Fatal(err)
	}
	must(t, one, page(1), promise(1, "r1"))
	sum, err := e.walk(where, nil)
	if err != nil {
		t.Fatal(err)
	}
	must(t, one, page(1), promise(2, "r2"))
	within(t, pgPatience, "the standby knows all", func() bool { return two.Len() == 2 })
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		l, err := open(name)
		if err != nil || l.Hold().Until != 0 {
			t.Fatalf("%s, a restart: %v", name, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	dsn, _ := readDSN(where)
	sql(t, dsn, fmt.Sprintf(`
		delete from ledger_records where number = 2; delete from ledger_entries where seq = 2; delete from ledger_resources where name = 'r2';
		delete from ledger_requests where seq = 2; update ledger_head set records = 1, entries = 1, hash = '\x%x'`, sum.Head))
	for _, name := range []string{"one", "two"} {
		if _, err := open(name); !errors.Is(err, ErrRolledBack) {
			t.Errorf("%s: got %v, want %v", name, err, ErrRolledBack)
		}
	}
	// Another promise in the lost one's place does not deceive it.
	other, err := open("other")
	if err != nil {
		t.Fatal(err)
	}
	must(t, other, page(1), promise(3, "r3"))
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open("one"); !errors.Is(err, ErrRolledBack) {
		t.Errorf("another chain: got %v, want %v", err, ErrRolledBack)
	}
}

// TestPostgres_OldTables: what is missing is named.
func TestPostgres_OldTables(t *testing.T) {
	_, where := pgCase(testDSN(t)).fresh(t)
	dsn, _ := readDSN(where)
	sql(t, dsn, "alter table ledger_lease drop hold_until, drop hold_reason")
	if _, err := OpenPostgres(pgConfig(where)); !errors.Is(err, ErrDatabase) {
		t.Fatalf("got %v, want %v", err, ErrDatabase)
	}
	sql(t, dsn, "alter table ledger_lease add hold_until bigint not null default 0, add hold_reason text not null default ''")
	if _, err := OpenPostgres(pgConfig(where)); err != nil {
		t.Error(err)
	}
}
