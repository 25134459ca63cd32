package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"sidecar/commitments"
)

// flush makes one batch durable with one transaction, and then answers it.
// A crash before the commit: nobody was answered, nothing is signed. A crash
// after it: the entries stand and count as promised, though nobody was told.
func (l *Ledger) flush(batch []*request) {
	var failed error
	if err := l.Poisoned(); err != nil {
		failed = ErrPoisoned.Wrap(err)
	} else if err := guarded(func() error { return l.write(batch) }); err != nil {
		failed = l.fail(err)
	}
	for _, r := range batch {
		if failed != nil {
			r.result, r.err = Receipt{}, failed
		}
		close(r.done)
	}
}

func (l *Ledger) write(batch []*request) error {
	started := l.meter().start()
	t, err := l.begin()
	if err != nil {
		return err
	}
	l.torn = true
	w := &writing{batch: t, ledger: l, next: l.next, touched: map[commitments.PageID]bool{}, copied: map[commitments.PageID]bool{}}
	if f, ok := t.(fetcher); ok && len(batch) > 1 {
		err = f.fetch(w.lookups(batch))
	}
	// Seals first: they copy the promises of their page, once per batch, before
	// any decide has seen them.
	for _, r := range batch {
		if r.decide == nil && r.merged == nil && err == nil {
			err = w.seal(r)
		}
	}
	for _, r := range batch {
		switch {
		case err != nil:
		case r.merged != nil:
			err = w.merge(r)
		case r.decide != nil:
			err = w.append(r)
		}
	}
	if err != nil {
		return errors.Join(err, t.rollback())
	}
	end := t.end()
	if end == l.at {
		l.torn = false
		return t.rollback() // nothing new: the answers are on disk already
	}
	if err := t.commit(); err != nil {
		return err
	}
	l.meter().committed(started, end.Records-l.at.Records)
	l.at = end
	l.remember(batch)
	share(batch)
	l.publish(w.touched)
	return nil
}

// begin begins a transaction in which memory and the records agree.
func (l *Ledger) begin() (batch, error) {
	t, err := l.engine.begin()
	if err != nil || t.end() == l.at {
		return t, err
	}
	if s, ok := l.engine.(shared); !ok {
		err = errors.New("somebody else wrote into the ledger")
	} else {
		err = l.follow(s, t.end())
	}
	if err != nil {
		return nil, errors.Join(err, t.rollback())
	}
	return t, nil
}

