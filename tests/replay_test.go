package tests

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// emptyTransactions is the root of an empty list: Prysm refuses such a block.
const emptyTransactions = "0x7ffe241ea60187fdb0187bfa22de35d1f9bed7ab061d9401fd47e34a54fbede1"

// TestReplay sends what a real beacon node sent, byte for byte, and holds every
// answer to what that client demands of it. The recordings of the relay side
// are what mev-boost sent: a sidecar behind a sidecar.
func TestReplay(t *testing.T) {
	t.Parallel()
	for dir, fulu := range map[string]phase0.Slot{"electra-json": 3200, "fulu-ssz": 0} {
		for _, side := range []string{"1-bn-to-boost", "2-boost-to-relay"} {
			t.Run(dir+"/"+side, func(t *testing.T) {
				t.Parallel()
				replay(t, dir, side, newNetwork(20*time.Second, fulu))
			})
		}
	}
}

// replayed is one run over the recordings of a directory.
type replayed struct {
	t       *testing.T
	network *network
	relay   *fakeRelay
	process *process
	conn    net.Conn // one, as the client keeps it
	in      *bufio.Reader
	answers map[phase0.Hash32][]byte // payloads, by block hash
}

func replay(t *testing.T, dir, side string, n *network) {
	r := &replayed{t: t, network: n, relay: newRelay(t, n, "recorded", 1, 1), answers: map[phase0.Hash32][]byte{}}
	r.teach(recordings(t, dir+"/1-bn-to-boost"))
	r.process = start(t, n.toml()+"[pbs]\nport = 0\n"+r.relay.entry("relays"))
	var err error
	if r.conn, err = net.Dial("tcp", r.process.builder); err != nil {
		t.Fatal(err)
	}
	defer r.conn.Close()
	r.in = bufio.NewReader(r.conn)
	registrations := 0
	for _, one := range recordings(t, dir+"/"+side) {
		t.Run(one.file[:min(40, len(one.file))], func(t *testing.T) {
			a := r.send(t, one)
			switch {
			case strings.HasSuffix(one.path, "/status"):
				wantBare(t, a, http.StatusOK)
			case strings.HasSuffix(one.path, "/validators"):
				wantBare(t, a, http.StatusOK)
				r.forwarded(t, one, phase0.Hash32{}, "/validators", registrations)
				registrations++
			case one.method == http.MethodGet:
				r.checkHeader(t, one, a)
			default:
				r.checkBlock(t, one, a)
			}
		})
	}
}

// teach makes the relay offer the recorded bids and answer the recorded blocks.
// The bids are signed anew: they were for another relay's key, at another time.
func (r *replayed) teach(all []recorded) {
	for _, one := range all {
		switch {
		case one.method == http.MethodGet && one.status == http.StatusNoContent:
			r.relay.plan(parentIn(r.t, one.path), noBid)
		case one.method == http.MethodGet && strings.Contains(one.path, "/header/"):
			a := &answer{status: 200, body: one.answer, header: http.Header{"Content-Type": {one.header.Get("Accept")}}}
			fork := r.network.fork(2)
			a.header.Set(version, fork) // JSON answers of mev-boost have none
			bid := decodeBid(r.t, a, one.header.Get("Accept"), fork)
			r.relay.plan(bid.Message.Header.ParentHash, func(c *call) bool {
				if !c.is("header") {
					return r.take(c)
				}
				return c.offer(c.bid(func(b *signedBid) {
					message := *bid.Message
					header := *message.Header
					header.Timestamp, message.Header, message.Pubkey = b.Message.Header.Timestamp, &header, b.Message.Pubkey
					b.Message = &message
				}))
			})
		case strings.HasSuffix(one.path, "/v1/builder/blinded_blocks"):
			var p struct {
				Data struct {
					Payload struct {
						Hash phase0.Hash32 `json:"block_hash"`
					} `json:"execution_payload"`
				} `json:"data"`
			}
			if err := json.Unmarshal(one.answer, &p); err != nil {
				r.t.Fatal(err)
			}
			r.answers[p.Data.Payload.Hash] = one.answer
		}
	}
}

// take is the relay being handed a block.
func (r *replayed) take(c *call) bool {
	if c.block == nil || !c.is("/eth/v1/builder/blinded_blocks") {
		return honest(c)
	}
	body := r.answers[c.block.Message.Body.ExecutionPayloadHeader.BlockHash]
	return c.write(message(200, "Content-Type: application/json\r\n", body))
}

// send replays one request and reads the answer.
func (r *replayed) send(t *testing.T, one recorded) *answer {
	t.Helper()
	begin := time.Now()
	_ = r.conn.SetDeadline(begin.Add(20 * time.Second))
	if _, err := fmt.Fprintf(r.conn, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:28550\r\n%s\r\n%s", one.method, one.path, one.headers, one.body); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r.in, &http.Request{Method: one.method})
	if err != nil {
		t.Fatal(err)
	}
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	a.took = time.Since(begin)
	if resp.Close || a.header.Get("Content-Encoding") != "" {
		t.Errorf("answer headers %v, want an open connection and no coding", a.header)
	}
	return a
}

// wantBare checks a status whose body nobody reads.
func wantBare(t *testing.T, a *answer, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("answer %d %q, want exactly %d", a.status, a.body, status)
	}
}

