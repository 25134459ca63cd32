// Package ledger is the one durable store: everything we promised, signed and
// judged, in one append-only hash chain. It is the only package that imports
// the database.
package ledger

import (
	"context"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// Faults of this package.
var (
	ErrSlashable = fault.Define("slashable", fault.Conflict, "Signing this would contradict something already signed.")
	ErrPoisoned  = fault.Define("store_unavailable", fault.Unavailable, "The ledger met a disk error and signs nothing until a restart.")
	ErrMissing   = fault.Define("ledger_missing", fault.Unavailable, "There is no ledger at this path; sidecar init makes one.")
	ErrBroken    = fault.Define("ledger_broken", fault.Internal, "The ledger's hash chain does not verify.")
	ErrExists    = fault.Define("ledger_exists", fault.Conflict, "There is a ledger at this path already.")
	ErrChain     = fault.Define("ledger_other_chain", fault.Conflict, "The ledger belongs to another network.")
)

// Kind says what an entry records.
type Kind uint8

// The kinds. Their numbers are on disk: append only.
const (
	KindDelegation   Kind = iota + 1 // to be signed by a consensus key
	KindCommitment                   // to be signed by a proxy key
	KindConstraints                  // to be signed by a proxy key; closes the page
	KindClose                        // closes a page that has nothing to send
	KindHeaderServed                 // a note
	KindReceipt                      // a note: a relay took, or refused, our constraints
	KindVerdict                      // what became of a promise
)

// Entry is one line of the book: the full object, not only its root.
type Entry struct {
	Kind   Kind
	Module string
	Key    phase0.BLSPubKey // who signs; zero if nobody
	Root   phase0.Root      // the signing root; zero if nobody signs

	// Resource names what may be signed once, such as
	// "delegation/<slot>/<pubkey>". The same resource with the same Root yields
	// the stored receipt; with another, ErrSlashable. Empty: no limit.
	Resource string

	Nonce     uint64
	SigningID phase0.Root

	// One of these, by Kind.
	Draft       *commitments.Draft              `json:",omitempty"`
	Delegation  *commitments.Delegation         `json:",omitempty"`
	Constraints *commitments.ConstraintsMessage `json:",omitempty"`
	Verdict     *commitments.Verdict            `json:",omitempty"`
	Note        map[string]string               `json:",omitempty"`
}

// Receipt proves that an entry is on disk. Only Append makes one.
type Receipt struct {
	Seq       uint64
	Entry     Entry
	Signature []byte // not empty if the same entry was signed before
}

// Ledger is the book. Its methods may be called from any goroutine.
type Ledger struct{}

// Create makes a new ledger for a network. Fault: ErrExists.
func Create(path string, network string, genesisForkVersion phase0.Version) error { panic("stub") }

// Open opens an existing ledger and checks its chain. It never creates one.
// Faults: ErrMissing, ErrBroken, ErrChain.
func Open(path string, network string, genesisForkVersion phase0.Version) (*Ledger, error) {
	panic("stub")
}

// Append shows the present view to decide under the ledger's one lock, and makes
// the entry decide returns durable before it returns itself. decide must be pure
// and quick: no I/O, no module. An error from decide writes nothing. The view's
// Seq is the position of the last entry: this one becomes Seq+1.
// Faults: decide's, ErrSlashable, ErrPoisoned.
func (l *Ledger) Append(ctx context.Context, id commitments.PageID, decide func(commitments.View) (Entry, error)) (Receipt, error) {
	panic("stub")
}

// Seal makes the signature of an appended entry durable. Fault: ErrPoisoned.
func (l *Ledger) Seal(ctx context.Context, r Receipt, signature []byte) error { panic("stub") }

// View returns the page with our other open pages. It reads memory.
func (l *Ledger) View(id commitments.PageID) commitments.View { panic("stub") }

// Page returns everything promised for one slot of one proposer. It reads memory
// and never waits for a writer's disk.
func (l *Ledger) Page(id commitments.PageID) commitments.Page { panic("stub") }

// Pages returns the pages of slots from first on, ascending by slot.
func (l *Ledger) Pages(first phase0.Slot) []commitments.Page { panic("stub") }

// Find returns the promise that answers a request, and its page.
func (l *Ledger) Find(requestHash phase0.Hash32) (commitments.Promise, commitments.PageID, bool) {
	panic("stub")
}

// Close ends the ledger. Entries under way are finished first.
func (l *Ledger) Close() error { panic("stub") }
