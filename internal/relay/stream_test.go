package relay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/wire"
)

// streamer serves the header stream with feed, and getHeader with a bid worth 7.
type streamer struct {
	url              string
	handshake        http.Header
	uri              string
	streamed, polled atomic.Int32
}

func newStreamer(t *testing.T, feed func(ws *websocket.Conn)) *streamer {
	s := &streamer{}
	s.url = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, pathStream) {
			s.polled.Add(1)
			answerSSZ(w, bidWorth(t, 7).Encode(wire.SSZ))
			return
		}
		s.handshake, s.uri = r.Header.Clone(), r.RequestURI
		s.streamed.Add(1)
		up := websocket.Upgrader{EnableCompression: true}
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		feed(ws)
	})
	return s
}

// frame is a binary message of the stream.
func frame(kind, fork byte, body []byte) []byte { return append([]byte{kind, fork}, body...) }

func bidFrame(t testing.TB, wei uint64) []byte { return frame(1, 6, bidWorth(t, wei).Encode(wire.SSZ)) }

// hold keeps a stream open until the client goes.
func hold(ws *websocket.Conn) { _, _, _ = ws.ReadMessage() }

func closeNormally(ws *websocket.Conn) {
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	hold(ws)
}

func onStream(cfg *Config) { cfg.Stream, cfg.StreamGrace = true, -1 }

func TestStream(t *testing.T) {
	s := newStreamer(t, func(ws *websocket.Conn) {
		for wei := range uint64(3) {
			_ = ws.WriteMessage(websocket.TextMessage, []byte("hello"))
			_ = ws.WriteMessage(websocket.BinaryMessage, bidFrame(t, wei+1))
			time.Sleep(3 * decodePace)
		}
		closeNormally(ws)
	})
	c := dialTo(t, s.url, func(cfg *Config) {
		onStream(cfg)
		cfg.Params = map[string]string{"id": "1"}
		cfg.Headers = map[string]string{"X-Api-Key": "k"}
	})
	offers, err := collect(t, c, budget(t, time.Second), request())
	if err != nil || len(offers) != 3 || newest(offers).Bid.Value.Uint64() != 3 || s.polled.Load() != 0 {
		t.Errorf("got %d offers, %v, polled %d times", len(offers), err, s.polled.Load())
	}
	want := fmt.Sprintf("%s7/%#x/%#x?id=1", pathStream, request().ParentHash, request().Pubkey)
	if s.uri != want {
		t.Errorf("got %s, want %s", s.uri, want)
	}
	h := s.handshake
	if h.Get("User-Agent") != "sidecar/test bn/1" || h.Get("X-Api-Key") != "k" || len(h.Get(headDate)) != 13 || len(h.Get(headTimeout)) != 3 ||
		h.Get("Authorization") != "" || h.Get("Sec-Websocket-Extensions") != "" {
		t.Errorf("handshake %v", h)
	}
}

func TestStream_Frames(t *testing.T) {
	good := bidWorth(t, 1).Encode(wire.SSZ)
	for name, c := range map[string]struct {
		frame  []byte
		offers int
	}{
		"bid":            {frame(1, 6, good), 1},
		"empty":          {nil, 0},
		"one byte":       {[]byte{1}, 0},
		"no body":        {[]byte{1, 6}, 0},
		"other type":     {frame(2, 6, good), 0},
		"other fork":     {frame(1, 5, good), 0},
		"unknown fork":   {frame(1, 200, good), 0},
		"body cut":       {frame(1, 6, good[:len(good)-1]), 0},
		"body too long":  {frame(1, 6, append(bytes.Clone(good), 0)), 0},
		"body is binary": {frame(1, 6, bytes.Repeat([]byte{0xff}, 2000)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStreamer(t, func(ws *websocket.Conn) {
				_ = ws.WriteMessage(websocket.BinaryMessage, c.frame)
				closeNormally(ws)
			})
			offers, err := collect(t, dialTo(t, s.url, onStream), budget(t, time.Second), request())
			if err != nil || len(offers) != c.offers {
				t.Errorf("got %d offers, %v", len(offers), err)
			}
			// What is bad is skipped; the good one after it counts.
			s = newStreamer(t, func(ws *websocket.Conn) {
				_ = ws.WriteMessage(websocket.BinaryMessage, c.frame)
				time.Sleep(2 * decodePace)
				_ = ws.WriteMessage(websocket.BinaryMessage, bidFrame(t, 5))
				closeNormally(ws)
			})
			offers, err = collect(t, dialTo(t, s.url, onStream), budget(t, time.Second), request())
			if err != nil || len(offers) == 0 || newest(offers).Bid.Value.Uint64() != 5 {
				t.Errorf("then: got %d offers, %v", len(offers), err)
			}
		})
	}
}

