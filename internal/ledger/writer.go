package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"sidecar/commitments"
)

// Group commit: while there is concurrency a batch waits this long for more.
const (
	groupWait = time.Millisecond
	maxBatch  = 1024
)

// request is one Append or one Seal on its way through the writer.
type request struct {
	ctx  context.Context
	id   commitments.PageID
	done chan struct{} // closed when result and err are final

	decide    func(commitments.View) (Entry, error) // of an Append
	receipt   Receipt                               // of a Seal
	signature []byte                                // of a Seal

	result Receipt
	err    error
}

// submit hands a request to the writer and waits for its answer.
func (l *Ledger) submit(ctx context.Context, r *request) (Receipt, error) {
	if err := l.Poisoned(); err != nil {
		return Receipt{}, ErrPoisoned.Wrap(err)
	}
	r.ctx, r.done = ctx, make(chan struct{})
	select {
	case l.queue <- r:
	case <-l.closing:
		return Receipt{}, ErrClosed.With("nothing was written")
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		return Receipt{}, ctx.Err() // the writer goes on; see Append
	}
}

// run is the one writer.
func (l *Ledger) run() {
	defer close(l.done)
	last := 1 // size of the last batch
	for open := true; open; {
		var batch []*request
		select {
		case r := <-l.queue:
			batch = l.collect(r, last)
		case <-l.closing:
			// Callers that wait already are served; later ones are refused.
			batch, open = l.drain(nil), false
		}
		if last = len(batch); last > 0 {
			l.flush(batch)
		}
	}
	l.closed = l.store.close()
}

// collect gathers who waits. A lone caller is served at once; with concurrency
// the batch waits a moment for as many as came last time.
func (l *Ledger) collect(first *request, last int) []*request {
	batch := l.drain([]*request{first})
	if len(batch) >= last {
		return batch
	}
	timer := time.NewTimer(groupWait)
	defer timer.Stop()
	for len(batch) < min(last, maxBatch) {
		select {
		case r := <-l.queue:
			batch = append(batch, r)
		case <-timer.C:
			return l.drain(batch)
		case <-l.closing:
			return l.drain(batch)
		}
	}
	return l.drain(batch)
}

