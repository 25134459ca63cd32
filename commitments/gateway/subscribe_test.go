package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/gorilla/websocket"

	"sidecar/commitments"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/modules"
)

// sse is a subscription over a real socket.
type sse struct {
	t    *testing.T
	body *bufio.Scanner
	res  *http.Response
	stop context.CancelFunc
}

func subscribe(t *testing.T, url string, hash phase0.Hash32, last string, header ...string) *sse {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(stop)
	req, err := http.NewRequestWithContext(ctx, "GET", url+rest+fmt.Sprintf("subscribe?request_hash=%#x", hash[:]), nil)
	if err != nil {
		t.Fatal(err)
	}
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return &sse{t, bufio.NewScanner(res.Body), res, stop}
}

// next reads one event.
func (s *sse) next() (id string, u commitments.Update) {
	s.t.Helper()
	for s.body.Scan() {
		switch line := s.body.Text(); {
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "data: "):
			if err := json.Unmarshal([]byte(line[6:]), &u); err != nil || u.ID != id {
				s.t.Fatalf("%s: %v", line, err)
			}
			return id, u
		}
	}
	s.t.Fatalf("the stream ended: %v", s.body.Err())
	return "", u
}

// want reads events with these states, and returns the id of the last.
func (s *sse) want(states ...commitments.State) (id string) {
	s.t.Helper()
	var u commitments.Update
	for _, state := range states {
		if id, u = s.next(); u.Step.State != state {
			s.t.Fatalf("got %+v, want %s", u.Step, state)
		}
	}
	return id
}

// note writes into the ledger what other parts of the sidecar would.
func (h *house) note(e ledger.Entry) {
	h.t.Helper()
	if err := h.Signer.Note(h.t.Context(), h.id(), e); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) judge(hash phase0.Hash32, stage commitments.Stage, o commitments.Outcome) {
	h.note(ledger.Entry{Kind: ledger.KindVerdict, Verdict: &commitments.Verdict{RequestHash: hash, Outcome: o, Stage: stage}})
}

// TestSubscribe: a searcher hears each step as it happens, comes back where it
// was, also to another process, and is told when there is no more.
func TestSubscribe(t *testing.T) {
	h, hash := open(t), request('a', 1).Hash()
	h.spawn(h.watch)
	url := h.serve()
	s := subscribe(t, url, hash, "") // before anybody asks for the promise
	if s.res.StatusCode != 200 || s.res.Header.Get("Content-Type") != "text/event-stream" || s.res.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d %v", s.res.StatusCode, s.res.Header)
	}
	if status, body := ask(t, "POST", url+rest+"commitmentRequest", "", text(t, request('a', 1))); status != 200 {
		t.Fatal(body)
	}
	var seen []commitments.State
	for len(seen) == 0 || seen[len(seen)-1] != commitments.StateReleased {
		_, u := s.next()
		seen = append(seen, u.Step.State)
	}
	if got := fmt.Sprint(seen); !strings.Contains(got, "journaled") || !strings.Contains(got, "signed released") {
		t.Errorf("got %v", seen)
	}
	h.setSlot(104, -3*time.Second)
	h.closePages()
	at := s.want(commitments.StateSealed, commitments.StatePosted)
	h.note(ledger.Entry{Kind: ledger.KindHeaderServed, Note: map[string]string{"relay": "r1", "block_hash": phase0.Hash32{7}.String()}})
	s.want(commitments.StateBidVerified)
	s.stop()

	// It comes back with what it had.
	again := subscribe(t, url, hash, at)
	again.want(commitments.StateBidVerified)
	again.stop()

	// Another process knows less, and tells what it knows from the beginning.
	h.halt()
	h.start()
	h.spawn(h.watch)
	url = h.serve()
	other := subscribe(t, url, hash, at)
	last := other.want(commitments.StateJournaled, commitments.StateSigned, commitments.StateSealed, commitments.StatePosted, commitments.StateBidVerified)
	other.stop()
	more := subscribe(t, url, hash, last)
	h.judge(hash, commitments.Provisional, commitments.Kept)
	_, u := more.next()
	if u.Step.State != commitments.StateIncluded || u.Step.Stage != "provisional" || u.Status.Final {
		t.Errorf("provisional: %+v", u)
	}
	h.judge(hash, commitments.Final, commitments.Kept)
	end := more.want(commitments.StateIncluded, commitments.StateFinal)
	if more.body.Scan() && strings.TrimSpace(more.body.Text()) != "" {
		t.Errorf("after the end: %q", more.body.Text())
	}
	if done := subscribe(t, url, hash, end); done.res.StatusCode != http.StatusNoContent {
		t.Errorf("nothing more: got %d", done.res.StatusCode)
	}
	if all := subscribe(t, url, hash, "3-000000000000"); all.res.StatusCode != 200 {
		t.Errorf("an id of nobody: got %d", all.res.StatusCode)
	} else {
		all.want(commitments.StateJournaled)
	}
}

