package remote

import (
	"context"
	"errors"
	"time"

	"sidecar/fault"
	"sidecar/modules"
)

// Limits of telling a module what happened.
const (
	tellTimeout = 10 * time.Second       // of one batch
	tellPause   = 100 * time.Millisecond // between two batches
	tellQuiet   = 10 * time.Second       // without news; then the module is asked where it is
	tellAgain   = time.Second            // after a failure, doubling to
	tellSeldom  = time.Minute            // this
)

// errDeaf is a module that takes no events.
var errDeaf = errors.New("the module takes no events")

type (
	// eventsAsk is everything after a number, oldest first, as far as it fits.
	eventsAsk struct {
		After  uint64      `json:"after"`
		Events []eventJSON `json:"events"`
		// Unknown is of the first batch after the module named a number that no
		// event has had: the numbers begin anew.
		Unknown bool `json:"unknown,omitempty"`
	}
	// eventsAnswer is the number of the last event that the module has dealt with,
	// whatever it was sent; 0 if of none.
	eventsAnswer struct {
		After *uint64 `json:"after"`
	}
)

type eventJSON struct {
	Seq       uint64            `json:"seq"`
	Kind      modules.EventKind `json:"kind"`
	AtMS      int64             `json:"at_ms"` // unix time
	Slot      uint64            `json:"slot"`
	Proposer  hexBytes          `json:"proposer"`
	BlockHash hexBytes          `json:"block_hash"`
	Relay     string            `json:"relay"`
	ValueWei  string            `json:"value_wei,omitempty"`
	Refused   bool              `json:"refused,omitempty"`
}

func eventOf(e *modules.Event) eventJSON {
	return eventJSON{e.Seq, e.Kind, e.At.UnixMilli(), uint64(e.Slot), e.Proposer[:], e.BlockHash[:], e.Relay, e.ValueWei, e.Refused}
}

// tell tells the module what happens to our slots, until ctx ends. Where it
// begins is for the module to say: it alone knows what it has dealt with. A module
// that does not listen, or lies, costs this goroutine and one connection.
func (m *client) tell(ctx context.Context) {
	pause, reason := tellAgain, ""
	for ctx.Err() == nil {
		err := m.converse(ctx, func() { pause = tellAgain })
		if ctx.Err() != nil {
			return
		}
		now := fault.Code(err)
		if errors.Is(err, errDeaf) {
			now, pause = "deaf", tellSeldom
		}
		if down := m.state.Load(); now != reason && (down == nil || down.down == nil) { // that it is down is said elsewhere
			m.log.Info("Module is not told of events", "module", m.info.ID, "reason", now, "detail", err)
			reason = now
		}
		wait(ctx, pause)
		pause = min(2*pause, tellSeldom)
	}
}

// converse tells the module one batch after the other, until one fails or the
// module stands still.
func (m *client) converse(ctx context.Context, progress func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = modules.ErrPanic.With("%v", p)
		}
	}()
	after, err := m.hand(ctx, eventsAsk{})
	for err == nil {
		wait(ctx, tellPause)
		ask := eventsAsk{After: after}
		list, lost := m.next(ctx, after)
		if errors.Is(lost, modules.ErrCursor) {
			ask = eventsAsk{Unknown: true}
		} else if lost != nil {
			return lost
		}
		for i := range list {
			ask.Events = append(ask.Events, eventOf(&list[i]))
		}
		var now uint64
		if now, err = m.hand(ctx, ask); err != nil {
			return err
		}
		switch {
		case ask.Unknown && now > 0:
			return ErrAnswer.With("event %d, though the numbers begin anew", now)
		case len(list) > 0 && now <= after:
			return modules.ErrTimeout.With("what follows event %d is not dealt with yet", after)
		}
		if len(list) > 0 {
			progress()
		}
		after = now
	}
	return err
}

// next waits for events, a while, and returns none if there are none.
func (m *client) next(ctx context.Context, after uint64) ([]modules.Event, error) {
	quiet, cancel := context.WithTimeout(ctx, tellQuiet)
	defer cancel()
	list, err := m.events.After(quiet, after)
	if err != nil && quiet.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return list, err
}

// hand hands over one batch, and returns the number of the last event that the
// module has dealt with. It asks nothing of a module that is down.
func (m *client) hand(ctx context.Context, ask eventsAsk) (uint64, error) {
	if s := m.state.Load(); s == nil {
		return 0, ErrUnreachable.With("not asked yet")
	} else if s.down != nil {
		return 0, s.down
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	ask.Events = orEmpty(ask.Events)
	var out eventsAnswer
	if err := m.post(ctx, m.telling, opEvents, ask, &out); err != nil {
		return 0, err
	}
	if out.After == nil {
		return 0, ErrAnswer.With("after is missing")
	}
	return *out.After, nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
