// Package builderapi serves the Builder API to the beacon node: it asks the
// relays, judges what they offer, and hands the best valid bid on. It holds
// nothing that may not be lost; an empty page costs it nothing, and neither a
// module, a disk nor an execution node can make it miss its deadline.
//
// [builder-specs: Builder API]
package builderapi

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// What the service needs, and nothing more.
type (
	// Relay is one relay. *relay.Client documents the methods.
	Relay interface {
		Name() string
		Pubkey() phase0.BLSPubKey
		ProvesBids() bool
		Ask(ctx context.Context, r relay.HeaderRequest, soon time.Time) *relay.Asked
		Offers(ctx context.Context, r relay.HeaderRequest, emit func(relay.Offer)) error
		Register(ctx context.Context, enc wire.Encoding, body []byte, other func() []byte, userAgent string) error
		SubmitV1(ctx context.Context, b *wire.BlindedBlock, userAgent string) (*wire.Payload, error)
		SubmitV2(ctx context.Context, b *wire.BlindedBlock, userAgent string) error
		Status(ctx context.Context) error
	}

	// Sets says which relays serve which validator.
	Sets interface {
		// For returns the set of a validator: its mux, else the default.
		For(validator phase0.BLSPubKey) *Set
		// All returns every set, the default first.
		All() []*Set
	}

	// Pages reads what was promised, from memory.
	Pages interface {
		Page(id commitments.PageID) commitments.Page
	}

	// Verifier says whether a candidate keeps every promise of a page.
	Verifier interface {
		Verify(ctx context.Context, page commitments.Page, c commitments.Candidate) error
	}

	// Parents reads the execution block a bid builds on.
	Parents interface {
		Parent(ctx context.Context, hash phase0.Hash32) (Parent, error)
	}

	// Validators tells a validator's key from its index; false if unknown.
	Validators interface {
		Pubkey(index phase0.ValidatorIndex) (phase0.BLSPubKey, bool)
	}
)

// Parent is what a bid's header is compared with.
type Parent struct{ Number, GasLimit uint64 }

// Set is a group of relays with the time they are given.
type Set struct {
	ID      string
	Relays  []Relay
	Timeout time.Duration // for getHeader [Commit-Boost: timeout_get_header_ms]
	Late    time.Duration // into the slot; later calls get 204 [late_in_slot_time_ms]
}

// Config is what the service is made of. Optional fields say so.
type Config struct {
	Spec  chain.Spec
	Clock *chain.Clock
	Sets  Sets
	Log   *slog.Logger

	Pages      Pages      // optional: without it every page is empty
	Modules    Verifier   // required with Pages
	Parents    Parents    // optional: without it gas limit and number go unchecked
	Validators Validators // optional
	Slots      Slots      // optional: without it a relay's 202 is believed
	Metrics    *Metrics   // optional

	// AnswerWithin bounds getHeader at the beacon node's socket, since clients
	// give up after 1 s. Default 950 ms.
	AnswerWithin time.Duration
	// VerifyTimeout bounds what modules may take for one bid. Default 100 ms.
	VerifyTimeout time.Duration
	// PageSettles is how long before its slot a page changes for the last time: a
	// header asked for earlier is 204, for the page may get a promise that the
	// header would break. With Pages only; 0: at the start of the slot.
	PageSettles time.Duration

	MinBid              uint256.Int // wei; a bid of exactly MinBid is accepted
	MaxBid              uint256.Int // wei; a sanity cap, 0 means 10,000 ETH
	SkipSignature       bool        // neither relay key nor signature is checked [skip_sigverify]
	RequireFeeRecipient bool        // refuse a bid whose header pays another address than the registration [fee_recipient_strict]

	RelayCheck      bool          // status asks the relays
	RegisterTimeout time.Duration // for one relay, retries included. Default 3 s
	RegisterTries   int           // default 3
	RegisterBatch   int           // registrations a request; 0: all in one
	SubmitTimeout   time.Duration // of one attempt at one relay. Default 4 s

	Penalty Penalty

	// Owed says whether there are promises for a slot, whoever proposes in it. It
	// must not wait. Optional.
	Owed func(slot phase0.Slot) bool
	// Heard is told of the bids of every auction, after the answer has left. It must
	// not wait. Optional.
	Heard func(id commitments.PageID, bids []Bid)
	// Served is told of every header handed out, after the answer has left.
	// Optional.
	Served func(id commitments.PageID, blockHash phase0.Hash32, relay string)
	// Barred says whether a relay's bids for a page with promises are not wanted.
	// Optional.
	Barred func(id commitments.PageID, relay string) bool
	// Proven is told how the promises of a page were judged to be proven by a
	// relay's bid: nil if they were. It must not wait. Optional.
	Proven func(id commitments.PageID, relay string, err error)
	// Unserved is told of every call that went without a header, and why, after
	// the answer has left. Optional.
	Unserved func(id commitments.PageID, why string)
	// Delivered is told of every block that a relay has taken, once. It must not
	// wait. Optional.
	Delivered func(slot phase0.Slot, proposer phase0.ValidatorIndex, blockHash phase0.Hash32, relay string)
}

