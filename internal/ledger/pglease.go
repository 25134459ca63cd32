package ledger

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/jackc/pgx/v5"
)

// pace is how often the lease is looked at, and the head followed: a standby's
// pages are as old as this, and a journey to the database.
func (c *PostgresConfig) pace() time.Duration { return min(200*time.Millisecond, c.Lease/10) }

func (c *PostgresConfig) leaseMicros() int64 { return c.Lease.Microseconds() }

// tend renews our lease when a third of it is over; standing by it takes a lease
// that ran out, and looks at the head.
func (p *postgres) tend() (h head, looked bool, err error) {
	if p.token != 0 && p.Clock.Now().Before(p.renew) {
		return h, false, nil
	}
	asked := p.Clock.Now()
	h, token, holder, err := p.hold()
	if err != nil {
		p.trouble(err)
		return h, false, err
	}
	switch {
	case token != 0:
		p.lead(token, asked)
	default:
		p.follow(holder)
	}
	return h, true, nil
}

// hold asks for the lease and the head in one journey. token is 0 if another
// holds the lease.
func (p *postgres) hold() (h head, token int64, holder leaseHolder, err error) {
	conn, err := p.writer.get(p)
	if err != nil {
		return h, 0, holder, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout())
	defer cancel()
	var b pgx.Batch
	b.Queue(pgHold, p.token, p.Holder, p.leaseMicros(), asBigint(uint64(p.Clock.Slot()+defaultLookahead)))
	b.Queue(pgLook)
	results := conn.SendBatch(ctx, &b)
	err = results.QueryRow().Scan(&token)
	if errors.Is(err, pgx.ErrNoRows) {
		token, err = 0, nil
	}
	var records, entries, until int64
	var hash []byte
	var reason string
	if err == nil {
		err = results.QueryRow().Scan(&records, &entries, &hash, &holder.token, &holder.name, &until, &reason)
	}
	if err = cmp.Or(err, closeResults(results)); err != nil {
		return h, 0, holder, p.cut(err)
	}
	p.held, p.vouched = Hold{}, reason == holdVouched
	if until > 0 {
		p.held = Hold{phase0.Slot(asNumber(until)), reason}
	}
	h, err = pgParseHead(records, entries, hash)
	return h, token, holder, err
}

func (p *postgres) holds() (Hold, bool) { return p.held, p.vouched }

type leaseHolder struct {
	token int64
	name  string
}

// lead notes that we hold a lease that was asked for at an instant of our clock.
// It ends a whole lease later at the earliest; we stop a quarter before that.
func (p *postgres) lead(token int64, asked time.Time) {
	p.renew, p.until = asked.Add(p.Lease/3), asked.Add(p.Lease-p.Lease/4)
	if token != p.token {
		p.token = token
		p.Log.Info("This sidecar leads: it holds the lease of the shared ledger", "token", token)
		if p.held.Until >= p.Clock.Slot() {
			p.Log.Warn("The ledger holds: nothing new is promised", "until_slot", uint64(p.held.Until), "reason", p.held.Reason)
		}
	}
	p.note(Standing{Leads: true, Holder: p.Holder, Token: asNumber(token), Seen: asked})
}

// follow notes that another holds the lease.
func (p *postgres) follow(h leaseHolder) {
	if p.token != 0 {
		p.Log.Warn("This sidecar lost the lease of the shared ledger and stands by", "token", p.token, "holder", h.name)
	}
	p.token = 0
	p.note(Standing{Holder: h.name, Token: asNumber(h.token), Seen: p.Clock.Now()})
}

// trouble notes that the database does not answer. The lease may be ours still;
// near its end we stand by.
func (p *postgres) trouble(err error) {
	p.standMu.Lock()
	first := p.stand.Trouble == nil
	p.stand.Trouble = bare(err)
	p.standMu.Unlock()
	p.renew = time.Time{} // look again as soon as it answers
	if first {
		p.Log.Error("The shared ledger's database does not answer, or refuses", "error", bare(err))
	}
	p.expire()
}

// expire ends a lease of ours that could not be renewed.
func (p *postgres) expire() {
	if p.token == 0 || p.Clock.Now().Before(p.until) {
		return
	}
	p.Log.Warn("The lease of the shared ledger could not be renewed: this sidecar stands by", "token", p.token)
	p.token = 0
	p.standMu.Lock()
	defer p.standMu.Unlock()
	p.stand.Leads = false
}

func (p *postgres) note(s Standing) {
	p.standMu.Lock()
	was := p.stand.Trouble
	p.stand = s
	p.standMu.Unlock()
	if was != nil {
		p.Log.Info("The shared ledger's database answers again")
	}
}

func (p *postgres) standing() Standing {
	p.standMu.Lock()
	defer p.standMu.Unlock()
	return p.stand
}

// idle says why we may not write: another leads, or the database is gone.
func (p *postgres) idle() error {
	s := p.standing()
	if s.Trouble != nil {
		return aside(s.Trouble)
	}
	return aside(ErrLease.With("by %q", s.Holder))
}

// cut sorts an error of the writer's connection and leaves no transaction open
// on it: what cannot be rolled back is closed.
func (p *postgres) cut(err error) error {
	conn := p.writer.conn
	if conn == nil || !conn.IsClosed() && !conn.PgConn().IsBusy() && conn.PgConn().TxStatus() == 'I' {
		return pgIll(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout())
	defer cancel()
	if _, failed := conn.Exec(ctx, "rollback"); failed != nil {
		_ = p.writer.close(p.timeout())
	}
	return pgIll(err)
}
