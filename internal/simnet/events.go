package simnet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// hub hands events to their listeners.
type hub struct {
	mu        sync.Mutex
	listeners map[chan string][]string // to the topics wanted
}

func (h *hub) join(topics []string) chan string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = map[chan string][]string{}
	}
	c := make(chan string, 64)
	h.listeners[c] = topics
	return c
}

func (h *hub) leave(c chan string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, c)
}

// publish never waits: a listener that does not read loses events.
func (h *hub) publish(topic string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		return
	}
	text := fmt.Sprintf("event: %s\ndata: %s\n\n", topic, data)
	h.mu.Lock()
	defer h.mu.Unlock()
	for c, topics := range h.listeners {
		if slices.Contains(topics, topic) {
			select {
			case c <- text:
			default:
			}
		}
	}
}

// serveEvents is GET /eth/v1/events: server-sent events until the caller leaves.
func (b *Beacon) serveEvents(w http.ResponseWriter, r *http.Request, _ []byte) {
	var topics []string
	for _, t := range r.URL.Query()["topics"] {
		topics = append(topics, strings.Split(t, ",")...)
	}
	if len(topics) == 0 {
		fail(w, http.StatusBadRequest, fmt.Errorf("no topics"))
		return
	}
	c := b.events.join(topics)
	defer b.events.leave(c)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	_, _ = fmt.Fprint(w, ":\n\n")
	for flush.Flush() == nil {
		select {
		case <-r.Context().Done():
			return
		case text := <-c:
			if _, err := fmt.Fprint(w, text); err != nil {
				return
			}
		}
	}
}

// The publish methods hold the beacon node's lock.

func (b *Beacon) publishHead(in block, epochTransition bool) {
	e := b.spec.Epoch(in.slot())
	b.events.publish("block", map[string]any{
		"slot": fmt.Sprint(in.slot()), "block": hex(in.root[:]), "execution_optimistic": false,
	})
	current, previous := b.dependentRoot(e), b.dependentRoot(e-min(e, 1))
	state := in.header.Message.StateRoot
	b.events.publish("head", map[string]any{
		"slot": fmt.Sprint(in.slot()), "block": hex(in.root[:]), "state": hex(state[:]),
		"epoch_transition": epochTransition, "execution_optimistic": false,
		"previous_duty_dependent_root": hex(previous[:]), "current_duty_dependent_root": hex(current[:]),
	})
}

func (b *Beacon) publishFinal(e phase0.Epoch) {
	at := b.checkpoint(e)
	state := at.header.Message.StateRoot
	b.events.publish("finalized_checkpoint", map[string]any{
		"block": hex(at.root[:]), "state": hex(state[:]), "epoch": fmt.Sprint(e), "execution_optimistic": false,
	})
}

// publishAttributes tells builders what a block on the head must be like, once
// per slot and parent.
func (b *Beacon) publishAttributes(slot phase0.Slot) {
	head := b.head
	if b.proposed[slot] == head.hash {
		return
	}
	b.proposed[slot] = head.hash
	delete(b.proposed, slot-min(slot, 64))
	who, randao := b.proposer(slot), b.randao(slot)
	b.events.publish("payload_attributes", map[string]any{
		"version": b.fork.String(),
		"data": map[string]any{
			"proposer_index": fmt.Sprint(who.Index), "proposal_slot": fmt.Sprint(slot),
			"parent_block_number": fmt.Sprint(head.payload.BlockNumber),
			"parent_block_root":   hex(head.root[:]), "parent_block_hash": hex(head.hash[:]),
			"payload_attributes": map[string]any{
				"timestamp": fmt.Sprint(b.timestamp(slot)), "prev_randao": hex(randao[:]),
				"suggested_fee_recipient": hex(who.FeeRecipient[:]), "withdrawals": []any{},
				"parent_beacon_block_root": hex(head.root[:]),
			},
		},
	})
}
