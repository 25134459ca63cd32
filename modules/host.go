package modules

import (
	"context"
	"log/slog"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
)

// ErrCursor is of a reader of events whose log is another by now.
var ErrCursor = fault.Define("events_cursor_unknown", fault.NotFound, "No event has had this number: the log of events is another. Begin again at 0.")

// Host is what the sidecar lends to a module in its own process. Tests fill the
// fields they need. What a module promises it only drafts; Signer is for whatever
// else it has to sign. No module sees a key.
type Host struct {
	ID        string
	SigningID phase0.Root
	Spec      chain.Spec
	Clock     *chain.Clock
	Log       *slog.Logger
	State     State
	Schedule  Schedule
	Store     Store
	Metrics   Metrics
	Events    Events
	Signer    Signer
}

// Intent is an object that a module wants signed: shown whole, for a slot, with
// what it sells. A claim is taken once per key and slot. See docs/signer.md.
type Intent struct {
	Type   string // 1 to 64 printable ASCII characters: what the object is
	Slot   phase0.Slot
	Hash   string   // of the object: "keccak256", "sha256" or "ssz_container"
	Object []byte   // at most 64 KiB
	Claims []string // 1 to 16 names of at most 256 printable ASCII characters
	Nonce  uint64   // 0: none; another is used once, with the module's signing id
}

// Signer signs with proxy keys that are the module's own and promise nothing.
type Signer interface {
	// Key is the module's BLS proxy key of a validator, made at the first call:
	// the validator's key vouches for it. Faults: the signer's.
	Key(ctx context.Context, validator phase0.BLSPubKey) (commitments.Key, error)
	// Sign returns the signature, 96 bytes, of the Commit-Boost signing root of the
	// intent's object under the module's signing id. The same intent again has the
	// same answer; one that contradicts it is slashable. Faults: intent_invalid,
	// the signer's.
	Sign(ctx context.Context, key commitments.Key, i Intent) ([]byte, error)
}

// Account is an account of the execution layer at a block.
type Account struct {
	Nonce     uint64
	Balance   uint256.Int // wei
	HasCode   bool
	Delegated bool // the code is a delegation: 0xef0100 and an address [EIP-7702]
}

// Head is the execution block that accounts are read at.
type Head struct {
	Number    uint64
	Hash      phase0.Hash32
	Slot      phase0.Slot // by its timestamp
	Timestamp uint64      // unix seconds
	GasLimit  uint64
	GasUsed   uint64
	BaseFee   uint256.Int // wei

	ExcessBlobGas uint64
	// Blobs are the blob parameters the node applies at the head, NextBlobs those it
	// will apply from NextBlobsSlot on. Zero if it has none to tell. [EIP-7910]
	Blobs, NextBlobs chain.BlobParams
	NextBlobsSlot    phase0.Slot
}

// State is what a module may read from the execution layer. Faults: of kind
// Unavailable when the node does not answer.
type State interface {
	Account(ctx context.Context, addr bellatrix.ExecutionAddress) (Account, Head, error)
	// Accounts reads many at one head, in the order asked: one batched call for what
	// is not known at this head yet.
	Accounts(ctx context.Context, addrs []bellatrix.ExecutionAddress) ([]Account, Head, error)
	Head(ctx context.Context) (Head, error)
}

// Duty is a slot that one of our validators proposes in.
type Duty struct {
	Slot     phase0.Slot
	Proposer phase0.BLSPubKey
	Index    phase0.ValidatorIndex
}

// Schedule knows our proposals to come.
type Schedule interface {
	// Duties are those from the running slot on, ascending; none while the beacon
	// node has not told them.
	Duties() []Duty
}

// Store keeps a module's own values across restarts: what may be lost, such as
// a cursor or a cache. What was promised is on the page and nowhere else. It is
// the module's alone, and small: its limits are those of package internal/kv.
type Store interface {
	// Get returns a copy of a value; nil if there is none. Faults: kv_broken.
	Get(key string) ([]byte, error)
	// Put returns once the value is on disk. Faults: kv_limit, kv_broken.
	Put(key string, value []byte) error
	// Delete forgets a value, if there is one. Faults: kv_broken.
	Delete(key string) error
	// Keys are those with a prefix, ascending. Faults: kv_broken.
	Keys(prefix string) ([]string, error)
}

// Metrics are a module's own, served with the sidecar's as
// sidecar_module_<id>_<name>. A name is snake_case; what a name has been used for
// once it is for good. A module has at most 64; more are dropped and counted.
type Metrics interface {
	Count(name string, by uint) // a counter; its name ends in _total
	Set(name string, value float64)
	Observe(name string, seconds float64)
}

// EventKind says what happened.
type EventKind string

// The events.
const (
	EventDuty             EventKind = "duty"              // Proposer will propose in Slot
	EventBid              EventKind = "bid"               // Relay bid ValueWei for BlockHash; Refused if it failed a check
	EventHeaderServed     EventKind = "header_served"     // the bid for BlockHash, of Relay, went to the beacon node
	EventPayloadDelivered EventKind = "payload_delivered" // Relay took the signed block of BlockHash
	EventBlockSeen        EventKind = "block_seen"        // the canonical chain has BlockHash in Slot
	EventBlockMissed      EventKind = "block_missed"      // it has no block in Slot
	EventReorg            EventKind = "reorg"             // what was said of Slot holds no longer; what holds follows
)

// Event is something that happened to one of our slots. What does not belong to
// its kind is zero. BlockHash is the execution block's.
type Event struct {
	Seq       uint64           `json:"seq"` // ascending; a gap says how many were lost
	Kind      EventKind        `json:"kind"`
	At        time.Time        `json:"at"` // when it was noted
	Slot      phase0.Slot      `json:"slot"`
	Proposer  phase0.BLSPubKey `json:"proposer"`
	BlockHash phase0.Hash32    `json:"block_hash"`
	Relay     string           `json:"relay"`
	ValueWei  string           `json:"value_wei,omitempty"` // of a bid, decimal
	Refused   bool             `json:"refused,omitempty"`   // of a bid
}

// Events are read in order, from where the module says. A module that keeps the
// Seq of what it has dealt with in its Store gets every event at least once.
type Events interface {
	// After returns events with a higher Seq, oldest first and at least one,
	// unless ctx ends before there is any. 0 begins with the oldest that is kept.
	// Fault: ErrCursor, if no event has had that Seq; begin again at 0.
	After(ctx context.Context, seq uint64) ([]Event, error)
}
