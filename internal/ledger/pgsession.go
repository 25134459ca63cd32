package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// maxDSN is how long a connection string may be.
const maxDSN = 8 << 10

// pgSession is one connection, made again when it is lost.
type pgSession struct {
	conn  *pgx.Conn
	retry time.Time // no new attempt before this
}

// get returns the connection, dialling if there is none. After an attempt that
// did not succeed it refuses at once, for one pace: who waits for a ledger must
// not wait for a database that is gone.
func (s *pgSession) get(p *postgres) (*pgx.Conn, error) {
	if s.conn != nil && !s.conn.IsClosed() {
		return s.conn, nil
	}
	now := p.Clock.Now()
	if now.Before(s.retry) {
		return nil, aside(ErrDatabase.With("tried a moment ago"))
	}
	conn, err := p.dial(p.timeout(), true)
	if err != nil {
		s.retry = p.Clock.Now().Add(p.pace())
		return nil, err
	}
	s.conn = conn
	return conn, nil
}

func (s *pgSession) close(limit time.Duration) error {
	if s.conn == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := s.conn.Close(ctx)
	// A connection that was cut is taken down in the background: wait for that.
	select {
	case <-s.conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
	s.conn = nil
	return err
}

// connect opens one connection, and nothing more. limit bounds each statement on
// the server too, so that a sidecar that vanished holds no lock for longer.
func (c *PostgresConfig) connect(limit time.Duration, indexed bool) (*pgx.Conn, error) {
	dsn, err := readDSN(c.DSNFile)
	if err != nil {
		return nil, aside(ErrDatabase.Wrap(err))
	}
	// What the parser says of a string it cannot read may quote its password.
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, aside(ErrDatabase.With("%s holds no connection string", c.DSNFile))
	}
	config.ConnectTimeout = min(limit, defaultLease)
	ms := strconv.FormatInt(limit.Milliseconds(), 10)
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		config.RuntimeParams[name] = ms
	}
	config.RuntimeParams["synchronous_commit"] = "on"
	config.RuntimeParams["application_name"] = "sidecar ledger " + c.Holder
	if indexed {
		// There is an index for every lookup; a plan that was made while the tables
		// were small must not outlive that.
		config.RuntimeParams["enable_seqscan"] = "off"
	}
	config.RuntimeParams["jit"] = "off" // compiling takes longer than any of these statements
	ctx, cancel := context.WithTimeout(context.Background(), config.ConnectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, aside(ErrDatabase.With("%s", plain(err, config.Password)))
	}
	if err := durable(ctx, conn); err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// durable refuses a server on which a commit may be lost. That the server keeps
// what it has synced, through a failover too, is the operator's to see to.
func durable(ctx context.Context, conn *pgx.Conn) error {
	var fsync, pages, commit string
	var standby bool
	err := conn.QueryRow(ctx, `select current_setting('fsync'), current_setting('full_page_writes'),
		current_setting('synchronous_commit'), pg_is_in_recovery()`).Scan(&fsync, &pages, &commit, &standby)
	switch {
	case err != nil:
		return pgIll(err)
	case standby:
		return aside(ErrDatabase.With("the server is a replica and takes no writes"))
	case fsync != "on" || pages != "on" || commit != "on":
		return aside(ErrLossy.With("fsync %s, full_page_writes %s, synchronous_commit %s", fsync, pages, commit))
	}
	return nil
}

// dial connects to the ledger this engine has open.
func (p *postgres) dial(limit time.Duration, indexed bool) (*pgx.Conn, error) {
	conn, err := p.connect(limit, indexed)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	body, err := metaBody(ctx, conn)
	if err == nil && p.meta != "" && body != p.meta {
		// Not aside: whoever answers to this address now, it is not our ledger.
		err = ErrBroken.With("the database holds another ledger than it did")
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	if p.meta == "" {
		p.meta = body // while the ledger is opened: nobody else looks yet
	}
	return conn, nil
}

// metaBody reads whose ledger a database holds. Fault: ErrMissing.
func metaBody(ctx context.Context, conn *pgx.Conn) (body string, err error) {
	var there bool
	if err := conn.QueryRow(ctx, `select to_regclass('ledger_meta') is not null`).Scan(&there); err != nil {
		return "", pgIll(err)
	}
	if !there {
		return "", ErrMissing.With("the database has no ledger_meta in its search_path")
	}
	var holds bool // not in tables of before there were holds
	if err := conn.QueryRow(ctx, `select exists (select from pg_attribute where attrelid = to_regclass('ledger_lease') and attname = 'hold_until')`).Scan(&holds); err != nil {
		return "", pgIll(err)
	}
	if !holds {
		return "", aside(ErrDatabase.With("its tables are of before there were holds: alter table ledger_lease add hold_until bigint not null default 0, add hold_reason text not null default ''"))
	}
	if err := conn.QueryRow(ctx, `select body from ledger_meta`).Scan(&body); err != nil {
		return "", pgIll(err)
	}
	return body, nil
}

func readDSN(path string) (string, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the path
	if err != nil {
		return "", fmt.Errorf("connection string: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxDSN+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("connection string: %w", err)
	}
	if len(b) > maxDSN {
		return "", fmt.Errorf("connection string: %s is longer than %d bytes", path, maxDSN)
	}
	return strings.TrimSpace(string(b)), nil
}

// pgIll sorts what went wrong in the database. Trouble that passes, and an
// outcome that is not known, end the batch; anything else says that the ledger is
// not as it must be, or that a second writer exists, and ends the ledger.
func pgIll(err error) error {
	var pe *pgconn.PgError
	if err == nil || errors.Is(err, ErrBroken) {
		return err
	}
	if !errors.As(err, &pe) {
		return aside(ErrDatabase.With("%s", plain(err, "")))
	}
	// Not the detail: it quotes rows.
	told := fmt.Sprintf("%s (SQLSTATE %s)", pe.Message, pe.Code)
	switch class := (pe.Code + "  ")[:2]; {
	case class == "08", // connection
		class == "25",      // transaction state: read-only, timed out
		class == "28",      // authorisation
		class == "3D",      // no such database
		class == "40",      // serialisation, deadlock
		class == "53",      // out of disk, memory, connections
		class == "55",      // lock not to be had in time
		class == "57",      // shutdown, cancelled, starting up
		pe.Code == "42501": // no privilege
		return aside(ErrDatabase.With("%s", told))
	default:
		return ErrBroken.With("the database refused: %s", told)
	}
}

// plain is the text of an error without the password; the error itself holds the
// whole configuration of the connection.
func plain(err error, password string) string {
	var pe *pgconn.PgError
	text := err.Error()
	switch {
	case errors.As(err, &pe):
		text = pe.Message
	case pgconn.Timeout(err), errors.Is(err, context.DeadlineExceeded):
		text = "no answer in time"
	}
	if password != "" {
		text = strings.ReplaceAll(text, password, "***")
	}
	return strings.Join(strings.Fields(text), " ")
}

// closeResults closes the results of a pipeline. Where the rows of the last query
// failed, pgx 5.7.5 leaves the pipeline open at the first call.
func closeResults(r pgx.BatchResults) error {
	return cmp.Or(r.Close(), r.Close())
}
