package builderapi

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/httpd"
)

// query is one getHeader call.
type query struct {
	slot      phase0.Slot
	parent    phase0.Hash32
	validator phase0.BLSPubKey
	fork      chain.Fork
	userAgent string
}

func (q query) page() commitments.PageID {
	return commitments.PageID{Slot: q.slot, Proposer: q.validator}
}

// header is journey b. Whatever fails, the answer is a valid bid or 204, in
// time: with 204 the beacon node builds its own block.
func (s *Service) header(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	enc, err := httpd.Negotiate(r.Header("Accept"))
	if err != nil {
		return httpd.Response{}, err
	}
	q, err := s.parse(r)
	if err != nil {
		return httpd.Response{}, err
	}
	s.headers.enter() // before stopping is read: Drain waits for whoever still sees it false
	defer s.headers.leave()
	set := s.Sets.For(q.validator)
	into := r.Received.Sub(s.Clock.Start(q.slot))
	left := budget(set.Timeout, set.Late, into, callerTimeout(r.Header("X-Timeout-Ms")))
	left = min(left, s.AnswerWithin)
	s.Metrics.asked(into)
	log := s.Log.With("slot", uint64(q.slot), "into_ms", into.Milliseconds())
	switch {
	case s.stopping.Load() && !s.promised(q.slot, q.validator):
		return s.noBid(q, log, "stopping")
	case !q.fork.Served():
		return s.noBid(q, log, "fork_not_served")
	case s.Pages != nil && into < -s.PageSettles:
		return s.noBid(q, log, "early")
	case left <= 0:
		log.Warn("Late in slot, no relay is asked", "late_ms", set.Late.Milliseconds())
		return s.noBid(q, log, "late")
	}
	win, heard := s.auction(ctx, q, set, r.Received.Add(left))
	if win == nil {
		return s.noBid(q, log, "no_bid", heard...)
	}
	s.offered.served(q)
	s.Metrics.served(win.name(), &win.bid.Value, s.Clock.Now().Sub(r.Received))
	log.Info("Header served", "relay", win.name(), "block_hash", win.bid.Header.BlockHash.String(),
		"value_eth", ether(&win.bid.Value), "ms", s.Clock.Now().Sub(r.Received).Milliseconds())
	answer := httpd.Encoded(enc, q.fork, win.bid.Encode(enc))
	if s.Served != nil || len(heard) > 0 {
		answer.After = func() {
			s.tell(q, heard)
			if s.Served != nil {
				s.Served(q.page(), win.bid.Header.BlockHash, win.name())
			}
		}
	}
	return answer, nil
}

// tell shows the bids of an auction to who wants them.
func (s *Service) tell(q query, heard []Bid) {
	if len(heard) > 0 {
		s.Heard(q.page(), heard)
	}
}

func (s *Service) noBid(q query, log *slog.Logger, why string, heard ...Bid) (httpd.Response, error) {
	s.Metrics.noBid(why)
	log.Info("No header, the beacon node builds its own block", "reason", why)
	answer := httpd.Response{Status: http.StatusNoContent}
	if s.Unserved != nil || len(heard) > 0 {
		answer.After = func() {
			s.tell(q, heard)
			if s.Unserved != nil {
				s.Unserved(q.page(), why)
			}
		}
	}
	return answer, nil
}

// parse reads the path. Fault: ErrParameter.
func (s *Service) parse(r httpd.Request) (q query, err error) {
	slot, err := strconv.ParseUint(r.Param("slot"), 10, 64)
	if err != nil {
		return q, ErrParameter.With("slot is not a number")
	}
	if !unhex(q.parent[:], r.Param("parent_hash")) {
		return q, ErrParameter.With("parent_hash is not 32 bytes of 0x hex")
	}
	if !unhex(q.validator[:], r.Param("pubkey")) {
		return q, ErrParameter.With("pubkey is not 48 bytes of 0x hex")
	}
	q.slot = phase0.Slot(slot)
	q.fork = s.Spec.Fork(q.slot)
	q.userAgent = strings.Clone(r.Header("User-Agent"))
	return q, nil
}

func unhex(dst []byte, text string) bool {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok || len(digits) != 2*len(dst) {
		return false
	}
	_, err := hex.Decode(dst, []byte(digits))
	return err == nil
}

// deadlines of one auction.
type deadlines struct {
	collect time.Time // relays are heard until here
	answer  time.Time // a verification under way is awaited until here
}
