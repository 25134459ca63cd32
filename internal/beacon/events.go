package beacon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

const (
	limitEvent  = 1 << 20 // bytes of one line, and of one event
	stallSlots  = 2       // no head for so long: open the stream again
	retryFirst  = 100 * time.Millisecond
	retryLast   = 2 * time.Second
	retryNotice = 30 * time.Second // the longest Retry-After we obey
)

// headEvent announces a new head. [Beacon API: eventstream, topic head]
type headEvent struct {
	Slot         phase0.Slot
	Block        phase0.Root
	PreviousRoot phase0.Root // previous_duty_dependent_root
	CurrentRoot  phase0.Root // current_duty_dependent_root
}

// follow reads head events until ctx ends, opening the stream again whenever it
// ends or stalls. Unknown, broken and far-off events are counted and ignored.
func (c *Client) follow(ctx context.Context, emit func(headEvent)) {
	var wait backoff
	for ctx.Err() == nil {
		heads, err := c.stream(ctx, emit)
		if ctx.Err() != nil {
			return
		}
		if heads > 0 {
			wait.reset()
		}
		c.metrics.reconnected()
		c.log.Debug("Beacon event stream ended", "error", err, "heads", heads)
		sleep(ctx, wait.next(err))
	}
}

// stream reads one connection and returns how many heads it brought.
func (c *Client) stream(ctx context.Context, emit func(headEvent)) (heads int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stall := stallSlots * c.spec.SlotDuration
	watchdog := time.AfterFunc(stall, cancel) // closes the connection, which ends the read
	defer watchdog.Stop()
	res, err := c.open(ctx, "/eth/v1/events", "topics=head", "text/event-stream")
	if err != nil {
		return 0, ErrUnavailable.Wrap(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, named(statusError(res), "events")
	}
	err = readEvents(res.Body, func(topic string, data []byte) {
		h, ok := c.parseHead(topic, data)
		if !ok {
			c.metrics.ignored()
			return
		}
		watchdog.Reset(stall)
		heads++
		c.metrics.headSeen(h.Slot)
		emit(h)
	})
	return heads, err
}

// parseHead reads a head event that can be true: not of the future, by more
// than a slot of clock skew, nor of epochs long gone.
func (c *Client) parseHead(topic string, data []byte) (headEvent, bool) {
	if topic != "head" {
		return headEvent{}, false
	}
	var v struct {
		Slot     *phase0.Slot `json:"slot"`
		Block    *phase0.Root `json:"block"`
		Previous *phase0.Root `json:"previous_duty_dependent_root"`
		Current  *phase0.Root `json:"current_duty_dependent_root"`
	}
	if json.Unmarshal(data, &v) != nil || v.Slot == nil || v.Block == nil || v.Previous == nil || v.Current == nil {
		return headEvent{}, false
	}
	now, span := c.clock.Slot(), phase0.Slot(2*c.spec.SlotsPerEpoch)
	if *v.Slot > now+1 || (now > span && *v.Slot < now-span) {
		return headEvent{}, false
	}
	return headEvent{*v.Slot, *v.Block, *v.Previous, *v.Current}, true
}

// readEvents splits a stream of server-sent events. It returns when the stream
// ends or exceeds a limit. [HTML: server-sent events]
func readEvents(r io.Reader, emit func(topic string, data []byte)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), limitEvent)
	var topic string
	var data []byte
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 { // the end of an event
			if len(data) > 0 {
				emit(topic, data)
			}
			topic, data = "", data[:0]
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			topic = string(value)
		case "data":
			if len(data)+len(value)+1 > limitEvent {
				return ErrBadAnswer.With("an event of more than %d bytes", limitEvent)
			}
			if len(data) > 0 {
				data = append(data, '\n')
			}
			data = append(data, value...)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return ErrBadAnswer.With("a line of more than %d bytes", limitEvent)
	}
	if lines.Err() != nil {
		return ErrUnavailable.Wrap(lines.Err())
	}
	return ErrUnavailable.With("the event stream ended")
}

// backoff doubles from retryFirst to retryLast, with jitter.
type backoff struct{ last time.Duration }

func (b *backoff) reset() { b.last = 0 }

// next returns how long to wait after err: what the node asked for, if it did.
func (b *backoff) next(err error) time.Duration {
	b.last = min(max(2*b.last, retryFirst), retryLast)
	if asked := (retryAfter{}); errors.As(err, &asked) {
		return min(max(asked.wait, retryFirst), retryNotice)
	}
	return b.last/2 + rand.N(b.last/2+1) // #nosec G404 -- spreads load, hides nothing
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