// Service answers the Builder API. Its methods may be called from any goroutine.
type Service struct {
	Config
	keys          keyring
	offered       offers
	registrations registry
	box           penaltyBox
	blocks        submissions

	work     context.Context // of everything detached from its caller
	cancel   context.CancelFunc
	detached crowd
	watches  crowd       // of blocks that relays took
	headers  crowd       // getHeader calls under way
	stopping atomic.Bool // Drain has begun: no header is handed out any more
}

// New checks the configuration and fills in the defaults.
func New(c Config) (*Service, error) {
	switch {
	case c.Clock == nil || c.Sets == nil || c.Log == nil:
		return nil, errors.New("builderapi: Clock, Sets and Log are required")
	case c.Pages != nil && c.Modules == nil:
		return nil, errors.New("builderapi: Pages without Modules")
	}
	orDuration(&c.AnswerWithin, 950*time.Millisecond)
	orDuration(&c.VerifyTimeout, 100*time.Millisecond)
	orDuration(&c.RegisterTimeout, 3*time.Second)
	orDuration(&c.SubmitTimeout, 4*time.Second)
	if c.RegisterTries <= 0 {
		c.RegisterTries = 3
	}
	if c.MaxBid.IsZero() {
		c.MaxBid.SetUint64(10_000).Mul(&c.MaxBid, uint256.NewInt(1e18))
	}
	s := &Service{Config: c}
	s.work, s.cancel = context.WithCancel(context.Background())
	s.offered.init()
	s.registrations.init()
	s.blocks.init()
	s.box = penaltyBox{config: c.Penalty, log: c.Log, metrics: c.Metrics}
	return s, nil
}

func orDuration(d *time.Duration, otherwise time.Duration) {
	if *d <= 0 {
		*d = otherwise
	}
}

// detach runs f on the service's own time: the caller may hang up and the
// program may have begun to stop. Close waits for it.
func (s *Service) detach(f func(ctx context.Context)) {
	s.detached.run(func() { s.contain(func() { f(s.work) }) })
}

// contain runs f. A panic, which only a bug of ours could be, ends f, and not the
// process with the blocks it has under way.
func (s *Service) contain(f func()) {
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("Detached work panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f()
}

// Drain hands out no more headers but for pages with promises, which the beacon
// node's own block would break: those of the running slot and the next are waited
// for. It lets the getHeader calls under way finish, and waits until every block
// under way has been handed over, and, if a header was served for the running
// slot, until its block came or the slot ended. It returns early when ctx ends.
func (s *Service) Drain(ctx context.Context) {
	now := s.Clock.Slot()
	s.stopping.Store(true)
	for _, slot := range []phase0.Slot{now, now + 1} {
		s.keepWord(ctx, slot)
	}
	select {
	case <-s.headers.gone(): // one that is served here is waited for below
	case <-ctx.Done():
	}
	slot, waiting := s.offered.pending(s.Clock.Slot())
	if waiting {
		s.Log.Info("Waiting for the block of a served header", "slot", uint64(slot))
		end := time.NewTimer(s.Clock.Until(s.Clock.Start(slot + 1)))
		defer end.Stop()
		select {
		case <-s.offered.settled(slot):
		case <-end.C:
		case <-ctx.Done():
		}
	}
	select {
	case <-s.detached.gone():
	case <-ctx.Done():
	}
}

// keepWord waits, if there are promises for a slot, until a header was served for
// it, or nobody will ask for one any more.
func (s *Service) keepWord(ctx context.Context, slot phase0.Slot) {
	if s.Owed == nil || !s.Owed(slot) {
		return
	}
	end := s.Clock.Start(slot).Add(s.Spec.SlotDuration / 3)
	if s.Clock.Until(end) > 0 {
		s.Log.Info("Waiting for a slot with promises", "slot", uint64(slot))
	}
	for s.Clock.Until(end) > 0 && !s.offered.dealtWith(slot) && sleep(ctx, keepWordLook) {
	}
}

// keepWordLook is how often keepWord looks.
const keepWordLook = 20 * time.Millisecond

// Close ends everything detached and waits for it. Blocks under way are lost:
// call Drain first.
func (s *Service) Close() {
	s.cancel()
	<-s.detached.gone()
	<-s.watches.gone()
}
