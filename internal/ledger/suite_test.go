package ledger

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/internal/ledger/pgtest"
)

// cleaner is what a test and a rapid check have in common.
type cleaner interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
}

// engineCase is an engine under the suite. A ledger is named by where it is: a
// path, or a file with a connection string.
type engineCase struct {
	name   string
	create func(t cleaner) (where string)
	open   func(where, network string, version phase0.Version) (*Ledger, error)
	walk   func(where string, show func(Record) error) (Summary, error)
}

// forEngines runs a test over every engine.
func forEngines(t *testing.T, test func(t *testing.T, e engineCase)) {
	t.Run("bbolt", func(t *testing.T) { test(t, boltCase()) })
	t.Run("postgres", func(t *testing.T) { test(t, pgCase(testDSN(t))) })
}

func boltCase() engineCase {
	return engineCase{
		name: "bbolt",
		create: func(t cleaner) string {
			path := filepath.Join(tempDir(t), "ledger.db")
			if err := Create(config(path)); err != nil {
				t.Fatal(err)
			}
			return path
		},
		open: func(path, network string, version phase0.Version) (*Ledger, error) {
			c := config(path)
			c.Network, c.GenesisForkVersion = network, version
			return Open(c)
		},
		walk: Walk,
	}
}

// pgCase keeps each ledger in a schema of its own.
func pgCase(dsn string) engineCase {
	return engineCase{
		name: "postgres",
		create: func(t cleaner) string {
			where := emptySchema(t, dsn)
			if err := CreatePostgres(pgConfig(where)); err != nil {
				t.Fatal(err)
			}
			return where
		},
		open: func(where, network string, version phase0.Version) (*Ledger, error) {
			c := pgConfig(where)
			c.Network, c.GenesisForkVersion = network, version
			return OpenPostgres(c)
		},
		walk: func(where string, show func(Record) error) (Summary, error) {
			return WalkPostgres(pgConfig(where), show)
		},
	}
}

// emptySchema returns a file with a connection string to a schema without a ledger.
func emptySchema(t cleaner, dsn string) (where string) {
	t.Helper()
	name := "ledger_" + unique()
	if err := pgtest.Exec(dsn, "create schema "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pgtest.Exec(dsn, "drop schema "+name+" cascade") })
	where = filepath.Join(tempDir(t), "dsn")
	writeFile(t, where, pgtest.InSchema(dsn, name)+"\n")
	return where
}

func writeFile(t cleaner, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pgConfig opens the ledger that a file names.
func pgConfig(where string) PostgresConfig {
	return PostgresConfig{
		DSNFile: where, Holder: "test " + unique(), Network: "holesky", GenesisForkVersion: holesky,
		Lease: 5 * time.Second, Clock: chain.NewClock(testSpec, nil), NewKeys: true,
	}
}

func unique() string {
	b := make([]byte, 6)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// tempDir is t.TempDir, for rapid too.
func tempDir(t cleaner) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// fresh makes a ledger and opens it.
func (e engineCase) fresh(t cleaner) (*Ledger, string) {
	t.Helper()
	where := e.create(t)
	return e.reopen(t, nil, where), where
}

// reopen closes l, if any, and opens the ledger that is there. It is closed with the test.
func (e engineCase) reopen(t cleaner, l *Ledger, where string) *Ledger {
	t.Helper()
	if l != nil {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, err := e.open(where, "holesky", holesky)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// fresh makes a ledger of the first engine, and opens it.
func fresh(t cleaner) (*Ledger, string) { return boltCase().fresh(t) }

func reopen(t cleaner, l *Ledger, path string) *Ledger { return boltCase().reopen(t, l, path) }

// sealed seals with a signature alone.
func sealed(l *Ledger, ctx context.Context, r Receipt, signature []byte) error {
	_, err := l.Seal(ctx, r, Ink{Signature: signature})
	return err
}
