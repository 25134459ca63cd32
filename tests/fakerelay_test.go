package tests

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/bls"
)

// Media types and the header that names the fork.
const (
	mediaJSON = "application/json"
	mediaSSZ  = "application/octet-stream"
	version   = "Eth-Consensus-Version"
)

// fakeRelay is a relay on a real socket, with a key of its own. It is honest
// where no plan for a parent hash says otherwise.
type fakeRelay struct {
	name    string
	secret  *bls.SecretKey
	network *network
	value   uint64 // wei, of its honest bids
	address string
	stop    chan struct{} // closed when the test ends

	mu     sync.Mutex
	plans  map[phase0.Hash32]script
	always script // of calls without a parent hash; nil: honest
	calls  []*call
}

// script answers one call. It returns whether the connection lives on.
type script func(c *call) (keep bool)

// call is one request, read to its end.
type call struct {
	*http.Request
	relay  *fakeRelay
	conn   *net.TCPConn
	body   []byte
	slot   phase0.Slot
	parent phase0.Hash32 // of a header or a block, else zero
	block  *apielectra.SignedBlindedBeaconBlock
}

// newRelay starts a relay whose key is made from its number.
func newRelay(t testing.TB, n *network, name string, number byte, value uint64) *fakeRelay {
	t.Helper()
	r := &fakeRelay{name: name, secret: secretKey(t, number), network: n, value: value, stop: make(chan struct{}), plans: map[phase0.Hash32]script{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			wg.Go(func() {
				r.serve(conn.(*net.TCPConn))
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		close(r.stop)
		_ = l.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return r
}

func secretKey(t testing.TB, number byte) *bls.SecretKey {
	t.Helper()
	secret, err := bls.ParseSecretKey(append(bytes.Repeat([]byte{0x17}, 31), number))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// url is how the configuration names the relay.
func (r *fakeRelay) url() string {
	return fmt.Sprintf("http://%s@%s", r.secret.PublicKey(), r.address)
}

// entry is the relay's table in the configuration.
func (r *fakeRelay) entry(table string) string {
	return fmt.Sprintf("[[%s]]\nid = %q\nurl = %q\n", table, r.name, r.url())
}

// plan says how calls about a parent hash are answered.
func (r *fakeRelay) plan(parent phase0.Hash32, s script) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plans[parent] = s
}

// others says how calls about no parent hash are answered.
func (r *fakeRelay) others(s script) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.always = s
}

// seen returns the calls about a parent hash, to paths with the ending.
func (r *fakeRelay) seen(parent phase0.Hash32, ending string) (out []*call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if c.parent == parent && strings.HasSuffix(c.URL.Path, ending) {
			out = append(out, c)
		}
	}
	return out
}

// awaitSeen waits until there are n calls, and returns what there is.
func (r *fakeRelay) awaitSeen(n int, parent phase0.Hash32, ending string) (out []*call) {
	for range 400 {
		if out = r.seen(parent, ending); len(out) >= n {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return out
}

func (r *fakeRelay) serve(conn *net.TCPConn) {
	in := bufio.NewReaderSize(conn, 64<<10)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		c := &call{Request: req, relay: r, conn: conn}
		if c.body, err = io.ReadAll(req.Body); err != nil {
			return
		}
		c.understand()
		r.mu.Lock()
		r.calls = append(r.calls, c)
		s := r.always
		if c.parent != (phase0.Hash32{}) || c.slot != 0 {
			s = r.plans[c.parent]
		}
		r.mu.Unlock()
		if s == nil {
			s = honest
		}
		if !s(c) {
			return
		}
	}
}

// understand finds what the request is about.
func (c *call) understand() {
	parts := strings.Split(c.URL.Path, "/")
	switch {
	case c.is("blinded_blocks"):
		c.block = new(apielectra.SignedBlindedBeaconBlock)
		var err error
		if c.Header.Get("Content-Type") == mediaSSZ {
			err = c.block.UnmarshalSSZ(c.body)
		} else {
			err = c.block.UnmarshalJSON(c.body)
		}
		if err != nil {
			c.block = nil
			return
		}
		c.slot, c.parent = c.block.Message.Slot, c.block.Message.Body.ExecutionPayloadHeader.ParentHash
	case len(parts) == 8 && strings.HasPrefix(parts[4], "header"):
		n, _ := strconv.ParseUint(parts[5], 10, 64)
		c.slot = phase0.Slot(n)
		b, _ := hex.DecodeString(strings.TrimPrefix(parts[6], "0x"))
		copy(c.parent[:], b)
	}
}

// is says whether the call is to a path with this ending, or for a header.
func (c *call) is(what string) bool {
	if what == "header" {
		return c.Method == http.MethodGet && c.slot != 0
	}
	return strings.HasSuffix(c.URL.Path, what)
}

// write sends bytes and says whether the caller is still there.
func (c *call) write(s string) bool {
	_, err := io.WriteString(c.conn, s)
	return err == nil
}

// wait sleeps, or says no because the test is over.
func (c *call) wait(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-c.relay.stop:
		return false
	}
}

// message is a whole HTTP answer. Each header line ends with CRLF.
func message(status int, headers string, body []byte) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n%sContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), headers, len(body), body)
}

// status answers with a status and nothing else.
func status(code int) script {
	return func(c *call) bool { return c.write(message(code, "", nil)) }
}

// raw answers with the bytes of s and closes.
func raw(s string) script {
	return func(c *call) bool { c.write(s); return false }
}

// typed is the header lines of an answer in one of the encodings.
func (c *call) typed(media string) string {
	return "Content-Type: " + media + "\r\n" + version + ": " + c.relay.network.fork(c.slot) + "\r\n"
}

// prefersSSZ says which encoding the caller wants.
func (c *call) prefersSSZ() bool { return strings.HasPrefix(c.Header.Get("Accept"), mediaSSZ) }

// honest is what a good relay does.
func honest(c *call) bool {
	switch {
	case c.is("header"):
		return c.offer(c.bid(nil))
	case c.is("/eth/v2/builder/blinded_blocks"):
		return c.write(message(http.StatusAccepted, "", nil))
	case c.is("blinded_blocks") && c.block != nil:
		return c.deliver(c.payload())
	case c.is("blinded_blocks"):
		return c.write(message(http.StatusBadRequest, "", []byte("block does not decode")))
	}
	return c.write(message(http.StatusOK, "", nil))
}

// noBid knows no block, and takes what it is given.
func noBid(c *call) bool {
	if c.is("header") {
		return c.write(message(http.StatusNoContent, "", nil))
	}
	return honest(c)
}

// parentOf makes a parent hash of a test case's name.
func parentOf(name string) phase0.Hash32 { return sha256.Sum256([]byte(name)) }
