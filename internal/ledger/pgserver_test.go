package ledger

import (
	"testing"

	"sidecar/internal/ledger/pgtest"
)

// testDSN returns the shared server's connection string, or skips the test.
func testDSN(t testing.TB) string { t.Helper(); return pgtest.DSN(t) }

// sql runs statements on a connection of its own, as a stranger to the ledger.
func sql(t testing.TB, dsn, statement string, arguments ...any) {
	t.Helper()
	if err := pgtest.Exec(dsn, statement, arguments...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
