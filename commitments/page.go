package commitments

import (
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// PageID names a page of the ledger.
type PageID struct {
	Slot     phase0.Slot
	Proposer phase0.BLSPubKey
}

// Page is everything we have promised for one slot of one proposer. It is a
// value, and read-only: its slices are shared.
type Page struct {
	PageID
	Closed      bool // takes no more promises
	Delegation  *SignedDelegation
	Promises    []Promise // in the order they were made; unsigned ones (a crash between entry and ink) included
	Constraints *SignedConstraints
	Verdicts    []Verdict
	Notes       []Note // in the order they were written
}

// Note is a line of a page that nobody signs.
type Note struct {
	Kind string            // NoteReceipt or NoteHeaderServed
	What map[string]string // relay, outcome, reason, block_hash, at_ms; read-only
}

// The kinds of notes.
const (
	NoteReceipt      = "receipt"       // what a relay said to our constraints, or why no header was served
	NoteHeaderServed = "header_served" // a bid that keeps the page's promises went to the beacon node
)

// Empty says whether the page promises nothing.
func (p *Page) Empty() bool { return len(p.Promises) == 0 }

// Promise is one line of a page. Signature is empty between entry and ink.
type Promise struct {
	SignedCommitment
	Constraints []Constraint
	Cost        Cost
	Touches     []string
	Seq         uint64 // position in the ledger
}

// Cost is what a promise takes from its slot: gas, blobs, and bytes of the block.
type Cost struct{ Gas, Blobs, Bytes uint64 }

// View is what a module sees when it drafts: the page, our other open pages
// (ascending by slot), and the ledger position both were read at. The gateway
// adds what the page's promises cost together, those of other modules included,
// what they may cost, and the price it has quoted for the request, if any.
type View struct {
	Page
	Open   []Page
	Seq    uint64
	Used   Cost
	Limit  Cost   // zero: not known
	Quoted *Price // holds in place of the module's own
}

// Draft is a commitment not yet signed, the constraints that keep it, what it
// costs, and what it touches: names such as a sender's account. If another
// promise touches one of these names first, the module is asked again. What it
// claims may be promised once per slot and key: names such as a sender's nonce.
// Another promise that claims the same name is slashable and never signed.
type Draft struct {
	Commitment  Commitment
	Constraints []Constraint
	Cost        Cost
	Touches     []string
	Claims      []string

	// UsedBelow, unless 0, is how long the draft's price holds: while the page's
	// promises use less gas than this. After that the module is asked again. It is
	// of no account once the promise is made, and not kept.
	UsedBelow uint64
}

// Candidate is a block that may be proposed: a relay's bid, or our own.
type Candidate struct {
	Slot       phase0.Slot
	ParentHash phase0.Hash32
	BlockHash  phase0.Hash32
	Source     string
	Header     *deneb.ExecutionPayloadHeader // as the bid claims it; the shape of Deneb, Electra and Fulu
	Proofs     []Constraint                  // type and proof payload, in the order of the page's promises
}

// Block is a canonical execution block, with the header a proof needs.
type Block struct {
	Slot      phase0.Slot
	Number    uint64
	Hash      phase0.Hash32
	HeaderRLP []byte
	Txs       [][]byte // EIP-2718 bytes
	Missed    bool     // the slot has no canonical block; everything but Slot is empty
}

// Outcome of one commitment.
type Outcome uint8

// The outcomes.
const (
	Unknown Outcome = iota
	Kept
	Broken
	Excused // not kept, and not slashable: the slot was missed, the sender spent the nonce
)

// String is the outcome in lower case, as in logs, metrics and JSON.
func (o Outcome) String() string { return [...]string{"unknown", "kept", "broken", "excused"}[o&3] }

// Stage is how settled the chain was when a verdict was reached.
type Stage uint8

// The stages. Their numbers are on disk; 0 is what ledgers before them had.
const (
	Final       Stage = iota // the slot is finalized: the verdict stays
	Provisional              // at the head of the chain
	Justified
)

// String is the stage in lower case, as in logs, metrics and JSON.
func (s Stage) String() string {
	return [...]string{"final", "provisional", "justified", "unknown"}[s&3]
}

// Verdict is a module's judgement of one commitment. Stage and Block are the
// auditor's to fill in.
type Verdict struct {
	RequestHash phase0.Hash32
	Outcome     Outcome
	Reason      string
	Evidence    []byte // empty unless Broken; the auditor's: the sha256 of the evidence file
	Stage       Stage
	Block       phase0.Hash32 // the execution block that was judged; zero if the slot had none
}

// Settled says whether the verdict stands for good: it is final, and says
// something.
func (v *Verdict) Settled() bool {
	return v.Stage == Final && (v.Outcome != Unknown || v.Reason != "")
}