// TestSubscribe_Limits: so many and no more, one caller a quarter of them, and a
// place that is given up is free again.
func TestSubscribe_Limits(t *testing.T) {
	h := proxied(t, func(c *Config) { c.MaxSubscribers = 8; c.Access.Rate.Burst = 100 })
	url := h.serve()
	from := func(n int) *sse {
		return subscribe(t, url, phase0.Hash32{byte(n)}, "", "X-Forwarded-For", fmt.Sprintf("9.9.9.%d", n))
	}
	open := []*sse{from(1), from(1)}
	if s := from(1); s.res.StatusCode != 429 || s.res.Header.Get("Retry-After") == "" {
		t.Errorf("a third of one caller: got %d", s.res.StatusCode)
	}
	for n := 2; n < 5; n++ {
		open = append(open, from(n), from(n))
	}
	for i, s := range open {
		if s.res.StatusCode != 200 {
			t.Errorf("subscriber %d: got %d", i, s.res.StatusCode)
		}
	}
	if s := from(9); s.res.StatusCode != 429 {
		t.Errorf("a ninth: got %d", s.res.StatusCode)
	}
	open[0].stop()
	for end := time.Now().Add(30 * time.Second); h.hub.len() == 8; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a subscriber who left keeps its place")
		}
	}
	if s := from(9); s.res.StatusCode != 200 {
		t.Errorf("in its place: got %d", s.res.StatusCode)
	}
	for path, want := range map[string]int{"subscribe": 400, "subscribe?request_hash=0x00": 400, "subscribe?" + strings.Repeat("request_hash=0x"+strings.Repeat("00", 32)+"&", 65): 400} {
		if status, body := ask(t, "GET", url+rest+path, "", ""); status != want || !strings.Contains(body, "params_invalid") {
			t.Errorf("%.40s: got %d %s", path, status, body)
		}
	}
}

