package ledger

import (
	"errors"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// engine keeps the records of one ledger, in order, with the indexes that find
// them. It knows nothing of decisions, pages in memory or callers. Every engine
// passes the one suite of suite_test.go.
//
// An error of an engine poisons the ledger, unless it is an asideError.
type engine interface {
	// begin starts the one transaction of a batch. Only the writer calls it, and
	// ends each by commit or rollback before it begins another.
	begin() (batch, error)
	// view runs do on a snapshot of what is durable. Any goroutine may call it.
	view(do func(index) error) error
	// walk checks the chain and every index against it, on a snapshot, and shows
	// each record in order. An error from show ends it and is returned as it is;
	// its own are ErrBroken or ErrNewer.
	walk(show func(index, Record) error) (Summary, error)
	// wedge says that the engine panicked while the writer used it, and may hold
	// its own locks: close must only let go.
	wedge()
	// close ends the engine and gives up its lock. The writer calls it last.
	close() error
}

// index finds records on one snapshot. Where limit is asked, records from that
// number on do not exist.
type index interface {
	// holder is the entry that took a resource; 0 if none did.
	holder(resource string) (seq uint64, err error)
	// answer is the first promise that answers a request; 0 if none does.
	answer(request phase0.Hash32) (seq uint64, err error)
	// spot says which records hold an entry; the zero spot if none does.
	spot(seq uint64) (spot, error)
	// receipt reads an entry that exists, with its signature if it has one.
	receipt(seq, limit uint64) (Receipt, spot, error)
	// lines reads the entries of a page, in order.
	lines(id commitments.PageID, limit uint64) ([]Receipt, error)
}

// batch is one transaction of the writer. What it put it also finds.
type batch interface {
	index
	// end is the head as it will be after commit.
	end() head
	// putEntry links a new entry to the chain, with its indexes.
	putEntry(id commitments.PageID, e *Entry, body []byte) error
	// putSeal links the signature of an entry without one to the chain.
	putSeal(seq uint64, at spot, version byte, body []byte) error
	// commit makes the batch durable. After an error it may be so or not.
	commit() error
	rollback() error
}

// spot says which records hold an entry and its seal (0: none).
type spot struct{ record, seal uint64 }

// pageOf builds a page from the records before limit; nil if they do not name it.
func pageOf(t index, id commitments.PageID, limit uint64) (p *commitments.Page, err error) {
	lines, err := t.lines(id, limit)
	if err != nil {
		return nil, err
	}
	for i := range lines {
		r := &lines[i]
		if p == nil {
			p = &commitments.Page{PageID: id}
		}
		p = withEntry(*p, r.Seq, &r.Entry)
		if len(r.Signature) > 0 {
			p = withSeal(*p, r.Seq, &r.Entry, r.Ink, true)
		}
	}
	return p, nil
}

// promiseOf looks a promise up, as far as the records before limit go: what
// stands behind them may not be durable yet.
func promiseOf(t index, hash phase0.Hash32, limit uint64) (commitments.Promise, commitments.PageID, bool, error) {
	seq, err := t.answer(hash)
	if seq == 0 || err != nil {
		return commitments.Promise{}, commitments.PageID{}, false, err
	}
	r, at, err := t.receipt(seq, limit)
	if err != nil || at.record >= limit || r.Entry.Draft == nil {
		return commitments.Promise{}, commitments.PageID{}, false, err
	}
	p := withSeal(*withEntry(commitments.Page{}, r.Seq, &r.Entry), r.Seq, &r.Entry, r.Ink, true)
	return p.Promises[0], r.Page, true, nil
}

// receiptOf decodes an entry's record, and its seal's if there is one.
func receiptOf(seq uint64, entry, seal []byte) (r Receipt, err error) {
	if len(entry) < recordHead {
		return r, fmt.Errorf("no record of entry %d", seq)
	}
	if r.Seq, r.Page, r.Entry, err = decodeEntry(entry[recordHead:]); err != nil || seal == nil {
		return r, err
	}
	if len(seal) < recordHead {
		return r, fmt.Errorf("no seal of entry %d", seq)
	}
	var b sealBody
	if err = decodeBody(seal[recordHead:], &b); err != nil {
		return r, err
	}
	r.Ink, err = b.ink()
	return r, err
}

// named gives an unnamed error of a walk its fault.
func named(err error) error {
	var a asideError
	if err == nil || errors.Is(err, ErrNewer) || errors.Is(err, ErrBroken) || errors.Is(err, ErrRolledBack) || errors.As(err, &a) {
		return err
	}
	return ErrBroken.Wrap(err)
}

// parseMeta reads whose ledger this is.
func parseMeta(body []byte) (m meta, err error) {
	if err := decodeBody(body, &m); err != nil {
		return m, err
	}
	if m.Schema > schema {
		return m, ErrNewer.With("schema %d, this sidecar reads %d", m.Schema, schema)
	}
	if m.Schema < 1 || len(m.ForkVersion) != 4 || len(m.Instance) != 16 {
		return m, errors.New("meta does not make sense")
	}
	return m, nil
}