// checkHeader is Prysm's judgement of a bid, as far as it needs no state.
func (r *replayed) checkHeader(t *testing.T, one recorded, a *answer) {
	if one.status == http.StatusNoContent {
		if a.status != http.StatusNoContent || len(a.body) > 0 {
			t.Errorf("answer %d %q, want 204 without a body", a.status, a.body)
		}
		return
	}
	if a.took > time.Second {
		t.Errorf("answer after %v, the client gave up after 1 s", a.took)
	}
	var slot phase0.Slot
	var rest string
	if _, err := fmt.Sscanf(one.path, "/eth/v1/builder/header/%d/%s", &slot, &rest); err != nil {
		t.Fatal(err)
	}
	fork := r.network.fork(slot)
	bid := decodeBid(t, a, one.header.Get("Accept"), fork)
	m := bid.Message
	switch h := m.Header; {
	case h.ParentHash != parentIn(t, one.path):
		t.Errorf("parent %s, asked for %s", h.ParentHash, one.path)
	case h.Timestamp != r.network.timestamp(slot):
		t.Errorf("timestamp %d, want %d", h.Timestamp, r.network.timestamp(slot))
	case h.TransactionsRoot.String() == emptyTransactions, m.Value.IsZero():
		t.Errorf("bid of %s with transactions %s, want neither empty", m.Value, h.TransactionsRoot)
	case h.GasLimit != 60_000_000:
		t.Errorf("gas limit %d is not the registered one", h.GasLimit)
	case !verified(bid, r.relay.secret.PublicKey()):
		t.Errorf("the signature is not the relay's")
	}
	seen := r.relay.seen(m.Header.ParentHash, "")
	if len(seen) != 1 || seen[0].RequestURI != one.path {
		t.Fatalf("relay was asked %d times, want once for %s", len(seen), one.path)
	}
	h := seen[0].Header
	left, err := strconv.Atoi(h.Get("X-Timeout-Ms"))
	if err != nil || left < 1 || left > 950 || h.Get("Date-Milliseconds") == "" || h.Get("Content-Encoding") != "" {
		t.Errorf("headers to the relay: %v", h)
	}
	if ua := h.Get("User-Agent"); !strings.HasPrefix(ua, "sidecar/") || !strings.HasSuffix(ua, one.header.Get("User-Agent")) {
		t.Errorf("User-Agent %q does not name sidecar and client", ua)
	}
}

// checkBlock checks what the client demands of a handed-over block, and that
// the relay got the very bytes.
func (r *replayed) checkBlock(t *testing.T, one recorded, a *answer) {
	var parent, hash phase0.Hash32
	calls := r.relay.awaitSeen(1, r.parentOfBlock(t, one), "blinded_blocks")
	if len(calls) == 1 && calls[0].block != nil {
		h := calls[0].block.Message.Body.ExecutionPayloadHeader
		parent, hash = h.ParentHash, h.BlockHash
	}
	r.forwarded(t, one, parent, one.path, 0)
	if strings.Contains(one.path, "/v2/") {
		if a.status != http.StatusAccepted || len(a.body) > 0 || a.header.Get("Content-Length") != "0" {
			t.Errorf("answer %d %q, want exactly 202 and an empty body", a.status, a.body)
		}
		return
	}
	fork := one.header.Get(version)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != mediaJSON || a.header.Get(version) != fork {
		t.Errorf("answer %d %v, want 200, JSON and %s", a.status, a.header, fork)
	}
	if want := r.answers[hash]; len(want) == 0 || !bytes.Equal(a.body, want) {
		t.Errorf("payload %.200q, want the relay's %.200q", a.body, want)
	}
}

// parentOfBlock finds the parent hash of a recorded block among the planned.
func (r *replayed) parentOfBlock(t *testing.T, one recorded) phase0.Hash32 {
	t.Helper()
	c := &call{Request: &http.Request{Header: one.header}, body: one.body}
	c.Request.URL = mustURL(t, one.path)
	c.understand()
	if c.block == nil {
		t.Fatal("recorded block does not decode")
	}
	return c.parent
}

// forwarded checks that the relay got the bytes that the client signed, once.
func (r *replayed) forwarded(t *testing.T, one recorded, parent phase0.Hash32, ending string, before int) {
	t.Helper()
	calls := r.relay.awaitSeen(before+1, parent, ending)
	if len(calls) != before+1 {
		t.Fatalf("relay was called %d times at %s, want %d", len(calls), ending, before+1)
	}
	c := calls[before]
	if !bytes.Equal(c.body, one.body) {
		t.Errorf("relay got other bytes:\n%.300q\nwant\n%.300q", c.body, one.body)
	}
	for _, name := range []string{"Content-Type", version} {
		if got, want := c.Header.Get(name), one.header.Get(name); got != want {
			t.Errorf("relay got %s %q, want %q", name, got, want)
		}
	}
}