// publish shows a durable batch to the readers.
func (l *Ledger) publish(touched map[commitments.PageID]bool) {
	l.torn = false
	old := l.next.sweep()
	for _, id := range old {
		l.next.drop(id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range touched {
		if p := l.next.pages[id]; p != nil {
			l.book.set(p)
		}
	}
	for _, id := range old {
		l.book.drop(id)
	}
	l.book.seq, l.book.records, l.book.least = l.at.Entries, l.at.Records, l.next.least
	l.book.revoked = l.next.revoked
	at := l.at
	l.durable.Store(&at)
	l.witness.grew()
}

// writing is one batch under way. Its errors are the disk's and poison the
// ledger; those of a request go into the request.
type writing struct {
	batch
	ledger  *Ledger
	next    *book
	touched map[commitments.PageID]bool
	copied  map[commitments.PageID]bool // whose promises nobody else has seen

	shown *commitments.View // to the last decide; see view
}

// append decides, and links the entry to the chain.
func (w *writing) append(r *request) error {
	if r.err != nil {
		return nil // it refused already, when it was asked for its lookups
	}
	if r.err = r.ctx.Err(); r.err != nil {
		return nil
	}
	if err := w.recall(r.id); err != nil {
		return err
	}
	var e Entry
	var unless onlyRepeat
	if e, r.err = decided(r.decide, w.view(r.id)); r.err != nil && !errors.As(r.err, &unless) {
		return nil
	}
	if r.err = e.check(); r.err != nil {
		return nil
	}
	if held, err := w.repeat(r, &e); held || err != nil {
		return err
	}
	if r.err = unless.error; r.err != nil {
		return nil
	}
	if r.err = w.fresh(r.id, &e); r.err != nil {
		return nil
	}
	if e.Kind == KindCommitment && w.next.latest(r.id).Closed {
		r.err = ErrPageClosed.With("slot %d", r.id.Slot)
		return nil
	}
	seq := w.end().Entries + 1
	body, err := encodeEntry(seq, r.id, e)
	if err != nil {
		r.err = err
		return nil
	}
	// What goes into memory is what a replay would read: nobody else's slices,
	// and nothing that the disk format does not hold.
	if e, r.err = asStored(e, body); r.err != nil {
		r.err = ErrEntry.Wrap(r.err)
		return nil
	}
	if err := w.putEntry(r.id, &e, body); err != nil {
		return err
	}
	w.next.set(withEntry(w.next.latest(r.id), seq, &e))
	w.next.forbid(&e)
	w.next.seq, w.next.records = seq, w.end().Records
	w.touched[r.id] = true
	r.result, r.fresh = Receipt{Seq: seq, Page: r.id, Entry: e}, spot{record: w.end().Records}
	return nil
}

// repeat answers a request of which a resource is taken, and says whether it did.
// Every taken one must be held by the same thing: an entry that repeats one
// promise and contradicts another is a contradiction.
func (w *writing) repeat(r *request, e *Entry) (held bool, err error) {
	for _, name := range e.Resources {
		seq, err := w.holder(name)
		if err != nil {
			return false, err
		}
		if seq == 0 {
			continue
		}
		stored, _, err := w.receipt(seq, w.end().Records+1)
		if err != nil {
			return false, err
		}
		if !stored.Entry.same(e) {
			r.result = Receipt{}
			r.err = ErrSlashable.Wrap(&Contradiction{Resource: name, Kind: e.Kind, Module: e.Module, Key: e.Key, Stands: stored.Entry.Root, Seq: stored.Seq, Asked: e.Root})
			return true, nil
		}
		if stored.Entry.Kind == KindImport {
			stored.Entry, stored.Imported = *e, true
		}
		if !held || len(r.result.Signature) == 0 {
			r.result, held = stored, true
		}
	}
	return held, nil
}

// seal links a signature to the chain.
func (w *writing) seal(r *request) error {
	if r.err = r.ink.check(); r.err != nil {
		return nil
	}
	stored, at, err := w.awaiting(r.receipt.Seq)
	if err != nil || at.record == 0 {
		r.err = ErrEntry.With("no entry %d to seal", r.receipt.Seq)
		return err
	}
	e := &stored.Entry
	switch {
	case !e.Kind.Signed() && e.Kind != KindImport || e.Root != r.receipt.Entry.Root || e.Key != r.receipt.Entry.Key:
		r.err = ErrEntry.With("entry %d is not the receipt's", stored.Seq)
	case len(r.ink.Signature) != e.Key.SignatureLength():
		r.err = ErrEntry.With("signature of %d bytes", len(r.ink.Signature))
	case e.Kind != KindImport && e.Delegate.IsZero() != r.ink.Proxy.IsZero():
		r.err = ErrEntry.With("entry %d: a delegate signs, and its signature is there, or neither", stored.Seq)
	case bytes.Equal(stored.Signature, r.ink.Signature): // sealed before
		r.result.Ink = stored.Ink
	case len(stored.Signature) > 0:
		r.err = ErrSlashable.With("entry %d has another signature", stored.Seq)
	default:
		r.result.Ink = Ink{bytes.Clone(r.ink.Signature), r.ink.Proxy}
		r.result.Proxy.Branch = slices.Clone(r.ink.Proxy.Branch)
		return w.putNewSeal(stored, at, r.result.Ink)
	}
	return nil
}

// unsealed is an entry that has no signature yet, and where it stands.
type unsealed struct {
	receipt Receipt
	at      spot
}

// maxUnsealed bounds what is remembered; beyond it, entries are read back.
const maxUnsealed = 4096

// awaiting is the entry that a signature is for, with a zero spot if there is none.
func (w *writing) awaiting(seq uint64) (Receipt, spot, error) {
	if u, ok := w.ledger.unsealed[seq]; ok {
		delete(w.ledger.unsealed, seq)
		return u.receipt, u.at, nil
	}
	if at, err := w.spot(seq); err != nil || at.record == 0 {
		return Receipt{}, at, err
	}
	return w.receipt(seq, w.end().Records+1)
}

// remember keeps a durable batch's new entries until their signatures come. With
// a shared ledger somebody else may bring them.
func (l *Ledger) remember(batch []*request) {
	if _, ok := l.engine.(shared); ok {
		return
	}
	if l.unsealed == nil || len(l.unsealed) > maxUnsealed {
		l.unsealed = map[uint64]unsealed{}
	}
	for _, r := range batch {
		if r.err == nil && r.fresh.record != 0 && r.result.Entry.Kind.Signed() {
			l.unsealed[r.result.Seq] = unsealed{r.result, r.fresh}
		}
	}
}

// share gives the new entries that a delegate signs the batch they are in.
func share(batch []*request) {
	var together *Batch
	for _, r := range batch {
		if r.err != nil || r.fresh.record == 0 || r.result.Entry.Delegate.IsZero() {
			continue
		}
		if together == nil {
			together = &Batch{}
		}
		together.Receipts = append(together.Receipts, r.result)
		r.result.Batch = together
	}
}

func (w *writing) putNewSeal(stored Receipt, at spot, ink Ink) error {
	body, err := encodeSeal(stored.Seq, ink)
	if err != nil {
		return err
	}
	if err := w.recall(stored.Page); err != nil {
		return err
	}
	if err := w.putSeal(stored.Seq, at, ink.version(), body); err != nil {
		return err
	}
	w.next.set(withSeal(w.next.latest(stored.Page), stored.Seq, &stored.Entry, ink, w.copied[stored.Page]))
	w.copied[stored.Page] = w.copied[stored.Page] || stored.Entry.Kind == KindCommitment
	w.next.records = w.end().Records
	w.touched[stored.Page] = true
	return nil
}

func (w *writing) recall(id commitments.PageID) error {
	return w.next.recall(w.batch, id, w.end().Records+1)
}

// view is the book's. Decisions about one page that follow each other share the
// other open pages: an entry changes none but its own.
func (w *writing) view(id commitments.PageID) commitments.View {
	if w.shown == nil || w.shown.PageID != id {
		v := w.next.view(id)
		v.Open = slices.Clip(v.Open)
		w.shown = &v
	} else {
		w.shown.Page, w.shown.Seq = w.next.page(id), w.next.seq
	}
	return *w.shown
}

// decided runs decide; its panic is the caller's error, not ours.
func decided(decide func(commitments.View) (Entry, error), v commitments.View) (e Entry, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, err = Entry{}, fmt.Errorf("decide panicked: %v\n%s", r, debug.Stack())
		}
	}()
	return decide(v)
}
