package commitments

import "github.com/attestantio/go-eth2-client/spec/phase0"

// State is a step in the life of a promise, in the order they come.
type State string

// The states.
const (
	StateReceived    State = "received"      // the request is being worked on; nothing is promised
	StateJournaled   State = "journaled"     // the promise is on disk: it binds, signed or not
	StateSigned      State = "signed"        // its signature is on disk
	StateReleased    State = "released"      // the answer was handed to the network
	StateSealed      State = "sealed"        // the slot's one constraints message is signed
	StatePosted      State = "posted"        // a relay took it (outcome accepted), or did not (refused)
	StateBidVerified State = "bid_verified"  // a bid that proves every promise of the slot went to the beacon node
	StateNoSafeBlock State = "no_safe_block" // no such bid: the node was left to build its own block
	StateAtRisk      State = "at_risk"       // as the chain stands the block may not be able to keep it (the reason tells); outcome cured: it is again
	StateProposed    State = "proposed"      // a relay took the signed block, or the chain has a block in the slot
	StateIncluded    State = "included"      // the slot's block keeps the promise
	StateAbsent      State = "absent"        // it does not
	StateSlotMissed  State = "slot_missed"   // the chain has no block in the slot
	StateOrphaned    State = "orphaned"      // it had one, and has it no more
	StateFinal       State = "final"         // the verdict stays: outcome is kept, broken or excused
)

// Step is what happened to a promise at one time.
type Step struct {
	State     State  `json:"state"`
	AtMS      int64  `json:"at_ms,omitempty"` // unix time in ms; absent if it was not noted
	Relay     string `json:"relay,omitempty"`
	BlockHash string `json:"block_hash,omitempty"` // of the execution block
	Outcome   string `json:"outcome,omitempty"`    // accepted, refused; cured; kept, broken, excused
	Stage     string `json:"stage,omitempty"`      // of a verdict: provisional, justified, final
	Reason    string `json:"reason,omitempty"`
}

// Status is what is known of a promise. The ledger is what it rests on; times,
// and what a relay or the chain did, are missing where nobody noted them.
type Status struct {
	RequestHash phase0.Hash32 `json:"request_hash"`
	State       State         `json:"state"`
	Final       bool          `json:"final"`              // nothing more will come
	Slot        uint64        `json:"slot,omitempty"`     // absent while received
	Proposer    string        `json:"proposer,omitempty"` // 0x and 96 hex digits
	Position    *int          `json:"position,omitempty"` // among the slot's promises, which are included in this order
	BlockHash   string        `json:"block_hash,omitempty"`
	Outcome     string        `json:"outcome,omitempty"` // of the latest verdict: kept, broken, excused
	Reason      string        `json:"reason,omitempty"`  // of the latest verdict; why it is at risk
	Steps       []Step        `json:"steps"`
	Unknown     []State       `json:"unknown"` // what may have happened; nobody here noted whether
}

// Update is one step, and the status it led to, as subscribers hear it.
type Update struct {
	ID          string        `json:"id"` // Last-Event-ID, to go on from here
	RequestHash phase0.Hash32 `json:"request_hash"`
	Step        Step          `json:"step"`
	Status      Status        `json:"status"`
}
