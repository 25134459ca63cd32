// Package wallet is the face for wallets: an Ethereum JSON-RPC endpoint on which
// eth_sendRawTransaction is answered with a promise of inclusion, so that a
// wallet gets one by changing its URL and nothing else.
//
// A transaction hash is answered only for a transaction that is promised, or
// that went to the execution node because the configuration says so; never for
// one that is neither, and never silently for the other. Reads come from the
// execution node by a list of methods; none of its others is reached. It holds
// no key and no durable state: what was promised is in the ledger.
package wallet

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"net/netip"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/quota"
	"sidecar/modules"
)

// Faults of this package. Those that a transaction is refused with are mostly the
// gateway's and the module's.
var (
	ErrParse       = fault.Define("wallet_json", fault.Invalid, "The body is not JSON.")
	ErrRequest     = fault.Define("wallet_request_invalid", fault.Invalid, "The body is not a JSON-RPC 2.0 request, or a batch that is too long.")
	ErrMethod      = fault.Define("wallet_method_unknown", fault.NotFound, "The method is not served to wallets.")
	ErrParams      = fault.Define("wallet_params_invalid", fault.Invalid, "The parameters are not those of the method.")
	ErrTransaction = fault.Define("wallet_transaction_invalid", fault.Invalid, "The transaction is not a signed transaction in EIP-2718 form.")
	ErrNoSlot      = fault.Define("no_slot", fault.Rejected, "None of our slots near enough is open for a promise.")
	ErrBusy        = fault.Define("wallet_busy", fault.Busy, "The wallet endpoint works on as many requests as it may.")
	ErrLarge       = fault.Define("wallet_answer_too_large", fault.Rejected, "The answers to one request are larger than they may be.")
	ErrPending     = fault.Define("wallet_receipt_pending", fault.Timeout, "The transaction is promised, and was in no block before the time was over.")
	ErrMissed      = fault.Define("wallet_slot_passed", fault.Rejected, "The slot of the promise has passed without the transaction.")
)

// What the wallet face needs, and nothing more.
type (
	// Gateway makes promises. Its faults are reasons not to. Price may be
	// modules.ErrUnpriced.
	Gateway interface {
		Commit(ctx context.Context, r commitments.Request) (commitments.SignedCommitment, error)
		Result(ctx context.Context, requestHash phase0.Hash32) (commitments.SignedCommitment, error)
		Price(ctx context.Context, r commitments.Request) (commitments.PageID, commitments.Price, error)
		Capabilities(ctx context.Context) (commitments.Capabilities, error)
	}
	// Schedule names the proposer of a slot of ours.
	Schedule interface {
		Proposer(slot phase0.Slot) (phase0.BLSPubKey, phase0.ValidatorIndex, bool)
	}
	// Views reads the ledger.
	Views interface {
		Page(id commitments.PageID) commitments.Page
		Pages(first phase0.Slot) []commitments.Page
	}
	// Node is the execution node. Forward's error is a *execution.RPCError when
	// the node refuses.
	Node interface {
		Head(ctx context.Context) (modules.Head, error)
		Forward(ctx context.Context, method string, params json.RawMessage, limit int64) (json.RawMessage, error)
	}
)

// Config is what New needs.
type Config struct {
	Spec  chain.Spec
	Clock *chain.Clock

	Gateway  Gateway
	Schedule Schedule
	Views    Views
	Node     Node

	// Type of the commitments asked for. Default commitments.TypeProvableInclusion.
	Type    uint64
	Slasher bellatrix.ExecutionAddress // that requests name; zero for none
	// Passthrough sends the execution node what cannot be promised. Otherwise it
	// is refused.
	Passthrough bool
	// MaxSlotsAhead is how far ahead a slot is taken at most. Default 8: the base
	// fee may more than double until then.
	MaxSlotsAhead uint64
	MaxTries      int // slots tried for one transaction; default 4

	// FeeHints raises the fees that the endpoint suggests to what a promise of a
	// transaction of FeeGas costs, for slots that are still open FeeHold from now.
	FeeHints bool
	FeeHold  time.Duration // default a slot
	FeeGas   uint64        // default 200,000
	MinTip   *big.Int      // wei per gas that are suggested at least; for modules without prices. Optional

	SyncTimeout    time.Duration // of eth_sendRawTransactionSync; default 20 s
	SyncMaxTimeout time.Duration // the most a caller may ask for; default 60 s

	// From is where a request comes from, if not from its connection's end: what a
	// trusted proxy says. Optional.
	From func(remote netip.Addr, header func(name string) string) (netip.Addr, error)
	// MaxRequests are HTTP requests at a time, of all, and a quarter of them of one
	// address; one more is ErrBusy. Default 64.
	MaxRequests int
	MaxWaiting  int // of them, those that wait for receipts, shared likewise. Default half
	MaxHeavy    int // calls at a time that make the node work; others wait. Default 4
	// Calls and Sends are how often one address may call, and send transactions.
	// The zero Rate is no limit.
	Calls, Sends quota.Rate

	Bolt *Bolt // bolt_requestInclusion is served. Optional.

	Log     *slog.Logger // Optional.
	Metrics *Metrics     // Optional.
}

