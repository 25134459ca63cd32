package beacon

import (
	"errors"
	"strings"
	"testing"
)

// TestBlock_header: the recorded header hashes to the recorded root, and one that
// does not is refused.
func TestBlock_header(t *testing.T) {
	n := newNode(t)
	c := newTestClient(t, n, clockAt(prysmSpec(), 147))
	b, err := c.Block(t.Context(), 146)
	if err != nil || b.Header == nil || b.Bid {
		t.Fatalf("%+v, %v", b, err)
	}
	if root, err := b.Header.HashTreeRoot(); err != nil || root != b.Root {
		t.Errorf("the header's root is %#x, want %#x", root, b.Root)
	}
	if root, err := c.Root(t.Context(), 146); err != nil || root != b.Root {
		t.Errorf("root %#x, %v", root, err)
	}
	n.edit("/eth/v1/beacon/headers/146", b.Header.BodyRoot.String(), "0x"+strings.Repeat("11", 32))
	if _, err := c.Block(t.Context(), 146); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("a header of another body: %v", err)
	}
}

func TestRoot_missed(t *testing.T) {
	n := newNode(t)
	c := newTestClient(t, n, clockAt(prysmSpec(), 147))
	if root, err := c.Root(t.Context(), 145); err != nil || !root.IsZero() {
		t.Errorf("root %#x, %v", root, err)
	}
	n.set("/eth/v1/beacon/headers/145", answer{status: 200, body: string(recorded(t, "eth_v1_beacon_headers_head.http"))})
	if _, err := c.Root(t.Context(), 145); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("the header of another slot: %v", err)
	}
}

// TestBlock_bid: a Gloas block holds a bid in place of its payload. [EIP-7732]
func TestBlock_bid(t *testing.T) {
	n := newNode(t)
	c := newTestClient(t, n, clockAt(prysmSpec(), 147))
	n.edit("/eth/v2/beacon/blocks/146", `"execution_payload":`, `"signed_execution_payload_bid":{"message":{"block_hash":"0x`+strings.Repeat("22", 32)+`"}},"x":`)
	b, err := c.Block(t.Context(), 146)
	if err != nil || !b.Bid || b.ExecutionHash.String() != "0x"+strings.Repeat("22", 32) {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestOrphaned(t *testing.T) {
	n := newNode(t)
	c := newTestClient(t, n, clockAt(prysmSpec(), 147))
	for body, want := range map[string]bool{
		`{"data":[]}`:                                       false,
		`{"data":[{"canonical":true}]}`:                     false,
		`{"data":[{"canonical":false}]}`:                    true,
		`{"data":[{"canonical":true},{"canonical":false}]}`: true,
		`{"data":[{}]}`:                                     false,
	} {
		n.set("/eth/v1/beacon/headers", answer{status: 200, body: body})
		if got, err := c.Orphaned(t.Context(), 145); err != nil || got != want {
			t.Errorf("%s: %t, %v", body, got, err)
		}
	}
	n.set("/eth/v1/beacon/headers", answer{status: 404})
	if got, err := c.Orphaned(t.Context(), 145); err != nil || got {
		t.Errorf("a node that keeps none: %t, %v", got, err)
	}
	n.set("/eth/v1/beacon/headers", answer{status: 503})
	if _, err := c.Orphaned(t.Context(), 145); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a node that is down: %v", err)
	}
}
