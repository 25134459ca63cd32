// Package relay is the client of one relay: Builder API and Constraints API.
package relay

import (
	"context"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/wire"
)

// Config is one relay as the operator describes it.
type Config struct {
	ID      string
	URL     string // scheme://0xPUBKEY@host[:port]; a path is dropped, as Commit-Boost drops it
	Headers map[string]string
	Params  map[string]string // query parameters of every request
	// Timing games. [Commit-Boost: enable_timing_games]
	Games        bool
	TargetFirst  time.Duration // into the slot; 0: at once
	Frequency    time.Duration // between requests; 0: one request
	Stream       bool          // header stream over WebSocket, HTTP if it cannot be opened
	Constraints  bool          // speaks the Constraints API
	AllowPrivate bool
}

// HeaderRequest is one getHeader. The context's deadline is the budget.
type HeaderRequest struct {
	Slot       phase0.Slot
	SlotStart  time.Time
	Fork       chain.Fork
	ParentHash phase0.Hash32
	Pubkey     phase0.BLSPubKey
	UserAgent  string // of the beacon node
	WithProofs bool   // ask header_with_proofs; never together with Stream
}

// Offer is a bid as it arrived.
type Offer struct {
	Bid      *wire.Bid
	Proofs   []commitments.Constraint
	Started  time.Time // when its request was sent; a later one replaces an earlier
	Received time.Time
}

// Client talks to one relay.
type Client struct{}

// New checks cfg and makes a client; it does not dial.
func New(cfg Config, clock *chain.Clock) (*Client, error) { panic("stub") }

// Name is the configured id, or the URL's host.
func (c *Client) Name() string { panic("stub") }

// Pubkey is the key that signs this relay's bids.
func (c *Client) Pubkey() phase0.BLSPubKey { panic("stub") }

// HonoursConstraints says whether the relay is configured for the Constraints API.
func (c *Client) HonoursConstraints() bool { panic("stub") }

// Offers asks for a bid, as often as timing games say, or listens to the header
// stream, and calls emit for each bid that decodes, from this goroutine or
// another, until it returns. It returns by the context's deadline: nil if there
// was an answer (a bid or 204), else the fault of the last try.
func (c *Client) Offers(ctx context.Context, r HeaderRequest, emit func(Offer)) error {
	panic("stub")
}

// Register posts registrations: one attempt. On 406 or 415 it calls other for
// the body in the other encoding and tries that inside the same deadline.
func (c *Client) Register(ctx context.Context, enc wire.Encoding, body []byte, other func() []byte, userAgent string) error {
	panic("stub")
}

// SubmitV1 posts a signed blinded block and returns the payload: one attempt,
// in the encoding received, and on 406 or 415 in the other one.
func (c *Client) SubmitV1(ctx context.Context, b *wire.BlindedBlock, userAgent string) (*wire.Payload, error) {
	panic("stub")
}

// SubmitV2 is SubmitV1 for the v2 endpoint: 202 (or 200, counted) and no payload.
func (c *Client) SubmitV2(ctx context.Context, b *wire.BlindedBlock, userAgent string) error {
	panic("stub")
}

// Status asks whether the relay is up.
func (c *Client) Status(ctx context.Context) error { panic("stub") }

// Capabilities returns the constraint types the relay honours; none for a 404.
func (c *Client) Capabilities(ctx context.Context) ([]uint64, error) { panic("stub") }

// PostDelegation hands a signed delegation to the relay.
func (c *Client) PostDelegation(ctx context.Context, d commitments.SignedDelegation) error {
	panic("stub")
}

// PostConstraints hands the slot's one constraints message to the relay.
func (c *Client) PostConstraints(ctx context.Context, s commitments.SignedConstraints) error {
	panic("stub")
}

// Close drops idle connections.
func (c *Client) Close() { panic("stub") }
