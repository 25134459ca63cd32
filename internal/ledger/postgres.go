package ledger

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sidecar/chain"
)

// Bounds of a lease.
const (
	defaultLease = 10 * time.Second
	minLease     = time.Second
	maxLease     = 5 * time.Minute
	walkLimit    = 5 * time.Minute // of one statement while the whole ledger is read
)

// PostgresConfig names a ledger in PostgreSQL, which several sidecars may have
// open: one of them leads and writes, the others stand by.
type PostgresConfig struct {
	// DSNFile is a file with the connection string (URL or key=value, as libpq
	// reads it, TLS included), mode 0600. It is read again for every connection,
	// so that a password can be changed. Ledgers share a database by the
	// search_path in their strings. A pooler in between must pool by session.
	DSNFile string
	// Holder is the name the others see while this sidecar leads.
	Holder string
	// Lease is how long a leader that vanished keeps the others from writing; 1 s
	// to 5 min, by the server's clock. Optional: 10 s.
	Lease time.Duration
	// Witness is a file on this machine, best beside the proxy keys, that follows the
	// ledger's counter, so that a database that was put back is refused. Each sidecar
	// has its own. Optional: without it only a sidecar that runs notices.
	Witness string
	// NewKeys is as in Config; only CreatePostgres reads it.
	NewKeys            bool
	Network            string
	GenesisForkVersion phase0.Version
	Clock              *chain.Clock
	Log                *slog.Logger // Optional.
}

func (c *PostgresConfig) check() error {
	if c.Lease == 0 {
		c.Lease = defaultLease
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.DSNFile == "" || c.Holder == "" || len(c.Holder) > 40 || c.Network == "" || c.Clock == nil {
		return errors.New("a ledger in PostgreSQL needs a DSN file, a holder of at most 40 bytes, a network and a clock")
	}
	if c.Lease < minLease || c.Lease > maxLease {
		return errors.New("a lease lasts 1 s to 5 min")
	}
	return nil
}

// timeout bounds every statement of the writer and of lookups: several fit into
// a lease.
func (c *PostgresConfig) timeout() time.Duration { return min(c.Lease/5, 2*time.Second) }

// CreatePostgres makes a new ledger in an existing database: all its tables or
// none. Faults: ErrExists, ErrDatabase, ErrLossy.
func CreatePostgres(c PostgresConfig) error {
	if err := c.check(); err != nil {
		return err
	}
	m := newMeta(&Config{Network: c.Network, GenesisForkVersion: c.GenesisForkVersion, Clock: c.Clock, NewKeys: c.NewKeys})
	body, err := encodeBody(m)
	if err != nil {
		return err
	}
	first, err := m.first()
	if err != nil {
		return err
	}
	conn, err := c.connect(defaultLease, false)
	if err != nil {
		return bare(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), defaultLease)
	defer cancel()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, pgTables); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into ledger_meta (body) values ($1)`, string(body)); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into ledger_head (records, entries, hash) values (0, 0, $1)`, first.Hash[:]); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `insert into ledger_lease (token, holder, expires_at) values (0, '', '-infinity')`) // token 0: nobody led yet
		return err
	})
	_ = conn.Close(ctx)
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "42P07" { // duplicate_table
		return ErrExists.With("in the database")
	}
	return bare(pgIll(err))
}

// OpenPostgres opens an existing ledger, checks every record of its chain, and
// takes the lease if nobody holds it. It never creates one. Without the lease the
// sidecar stands by: Append and Seal are ErrLease, reads follow what the leader
// writes, and when the lease runs out this sidecar takes it.
//
// While the database does not answer, Append and Seal are ErrDatabase, and reads
// show what was last known. Whatever was under way may have become durable: it is
// not released, and asking again finds it.
// Faults: ErrMissing, ErrBroken, ErrChain, ErrNewer, ErrDatabase, ErrLossy,
// ErrRolledBack.
func OpenPostgres(c PostgresConfig) (*Ledger, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	// A new ledger holds like one in a file; how long nobody led, the lease tells.
	g := &watch{Config: Config{Clock: c.Clock, Lookahead: defaultLookahead, Log: c.Log, Witness: c.Witness}, replace: replaceFile}
	g.shared = true
	if err := g.look(); err != nil {
		return nil, err
	}
	l, err := start(&postgres{PostgresConfig: c}, c.Network, c.GenesisForkVersion, g)
	return l, bare(err)
}

// WalkPostgres checks a ledger, also one that others have open, and shows each
// record, in order. An error from show ends the walk and is returned as it is.
// Faults: ErrMissing, ErrBroken, ErrNewer, ErrDatabase, ErrLossy.
func WalkPostgres(c PostgresConfig, show func(Record) error) (Summary, error) {
	if err := c.check(); err != nil {
		return Summary{}, err
	}
	sum, err := (&postgres{PostgresConfig: c}).walk(func(_ index, r Record) error {
		if show == nil {
			return nil
		}
		return show(r)
	})
	return sum, bare(err)
}

// bare takes off what only the writer asks about.
func bare(err error) error {
	var a asideError
	if errors.As(err, &a) {
		return a.error
	}
	return err
}

// postgres is the engine of several sidecars.
type postgres struct {
	PostgresConfig
	meta string // as verified when the ledger was opened; constant from then on

	// The writer's.
	writer pgSession
	token  int64     // of our lease; 0 while standing by
	renew  time.Time // when to renew it
	until  time.Time // when to stop writing, by our clock: well before it ends
	// The hold that all sidecars keep, as it was last seen, and whether the operator
	// ended every hold.
	held    Hold
	vouched bool

	readMu sync.Mutex
	reader pgSession // for lookups; guarded by readMu

	standMu sync.Mutex
	stand   Standing // guarded by standMu
}

func (p *postgres) wedge() {}

// close gives the lease up, so that another can take it at once.
func (p *postgres) close() error {
	if p.token != 0 {
		if err := p.release(); err != nil {
			p.Log.Warn("The ledger's lease could not be given up and runs out by itself", "error", err)
		}
	}
	p.readMu.Lock()
	defer p.readMu.Unlock()
	_, _ = p.writer.close(p.timeout()), p.reader.close(p.timeout()) // both may be cut already
	return nil
}

func (p *postgres) release() error {
	conn, err := p.writer.get(p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout())
	defer cancel()
	_, err = conn.Exec(ctx, pgRelease, p.token)
	p.token = 0
	return pgIll(err)
}

// view runs do on lookups of what is durable. Each sees a later state, which a
// limit hides.
func (p *postgres) view(do func(index) error) error {
	p.readMu.Lock()
	defer p.readMu.Unlock()
	conn, err := p.reader.get(p)
	if err != nil {
		return err
	}
	return do(newPgIndex(conn, p.timeout()))
}

var _ shared = (*postgres)(nil)
