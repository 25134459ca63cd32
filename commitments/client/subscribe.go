package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

const (
	comeBack = time.Second      // after a stream that broke
	silence  = 40 * time.Second // without a heartbeat a stream is dead; they come every 15 s
	maxEvent = 1 << 20          // bytes of one event
)

// Subscribe calls each with every step in the life of a request, oldest first,
// as it happens, until the last. A stream that breaks is taken up where it was;
// a step may come twice. It returns nil at the end of the story, the error of
// each, the gateway's refusal, or ctx's error. The request need not be made yet.
func (c *Client) Subscribe(ctx context.Context, hash phase0.Hash32, each func(commitments.Update) error) error {
	last := ""
	for {
		done, err := c.listen(ctx, hash, &last, each)
		var refused *Error
		switch {
		case done:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused) && refused.Status != http.StatusTooManyRequests && refused.Status < 500:
			return err
		}
		t := time.NewTimer(comeBack)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// listen reads one stream. done says that there is nothing to come back for.
func (c *Client) listen(ctx context.Context, hash phase0.Hash32, last *string, each func(commitments.Update) error) (done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dead := time.AfterFunc(silence, cancel)
	defer dead.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if *last != "" {
		header.Set("Last-Event-ID", *last)
	}
	res, err := c.send(ctx, http.MethodGet, "subscribe?request_hash="+hashText(hash), nil, header)
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }() // only read
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent:
		return true, nil
	default:
		text, _ := io.ReadAll(io.LimitReader(res.Body, maxEvent))
		return false, refusal(res, text)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 0, 4<<10), maxEvent)
	event := "" // complete only with the empty line behind it
	for lines.Scan() {
		dead.Reset(silence)
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			event = text
			continue
		}
		if lines.Text() != "" || event == "" {
			continue
		}
		text := event
		event = ""
		var u commitments.Update
		if err := json.Unmarshal([]byte(text), &u); err != nil {
			return true, fmt.Errorf("the gateway's event: %w", err)
		}
		if err := each(u); err != nil {
			return true, err
		}
		*last = u.ID
		if u.Step.State == commitments.StateFinal {
			return true, nil
		}
	}
	return false, lines.Err()
}
