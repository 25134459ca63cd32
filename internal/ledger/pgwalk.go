package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// What the walk reads of the indexes, for the records of one chunk.
const (
	pgWalkEntries   = `select seq, record, page from ledger_entries where record > $1 and record <= $2`
	pgWalkSeals     = `select seq, record from ledger_seals where record > $1 and record <= $2`
	pgWalkResources = `
select r.name, r.seq from ledger_resources r join ledger_entries e on e.seq = r.seq
where e.record > $1 and e.record <= $2`
	pgWalkRequests = `select hash, seq from ledger_requests where hash = any($1)`
	pgWalkCounts   = `
select (select count(*) from ledger_entries), (select count(*) from ledger_seals),
	(select count(*) from ledger_resources), (select count(*) from ledger_requests)`
)

// walk checks the whole ledger on one snapshot and shows each record.
func (p *postgres) walk(show func(index, Record) error) (sum Summary, err error) {
	conn, err := p.dial(walkLimit, false)
	if err != nil {
		return sum, err
	}
	defer func() { _ = (&pgSession{conn: conn}).close(p.timeout()) }()
	w := &pgWalk{pgIndex: newPgIndex(conn, walkLimit)}
	var shown error
	sum, err = w.run(p.meta, func(r Record) error {
		shown = show(w.pgIndex, r)
		return shown
	})
	if shown != nil {
		return sum, shown
	}
	return sum, named(err)
}

// pgWalk is a walk under way.
type pgWalk struct {
	*pgIndex
	at head
	n  indexed // what the records put into the indexes

	// The indexes of one chunk.
	entries   map[uint64]pgRow // by record
	seals     map[uint64]pgRow // by record
	resources map[string]uint64
	requests  map[string]uint64
}

type pgRow struct {
	seq  uint64
	page []byte
}

func (w *pgWalk) run(body string, show func(Record) error) (sum Summary, err error) {
	ctx, cancel := w.deadline()
	defer cancel()
	if _, err := w.conn.Exec(ctx, "begin isolation level repeatable read, read only"); err != nil {
		return sum, pgIll(err)
	}
	m, err := parseMeta([]byte(body))
	if err != nil {
		return sum, err
	}
	sum = m.summary()
	var records, entries int64
	var hash []byte
	if err := w.conn.QueryRow(ctx, pgHead).Scan(&records, &entries, &hash); err != nil {
		return sum, missingRow(err)
	}
	end, err := pgParseHead(records, entries, hash)
	if err != nil {
		return sum, err
	}
	if w.at.Hash, err = m.hash(); err != nil {
		return sum, err
	}
	for more := true; more; {
		if more, err = w.step(&sum, show); err != nil {
			return sum, err
		}
	}
	sum.Records, sum.Entries, sum.Seals, sum.Head = w.at.Records, w.at.Entries, w.n.seals, w.at.Hash
	if w.at != end {
		return sum, fmt.Errorf("the chain ends at record %d, its head says %d", w.at.Records, end.Records)
	}
	return sum, w.compare()
}

// missingRow: a row that must be there.
func missingRow(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errors.New("a row is missing")
	}
	return pgIll(err)
}

// step checks and shows one chunk of records.
func (w *pgWalk) step(sum *Summary, show func(Record) error) (more bool, err error) {
	numbers, records, err := w.chunk(w.at.Records)
	if err != nil || len(records) == 0 {
		return false, err
	}
	decoded := make([]Record, len(records))
	at := w.at
	for i := range records {
		if numbers[i] != at.Records+1 {
			return false, fmt.Errorf("record %d is missing", at.Records+1)
		}
		if decoded[i], at, err = at.next(records[i]); err != nil {
			return false, fmt.Errorf("record %d: %w", at.Records+1, err)
		}
	}
	if err := w.readIndexes(decoded, w.at.Records, at.Records); err != nil {
		return false, err
	}
	for _, r := range decoded {
		if err := w.check(r); err != nil {
			return false, fmt.Errorf("record %d: %w", r.Number, err)
		}
		if r.Entry != nil {
			sum.Newest = max(sum.Newest, r.Page.Slot)
		}
		if err := show(r); err != nil {
			return false, err
		}
	}
	w.at = at
	return true, nil
}

// readIndexes reads what the indexes say of the records behind one number, up to
// another.
func (w *pgWalk) readIndexes(records []Record, behind, upTo uint64) error {
	w.entries, w.seals = map[uint64]pgRow{}, map[uint64]pgRow{}
	w.resources, w.requests = map[string]uint64{}, map[string]uint64{}
	var hashes [][]byte
	for i := range records {
		if e := records[i].Entry; e != nil && e.Kind == KindCommitment {
			hashes = append(hashes, e.Draft.Commitment.RequestHash[:])
		}
	}
	ctx, cancel := w.deadline()
	defer cancel()
	from, to := asBigint(behind), asBigint(upTo)
	var seq, record int64
	var key []byte
	read := func(sql string, columns []any, keep func(), arguments ...any) error {
		rows, err := w.conn.Query(ctx, sql, arguments...)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, columns, func() error { keep(); key = nil; return nil })
		return err
	}
	err := read(pgWalkEntries, []any{&seq, &record, &key}, func() { w.entries[asNumber(record)] = pgRow{asNumber(seq), key} }, from, to)
	if err == nil {
		err = read(pgWalkSeals, []any{&seq, &record}, func() { w.seals[asNumber(record)] = pgRow{seq: asNumber(seq)} }, from, to)
	}
	if err == nil {
		err = read(pgWalkResources, []any{&key, &seq}, func() { w.resources[string(key)] = asNumber(seq) }, from, to)
	}
	if err == nil {
		err = read(pgWalkRequests, []any{&key, &seq}, func() { w.requests[string(key)] = asNumber(seq) }, hashes)
	}
	return pgIll(err)
}

// check compares the index entries of one record.
func (w *pgWalk) check(r Record) error {
	if r.Entry == nil {
		if w.n.seals++; w.seals[r.Number].seq != r.Seq {
			return errors.New("index names another seal")
		}
		return nil
	}
	row := w.entries[r.Number]
	if row.seq != r.Seq {
		return errors.New("index names another record")
	}
	if !bytes.Equal(row.page, pageKey(r.Page, 0)[:56]) {
		return errors.New("not indexed by its page")
	}
	for _, name := range r.Entry.Resources {
		if w.n.resources++; w.resources[name] != r.Seq {
			return errors.New("index names another holder of the resource")
		}
	}
	if r.Entry.Kind == KindCommitment {
		hash := r.Entry.Draft.Commitment.RequestHash
		switch first := w.requests[string(hash[:])]; {
		case first == r.Seq:
			w.n.requests++
		case first == 0 || first > r.Seq:
			return errors.New("index names another answer of the request")
		}
	}
	return nil
}

// compare finds index entries that no record made.
func (w *pgWalk) compare() error {
	ctx, cancel := context.WithTimeout(context.Background(), walkLimit)
	defer cancel()
	var entries, seals, resources, requests int64
	if err := w.conn.QueryRow(ctx, pgWalkCounts).Scan(&entries, &seals, &resources, &requests); err != nil {
		return pgIll(err)
	}
	if asNumber(entries) != w.at.Entries || asNumber(seals) != w.n.seals ||
		asNumber(resources) != w.n.resources || asNumber(requests) != w.n.requests {
		return errors.New("an index holds more than the records")
	}
	return nil
}
