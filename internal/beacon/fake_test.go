package beacon

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// recorded returns the body of a recorded answer.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata/prysm", name))
	if err != nil {
		t.Fatal(err)
	}
	_, body, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !ok {
		t.Fatalf("%s has no body", name)
	}
	return body
}

// prysmSpec is the chain of the recordings.
func prysmSpec() chain.Spec {
	return chain.Spec{
		Name: "prysm", ChainID: 1337, GenesisTime: time.Unix(1795329861, 0), GenesisForkVersion: phase0.Version{0x20, 0, 0, 0x89},
		SlotDuration: 2 * time.Second, SlotsPerEpoch: 32,
		Forks: []chain.ForkAt{{Fork: chain.Deneb}, {Fork: chain.Electra}, {Fork: chain.Fulu}},
	}
}

// node is a beacon node with knobs: a path with an answer of its own gives that,
// the others what was recorded.
type node struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]answer
	counts  map[string]int
	events  chan string // raw text of the event stream; closed ends it
	streams int
}

type answer struct {
	status int
	body   string
	header string // Retry-After
	hang   bool
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{answers: map[string]answer{}, counts: map[string]int{}, events: make(chan string, 100)}
	for path, file := range map[string]string{
		"/eth/v1/beacon/genesis":                          "eth_v1_beacon_genesis.http",
		"/eth/v1/config/spec":                             "eth_v1_config_spec.http",
		"/eth/v1/node/syncing":                            "eth_v1_node_syncing.http",
		"/eth/v1/beacon/headers/head":                     "eth_v1_beacon_headers_head.http",
		"/eth/v1/beacon/headers/146":                      "eth_v1_beacon_headers_head.http",
		"/eth/v1/beacon/states/head/finality_checkpoints": "eth_v1_beacon_states_head_finality_checkpoints.http",
		"/eth/v1/validator/duties/proposer/4":             "eth_v1_validator_duties_proposer_4.http",
		"/eth/v1/validator/duties/proposer/5":             "eth_v1_validator_duties_proposer_5.http",
		"/eth/v2/beacon/blocks/146":                       "eth_v2_beacon_blocks_head.http",
	} {
		n.answers[path] = answer{status: 200, body: string(recorded(t, file))}
	}
	n.answers["/eth/v1/validator/duties/proposer/6"] = answer{status: 400, body: string(recorded(t, "eth_v1_validator_duties_proposer_6.http"))}
	n.Server = httptest.NewServer(http.HandlerFunc(n.serve))
	t.Cleanup(func() { n.CloseClientConnections(); n.Close() })
	return n
}

func (n *node) set(path string, a answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[path] = a
}

// edit replaces text in an answer.
func (n *node) edit(path, from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.answers[path]
	if !strings.Contains(a.body, from) {
		panic("no such text: " + from)
	}
	a.body = strings.ReplaceAll(a.body, from, to)
	n.answers[path] = a
}

func (n *node) count(path string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts[path]
}

func (n *node) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/eth/v1/events" {
		n.stream(w, r)
		return
	}
	n.mu.Lock()
	a, ok := n.answers[r.URL.Path]
	n.counts[r.URL.Path]++
	n.mu.Unlock()
	if !ok {
		a = answer{status: 404, body: `{"code":404}`}
	}
	if a.hang {
		<-r.Context().Done()
		return
	}
	if a.header != "" {
		w.Header().Set("Retry-After", a.header)
	}
	w.WriteHeader(a.status)
	fmt.Fprint(w, a.body)
}

func (n *node) stream(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	n.streams++
	n.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case e, ok := <-n.events:
			if !ok {
				return
			}
			if _, err := fmt.Fprint(w, e); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}
}

// clockAt is a clock that stands `into` into a slot, and moves on.
func clockAt(spec chain.Spec, slot phase0.Slot) *chain.Clock {
	began, real := spec.GenesisTime.Add(time.Duration(slot)*spec.SlotDuration), time.Now()
	return chain.NewClock(spec, func() time.Time { return began.Add(time.Since(real)) })
}

func newTestClient(t *testing.T, n *node, clock *chain.Clock) *Client {
	t.Helper()
	c, err := New(Config{URL: n.URL, Spec: prysmSpec(), Clock: clock, Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(4 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}