func (l *Ledger) drain(batch []*request) []*request {
	for len(batch) < maxBatch {
		select {
		case r := <-l.queue:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// flush makes one batch durable with one transaction, and then answers it.
// A crash before the commit: nobody was answered, nothing is signed. A crash
// after it: the entries stand and count as promised, though nobody was told.
func (l *Ledger) flush(batch []*request) {
	err := l.Poisoned()
	if err == nil {
		err = guarded(func() error { return l.write(batch) })
		if err != nil {
			// The disk may or may not hold the batch. Only a restart can tell.
			l.store.wedged = isPanic(err)
			l.poison.Store(&err)
			l.meter().poisoned()
		}
	}
	for _, r := range batch {
		if err != nil {
			r.result, r.err = Receipt{}, ErrPoisoned.Wrap(err)
		}
		close(r.done)
	}
}

func (l *Ledger) write(batch []*request) error {
	started := l.meter().start()
	tx, err := l.store.db.Begin(true)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	t, err := openBuckets(tx)
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	w := &writing{buckets: t, next: l.next, before: t.head, touched: map[commitments.PageID]bool{}, copied: map[commitments.PageID]bool{}}
	// Seals first: they copy the promises of their page, once per batch, before
	// any decide has seen them.
	for _, r := range batch {
		if r.decide == nil {
			err = errors.Join(err, w.seal(r))
		}
	}
	for _, r := range batch {
		if r.decide != nil && err == nil {
			err = w.append(r)
		}
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if w.head == w.before {
		return tx.Rollback() // nothing new: the answers are on disk already
	}
	if err := w.meta.Put(keyHead, w.head.bytes()); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := l.store.commit(tx); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	l.meter().committed(started, w.head.Records-w.before.Records)
	l.publish(w)
	return nil
}

// publish shows a durable batch to the readers.
func (l *Ledger) publish(w *writing) {
	old := l.next.sweep()
	for _, id := range old {
		l.next.drop(id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range w.touched {
		if p := l.next.pages[id]; p != nil {
			l.book.set(p)
		}
	}
	for _, id := range old {
		l.book.drop(id)
	}
	l.book.seq, l.book.records = w.head.Entries, w.head.Records
}

// writing is one batch under way. Its errors are the disk's and poison the
// ledger; those of a request go into the request.
type writing struct {
	*buckets
	next    *book
	before  head
	touched map[commitments.PageID]bool
	copied  map[commitments.PageID]bool // whose promises nobody else has seen
}

// append decides, and links the entry to the chain.
func (w *writing) append(r *request) error {
	if r.err = r.ctx.Err(); r.err != nil {
		return nil
	}
	if err := w.recall(r.id); err != nil {
		return err
	}
	var e Entry
	if e, r.err = decided(r.decide, w.next.view(r.id)); r.err != nil {
		return nil
	}
	if r.err = e.check(); r.err != nil {
		return nil
	}
	if held, err := w.repeat(r, &e); held || err != nil {
		return err
	}
	if e.Kind == KindCommitment && w.next.latest(r.id).Closed {
		r.err = ErrPageClosed.With("slot %d", r.id.Slot)
		return nil
	}
	seq := w.head.Entries + 1
	body, err := encodeEntry(seq, r.id, e)
	if err != nil {
		r.err = err
		return nil
	}
	// What goes into memory is what a replay would read: nobody else's slices,
	// and nothing that the disk format does not hold.
	if _, _, e, r.err = decodeEntry(body); r.err != nil {
		r.err = ErrEntry.Wrap(r.err)
		return nil
	}
	if err := w.putEntry(r.id, &e, body); err != nil {
		return err
	}
	w.next.set(withEntry(w.next.latest(r.id), seq, &e))
	w.next.seq, w.next.records = seq, w.head.Records
	w.touched[r.id] = true
	r.result = Receipt{Seq: seq, Page: r.id, Entry: e}
	return nil
}

// repeat answers a request of which a resource is taken, and says whether it did.
// Every taken one must be held by the same thing: an entry that repeats one
// promise and contradicts another is a contradiction.
func (w *writing) repeat(r *request, e *Entry) (held bool, err error) {
	for _, name := range e.Resources {
		seq := w.resources.Get([]byte(name))
		if len(seq) != 8 {
			continue
		}
		stored, _, err := w.receipt(binary.BigEndian.Uint64(seq), w.head.Records+1)
		if err != nil {
			return false, err
		}
		if s := &stored.Entry; s.Root != e.Root || s.Key != e.Key || s.Kind != e.Kind {
			r.result, r.err = Receipt{}, ErrSlashable.With("%s was taken for another root by entry %d", name, stored.Seq)
			return true, nil
		}
		r.result, held = stored, true
	}
	return held, nil
}

// seal links a signature to the chain.
func (w *writing) seal(r *request) error {
	if len(r.signature) == 0 || len(r.signature) > maxSignature {
		r.err = ErrEntry.With("signature of %d bytes", len(r.signature))
		return nil
	}
	if _, known := w.spot(r.receipt.Seq); !known {
		r.err = ErrEntry.With("no entry %d to seal", r.receipt.Seq)
		return nil
	}
	stored, at, err := w.receipt(r.receipt.Seq, w.head.Records+1)
	if err != nil {
		return err
	}
	e := &stored.Entry
	switch {
	case !e.Kind.Signed() || e.Root != r.receipt.Entry.Root || e.Key != r.receipt.Entry.Key:
		r.err = ErrEntry.With("entry %d is not the receipt's", stored.Seq)
	case len(r.signature) != e.Key.SignatureLength():
		r.err = ErrEntry.With("signature of %d bytes", len(r.signature))
	case bytes.Equal(stored.Signature, r.signature): // sealed before
	case len(stored.Signature) > 0:
		r.err = ErrSlashable.With("entry %d has another signature", stored.Seq)
	default:
		return w.putNewSeal(stored, at, bytes.Clone(r.signature))
	}
	return nil
}

func (w *writing) putNewSeal(stored Receipt, at spot, signature []byte) error {
	body, err := encodeBody(sealBody{stored.Seq, signature})
	if err != nil {
		return err
	}
	if err := w.recall(stored.Page); err != nil {
		return err
	}
	if err := w.putSeal(stored.Seq, at, body); err != nil {
		return err
	}
	w.next.set(withSeal(w.next.latest(stored.Page), stored.Seq, &stored.Entry, signature, w.copied[stored.Page]))
	w.copied[stored.Page] = w.copied[stored.Page] || stored.Entry.Kind == KindCommitment
	w.next.records = w.head.Records
	w.touched[stored.Page] = true
	return nil
}

func (w *writing) recall(id commitments.PageID) error {
	return w.next.recall(w.buckets, id, w.head.Records+1)
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
