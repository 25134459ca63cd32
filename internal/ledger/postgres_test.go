package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/jackc/pgx/v5/pgconn"

	"sidecar/internal/ledger/pgtest"
)

func TestPostgres_CreateAndOpen(t *testing.T) {
	where := emptySchema(t, testDSN(t))
	c := pgConfig(where)
	for range 2 { // opening makes nothing
		if _, err := OpenPostgres(c); !errors.Is(err, ErrMissing) {
			t.Errorf("open nothing: got %v, want %v", err, ErrMissing)
		}
		if _, err := WalkPostgres(c, nil); !errors.Is(err, ErrMissing) {
			t.Errorf("walk nothing: got %v, want %v", err, ErrMissing)
		}
	}
	if err := CreatePostgres(c); err != nil {
		t.Fatal(err)
	}
	if err := CreatePostgres(c); !errors.Is(err, ErrExists) {
		t.Errorf("create twice: got %v, want %v", err, ErrExists)
	}
	other := c
	other.Network = "mainnet"
	if _, err := OpenPostgres(other); !errors.Is(err, ErrChain) {
		t.Errorf("other network: got %v, want %v", err, ErrChain)
	}
	other = c
	other.GenesisForkVersion = phase0.Version{}
	if _, err := OpenPostgres(other); !errors.Is(err, ErrChain) {
		t.Errorf("other fork version: got %v, want %v", err, ErrChain)
	}
	l, err := OpenPostgres(c) // what was refused took no lease
	if err != nil || !l.Standing().Leads {
		t.Fatalf("open: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(context.Background(), page(1), constant(promise(1, "r"))); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: got %v, want %v", err, ErrClosed)
	}
	sum, err := WalkPostgres(c, nil)
	if err != nil || sum.Network != "holesky" || sum.GenesisForkVersion != holesky || len(sum.Instance) != 32 {
		t.Errorf("walk: %+v, %v", sum, err)
	}
}

