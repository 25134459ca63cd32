package ledger

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"sidecar/commitments"
)

// pgBatch is one transaction under way. It keeps what it will write, and writes
// it in one journey when it commits.
type pgBatch struct {
	*pgIndex
	p     *postgres
	asked time.Time // when the lease was renewed, should this commit

	before, head head

	numbers            []int64
	records            [][]byte
	entrySeqs, entryAt []int64
	pages              [][]byte
	sealSeqs, sealAt   []int64
	resources          [][]byte
	holderSeqs         []int64
	requests           [][]byte
	answerSeqs         []int64
}

// begin opens the transaction behind the lease's fence.
func (p *postgres) begin() (batch, error) {
	p.expire()
	if p.token == 0 {
		return nil, p.idle()
	}
	conn, err := p.writer.get(p)
	if err != nil {
		p.trouble(err)
		return nil, err
	}
	t := &pgBatch{pgIndex: newPgIndex(conn, p.timeout()), p: p, asked: p.Clock.Now()}
	held, err := t.open()
	if err != nil {
		err = p.cut(err)
		p.trouble(err)
		return nil, err
	}
	if !held {
		err := p.cut(nil)
		p.follow(leaseHolder{})
		return nil, errors.Join(err, aside(ErrLease.With("another sidecar took it")))
	}
	return t, nil
}

// open says whether the lease was ours when the transaction began; from then on
// it cannot change hands before the transaction ends.
func (t *pgBatch) open() (held bool, err error) {
	ctx, cancel := t.deadline()
	defer cancel()
	var b pgx.Batch
	b.Queue(pgBegin)
	b.Queue(pgFence, t.p.token, t.p.leaseMicros())
	b.Queue(pgHead)
	results := t.conn.SendBatch(ctx, &b)
	err = func() error {
		if _, err := results.Exec(); err != nil {
			return err
		}
		var token, records, entries int64
		var hash []byte
		if err := results.QueryRow().Scan(&token); errors.Is(err, pgx.ErrNoRows) {
			return nil
		} else if err != nil {
			return err
		}
		if err := results.QueryRow().Scan(&records, &entries, &hash); err != nil {
			return err
		}
		t.head, err = pgParseHead(records, entries, hash)
		t.before, held = t.head, true
		return err
	}()
	return held, cmp.Or(err, closeResults(results))
}

// fetch looks up resources, their holders and other entries in one journey.
func (t *pgBatch) fetch(resources []string, seqs []uint64) error {
	if len(resources)+len(seqs) == 0 {
		return nil
	}
	names := make([][]byte, len(resources))
	for i, name := range resources {
		names[i], t.holders[name] = []byte(name), 0
	}
	for _, seq := range seqs {
		t.stored[seq] = pgEntry{}
	}
	ctx, cancel := t.deadline()
	defer cancel()
	var b pgx.Batch
	b.Queue(pgHolders, names)
	b.Queue(pgByName, names)
	b.Queue(pgBySeq, asBigints(seqs))
	results := t.conn.SendBatch(ctx, &b)
	err := func() error {
		rows, err := results.Query()
		if err != nil {
			return err
		}
		if err := t.keepHolders(rows); err != nil {
			return err
		}
		for range 2 {
			if rows, err = results.Query(); err != nil {
				return err
			}
			if _, err = t.keepStored(rows); err != nil {
				return err
			}
		}
		return nil
	}()
	return pgIll(cmp.Or(err, closeResults(results)))
}

func (t *pgBatch) end() head { return t.head }

// putEntry links a new entry to the chain, with its indexes.
func (t *pgBatch) putEntry(id commitments.PageID, e *Entry, body []byte) error {
	record, next := t.head.link(e.version(), recordEntry, body)
	seq := asBigint(next.Entries)
	t.put(next, record)
	t.entrySeqs, t.entryAt = append(t.entrySeqs, seq), append(t.entryAt, asBigint(next.Records))
	t.pages = append(t.pages, pageKey(id, 0)[:56])
	t.stored[next.Entries] = pgEntry{spot{record: next.Records}, record, nil}
	for _, name := range e.Resources {
		t.resources, t.holderSeqs = append(t.resources, []byte(name)), append(t.holderSeqs, seq)
		t.holders[name] = next.Entries
	}
	if e.Kind == KindCommitment {
		hash := e.Draft.Commitment.RequestHash
		t.requests, t.answerSeqs = append(t.requests, hash[:]), append(t.answerSeqs, seq)
	}
	return nil
}

// putSeal links the signature of an entry to the chain.
func (t *pgBatch) putSeal(seq uint64, at spot, version byte, body []byte) error {
	record, next := t.head.link(version, recordSeal, body)
	t.put(next, record)
	t.sealSeqs, t.sealAt = append(t.sealSeqs, asBigint(seq)), append(t.sealAt, asBigint(next.Records))
	t.stored[seq] = pgEntry{spot{at.record, next.Records}, t.stored[seq].entry, record}
	return nil
}

func (t *pgBatch) put(next head, record []byte) {
	t.head = next
	t.numbers, t.records = append(t.numbers, asBigint(next.Records)), append(t.records, record)
}

// commit writes the batch and makes it durable, in one journey: a statement that
// fails keeps the ones behind it, and the commit, from being done. If the answer
// is lost, the batch may be durable or not; the next transaction waits for this
// one's lock on the lease, so that it sees which.
func (t *pgBatch) commit() error {
	ctx, cancel := t.deadline()
	defer cancel()
	var b pgx.Batch
	b.Queue(pgPutRecords, t.numbers, t.records)
	b.Queue(pgPutEntries, t.entrySeqs, t.entryAt, t.pages)
	b.Queue(pgPutSeals, t.sealSeqs, t.sealAt)
	b.Queue(pgPutResources, t.resources, t.holderSeqs)
	b.Queue(pgPutRequests, t.requests, t.answerSeqs)
	b.Queue(pgPutHead, asBigint(t.head.Records), asBigint(t.head.Entries), t.head.Hash[:], asBigint(t.before.Records), t.before.Hash[:])
	b.Queue("commit")
	results := t.conn.SendBatch(ctx, &b)
	err := func() error {
		for range b.Len() - 2 {
			if _, err := results.Exec(); err != nil {
				return err
			}
		}
		moved, err := results.Exec()
		if err != nil {
			return err
		}
		tag, err := results.Exec()
		if err == nil && (moved.RowsAffected() != 1 || tag.String() != "COMMIT") {
			err = ErrBroken.With("%s, and the head moved %d times", tag, moved.RowsAffected())
		}
		return err
	}()
	if err = cmp.Or(err, closeResults(results)); err != nil {
		err = t.p.cut(err)
		t.p.trouble(err)
		return err
	}
	t.p.lead(t.p.token, t.asked)
	return nil
}

// rollback ends the transaction; one that cannot be ended loses its connection,
// and with it the transaction.
func (t *pgBatch) rollback() error {
	ctx, cancel := context.WithTimeout(context.Background(), t.limit)
	defer cancel()
	if _, err := t.conn.Exec(ctx, "rollback"); err != nil {
		_ = t.p.cut(err) // why the batch failed matters more
	}
	return nil
}