// what is no stream, or breaks before a bid, is asked over HTTP.
func TestStream_Fallback(t *testing.T) {
	poll := answer("200 OK", typeSSZ, bidWorth(t, 7).Encode(wire.SSZ))
	upgrade := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
	accepted := func(then func(net.Conn)) func(*http.Request, net.Conn) {
		return func(r *http.Request, c net.Conn) {
			_, _ = fmt.Fprintf(c, "%s%s\r\n\r\n", upgrade, acceptKey(r.Header.Get("Sec-Websocket-Key")))
			then(c)
		}
	}
	for name, feed := range map[string]func(*http.Request, net.Conn){
		"404": func(_ *http.Request, c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"))
		},
		"200":            func(_ *http.Request, c net.Conn) { _, _ = c.Write([]byte(poll)) },
		"redirect":       func(_ *http.Request, c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 302 X\r\nLocation: /\r\n\r\n")) },
		"bad accept key": func(_ *http.Request, c net.Conn) { _, _ = c.Write([]byte(upgrade + "AAAA\r\n\r\n")) },
		"closed":         func(*http.Request, net.Conn) {},
		"reset":          func(_ *http.Request, c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
		"endless header": func(_ *http.Request, c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = c.Write([]byte("HTTP/1.1 101 X\r\n" + strings.Repeat("X-Junk: y\r\n", 1000)))
			}
		},
		"compression": func(r *http.Request, c net.Conn) {
			_, _ = fmt.Fprintf(c, "%s%s\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n\r\n",
				upgrade, acceptKey(r.Header.Get("Sec-Websocket-Key")))
		},
		"1 GiB frame":    accepted(func(c net.Conn) { _, _ = c.Write(binary.BigEndian.AppendUint64([]byte{0x82, 127}, 1<<30)) }),
		"2^63 frame":     accepted(func(c net.Conn) { _, _ = c.Write(binary.BigEndian.AppendUint64([]byte{0x82, 127}, 1<<63)) }),
		"masked frame":   accepted(func(c net.Conn) { _, _ = c.Write([]byte{0x82, 0x81, 1, 2, 3, 4, 5}) }),
		"reserved bits":  accepted(func(c net.Conn) { _, _ = c.Write([]byte{0xf2, 1, 5}) }),
		"ends at once":   accepted(func(net.Conn) {}),
		"fragment storm": accepted(func(c net.Conn) { storm(c, 1<<16) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := newHijacker(t, feed, poll)
			offers, err := collect(t, dialTo(t, relay, onStream), budget(t, time.Second), request())
			if err != nil || len(offers) != 1 || offers[0].Bid.Value.Uint64() != 7 {
				t.Errorf("got %d offers, %v", len(offers), err)
			}
		})
	}
}

// newHijacker gives feed the raw connection of a stream's handshake.
func newHijacker(t *testing.T, feed func(*http.Request, net.Conn), poll string) string {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if strings.HasPrefix(r.URL.Path, pathStream) {
			feed(r, conn)
			return
		}
		_, _ = conn.Write([]byte(poll))
	})
}

// storm writes one message in fragments of size bytes, until the client goes.
func storm(c net.Conn, size int) {
	part := append(binary.BigEndian.AppendUint64([]byte{0x02, 127}, uint64(size)), make([]byte, size)...)
	for {
		if _, err := c.Write(part); err != nil {
			return
		}
		part[0] = 0
	}
}