// TestPostgres_SameBytes: the chain is the other engine's, record for record.
func TestPostgres_SameBytes(t *testing.T) {
	read := func(e engineCase) (records []string) {
		where := writtenIn(t, e)
		if _, err := e.walk(where, func(r Record) error {
			body := r.Seal
			if r.Entry != nil {
				var err error
				if body, err = encodeEntry(r.Seq, r.Page, *r.Entry); err != nil {
					return err
				}
			}
			records = append(records, fmt.Sprintf("%d %d %x", r.Number, r.Seq, body))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return records
	}
	file, database := read(boltCase()), read(pgCase(testDSN(t)))
	if len(file) != 9 || len(database) != 9 {
		t.Fatalf("%d and %d records", len(file), len(database))
	}
	for i := range file {
		if file[i] != database[i] {
			t.Errorf("record %d:\n got %s\nwant %s", i, database[i], file[i])
		}
	}
}

// pgChanges alter one thing each in a ledger that written made.
func pgChanges() map[string]string {
	hash := fmt.Sprintf(`'\x%x'`, hashOf(1))
	return map[string]string{
		"version":                `update ledger_records set record = set_byte(record, 0, 2) where number = 1`,
		"record kind":            `update ledger_records set record = set_byte(record, 1, 2) where number = 1`,
		"previous hash":          `update ledger_records set record = set_byte(record, 5, get_byte(record, 5) # 1) where number = 3`,
		"entry":                  `update ledger_records set record = set_byte(record, 60, get_byte(record, 60) # 1) where number = 1`,
		"seal":                   `update ledger_records set record = set_byte(record, length(record) - 4, get_byte(record, length(record) - 4) # 1) where number = 3`,
		"last record":            `update ledger_records set record = set_byte(record, length(record) - 4, get_byte(record, length(record) - 4) # 1) where number = 9`,
		"entry removed":          `delete from ledger_records where number = 1`,
		"seal removed":           `delete from ledger_records where number = 3`,
		"tail removed":           `delete from ledger_records where number = 9`,
		"record added":           `insert into ledger_records values (10, 'x')`,
		"short record":           `update ledger_records set record = 'x' where number = 9`,
		"head":                   `update ledger_head set hash = set_byte(hash, 20, get_byte(hash, 20) # 1)`,
		"head count":             `update ledger_head set entries = 5`,
		"head removed":           `delete from ledger_head`,
		"network":                `update ledger_meta set body = '{"schema":1,"network":"mainnet","genesis_fork_version":"0x00000000","instance":"0x00000000000000000000000000000000"}'`,
		"meta damaged":           `update ledger_meta set body = 'x'`,
		"seal unlinked":          `delete from ledger_seals where seq = 2`,
		"seal linked to nothing": `insert into ledger_seals values (1, 99)`,
		"seal moved":             `update ledger_seals set seq = 1 where seq = 2`,
		"entry unlinked":         `delete from ledger_entries where seq = 2`,
		"entry index grown":      `insert into ledger_entries select 99, 99, page from ledger_entries where seq = 1`,
		"page of an entry":       `update ledger_entries set page = set_byte(page, 7, 2) where seq = 1`,
		"resource freed":         `delete from ledger_resources where name = 'b'`,
		"resource given away":    `update ledger_resources set seq = 1 where name = 'b'`,
		"resource added":         `insert into ledger_resources values ('zz', 1)`,
		"request forgotten":      `delete from ledger_requests where hash = ` + hash,
		"request given away":     `update ledger_requests set seq = 5 where hash = ` + hash,
		"later answer named":     `update ledger_requests set seq = 6 where hash = ` + hash,
		"request added":          `insert into ledger_requests values (decode(repeat('00', 32), 'hex'), 5)`,
		"table dropped":          `drop table ledger_seals`,
	}
}

// TestPostgres_FindsEveryChange changes one thing at a time in a sound ledger.
func TestPostgres_FindsEveryChange(t *testing.T) {
	e := pgCase(testDSN(t))
	for name, change := range pgChanges() {
		t.Run(name, func(t *testing.T) {
			where := writtenIn(t, e)
			dsn, err := readDSN(where)
			if err != nil {
				t.Fatal(err)
			}
			sql(t, dsn, change)
			if _, err := e.walk(where, nil); !errors.Is(err, ErrBroken) {
				t.Errorf("walk: got %v, want %v", err, ErrBroken)
			}
			if _, err := e.open(where, "holesky", holesky); !errors.Is(err, ErrBroken) {
				t.Errorf("open: got %v, want %v", err, ErrBroken)
			}
		})
	}
}

func TestPostgres_NewerSchema(t *testing.T) {
	e := pgCase(testDSN(t))
	where := e.create(t)
	dsn, _ := readDSN(where)
	sql(t, dsn, `update ledger_meta set body = replace(body, '"schema":2', '"schema":3')`)
	if _, err := e.open(where, "holesky", holesky); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v, want %v", err, ErrNewer)
	}
}

// TestPostgres_UniqueWithoutUs: what must be unique the database refuses by
// itself, whoever writes.
func TestPostgres_UniqueWithoutUs(t *testing.T) {
	where := writtenIn(t, pgCase(testDSN(t)))
	dsn, _ := readDSN(where)
	for name, insert := range map[string]string{
		"a second record of a number":   `insert into ledger_records select number, 'x' from ledger_records where number = 1`,
		"a second entry of a position":  `insert into ledger_entries select seq, 99, page from ledger_entries where seq = 1`,
		"a second entry of a record":    `insert into ledger_entries select 99, record, page from ledger_entries where seq = 1`,
		"a second seal of an entry":     `insert into ledger_seals select seq, 99 from ledger_seals where seq = 2`,
		"a second holder of a resource": `insert into ledger_resources values ('b', 1)`,
		"a second answer of a request":  `insert into ledger_requests select hash, 99 from ledger_requests where seq = 1`,
		"a second head":                 `insert into ledger_head select true, records, entries, hash from ledger_head`,
		"a head beside it":              `insert into ledger_head select false, records, entries, hash from ledger_head`,
		"a second lease":                `insert into ledger_lease select true, token, holder, expires_at, 0, '' from ledger_lease`,
	} {
		var pe *pgconn.PgError
		err := pgtest.Exec(dsn, insert)
		if !errors.As(err, &pe) || pe.Code != "23505" && pe.Code != "23514" { // unique, check
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPostgres_UniqueAgainstUs: a name that a stranger took behind the ledger's
// back cannot be taken again, though our own check was passed; then nothing is
// written any more.
func TestPostgres_UniqueAgainstUs(t *testing.T) {
	e := pgCase(testDSN(t))
	for name, insert := range map[string]string{
		"record": `insert into ledger_records values (2, 'x')`,
		"entry":  `insert into ledger_entries select 2, 99, page from ledger_entries`,
	} {
		t.Run(name, func(t *testing.T) {
			l, where := e.fresh(t)
			must(t, l, page(1), promise(1, "r1"))
			dsn, _ := readDSN(where)
			sql(t, dsn, insert)
			for range 2 {
				if _, err := l.Append(context.Background(), page(1), constant(promise(2, "r2"))); !errors.Is(err, ErrPoisoned) {
					t.Fatalf("got %v, want %v", err, ErrPoisoned)
				}
			}
			if p := l.Page(page(1)); len(p.Promises) != 1 || l.Len() != 1 || l.Standing().Leads {
				t.Errorf("%d promises, %d entries, %+v", len(p.Promises), l.Len(), l.Standing())
			}
		})
	}
}

// TestPostgres_NotTheSame: a ledger that is not any more what it was under an open
// sidecar ends that sidecar's writing for good.
func TestPostgres_NotTheSame(t *testing.T) {
	e := pgCase(testDSN(t))
	rollback := `
		delete from ledger_records where number = 3; delete from ledger_entries where seq = 3; delete from ledger_resources where name = 'r3';
		delete from ledger_requests where seq = 3; update ledger_head set records = 2, entries = 2, hash = '\x%x'`
	for name, standby := range map[string]bool{"leader": false, "standby": true} {
		t.Run("rolled back under a "+name, func(t *testing.T) {
			where := e.create(t)
			leader := sidecarAt(t, where, "leader")
			l := leader
			if standby {
				l = sidecarAt(t, where, "standby")
			}
			must(t, leader, page(1), promise(1, "r1"))
			must(t, leader, page(1), promise(2, "r2"))
			sum, err := e.walk(where, nil)
			if err != nil {
				t.Fatal(err)
			}
			must(t, leader, page(1), promise(3, "r3"))
			within(t, pgPatience, "it knows all", func() bool { return l.Len() == 3 })
			dsn, _ := readDSN(where)
			sql(t, dsn, fmt.Sprintf(rollback, sum.Head))
			within(t, pgPatience, "it is poisoned", func() bool { return l.Poisoned() != nil })
			if _, err := l.Append(context.Background(), page(1), constant(promise(4, "r3"))); !errors.Is(err, ErrPoisoned) {
				t.Errorf("got %v, want %v", err, ErrPoisoned)
			}
			if len(l.Page(page(1)).Promises) != 3 {
				t.Error("it forgot what it promised")
			}
		})
	}
}

// TestPostgres_SecretsStay: no error quotes the password, whatever is wrong.
func TestPostgres_SecretsStay(t *testing.T) {
	const secret = "hunter2-secret"
	socket := "host=" + t.TempDir()
	for name, dsn := range map[string]string{
		"no server":        "postgres://u:" + secret + "@127.0.0.1:1/x",
		"no socket":        socket + " user=u password=" + secret,
		"bad port":         "postgres://u:" + secret + "@127.0.0.1:port/x",
		"bad escape":       "postgres://u:%zz" + secret + "@127.0.0.1/x",
		"bad key":          "host=x password='" + secret,
		"no such database": strings.TrimSpace(testDSN(t)) + " password=" + secret + " dbname=none",
		"bad certificate":  "host=127.0.0.1 sslmode=verify-full sslrootcert=/none sslpassword=" + secret + " password=" + secret,
		"unknown setting":  testDSN(t) + " password=" + secret + " no_such_setting=1",
	} {
		path := filepath.Join(t.TempDir(), "dsn")
		writeFile(t, path, dsn)
		c := pgConfig(path)
		_, opened := OpenPostgres(c)
		for call, err := range map[string]error{"open": opened, "create": CreatePostgres(c)} {
			if !errors.Is(err, ErrDatabase) {
				t.Errorf("%s, %s: got %v, want %v", name, call, err, ErrDatabase)
			}
			for _, e := range tree(err) {
				if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(text, secret) {
					t.Errorf("%s, %s: the password is in %T", name, call, e)
				}
			}
		}
	}
}

// tree lists an error with everything that it wraps.
func tree(err error) []error {
	all := []error{err}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		if inner := w.Unwrap(); inner != nil {
			all = append(all, tree(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range w.Unwrap() {
			all = append(all, tree(inner)...)
		}
	}
	return all
}

// TestPostgres_LeastPrivilege: a role that may not delete anything, and change
// only what changes, is enough.
func TestPostgres_LeastPrivilege(t *testing.T) {
	dsn := testDSN(t)
	if os.Getenv("SIDECAR_TEST_POSTGRES") != "" {
		t.Skip("SIDECAR_TEST_POSTGRES is set: no role is made on a server that is not ours")
	}
	where := pgCase(dsn).create(t)
	owner, _ := readDSN(where)
	schema := owner[strings.LastIndex(owner, "=")+1:]
	role := "role_" + unique()
	sql(t, owner, "create role "+role+" login")
	t.Cleanup(func() { _ = pgtest.Exec(dsn, "drop owned by "+role+"; drop role "+role) })
	for _, grant := range []string{
		"usage on schema " + schema,
		"select, insert on ledger_records, ledger_entries, ledger_seals, ledger_resources, ledger_requests",
		"select, update on ledger_head, ledger_lease",
		"select on ledger_meta",
	} {
		sql(t, owner, "grant "+grant+" to "+role)
	}
	limited := filepath.Join(t.TempDir(), "dsn")
	writeFile(t, limited, owner+" user="+role)
	l := sidecarAt(t, limited, "limited")
	seal(t, l, must(t, l, page(1), promise(1, "r")), 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if sum, err := WalkPostgres(pgConfig(limited), nil); err != nil || sum.Records != 2 {
		t.Errorf("%d records, %v", sum.Records, err)
	}
}

func TestPostgres_Config(t *testing.T) {
	sound := pgConfig("somewhere")
	for name, spoil := range map[string]func(*PostgresConfig){
		"no file":       func(c *PostgresConfig) { c.DSNFile = "" },
		"no holder":     func(c *PostgresConfig) { c.Holder = "" },
		"long holder":   func(c *PostgresConfig) { c.Holder = strings.Repeat("x", 41) },
		"no network":    func(c *PostgresConfig) { c.Network = "" },
		"no clock":      func(c *PostgresConfig) { c.Clock = nil },
		"short lease":   func(c *PostgresConfig) { c.Lease = 1 },
		"endless lease": func(c *PostgresConfig) { c.Lease = 2 * maxLease },
	} {
		c := sound
		spoil(&c)
		if _, err := OpenPostgres(c); err == nil || errors.Is(err, ErrDatabase) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenPostgres(sound); !errors.Is(err, ErrDatabase) {
		t.Errorf("no such file: %v", err)
	}
}