// TestSocket: the same over WebSocket, in JSON frames, with requests added and
// dropped on the way.
func TestSocket(t *testing.T) {
	h, hash := open(t), request('a', 1).Hash()
	h.spawn(h.watch)
	url := "ws" + strings.TrimPrefix(h.serve(), "http") + rest + "subscribe"
	if _, err := h.Commit(t.Context(), request('a', 1)); err != nil {
		t.Fatal(err)
	}
	c, res, err := websocket.DefaultDialer.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer res.Body.Close()
	send := func(text string) {
		t.Helper()
		if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		_, b, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	for frame, want := range map[string]string{
		`{`:                                     `{"jsonrpc":"2.0","id":null,"error":{"code":-32700`,
		`[]`:                                    `{"jsonrpc":"2.0","id":null,"error":{"code":-32600`,
		`{"jsonrpc":"2.0","method":"slots"}`:    `{"jsonrpc":"2.0","id":null,"error":{"code":-32600`,
		`{"jsonrpc":"2.0","id":1,"method":"x"}`: `{"jsonrpc":"2.0","id":1,"error":{"code":-32601`,
		`{"jsonrpc":"2.0","id":1,"method":"preconf_subscribe","params":["0x"]}`: `{"jsonrpc":"2.0","id":1,"error":{"code":-32602`,
	} {
		if send(frame); !strings.HasPrefix(read(), want) {
			t.Errorf("%s: want %s", frame, want)
		}
	}
	send(fmt.Sprintf(`{"jsonrpc":"2.0","id":"s","method":"preconf_subscribe","params":["%#x"]}`, hash[:]))
	if got := read(); got != `{"jsonrpc":"2.0","id":"s","result":true}` {
		t.Fatalf("got %s", got)
	}
	for _, state := range []commitments.State{commitments.StateJournaled, commitments.StateSigned} {
		var n notice
		if err := json.Unmarshal([]byte(read()), &n); err != nil || n.Method != "preconf_subscription" || n.Params.Step.State != state || n.Params.RequestHash != hash {
			t.Fatalf("got %+v, %v, want %s", n, err, state)
		}
	}
	send(fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"preconf_unsubscribe","params":["%#x"]}`, hash[:]))
	if got := read(); got != `{"jsonrpc":"2.0","id":2,"result":true}` {
		t.Fatalf("got %s", got)
	}
	if err := c.WriteMessage(websocket.TextMessage, make([]byte, maxFrame+1)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, _, err := c.ReadMessage(); err == nil {
		t.Error("a frame that is too large does not end the connection")
	}
}

// log is an events log of a test.
type eventLog struct {
	mu   sync.Mutex
	all  []modules.Event
	more chan struct{}
}

func (l *eventLog) add(e modules.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Seq = uint64(len(l.all) + 1)
	l.all = append(l.all, e)
	close(l.more)
	l.more = make(chan struct{})
}

func (l *eventLog) After(ctx context.Context, seq uint64) ([]modules.Event, error) {
	for {
		l.mu.Lock()
		out, more := l.all[min(int(seq), len(l.all)):], l.more
		l.mu.Unlock()
		if len(out) > 0 {
			return out, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TestStatus_Events: the log of events tells what the chain did, of our slot and
// no other, and wakes who waits.
func TestStatus_Events(t *testing.T) {
	log := &eventLog{more: make(chan struct{})}
	h, hash := open(t, func(c *Config) { c.Events = log }), request('a', 1).Hash()
	h.spawn(h.watch)
	h.spawn(h.follow)
	url := h.serve()
	if _, err := h.Commit(t.Context(), request('a', 1)); err != nil {
		t.Fatal(err)
	}
	s := subscribe(t, url, hash, "")
	s.want(commitments.StateJournaled, commitments.StateSigned)
	at := time.UnixMilli(1_790_000_000_000)
	for _, e := range []modules.Event{
		{Kind: modules.EventDuty, Slot: 104, Proposer: h.proposer.PublicKey()},
		{Kind: modules.EventBlockSeen, Slot: 103, Proposer: h.proposer.PublicKey(), BlockHash: phase0.Hash32{1}},
		{Kind: modules.EventBlockSeen, Slot: 104, Proposer: phase0.BLSPubKey{9}, BlockHash: phase0.Hash32{2}},
		{Kind: modules.EventPayloadDelivered, Slot: 104, BlockHash: phase0.Hash32{3}, Relay: "r1", At: at},
		{Kind: modules.EventBlockSeen, Slot: 104, Proposer: h.proposer.PublicKey(), BlockHash: phase0.Hash32{3}, At: at},
		{Kind: modules.EventReorg, Slot: 104, Proposer: h.proposer.PublicKey(), BlockHash: phase0.Hash32{3}, At: at},
	} {
		log.add(e)
	}
	_, u := s.next()
	if u.Step != (commitments.Step{State: commitments.StateProposed, AtMS: at.UnixMilli(), Relay: "r1", BlockHash: phase0.Hash32{3}.String()}) {
		t.Errorf("got %+v", u.Step)
	}
	s.want(commitments.StateOrphaned)
	if got, err := h.Status(hash); err != nil || got.State != commitments.StateOrphaned {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestStatus_Received: a request that is being worked on is received, and one
// that was refused leaves nothing.
func TestStatus_Received(t *testing.T) {
	h := open(t)
	url, hash := h.serve(), request('a', 1).Hash()
	inside, leave := make(chan struct{}), make(chan struct{})
	h.module.stall = func() { close(inside); <-leave }
	h.module.err = errConflict
	done := make(chan int, 1)
	go func() {
		status, _ := ask(t, "POST", url+rest+"commitmentRequest", "", text(t, request('a', 1)))
		done <- status
	}()
	<-inside
	path := url + rest + fmt.Sprintf("status/%#x", hash[:])
	want := fmt.Sprintf(`{"request_hash":"%#x","state":"received","final":false,"steps":[{"state":"received","at_ms":%d}],"unknown":[]}`, hash[:], h.Clock.Now().UnixMilli())
	if status, body := ask(t, "GET", path, "", ""); status != 200 || body != want {
		t.Errorf("inside: got %d %s\nwant %s", status, body, want)
	}
	close(leave)
	if status := <-done; status != 422 {
		t.Errorf("got %d", status)
	}
	if status, body := ask(t, "GET", path, "", ""); status != 404 || !strings.Contains(body, "commitment_not_found") {
		t.Errorf("refused: got %d %s", status, body)
	}
}

// pipes is a listener without buffers: what nobody reads is not written.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestSubscribe_SlowReader: who does not read is dropped, by either form, and
// holds up nobody.
func TestSubscribe_SlowReader(t *testing.T) {
	h := open(t)
	h.writeWithin = 50 * time.Millisecond
	h.spawn(h.watch)
	in := make(pipes)
	s, err := httpd.New(httpd.Config{Name: "gateway", Addr: "x", Routes: h.Routes(), Log: h.Log, Clock: h.Clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ServeListener(ctx, in) }()
	t.Cleanup(func() { stop(); close(in); <-done })
	for name, upgrade := range map[string]string{
		"events": "", "socket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
	} {
		asked := request(name[0], 1)
		hash := asked.Hash()
		c, server := net.Pipe()
		in <- server
		fmt.Fprintf(c, "GET %ssubscribe?request_hash=%#x HTTP/1.1\r\nHost: x\r\n%s\r\n", rest, hash[:], upgrade)
		body := bufio.NewReader(c)
		if _, err := http.ReadResponse(body, nil); err != nil { // the head, and no more
			t.Fatalf("%s: %v", name, err)
		}
		for h.hub.len() != 1 {
			time.Sleep(time.Millisecond)
		}
		if _, err := h.Commit(t.Context(), asked); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(30 * time.Second); h.hub.len() != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the subscriber is not dropped", name)
			}
		}
		_ = c.Close()
	}
}

// TestSubscribe_Heartbeat: a stream without news shows that it lives, and a
// socket whose peer does not answer is closed.
func TestSubscribe_Heartbeat(t *testing.T) {
	h := open(t)
	h.heartbeat = 10 * time.Millisecond
	url := h.serve()
	s := subscribe(t, url, phase0.Hash32{1}, "")
	for beats := 0; beats < 3; {
		if !s.body.Scan() {
			t.Fatalf("the stream ended: %v", s.body.Err())
		}
		if s.body.Text() == ":" {
			beats++
		}
	}
	s.stop()
	c, res, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(url, "http")+rest+"subscribe", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	defer res.Body.Close()
	pings := 0
	c.SetPingHandler(func(string) error { pings++; return nil }) // heard, and not answered
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, _, err := c.ReadMessage(); err == nil || pings != 2 {
		t.Errorf("after %d pings: %v", pings, err)
	}
}
