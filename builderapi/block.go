package builderapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/httpd"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// submitV1 answers with the payload. [Builder API: submitBlindedBlock]
func (s *Service) submitV1(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	enc, err := httpd.Negotiate(r.Header("Accept"))
	if err != nil {
		return httpd.Response{}, err
	}
	d, err := s.submit(ctx, r, false)
	if err != nil {
		return httpd.Response{}, err
	}
	body, err := d.payload.Encode(enc)
	if err != nil {
		return httpd.Response{}, err
	}
	return httpd.Encoded(enc, d.payload.Fork, body), nil
}

// submitV2 answers 202 and nothing else: the relay publishes the block. Any
// other status, 200 included, makes clients report a failure.
// [Builder API: submitBlindedBlockV2]
func (s *Service) submitV2(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	if _, err := s.submit(ctx, r, true); err != nil {
		return httpd.Response{}, err
	}
	return httpd.Response{Status: http.StatusAccepted}, nil
}

// submit is journey c. The block is signed; from here on nothing may stop it:
// it is handed over on the service's own time, whoever hangs up and whatever
// stops. The same block again joins the first.
func (s *Service) submit(ctx context.Context, r httpd.Request, v2 bool) (*delivery, error) {
	block, err := s.readBlock(r)
	if err != nil {
		return nil, err
	}
	log := s.Log.With("slot", uint64(block.Slot), "block_hash", block.BlockHash.String())
	d, first, err := s.blocks.join(block, v2)
	if err != nil {
		s.Metrics.block(v2, fault.Code(err))
		log.Error("A second block of this proposer and slot is not forwarded", "proposer_index", uint64(block.ProposerIndex))
		return nil, err
	}
	if first {
		userAgent := strings.Clone(r.Header("User-Agent"))
		s.detach(func(work context.Context) { s.deliver(work, d, block, v2, userAgent, log) })
	}
	select {
	case <-d.done:
	case <-ctx.Done():
		return nil, ErrNoPayload.With("no relay delivered in time")
	}
	if first {
		s.Metrics.block(v2, fault.Code(d.err))
	}
	return d, d.err
}

// readBlock decodes the little we look at. The fork comes from the slot; a
// header that says otherwise is refused, a missing one is forgiven.
func (s *Service) readBlock(r httpd.Request) (*wire.BlindedBlock, error) {
	enc, err := httpd.ContentType(r.Header("Content-Type"))
	if err != nil {
		return nil, err
	}
	slot, err := wire.SlotOf(enc, r.Body)
	if err != nil {
		return nil, err
	}
	if now := s.Clock.Slot(); slot > now+32 || slot+32 < now {
		return nil, commitments.ErrSlotRange.With("slot %d, now %d", slot, now)
	}
	fork := s.Spec.Fork(slot)
	if !fork.Served() {
		return nil, ErrUnserved.With("slot %d is %s", slot, fork)
	}
	if v := r.Header("Eth-Consensus-Version"); v != "" && chain.ParseFork(v) != fork {
		return nil, ErrVersion.With("slot %d is %s", slot, fork)
	}
	body, _ := r.Keep() // the relays outlive the request
	return wire.DecodeBlindedBlock(fork, enc, body)
}

// deliver hands the block to the relays until one has delivered, and then to
// the rest all the same. One budget covers everything: the end of the slot.
func (s *Service) deliver(work context.Context, d *delivery, b *wire.BlindedBlock, v2 bool, userAgent string, log *slog.Logger) {
	ctx, cancel := context.WithDeadline(work, s.submitBy(b.Slot))
	defer cancel()
	d.inTime = s.Clock.Into(b.Slot) < s.Spec.SlotDuration/3
	first, rest := s.takers(b, log)
	results := make(chan handover, len(first)+len(rest))
	trusted := len(first) == 0 || !v2
	hand := func(relays []Relay, offered bool) {
		via := route{v2, offered || trusted}
		for _, to := range relays {
			s.detach(func(context.Context) {
				p, err := s.hand(ctx, to, b, via, userAgent)
				results <- handover{to, offered, p, err}
			})
		}
	}
	hand(first, true)
	headStart := time.NewTimer(restAfter)
	defer headStart.Stop()
	waiting, restGiven := len(first), len(rest) == 0
	if len(first) == 0 {
		waiting, restGiven = len(rest), true
		hand(rest, false)
	}
	var took []string // of those that offered it
	for won := false; waiting > 0 || !restGiven; {
		var h handover
		select {
		case h = <-results:
			waiting--
			if h.err == nil && h.offered {
				took = append(took, h.relay.Name())
			}
			won = s.tally(d, h, b, won, trusted, log)
		case <-headStart.C:
		}
		if !restGiven && (won || waiting == 0 || h.relay == nil) {
			restGiven = true
			waiting += len(rest)
			hand(rest, false)
		}
	}
	d.finish(nil, ErrNoPayload.With("no payload from relays")) // unless somebody delivered
	s.offered.settle(b.Slot)
	if d.payload != nil {
		s.letGo(b, d)
	}
	if v2 && d.inTime && s.Slots != nil && len(took) > 0 {
		s.watch(b.Slot, took)
	}
	if d.err != nil {
		log.Error("NO RELAY DELIVERED THE BLOCK", "relays", len(first)+len(rest))
	}
}

// restAfter is the head start of the relays that offered the block. A relay
// that did not can only help once they fail; meanwhile its "unknown block" says
// nothing.
const restAfter = 500 * time.Millisecond

