package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/commitments"
)

const (
	maxFrame   = 4 << 10 // bytes of a frame from a subscriber
	maxWaiting = 16      // frames of a subscriber that wait to be answered
)

// notice is a frame that nobody asked for.
type notice struct {
	Version string             `json:"jsonrpc"`
	Method  string             `json:"method"`
	Params  commitments.Update `json:"params"`
}

// socket is a subscription over WebSocket, in frames of JSON-RPC 2.0:
// preconf_subscribe and preconf_unsubscribe take a request hash, and what
// happens comes as the method preconf_subscription. It ends with the caller.
func (g *Gateway) socket(ctx context.Context, w http.ResponseWriter, r *http.Request, c caller, s *subscriber, last string) {
	// Origins are vetted before; there is no compression to bomb us with.
	up := websocket.Upgrader{HandshakeTimeout: writeWithin, ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10, CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	ctx, cancel := context.WithCancel(ctx)
	frames, alive := make(chan []byte, maxWaiting), make(chan struct{}, 1)
	read := make(chan struct{})
	go func() { // ends when the connection is closed, which is awaited
		defer close(read)
		defer cancel()
		readFrames(ctx, conn, frames, alive)
	}()
	defer func() { cancel(); _ = conn.Close(); <-read }()
	g.resumeAt(s, last)
	poke(s.wake)
	beat := time.NewTicker(g.heartbeat)
	defer beat.Stop()
	silent := 0 // heartbeats without a sign of life
	for {
		var out []any
		select {
		case <-ctx.Done():
			return
		case <-alive:
			silent = 0
			continue
		case <-beat.C:
			if silent++; silent > 2 || !g.inTime(conn, func() error { return conn.WriteMessage(websocket.PingMessage, nil) }) {
				g.Metrics.dropped()
				return
			}
			continue
		case frame := <-frames:
			if g.charge(c) != nil {
				g.Metrics.dropped()
				return
			}
			out = g.answerFrame(s, frame)
		case <-s.wake:
			news, _ := g.tell(s)
			for _, n := range news {
				out = append(out, notice{"2.0", "preconf_subscription", n})
			}
		}
		if !g.frames(conn, out) {
			g.Metrics.dropped()
			return
		}
	}
}

// readFrames hands on what a subscriber sends; more than waits is waited for.
func readFrames(ctx context.Context, conn *websocket.Conn, frames chan<- []byte, alive chan struct{}) {
	conn.SetReadLimit(maxFrame)
	conn.SetPongHandler(func(string) error { poke(alive); return nil })
	for {
		kind, frame, err := conn.ReadMessage()
		if err != nil || kind != websocket.TextMessage {
			return
		}
		poke(alive)
		select {
		case frames <- frame:
		case <-ctx.Done():
			return
		}
	}
}

// answerFrame does what a frame asks for.
func (g *Gateway) answerFrame(s *subscriber, frame []byte) []any {
	var r rpcRequest
	if !json.Valid(frame) {
		return []any{failure(null, ErrParse)}
	}
	if err := json.Unmarshal(frame, &r); err != nil || r.Version != "2.0" || !validID(r.ID) || r.ID == nil {
		return []any{failure(null, ErrRequest)}
	}
	hash, err := paramHash(r.Params)
	_, had := s.seen[hash]
	switch {
	case r.Method != "preconf_subscribe" && r.Method != "preconf_unsubscribe":
		return []any{failure(r.ID, ErrMethod)}
	case err != nil:
		return []any{failure(r.ID, err)}
	case r.Method == "preconf_unsubscribe":
		delete(s.seen, hash)
	case !had && len(s.seen) >= perSubscriber:
		return []any{failure(r.ID, ErrParams.With("more than %d request hashes", perSubscriber))}
	case !had:
		s.seen[hash] = []commitments.Step{}
		poke(s.wake)
	}
	return []any{&rpcResponse{Version: "2.0", ID: r.ID, Result: true}}
}

// frames writes frames, in time or not at all.
func (g *Gateway) frames(conn *websocket.Conn, out []any) bool {
	for _, one := range out {
		if !g.inTime(conn, func() error { return conn.WriteJSON(one) }) {
			return false
		}
	}
	return true
}

// inTime makes one write, which sets no deadline of its own, fail if it takes
// too long.
func (g *Gateway) inTime(conn *websocket.Conn, write func() error) bool {
	slow := time.AfterFunc(g.writeWithin, func() { _ = conn.NetConn().SetWriteDeadline(past) })
	defer slow.Stop()
	return write() == nil
}