// Wallet serves wallets.
type Wallet struct {
	Config
	signer   types.Signer
	sample   []byte // a transaction of FeeGas, to ask the price of
	calls    *quota.Buckets
	sends    *quota.Buckets
	promised *index
	fees     fees
	offers   offers
	slots    *quota.Places // MaxRequests
	waiting  *quota.Places // MaxWaiting
	heavy    chan struct{} // cap MaxHeavy
	drained  chan struct{} // closed by Drain
	drain    sync.Once
}

// New checks c and fills in its defaults.
func New(c Config) (*Wallet, error) {
	if c.Clock == nil || c.Gateway == nil || c.Schedule == nil || c.Views == nil || c.Node == nil {
		return nil, errors.New("wallet: clock, gateway, schedule, views and node are required")
	}
	if c.Type == 0 {
		c.Type = commitments.TypeProvableInclusion
	}
	if _, err := encode(c.Type, 1, 1, []byte{1}); err != nil {
		return nil, err
	}
	number := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	span := func(t *time.Duration, d time.Duration) {
		if *t <= 0 {
			*t = d
		}
	}
	if c.MaxSlotsAhead == 0 {
		c.MaxSlotsAhead = 8
	}
	number(&c.MaxTries, 4)
	number(&c.MaxRequests, 64)
	number(&c.MaxWaiting, max(c.MaxRequests/2, 1))
	number(&c.MaxHeavy, 4)
	span(&c.FeeHold, c.Spec.SlotDuration)
	span(&c.SyncTimeout, 20*time.Second)
	span(&c.SyncMaxTimeout, time.Minute)
	c.SyncTimeout = min(c.SyncTimeout, c.SyncMaxTimeout)
	if c.FeeGas == 0 {
		c.FeeGas = 200_000
	}
	if c.MinTip == nil {
		c.MinTip = new(big.Int)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	signer := types.LatestSignerForChainID(new(big.Int).SetUint64(c.Spec.ChainID))
	sample, err := sampleOf(signer, c.FeeGas)
	if err != nil {
		return nil, err
	}
	return &Wallet{
		Config: c, signer: signer, sample: sample, promised: newIndex(c.Views, signer), offers: offers{life: offersLife}, calls: quota.NewBuckets(maxCallers), sends: quota.NewBuckets(maxCallers),
		slots: quota.NewPlaces(c.MaxRequests), waiting: quota.NewPlaces(c.MaxWaiting),
		heavy: make(chan struct{}, c.MaxHeavy), drained: make(chan struct{}),
	}, nil
}

// offersLife is how old the gateway's capabilities may be that slots are chosen by.
const offersLife = 100 * time.Millisecond

// offers are the gateway's capabilities when they were last asked for.
type offers struct {
	mu   sync.Mutex
	all  commitments.Capabilities
	at   time.Time
	life time.Duration
}

// Drain ends the waits for receipts: their callers hear that the transaction is
// pending. The gateway refuses new promises by itself.
func (w *Wallet) Drain() { w.drain.Do(func() { close(w.drained) }) }

// encode is the payload of a request for a transaction, by commitment type.
func encode(t uint64, slot phase0.Slot, proposer phase0.ValidatorIndex, raw []byte) ([]byte, error) {
	switch t {
	case commitments.TypeInclusion:
		return commitments.EncodeInclusion(slot, raw), nil
	case commitments.TypeProvableInclusion:
		return commitments.EncodeProvableInclusion(slot, proposer, raw), nil
	}
	return nil, errors.New("wallet: no payload is known for this commitment type")
}

// decode finds the transaction in a commitment's payload.
func decode(t uint64, payload []byte) (raw []byte, ok bool) {
	var err error
	switch t {
	case commitments.TypeInclusion:
		_, raw, err = commitments.DecodeInclusion(payload)
	case commitments.TypeProvableInclusion:
		_, _, raw, err = commitments.DecodeProvableInclusion(payload)
	default:
		return nil, false
	}
	return raw, err == nil
}