// submitBy is the end of the block's slot; a second from now for one that is
// over, and two slots from now for one that is far ahead.
func (s *Service) submitBy(slot phase0.Slot) time.Time {
	now := s.Clock.Now()
	end, least, most := s.Clock.Start(slot+1), now.Add(time.Second), now.Add(2*s.Spec.SlotDuration)
	switch {
	case end.Before(least):
		return least
	case end.After(most):
		return most
	}
	return end
}

// handover is how one relay took the block.
type handover struct {
	relay   Relay
	offered bool
	payload *wire.Payload
	err     error
}

// tally judges a relay's answer: the first good one is the beacon node's. A
// relay that never offered the block proves nothing with a bare 202 while
// others did offer it (trusted). A refusal after a delivery (won) is no miss:
// relays refuse a block that is out already.
func (s *Service) tally(d *delivery, h handover, b *wire.BlindedBlock, won, trusted bool, log *slog.Logger) bool {
	reason := fault.Code(h.err)
	switch {
	case h.err == nil && (h.offered || trusted):
		if d.finish(h.payload, nil) {
			log.Info("Block delivered", "relay", h.relay.Name())
			if s.Delivered != nil {
				s.Delivered(b.Slot, b.ProposerIndex, b.BlockHash, h.relay.Name())
			}
		}
		s.offered.settle(b.Slot)
		if h.offered {
			s.box.delivered(h.relay.Name())
		}
		won = true
	case h.err == nil:
		reason = "not_offered"
	case h.offered && (relayFault(h.err) || d.inTime && !won && errors.Is(h.err, relay.Err4xx)):
		s.box.missed(h.relay.Name(), b.Slot, b.Slot, reason)
	default:
		log.Warn("Relay did not take the block", "relay", h.relay.Name(), "reason", reason)
	}
	s.Metrics.handed(h.relay.Name(), reason)
	return won
}

// route is how a block goes to a relay.
type route struct {
	v2     bool
	orByV1 bool // where v2 fails, v1 is tried
}

// hand gives the block to one relay, again and again until the budget ends or
// the relay's answer is final. The pauses come out of the same budget.
func (s *Service) hand(ctx context.Context, to Relay, b *wire.BlindedBlock, via route, userAgent string) (*wire.Payload, error) {
	for pause := 25 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		p, err := s.handOnce(ctx, to, b, via, userAgent)
		if err == nil || !retryable(err) || !sleep(ctx, pause) {
			return p, err
		}
		s.Log.Debug("Handing the block over again", "relay", to.Name(), "reason", fault.Code(err))
	}
}

func (s *Service) handOnce(ctx context.Context, to Relay, b *wire.BlindedBlock, via route, userAgent string) (p *wire.Payload, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.SubmitTimeout)
	defer cancel()
	err = s.guarded(to, func() (err error) {
		if via.v2 {
			if err = to.SubmitV2(ctx, b, userAgent); err != nil && via.orByV1 {
				err = s.insteadByV1(ctx, to, b, userAgent, err)
			}
			return err
		}
		if p, err = to.SubmitV1(ctx, b, userAgent); err != nil {
			return err
		}
		return p.Matches(b)
	})
	return p, err
}

// insteadByV1 hands a block over v1 to a relay that answered v2 with an error: it
// may not serve v2, and without another relay the slot is lost. The relay
// publishes a v1 block, too; its payload, which we check and drop, is proof that
// it can. It returns nil, the error of v2 if that may pass, or else that of v1.
func (s *Service) insteadByV1(ctx context.Context, to Relay, b *wire.BlindedBlock, userAgent string, v2 error) error {
	if !errors.Is(v2, relay.ErrNoV2) && !errors.Is(v2, relay.Err4xx) && !errors.Is(v2, relay.Err5xx) {
		return v2
	}
	p, err := to.SubmitV1(ctx, b, userAgent)
	if err == nil {
		err = p.Matches(b)
	}
	switch {
	case err == nil:
		s.Log.Warn("Relay took the block over v1", "relay", to.Name(), "v2", fault.Code(v2))
	case retryable(v2):
		return v2
	}
	return err
}

// takers are the relays a block goes to: those that offered it, and the others
// of the validator's set. A block from before a restart is known to nobody; it
// goes to the set of its proposer if that is known, else to every relay, for a
// lost block is worse than a known one.
func (s *Service) takers(b *wire.BlindedBlock, log *slog.Logger) (first, rest []Relay) {
	o, known := s.offered.of(b.BlockHash)
	if !known {
		if s.Validators != nil {
			if key, ok := s.Validators.Pubkey(b.ProposerIndex); ok {
				if s.promised(b.Slot, key) { // holding a signed block back would lose it and cure nothing
					log.Error("The header of this block was not proven here; promises may be broken")
				}
				return nil, s.Sets.For(key).Relays
			}
		}
		log.Warn("Block of an unknown header goes to every relay")
		return nil, everyRelay(s.Sets)
	}
	for _, r := range s.Sets.For(o.set).Relays {
		if slices.Contains(o.relays, r.Name()) {
			first = append(first, r)
		} else {
			rest = append(rest, r)
		}
	}
	return first, rest
}

// promised says whether there are promises for a slot of a proposer.
func (s *Service) promised(slot phase0.Slot, proposer phase0.BLSPubKey) bool {
	if s.Pages == nil {
		return false
	}
	page := s.Pages.Page(commitments.PageID{Slot: slot, Proposer: proposer})
	return !page.Empty()
}
