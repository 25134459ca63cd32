package ledger

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sidecar/commitments"
)

// sidecarAt opens the ledger of where with a short lease.
func sidecarAt(t testing.TB, where, holder string) *Ledger {
	t.Helper()
	l, err := OpenPostgres(shortLease(where, holder))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func shortLease(where, holder string) PostgresConfig {
	c := pgConfig(where)
	c.Holder, c.Lease = holder, time.Second
	return c
}

// within waits until a condition holds.
func within(t testing.TB, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// TestLease_StandbyFollows: of two sidecars one writes, and the other shows what
// it wrote; when the first gives up, the second goes on where it ended.
func TestLease_StandbyFollows(t *testing.T) {
	where := pgCase(testDSN(t)).create(t)
	leader, standby := sidecarAt(t, where, "leader"), sidecarAt(t, where, "standby")
	if s := leader.Standing(); !s.Leads || s.Holder != "leader" || s.Token != 1 {
		t.Fatalf("the first: %+v", s)
	}
	if s := standby.Standing(); s.Leads || s.Holder != "leader" || s.Token != 1 || s.Seen.IsZero() {
		t.Fatalf("the second: %+v", s)
	}
	must(t, leader, page(3), promise(3, "other page"))
	r := must(t, leader, page(1), promise(1, "r1"))
	within(t, 2*time.Second, "the promise is shown", func() bool { return len(standby.Page(page(1)).Promises) == 1 })
	held := standby.Page(page(1))
	signature := seal(t, leader, r, 1)
	within(t, 2*time.Second, "the seal is shown", func() bool { return len(standby.Page(page(1)).Promises[0].Signature) == 96 })
	if len(held.Promises[0].Signature) != 0 {
		t.Error("a page that a reader holds changed")
	}
	if got, want := standby.View(page(1)), leader.View(page(1)); !reflect.DeepEqual(got, want) || len(got.Open) != 1 {
		t.Errorf("view:\n got %+v\nwant %+v", got, want)
	}
	if p, id, ok := standby.Find(hashOf(1)); !ok || id != page(1) || p.Seq != r.Seq || standby.Len() != 2 {
		t.Errorf("find: %+v on %v, %v; %d entries", p, id, ok, standby.Len())
	}
	// It answers nothing, not even what it knows: who leads decides.
	for range 2 {
		if _, err := standby.Append(context.Background(), page(1), constant(promise(1, "r1"))); !errors.Is(err, ErrLease) {
			t.Errorf("append: got %v, want %v", err, ErrLease)
		}
		if err := sealed(standby, context.Background(), r, signature); !errors.Is(err, ErrLease) {
			t.Errorf("seal: got %v, want %v", err, ErrLease)
		}
	}
	if err := leader.Close(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "the second leads", func() bool { return standby.Standing().Leads })
	if s := standby.Standing(); s.Token != 2 || s.Holder != "standby" {
		t.Errorf("the second: %+v", s)
	}
	if _, err := standby.Append(context.Background(), page(1), constant(promise(2, "r1"))); !errors.Is(err, ErrSlashable) {
		t.Errorf("conflict with the first: got %v, want %v", err, ErrSlashable)
	}
	again := must(t, standby, page(1), promise(1, "r1"))
	if again.Seq != r.Seq || !reflect.DeepEqual(again.Signature, signature) {
		t.Errorf("repeat: %+v", again)
	}
	if next := must(t, standby, page(1), promise(2, "r2")); next.Seq != 3 {
		t.Errorf("next: entry %d, want 3", next.Seq)
	}
}

// TestLease_TakenLateCatchesUp: a sidecar that takes the lease before it has
// followed everything reads the rest before it decides.
func TestLease_TakenLateCatchesUp(t *testing.T) {
	where := pgCase(testDSN(t)).create(t)
	leader := sidecarAt(t, where, "leader")
	c := shortLease(where, "standby")
	c.Lease = time.Minute // looks only every 200 ms
	standby, err := OpenPostgres(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = standby.Close() })
	for n := range 50 {
		must(t, leader, page(1), promise(n, fmt.Sprint(n)))
	}
	if err := leader.Close(); err != nil {
		t.Fatal(err)
	}
	var seen int
	var r Receipt
	within(t, 2*time.Second, "the second writes", func() bool {
		r, err = standby.Append(context.Background(), page(1), func(v commitments.View) (Entry, error) {
			seen = len(v.Promises)
			return promise(50, "50"), nil
		})
		return err == nil
	})
	if seen != 50 || r.Seq != 51 {
		t.Errorf("decided on %d promises, entry %d", seen, r.Seq)
	}
}

// steal takes the lease behind everybody's back for an hour, and returns the
// head as of that moment.
func steal(t *testing.T, where string) (records int64) {
	t.Helper()
	dsn, err := readDSN(where)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `update ledger_lease set token = token + 1, holder = 'thief', expires_at = clock_timestamp() + interval '1 hour'`); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `select records from ledger_head`).Scan(&records)
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// headOf reads the number of the last record.
func headOf(t *testing.T, where string) (records int64) {
	t.Helper()
	dsn, err := readDSN(where)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.QueryRow(ctx, `select records from ledger_head`).Scan(&records); err != nil {
		t.Fatal(err)
	}
	return records
}

