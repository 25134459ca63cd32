package main

import (
	"context"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"sidecar/internal/simnet"
)

// headers asks for the header of the running slot, again and again, as the beacon
// node does once.
type headers struct {
	url  string
	net  *simnet.Net
	took []time.Duration
	late int // answers that took longer than a beacon node waits
	none int // without a bid: not counted
}

const beaconPatience = time.Second

func (h *headers) askFor(ctx context.Context, d time.Duration) {
	client := &fasthttp.Client{ReadTimeout: 5 * time.Second}
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	over := time.After(d)
	for {
		select {
		case <-ctx.Done():
			return
		case <-over:
			return
		case <-pace.C:
			h.ask(client)
		}
	}
}

// ask asks for the slot to come: its page closes in good time, and the relay has
// a bid for it or has none; the way to the relay and back is the same.
func (h *headers) ask(client *fasthttp.Client) {
	slot := h.net.Clock.Slot()
	v := h.net.ProposerOf(slot)
	parent := h.net.Execution.Head().ParentHash
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.SetRequestURI(fmt.Sprintf("%s/eth/v1/builder/header/%d/%s/%s", h.url, slot, parent, v.Pubkey))
	begin := time.Now()
	err := client.Do(req, res)
	took := time.Since(begin)
	switch {
	case err != nil || took > beaconPatience:
		h.late++
	case res.StatusCode() != fasthttp.StatusOK:
		h.none++
	}
	h.took = append(h.took, took)
}

func (h *headers) take() []time.Duration {
	took := h.took
	h.took, h.late, h.none = nil, 0, 0
	return took
}

func (h *headers) report(idle []time.Duration) {
	fmt.Printf("         getHeader: idle p50 %.2f p99 %.2f ms (%d), under load p50 %.2f p99 %.2f ms (%d, %d without a bid), late %d; p99 over idle %.2f ms\n",
		ms(at(idle, 50)), ms(at(idle, 99)), len(idle), ms(at(h.took, 50)), ms(at(h.took, 99)), len(h.took), h.none, h.late, ms(at(h.took, 99)-at(idle, 99)))
}
