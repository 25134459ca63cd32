package remote

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/modules"
)

// Limits of an Inbox.
const (
	inboxEvents = 1024            // not dealt with yet; more are left with the sidecar
	inboxWait   = 5 * time.Second // for the module to deal with a batch
)

// Inbox is modules.Events in a module's own process: the sidecar fills it through
// Serve, and the module reads it as it would read Host.Events. What After is
// called with is what the module has dealt with; the sidecar begins there,
// also after a restart of either. It is for one reader. The zero Inbox is ready.
type Inbox struct {
	mu      sync.Mutex
	reads   bool            // After has been called
	after   uint64          // the module has dealt with what is up to this
	kept    []modules.Event // behind it, ascending
	unknown bool            // the numbers begin anew, and the module does not know
	change  chan struct{}   // closed, and made anew, at each change; nil: nobody waits
}

var _ modules.Events = (*Inbox)(nil)

// After is modules.Events. Fault: modules.ErrCursor.
func (b *Inbox) After(ctx context.Context, seq uint64) ([]modules.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq < b.after { // the module wants them again, and so does the sidecar then
		b.kept = nil
	}
	b.reads, b.after = true, seq
	b.kept = slices.DeleteFunc(b.kept, func(e modules.Event) bool { return e.Seq <= seq })
	b.changed()
	for {
		switch {
		case b.unknown && seq > 0:
			b.unknown = false
			return nil, modules.ErrCursor.With("%d", seq)
		case len(b.kept) > 0:
			return slices.Clone(b.kept), nil
		}
		if err := b.await(ctx); err != nil {
			return nil, err
		}
	}
}

// hear takes a batch, and returns the number of the last event that the module
// has dealt with, once that is the batch's last or inboxWait is over. A batch that
// leaves events out is not taken. Fault: errListening.
func (b *Inbox) hear(ctx context.Context, ask eventsAsk) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, inboxWait)
	defer cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	if ask.Unknown {
		b.unknown, b.after, b.kept = b.after > 0 || b.unknown, 0, nil
		b.changed()
		return 0, nil
	}
	last := ask.After
	for i := range ask.Events {
		e, err := ask.Events[i].event()
		if err != nil {
			return 0, errMalformed.Wrap(err)
		}
		if e.Seq <= last {
			return 0, errMalformed.With("event %d does not follow %d", e.Seq, last)
		}
		last = e.Seq
	}
	for !b.reads {
		if b.await(ctx) != nil {
			return 0, errListening
		}
	}
	b.take(ask)
	for b.after < last && ask.After <= b.after {
		if b.await(ctx) != nil {
			break
		}
	}
	return b.after, nil
}

// take keeps what follows the events that are kept.
func (b *Inbox) take(ask eventsAsk) {
	end := b.after
	if n := len(b.kept); n > 0 {
		end = b.kept[n-1].Seq
	}
	if ask.After > end {
		return
	}
	for i := range ask.Events {
		if e, err := ask.Events[i].event(); err == nil && e.Seq > end && len(b.kept) < inboxEvents {
			b.kept = append(b.kept, e)
		}
	}
	b.changed()
}

// changed wakes who waits. The lock is held.
func (b *Inbox) changed() {
	if b.change != nil {
		close(b.change)
		b.change = nil
	}
}

// await waits for a change. The lock is held, but not meanwhile.
func (b *Inbox) await(ctx context.Context) error {
	if b.change == nil {
		b.change = make(chan struct{})
	}
	change := b.change
	b.mu.Unlock()
	defer b.mu.Lock()
	select {
	case <-change:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (j *eventJSON) event() (e modules.Event, err error) {
	e = modules.Event{
		Seq: j.Seq, Kind: j.Kind, At: time.UnixMilli(j.AtMS).UTC(), Slot: phase0.Slot(j.Slot), Relay: j.Relay, ValueWei: j.ValueWei, Refused: j.Refused,
	}
	if err = fixed("proposer", e.Proposer[:], j.Proposer); err == nil {
		err = fixed("block_hash", e.BlockHash[:], j.BlockHash)
	}
	return e, err
}

// serve answers the sidecar.
func (b *Inbox) serve(ctx context.Context, body []byte) (any, error) {
	var in eventsAsk
	if err := lenient(body, &in); err != nil {
		return nil, err
	}
	after, err := b.hear(ctx, in)
	return eventsAnswer{&after}, err
}
