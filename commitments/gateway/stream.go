package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/gorilla/websocket"

	"sidecar/commitments"
	"sidecar/internal/httpd"
)

// Limits of a subscription. What comes too slowly off our hands is cut off: the
// subscriber comes back with the id of the last event it had.
const (
	heartbeat   = 15 * time.Second
	writeWithin = 5 * time.Second // of one write to a subscriber
	streamFor   = time.Hour
)

// past is a deadline that fails what waits on a connection.
var past = time.Unix(1, 0)

// serveSubscribe tells what becomes of requests, as it happens: server-sent
// events, or JSON frames over WebSocket to whoever asks to upgrade.
func (g *Gateway) serveSubscribe(w http.ResponseWriter, r *http.Request) {
	remote, _ := netip.ParseAddrPort(r.RemoteAddr) // the zero address on a listener without
	from := asked{remote: remote.Addr().Unmap(), header: func(name string) string { return strings.Join(r.Header.Values(name), ", ") }}
	c, err := g.greet(from)
	if err != nil {
		refuse(w, err)
		return
	}
	hashes, err := subscribed(r)
	if err != nil {
		refuse(w, err)
		return
	}
	s, leave, err := g.hub.join(c)
	if err != nil {
		refuse(w, err)
		return
	}
	defer leave()
	g.Metrics.subscribers(g.hub.len())
	defer func() { leave(); g.Metrics.subscribers(g.hub.len()) }()
	for _, hash := range hashes {
		s.seen[hash] = nil
	}
	last := r.Header.Get("Last-Event-ID") // [HTML: server-sent events]
	if last == "" {
		last = r.URL.Query().Get("last_event_id")
	}
	ctx, cancel := context.WithTimeout(r.Context(), streamFor)
	defer cancel()
	if websocket.IsWebSocketUpgrade(r) {
		g.socket(ctx, w, r, c, s, last)
		return
	}
	g.events(ctx, w, s, last)
}

func refuse(w http.ResponseWriter, err error) {
	if f := retryHeader(err); f != "" {
		w.Header().Set("Retry-After", f)
	}
	httpd.Refuse(w, err)
}

// subscribed reads which requests a subscription is about.
func subscribed(r *http.Request) (hashes []phase0.Hash32, err error) {
	for _, text := range r.URL.Query()["request_hash"] {
		hash, err := parseHash(text)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	switch {
	case len(hashes) > perSubscriber:
		return nil, ErrParams.With("more than %d request hashes", perSubscriber)
	case len(hashes) == 0 && !websocket.IsWebSocketUpgrade(r):
		return nil, ErrParams.With("request_hash is missing")
	}
	return hashes, nil
}

// events is a subscription as server-sent events. It ends when every request's
// story has; a subscriber who comes back for more is told that there is none.
func (g *Gateway) events(ctx context.Context, w http.ResponseWriter, s *subscriber, last string) {
	g.resumeAt(s, last)
	first, done := g.tell(s)
	if len(first) == 0 && done {
		w.WriteHeader(http.StatusNoContent) // an EventSource asks no more
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // for a proxy in between
	out := http.NewResponseController(w)
	write := func(text string) bool {
		slow := time.AfterFunc(g.writeWithin, func() { _ = out.SetWriteDeadline(past) })
		defer slow.Stop()
		_, err := w.Write([]byte(text))
		return err == nil && out.Flush() == nil
	}
	if !write("retry: 1000\n" + eventText(first)) {
		return
	}
	beat := time.NewTicker(g.heartbeat)
	defer beat.Stop()
	for !done {
		text := ":\n\n"
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		case <-s.wake:
			var news []commitments.Update
			if news, done = g.tell(s); len(news) == 0 {
				continue
			}
			text = eventText(news)
		}
		if !write(text) {
			g.Metrics.dropped()
			return
		}
	}
}

func eventText(news []commitments.Update) string {
	var b strings.Builder
	for _, n := range news {
		text, _ := json.Marshal(n) // plain fields cannot fail
		fmt.Fprintf(&b, "id: %s\nevent: status\ndata: %s\n\n", n.ID, text)
	}
	return b.String()
}

// resumeAt lets a subscriber go on where it was.
func (g *Gateway) resumeAt(s *subscriber, id string) {
	for hash := range s.seen {
		if status, err := g.Status(hash); err == nil && id != "" {
			s.from(id, status)
		}
	}
}

// tell returns what a subscriber has not heard, and whether that was all that
// will ever come.
func (g *Gateway) tell(s *subscriber) (news []commitments.Update, done bool) {
	done = true
	for hash := range s.seen {
		status, err := g.Status(hash)
		if err != nil { // nobody asked for it yet
			done = false
			continue
		}
		news = append(news, s.news(status)...)
		done = done && status.State == commitments.StateFinal
	}
	return news, done
}
