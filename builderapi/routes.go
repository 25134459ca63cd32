package builderapi

import (
	"context"
	"net/http"
	"runtime/debug"
	"time"

	"sidecar/fault"
	"sidecar/internal/httpd"
	"sidecar/internal/relay"
)

// Faults of this package. None of them is ever a 502 for a block: Prysm logs
// that status as a success (docs/operations.md, "What a lost block looks like").
var (
	ErrParameter    = fault.Define("invalid_parameter", fault.Invalid, "A path parameter of getHeader is not a slot, a hash or a public key.")
	ErrVersion      = fault.Define("consensus_version", fault.Invalid, "Eth-Consensus-Version contradicts the slot of the message.")
	ErrNoRelay      = fault.Define("no_relay", fault.Upstream, "No relay took the registrations.")
	ErrRelaysDown   = fault.Define("relays_unavailable", fault.Unavailable, "No relay answers its status endpoint.")
	ErrNoPayload    = fault.Define("no_payload", fault.Internal, "No relay delivered the block in time; the slot is most likely lost.")
	ErrEquivocation = fault.Define("proposer_equivocation", fault.Conflict, "Another block of this proposer and slot was submitted before; this one is not forwarded.")
	ErrUnserved     = fault.Define("fork_not_served", fault.Invalid, "The slot belongs to a fork whose blocks the sidecar does not know.")
)

// maxBlock and maxRegistrations bound request bodies, as Commit-Boost does.
const (
	maxBlock         = 20 << 20
	maxRegistrations = 20 << 20
)

// Routes is the Builder API. The timeouts of blocks are a backstop: a block is
// given until the end of its slot.
func (s *Service) Routes() []httpd.Route {
	slot := s.Spec.SlotDuration
	return []httpd.Route{
		{Name: "status", Method: http.MethodGet, Path: "/eth/v1/builder/status", Timeout: 5 * time.Second, Serve: s.status},
		{Name: "register_validators", Method: http.MethodPost, Path: "/eth/v1/builder/validators", Timeout: s.RegisterTimeout + time.Second, MaxBody: maxRegistrations, Serve: s.register},
		{Name: "get_header", Method: http.MethodGet, Path: "/eth/v1/builder/header/{slot}/{parent_hash}/{pubkey}", Timeout: 12 * time.Second, Serve: s.header},
		{Name: "submit_blinded_block", Method: http.MethodPost, Path: "/eth/v1/builder/blinded_blocks", Timeout: 3 * slot, MaxBody: maxBlock, Serve: s.submitV1},
		{Name: "submit_blinded_block_v2", Method: http.MethodPost, Path: "/eth/v2/builder/blinded_blocks", Timeout: 3 * slot, MaxBody: maxBlock, Serve: s.submitV2},
	}
}

// status is 200 if a relay is up, or at once when relays are not to be asked.
func (s *Service) status(ctx context.Context, _ httpd.Request) (httpd.Response, error) {
	if !s.RelayCheck {
		return httpd.Response{}, nil
	}
	relays := everyRelay(s.Sets)
	answers := make(chan error, len(relays))
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for _, r := range relays {
		s.detach(func(context.Context) { answers <- s.guarded(r, func() error { return r.Status(ctx) }) })
	}
	for range relays {
		select {
		case err := <-answers:
			if err == nil {
				return httpd.Response{}, nil
			}
		case <-ctx.Done():
			return httpd.Response{}, ErrRelaysDown.With("no answer in time")
		}
	}
	return httpd.Response{}, ErrRelaysDown.With("all relays are unavailable")
}

// everyRelay lists the relays of all sets, each name once.
func everyRelay(sets Sets) (all []Relay) {
	seen := map[string]bool{}
	for _, set := range sets.All() {
		for _, r := range set.Relays {
			if !seen[r.Name()] {
				seen[r.Name()] = true
				all = append(all, r)
			}
		}
	}
	return all
}

// guarded calls a relay. A panic, which only a bug of ours could be, costs this
// relay's answer and not the others', nor the process.
func (s *Service) guarded(r Relay, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("Relay call panicked", "relay", r.Name(), "panic", p, "stack", string(debug.Stack()))
			err = relay.ErrPanic
		}
	}()
	return call()
}
