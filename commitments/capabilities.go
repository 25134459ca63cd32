package commitments

// Capabilities say what a gateway promises, for which slots, until when, and how
// much of each is left.
type Capabilities struct {
	ChainID        uint64             `json:"chain_id"`
	NowMS          int64              `json:"now_ms"` // unix time in ms, by the gateway's clock
	SlotMS         int64              `json:"slot_ms"`
	MaxBatch       int                `json:"max_batch"`      // requests of one JSON-RPC batch
	MaxBody        int                `json:"max_body_bytes"` // of one request
	Privacy        string             `json:"privacy"`        // public: relays may show constraints; receivers: for every slot of Slots, before it, to its Receivers only
	MissedSlot     string             `json:"missed_slot"`    // excused: a slot without a block breaks no promise
	SigningID      string             `json:"signing_id"`     // of delegations and constraints messages
	Domain         string             `json:"domain"`         // of all signing roots: Commit-Boost's
	Slashers       []string           `json:"slashers"`       // that a request may name, beside the zero address; none: any
	Collateral     Collateral         `json:"collateral"`
	Modules        []ModuleCapability `json:"modules"`           // what is promised
	Slots          []SlotCapability   `json:"slots"`             // our slots that take promises, ascending
	Withheld       []WithheldSlot     `json:"withheld"`          // our slots that do not, though they are not closed
	MaxSubscribers int                `json:"max_subscriptions"` // request hashes of one subscription
}

// What is known of collateral.
const (
	CollateralUnknown   = "unknown"   // nothing: not configured, or not read yet
	CollateralChain     = "chain"     // what the chain said at Block
	CollateralSimulated = "simulated" // the same, of a chain that is no public network: worth nothing
)

// Collateral is what is at stake for broken promises, as far as the gateway knows;
// whoever relies on it reads the chain, at Manager. But for State all is empty
// while nothing is known.
type Collateral struct {
	State     string  `json:"state"`               // unknown, chain or simulated
	Kind      string  `json:"kind,omitempty"`      // eigenlayer_operator_set
	Manager   string  `json:"manager,omitempty"`   // the contract that slashes
	Operator  string  `json:"operator,omitempty"`  // whose stake it is
	Slashable bool    `json:"slashable,omitempty"` // the operator is, by the manager
	Stakes    []Stake `json:"stakes,omitempty"`
	Block     uint64  `json:"block,omitempty"` // finalized; all of this is as it was after it
	AtMS      int64   `json:"at_ms,omitempty"` // the block's time
}

// Stake is what can be slashed of one strategy, in its shares: for the operator as a
// whole, whichever slots and promises it is for.
type Stake struct {
	Strategy string `json:"strategy"`
	AtStake  string `json:"at_stake"` // decimal
}

// ModuleCapability is one kind of promise.
type ModuleCapability struct {
	ID              string   `json:"id"`
	SigningID       string   `json:"signing_id"` // of its commitments
	CommitmentTypes []uint64 `json:"commitment_types"`
	ConstraintTypes []uint64 `json:"constraint_types"`
	Excuses         []string `json:"excuses"` // why a promise that was not kept is not broken; as reason in a status
}

// SlotCapability is one slot that takes promises.
type SlotCapability struct {
	Slot            uint64   `json:"slot"`
	Proposer        string   `json:"proposer"`
	Delegate        string   `json:"delegate"`  // the BLS key that promises
	Committer       string   `json:"committer"` // the address that promises
	CommitmentTypes []uint64 `json:"commitment_types"`
	StartsAtMS      int64    `json:"starts_at_ms"`
	ClosesAtMS      int64    `json:"closes_at_ms"` // what is not on disk by then is not promised
	GasLeft         uint64   `json:"gas_left"`
	BlobsLeft       uint64   `json:"blobs_left"`
	BytesLeft       uint64   `json:"bytes_left"`
	CountLeft       int      `json:"count_left"`
	Receivers       []string `json:"receivers"` // BLS keys of who may see its constraints before it; none: anybody
	Path            string   `json:"path"`      // what keeps the promise: constraints_relay, trusted_builder or local_block
}

// WithheldSlot is a slot of ours that could take promises and takes none.
type WithheldSlot struct {
	Slot   uint64 `json:"slot"`
	Reason string `json:"reason"` // no_path, sold_elsewhere, foreign_delegation: what a request is refused for
	Detail string `json:"detail"`
}
