package relay

import (
	"bytes"
	"context"
	"math"
	"net"
	"net/http"
	"strconv"

	"github.com/gorilla/websocket"

	"sidecar/chain"
	"sidecar/fault"
)

// The header stream on the wire: one WebSocket per getHeader. A binary frame is
// a message type, a fork, and an SSZ SignedBuilderBid. [Commit-Boost: header stream]

const (
	frameHead = 2
	frameBid  = 1
)

// frameForks are the forks by their number in a frame.
var frameForks = [...]chain.Fork{chain.Phase0, chain.Altair, chain.Bellatrix, chain.Capella, chain.Deneb, chain.Electra, chain.Fulu, chain.Gloas}

// isBidFrame says whether a frame claims to be a bid of fork.
func isBidFrame(fork chain.Fork, frame []byte) bool {
	return len(frame) > frameHead && frame[0] == frameBid && int(frame[1]) < len(frameForks) && frameForks[frame[1]] == fork
}

// headConn bounds what a handshake may read: net/http's reader does not.
type headConn struct {
	net.Conn
	left int64
}

func (c *headConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, ErrProtocol.With("handshake over %d bytes", headLimit)
	}
	n, err := c.Conn.Read(p)
	c.left -= int64(n)
	return n, err
}

// readStream opens the stream and publishes its bids until it or ctx ends. It
// returns nil if the relay closed it in good order.
func (c *Client) readStream(ctx context.Context, r HeaderRequest, s *stream) error {
	ws, err := c.openStream(ctx, r, s)
	if err != nil {
		return err
	}
	// The socket itself is closed: TLS's farewell could block.
	drop := func() { _ = ws.NetConn().(*headConn).Conn.(*conn).raw.Close() }
	defer drop()
	defer context.AfterFunc(ctx, drop)()
	ws.SetReadLimit(headerLimit)
	// Nothing is ever sent after the handshake.
	ws.SetPingHandler(func(string) error { return nil })
	ws.SetCloseHandler(func(int, string) error { return nil })
	if err := ws.SetReadDeadline(deadlineOf(ctx)); err != nil {
		return ErrStream.Wrap(err)
	}
	frame, bad := new(bytes.Buffer), 0
	for {
		kind, reader, err := ws.NextReader()
		if err == nil && kind != websocket.BinaryMessage {
			continue
		}
		if err == nil {
			frame.Reset()
			_, err = frame.ReadFrom(reader)
		}
		switch {
		case err == nil && isBidFrame(r.Fork, frame.Bytes()):
			frame = s.publish(frame, c.clock.Now())
		case err == nil:
			if bad++; bad == 1 {
				c.cfg.Log.Warn("Stream frame skipped", "relay", c.cfg.ID, "slot", uint64(r.Slot), "bytes", frame.Len())
			}
		case websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived):
			return nil
		case isTimeout(err) || ctx.Err() != nil:
			return ErrTimeout
		default:
			return ErrStream.With("%s", clip(err.Error(), 100))
		}
	}
}

// openStream performs the handshake by ctx's deadline. Faults: ErrStream for an
// answer other than a stream, those of dial, and ErrTimeout.
func (c *Client) openStream(ctx context.Context, r HeaderRequest, s *stream) (*websocket.Conn, error) {
	var head *headConn
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		cn, err := c.pool.dial(ctx, &s.phase)
		if err != nil {
			return nil, err
		}
		s.phase.Store(awaiting)
		head = &headConn{Conn: cn, left: headLimit}
		return head, nil
	}
	d := websocket.Dialer{NetDialContext: dial, NetDialTLSContext: dial, ReadBufferSize: 16 << 10, WriteBufferSize: 1 << 10}
	scheme := "ws://"
	if c.target.secure {
		scheme = "wss://"
	}
	now := c.clock.Now()
	header := http.Header{}
	header.Set("User-Agent", c.userAgent(r.UserAgent))
	for _, kv := range c.extra {
		header.Set(kv[0], kv[1])
	}
	header.Set(headDate, strconv.FormatInt(now.UnixMilli(), 10))
	header.Set(headTimeout, strconv.FormatInt(max(deadlineOf(ctx).Sub(now).Milliseconds(), 1), 10))
	ws, resp, err := d.DialContext(ctx, scheme+c.target.host+headerPath(pathStream, &r)+c.target.query, header)
	switch {
	case err == nil && resp.Header.Get("Sec-Websocket-Extensions") == "":
		head.left = math.MaxInt64
		return ws, nil
	case err == nil: // gorilla would decompress for a server that was not asked to compress
		_ = head.Conn.(*conn).raw.Close()
		return nil, ErrStream.With("extension not asked for")
	case isTimeout(err) && fault.Of(err) == nil:
		return nil, timeoutIn(s.phase.Load())
	case resp != nil:
		return nil, ErrStream.With("handshake answered %d", resp.StatusCode)
	case fault.Of(err) != nil:
		return nil, err
	default:
		return nil, ErrStream.With("%s", clip(err.Error(), 100))
	}
}