// A storm of empty fragments never makes a message; the deadline ends it.
func TestStream_EmptyFragments(t *testing.T) {
	relay := newHijacker(t, func(r *http.Request, c net.Conn) {
		_, _ = fmt.Fprintf(c, "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n\x02\x00", acceptKey(r.Header.Get("Sec-Websocket-Key")))
		for err := error(nil); err == nil; {
			_, err = c.Write(make([]byte, 4096))
		}
	}, "")
	c := dialTo(t, relay, onStream)
	timely(t, shortBudget, func() {
		_, err := collect(t, c, budget(t, shortBudget), request())
		wantFault(t, err, ErrTimeout)
	})
}

// A handshake without an answer takes all the time, unless there is a grace.
func TestStream_Silent(t *testing.T) {
	mute := func(r *http.Request, c net.Conn) { _, _ = c.Read(make([]byte, 1)) }
	s := newStreamer(t, hold)
	poll := answer("200 OK", typeSSZ, bidWorth(t, 7).Encode(wire.SSZ))
	for name, c := range map[string]struct {
		url    string
		grace  time.Duration
		offers int
		want   *fault.Fault
	}{
		"handshake":        {newHijacker(t, mute, poll), -1, 0, ErrTimeout},
		"handshake, grace": {newHijacker(t, mute, poll), 0, 1, nil},
		"stream":           {s.url, -1, 0, ErrTimeout},
		"stream, grace":    {s.url, 20 * time.Millisecond, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := dialTo(t, c.url, func(cfg *Config) { cfg.Stream, cfg.StreamGrace = true, c.grace })
			timely(t, shortBudget, func() {
				offers, err := collect(t, client, budget(t, shortBudget), request())
				wantFault(t, err, c.want)
				if len(offers) != c.offers {
					t.Errorf("got %d offers, want %d", len(offers), c.offers)
				}
			})
		})
	}
}

// of a flood the newest stays, at a bounded price.
func TestStream_Flood(t *testing.T) {
	const frames = 10_000
	bids := make([][]byte, frames)
	for i := range bids {
		bids[i] = bidFrame(t, uint64(i+1))
	}
	s := newStreamer(t, func(ws *websocket.Conn) {
		for _, b := range bids {
			if ws.WriteMessage(websocket.BinaryMessage, b) != nil {
				return
			}
		}
		closeNormally(ws)
	})
	c := dialTo(t, s.url, onStream)
	before := cpu(t)
	start := time.Now()
	offers, err := collect(t, c, budget(t, 5*time.Second), request())
	if err != nil || len(offers) == 0 || newest(offers).Bid.Value.Uint64() != frames {
		t.Fatalf("got %d offers, %v", len(offers), err)
	}
	took := time.Since(start)
	if limit := int(took/decodePace) + 2; len(offers) > limit {
		t.Errorf("%d bids decoded in %v, want at most %d", len(offers), took, limit)
	}
	if used := cpu(t) - before; used > 2*time.Second { // relay and client together
		t.Errorf("used %v of CPU", used)
	}
}

func cpu(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A bid kept is worth more than how the stream ended; proofs go over HTTP.
func TestStream_BidThenBroken(t *testing.T) {
	s := newStreamer(t, func(ws *websocket.Conn) {
		_ = ws.WriteMessage(websocket.BinaryMessage, bidFrame(t, 3))
		_, _ = ws.NetConn().Write([]byte{0xf2, 1, 5})
	})
	offers, err := collect(t, dialTo(t, s.url, onStream), budget(t, time.Second), request())
	if err != nil || len(offers) != 1 || s.polled.Load() != 0 {
		t.Errorf("got %d offers, %v, polled %d times", len(offers), err, s.polled.Load())
	}
	r := request()
	r.WithProofs = true
	_, _ = collect(t, dialTo(t, s.url, onStream), budget(t, time.Second), r)
	if s.streamed.Load() != 1 {
		t.Error("proofs were asked for on the stream")
	}
}

func FuzzIsBidFrame(f *testing.F) {
	f.Add([]byte{1, 6, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if isBidFrame(chain.Fulu, frame) && (frame[0] != 1 || frame[1] != 6) {
			t.Errorf("%x is no bid", frame)
		}
	})
}