// TestLease_Stolen steals the lease in mid-load: not one record of the old holder
// is written after, and it knows that it does not lead.
func TestLease_Stolen(t *testing.T) {
	where := pgCase(testDSN(t)).create(t)
	l := sidecarAt(t, where, "victim")
	c := newContest(t, where)
	stop := c.enter(8, "victim", l)
	c.wait(200)
	records := steal(t, where)
	within(t, time.Second, "it stands by", func() bool { return !l.Standing().Leads })
	time.Sleep(1500 * time.Millisecond) // longer than the lease it had
	if now := headOf(t, where); now != records {
		t.Errorf("%d records after the theft, %d at it", now, records)
	}
	if _, err := l.Append(context.Background(), page(9), constant(promise(9, "late"))); !errors.Is(err, ErrLease) {
		t.Errorf("got %v, want %v", err, ErrLease)
	}
	if l.Poisoned() != nil || l.Standing().Holder != "thief" {
		t.Errorf("poisoned: %v, standing %+v", l.Poisoned(), l.Standing())
	}
	// The thief gives it back: the old holder leads again, with a new token.
	dsn, _ := readDSN(where)
	sql(t, dsn, `update ledger_lease set expires_at = clock_timestamp()`)
	within(t, 2*time.Second, "it leads again", func() bool { return l.Standing().Leads })
	if got, want := l.Standing().Token, uint64(3); got != want {
		t.Errorf("token %d, want %d", got, want)
	}
	c.wait(200)
	stop()
	c.judge()
}

// TestLease_HandedToAndFro: two sidecars fight for the same names while the lease
// goes from one to the other.
func TestLease_HandedToAndFro(t *testing.T) {
	where := pgCase(testDSN(t)).create(t)
	dsn, _ := readDSN(where)
	c := newContest(t, where)
	a := sidecarAt(t, where, "a")
	time.Sleep(50 * time.Millisecond) // half a pace apart: each has its chance of a free lease
	b := sidecarAt(t, where, "b")
	stopA, stopB := c.enter(4, "a", a), c.enter(4, "b", b)
	for round := 0; round < 12 || round < 200 && (c.releasedBy("a") == 0 || c.releasedBy("b") == 0); round++ {
		c.wait(50)
		sql(t, dsn, `update ledger_lease set token = token + 1, expires_at = clock_timestamp()`)
	}
	stopA()
	stopB()
	if c.releasedBy("a") == 0 || c.releasedBy("b") == 0 {
		t.Errorf("a released %d, b %d: the test proves nothing", c.releasedBy("a"), c.releasedBy("b"))
	}
	c.judge()
}
