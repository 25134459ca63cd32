package simnet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	apiv1 "github.com/attestantio/go-eth2-client/api/v1"
	"github.com/attestantio/go-eth2-client/spec/electra"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
)

// fault is one slot's trouble and what the proposer makes of it.
type fault struct {
	name   string
	fault  Fault
	on     string
	turn   func(*RelayKnobs)
	source Source
	err    string // part of the outcome's; empty: none
}

// play breaks the relay in another way in every slot.
func play(t *testing.T, o Options, faults []fault) *Relay {
	t.Helper()
	n, ctx := start(t, o)
	r := n.Relays[0]
	n.SetBuilderURL(r.URL)
	slot := phase0.Slot(1)
	for _, f := range faults {
		var err error
		for try := 0; try < tries && (try == 0 || err != nil); try++ {
			err = f.play(ctx, n, slot)
			slot = n.Clock.Slot() + 1
		}
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
	return r
}

// play breaks the relay for one slot.
func (f fault) play(ctx context.Context, n *Net, slot phase0.Slot) error {
	r := n.Relays[0]
	r.Set(func(k *RelayKnobs) {
		*k = RelayKnobs{}
		if f.turn != nil {
			f.turn(k)
		}
	})
	r.Break(f.on, f.fault)
	defer r.Break(f.on, Fault{})
	got, err := n.OutcomeOf(ctx, slot)
	if err != nil {
		return err
	}
	if got.Source != f.source || (got.Err == nil) != (f.err == "") || !strings.Contains(fmt.Sprint(got.Err), f.err) && f.err != "" {
		return fmt.Errorf("got %s %w, want %s %q", got.Source, got.Err, f.source, f.err)
	}
	return nil
}

func TestFaults_Header(t *testing.T) {
	t.Parallel()
	play(t, Options{SSZ: true}, []fault{
		{"bad signature", Fault{}, "", func(k *RelayKnobs) { k.BadSignature = true }, FromLocal, "wrong signature"},
		{"wrong parent", Fault{}, "", func(k *RelayKnobs) { k.WrongParent = true }, FromLocal, "another parent"},
		{"value 0", Fault{}, "", func(k *RelayKnobs) { k.Value = new(uint256.Int) }, FromLocal, "value 0"},
		{"no SSZ", Fault{}, "", func(k *RelayKnobs) { k.NoSSZ = true }, FromLocal, "406"},
		{"500", Fault{Status: 500, Body: []byte("<html>")}, "header", nil, FromLocal, "500"},
	})
}

func TestFaults_Network(t *testing.T) {
	t.Parallel()
	r := play(t, Options{SSZ: true}, []fault{
		{"well", Fault{}, "", nil, FromBuilder, ""},
		{"drop", Fault{Drop: true}, "header", nil, FromLocal, "get header"},
		{"silent", Fault{Silent: true}, "header", nil, FromLocal, "deadline"},
		{"slow", Fault{Delay: 100 * time.Millisecond}, "header", nil, FromBuilder, ""},
		{"withheld", Fault{}, "", func(k *RelayKnobs) { k.Withhold = true }, Missed, "no block appeared"},
		{"refused", Fault{Status: 502}, "submit_v2", nil, Missed, "502, want 202"},
		{"well again", Fault{}, "", nil, FromBuilder, ""},
	})
	calls := r.Calls("submit_v2")
	if len(calls) == 0 || calls[0].Status != http.StatusAccepted || calls[0].Header.Get("Eth-Consensus-Version") != "fulu" || len(calls[0].Body) == 0 {
		t.Errorf("calls of submit_v2: %d", len(calls))
	}
}

// TestFaults_V1 plays the lies of v1, where the payload comes back.
func TestFaults_V1(t *testing.T) {
	t.Parallel()
	play(t, Options{Fork: chain.Electra}, []fault{
		{"unpublished", Fault{}, "", func(k *RelayKnobs) { k.NoPublish = true }, FromBuilder, ""},
		{"wrong payload", Fault{}, "", func(k *RelayKnobs) { k.WrongPayload = true }, Missed, "not the one that was signed"},
		{"withheld", Fault{}, "", func(k *RelayKnobs) { k.Withhold = true }, Missed, "400"},
	})
}

// TestBeaconAPI reads the beacon node with the official types.
func TestBeaconAPI(t *testing.T) {
	t.Parallel()
	n, ctx := start(t, Options{Builders: []BuilderOptions{}})
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, n.Beacon.URL+"/eth/v1/events?topics=head,payload_attributes", nil)
	c := newClient()
	defer c.CloseIdleConnections()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := n.OutcomeOf(ctx, 2); err != nil {
		t.Fatal(err)
	}
	stream := make([]byte, 16<<10)
	got, _ := io.ReadAtLeast(res.Body, stream, 3000)
	events := strings.Split(string(stream[:got]), "\n\n")
	var head apiv1.HeadEvent
	for _, e := range events {
		if data, ok := strings.CutPrefix(e, "event: head\ndata: "); ok {
			if err := head.UnmarshalJSON([]byte(data)); err != nil {
				t.Errorf("%v in %s", err, data)
			}
			break
		}
	}
	if head.Slot != 1 {
		t.Errorf("head event of slot %d, want 1", head.Slot)
	}
	var header struct{ Data apiv1.BeaconBlockHeader }
	var block struct{ Data electra.SignedBeaconBlock }
	var duties struct{ Data []apiv1.ProposerDuty }
	for path, into := range map[string]any{
		"/eth/v1/beacon/headers/1": &header, "/eth/v2/beacon/blocks/1": &block, "/eth/v1/validator/duties/proposer/1": &duties,
	} {
		status, body := call(t, ctx, http.MethodGet, n.Beacon.URL+path, nil)
		if err := json.Unmarshal(body, into); status != 200 || err != nil {
			t.Fatalf("%s: %d %v", path, status, err)
		}
	}
	root, err := block.Data.Message.HashTreeRoot()
	if err != nil || header.Data.Root != root || head.Block != root || head.State != block.Data.Message.StateRoot {
		t.Errorf("roots differ: block %#x, header %#x, event %#x, %v", root, header.Data.Root, head.Block, err)
	}
	if got := len(duties.Data); got != 8 || duties.Data[0].Slot != 8 || duties.Data[0].PubKey != n.ProposerOf(8).Pubkey {
		t.Errorf("%d duties, first %+v", got, duties.Data[0])
	}
	statuses(t, ctx, n)
}

// statuses asks every route that has no test of its own.
func statuses(t *testing.T, ctx context.Context, n *Net) {
	t.Helper()
	for path, want := range map[string]int{
		"/eth/v1/validator/duties/proposer/9": 400, "/eth/v1/beacon/headers/99": 404, "/eth/v2/beacon/blocks/x": 400,
		"/eth/v1/node/health": 200, "/eth/v1/beacon/states/head/finality_checkpoints": 200, "/eth/v1/config/spec": 200,
		"/eth/v1/config/fork_schedule": 200, "/eth/v1/node/version": 200, "/eth/v1/node/syncing": 200, "/eth/v1/beacon/genesis": 200,
		"/eth/v2/validator/duties/proposer/0": 200, "/eth/v1/beacon/states/head/fork": 200, "/eth/v1/events": 400,
	} {
		if got, body := call(t, ctx, http.MethodGet, n.Beacon.URL+path, nil); got != want {
			t.Errorf("%s: %d %s, want %d", path, got, body, want)
		}
	}
	n.Beacon.SetSyncing(true)
	if got, _ := call(t, ctx, http.MethodGet, n.Beacon.URL+"/eth/v1/node/health", nil); got != 206 {
		t.Errorf("health while syncing %d, want 206", got)
	}
}
