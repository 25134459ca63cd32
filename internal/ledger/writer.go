package ledger

import (
	"context"
	"time"

	"sidecar/commitments"
)

// Group commit: while there is concurrency a batch waits for more, as long as
// more keep coming.
const (
	groupWait  = time.Millisecond       // at most, in all
	groupQuiet = 150 * time.Microsecond // without anybody new
	maxBatch   = 1024
)

// request is one Append or one Seal on its way through the writer.
type request struct {
	ctx  context.Context
	id   commitments.PageID
	done chan struct{} // closed when result and err are final

	decide  func(commitments.View) (Entry, error) // of an Append
	receipt Receipt                               // of a Seal
	ink     Ink                                   // of a Seal
	merge   []item                                // of an import, with merged
	merged  *Merged

	result Receipt
	fresh  spot // where a new entry stands; zero if the answer stood before
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
	var tick <-chan time.Time // never, with a ledger of our own
	if s, ok := l.engine.(shared); ok {
		ticker := time.NewTicker(s.pace())
		defer ticker.Stop()
		tick = ticker.C
	}
	last := 1 // size of the last batch
	for open := true; open; {
		var batch []*request
		select {
		case r := <-l.queue:
			batch = l.collect(r, last)
		case <-tick:
			l.tend()
			continue
		case <-l.closing:
			// Callers that wait already are served; later ones are refused.
			batch, open = l.drain(nil), false
		}
		if last = len(batch); last > 0 {
			l.flush(batch)
		}
	}
	l.closed = l.end()
}

// collect gathers who waits. A lone caller is served at once; with concurrency
// the batch waits for as many as came last time, unless nobody comes: those are
// with their keys, or gone, and the disk is better used than kept waiting.
func (l *Ledger) collect(first *request, last int) []*request {
	batch := l.drain([]*request{first})
	if len(batch) >= last {
		return batch
	}
	over, quiet := time.NewTimer(groupWait), time.NewTimer(groupQuiet)
	defer over.Stop()
	defer quiet.Stop()
	for len(batch) < min(last, maxBatch) {
		select {
		case r := <-l.queue:
			batch = append(batch, r)
			quiet.Reset(groupQuiet)
		case <-quiet.C:
			return l.drain(batch)
		case <-over.C:
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
