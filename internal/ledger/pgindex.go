package ledger

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/jackc/pgx/v5"

	"sidecar/commitments"
)

// pgChunk is how many records are read at once.
const pgChunk = 256

// pgIndex finds records on one connection, and remembers what it found.
type pgIndex struct {
	conn    *pgx.Conn
	limit   time.Duration
	holders map[string]uint64
	stored  map[uint64]pgEntry
}

// pgEntry is an entry's records as they are stored.
type pgEntry struct {
	at          spot
	entry, seal []byte
}

func newPgIndex(conn *pgx.Conn, limit time.Duration) *pgIndex {
	return &pgIndex{conn: conn, limit: limit, holders: map[string]uint64{}, stored: map[uint64]pgEntry{}}
}

// deadline bounds one call.
func (t *pgIndex) deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), t.limit)
}

func (t *pgIndex) holder(resource string) (uint64, error) {
	if seq, known := t.holders[resource]; known {
		return seq, nil
	}
	ctx, cancel := t.deadline()
	defer cancel()
	rows, err := t.conn.Query(ctx, pgHolders, [][]byte{[]byte(resource)})
	if err != nil {
		return 0, pgIll(err)
	}
	if err := t.keepHolders(rows); err != nil {
		return 0, pgIll(err)
	}
	seq := t.holders[resource]
	t.holders[resource] = seq
	return seq, nil
}

func (t *pgIndex) keepHolders(rows pgx.Rows) error {
	var name []byte
	var seq int64
	_, err := pgx.ForEachRow(rows, []any{&name, &seq}, func() error {
		t.holders[string(name)] = asNumber(seq)
		return nil
	})
	return err
}

func (t *pgIndex) answer(request phase0.Hash32) (uint64, error) {
	ctx, cancel := t.deadline()
	defer cancel()
	var seq int64
	err := t.conn.QueryRow(ctx, pgAnswer, request[:]).Scan(&seq)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return asNumber(seq), pgIll(err)
}

func (t *pgIndex) spot(seq uint64) (spot, error) {
	if _, known := t.stored[seq]; !known {
		if err := t.load([]uint64{seq}); err != nil {
			return spot{}, err
		}
	}
	return t.stored[seq].at, nil
}

func (t *pgIndex) receipt(seq, limit uint64) (Receipt, spot, error) {
	at, err := t.spot(seq)
	if err == nil && at.record == 0 {
		err = fmt.Errorf("no entry %d", seq)
	}
	if err != nil {
		return Receipt{}, at, err
	}
	s := t.stored[seq]
	return s.receipt(seq, limit)
}

func (s pgEntry) receipt(seq, limit uint64) (Receipt, spot, error) {
	var seal []byte
	if s.at.seal != 0 && s.at.seal < limit {
		if seal = s.seal; seal == nil {
			seal = []byte{} // named, and not there
		}
	}
	r, err := receiptOf(seq, s.entry, seal)
	return r, s.at, err
}

// load reads entries at once.
func (t *pgIndex) load(seqs []uint64) error {
	ctx, cancel := t.deadline()
	defer cancel()
	rows, err := t.conn.Query(ctx, pgBySeq, asBigints(seqs))
	if err == nil {
		_, err = t.keepStored(rows)
	}
	return pgIll(err)
}

func (t *pgIndex) keepStored(rows pgx.Rows) (seqs []uint64, err error) {
	var seq, record, sealed int64
	var entry, seal []byte
	_, err = pgx.ForEachRow(rows, []any{&seq, &record, &entry, &sealed, &seal}, func() error {
		t.stored[asNumber(seq)] = pgEntry{spot{asNumber(record), asNumber(sealed)}, entry, seal}
		seqs = append(seqs, asNumber(seq))
		entry, seal = nil, nil
		return nil
	})
	return seqs, err
}

func (t *pgIndex) lines(id commitments.PageID, limit uint64) (lines []Receipt, err error) {
	ctx, cancel := t.deadline()
	defer cancel()
	rows, err := t.conn.Query(ctx, pgByPage, pageKey(id, 0)[:56], asBigint(limit))
	if err != nil {
		return nil, pgIll(err)
	}
	found := newPgIndex(t.conn, t.limit)
	seqs, err := found.keepStored(rows)
	if err != nil {
		return nil, pgIll(err)
	}
	for _, seq := range seqs {
		r, _, err := found.stored[seq].receipt(seq, limit)
		if err != nil {
			return nil, err
		}
		lines = append(lines, r)
	}
	return lines, nil
}

// chunk reads the records behind a number, and the entries that they seal.
func (t *pgIndex) chunk(after uint64) (numbers []uint64, records [][]byte, err error) {
	ctx, cancel := t.deadline()
	defer cancel()
	rows, err := t.conn.Query(ctx, pgAfter, asBigint(after), pgChunk)
	if err != nil {
		return nil, nil, pgIll(err)
	}
	var number int64
	var record []byte
	_, err = pgx.ForEachRow(rows, []any{&number, &record}, func() error {
		numbers, records = append(numbers, asNumber(number)), append(records, record)
		record = nil
		return nil
	})
	if err != nil {
		return nil, nil, pgIll(err)
	}
	clear(t.stored)
	var sealed []uint64
	for _, record := range records {
		var b sealBody
		if len(record) > recordHead && recordKind(record[1]) == recordSeal && decodeBody(record[recordHead:], &b) == nil {
			sealed = append(sealed, b.Seq)
		}
	}
	if len(sealed) > 0 {
		err = t.load(sealed)
	}
	return numbers, records, err
}

// after shows the records behind a number on the writer's connection, inside the
// batch's transaction if one is open.
func (p *postgres) after(record uint64, show func(index, []byte) error) error {
	conn, err := p.writer.get(p)
	if err != nil {
		return err
	}
	t := newPgIndex(conn, p.timeout())
	for {
		numbers, records, err := t.chunk(record)
		if err != nil || len(records) == 0 {
			return err
		}
		for i := range records {
			if record++; numbers[i] != record {
				return ErrBroken.With("record %d is missing", record)
			}
			if err := show(t, records[i]); err != nil {
				return err
			}
		}
	}
}

// Numbers of records and entries are far below 2⁶³. One that is not fits nothing.
func asBigint(n uint64) int64 {
	if n > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(n)
}

func asBigints(ns []uint64) []int64 {
	all := make([]int64, len(ns))
	for i, n := range ns {
		all[i] = asBigint(n)
	}
	return all
}

// asNumber is 0, which names nothing, for what no one of us wrote.
func asNumber(n int64) uint64 {
	if n < 0 {
		return 0
	}
	return uint64(n)
}

func pgParseHead(records, entries int64, hash []byte) (h head, err error) {
	if records < 0 || entries < 0 || len(hash) != 32 {
		return h, ErrBroken.With("head of %d bytes", len(hash))
	}
	return head{asNumber(records), asNumber(entries), [32]byte(hash)}, nil
}
