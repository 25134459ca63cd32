// Package ledger is the one durable store: everything we promised, signed and
// judged, in one append-only hash chain. It is the only package that imports
// a database. It promises that nothing is answered or shown that is not on
// disk, and that one resource never gets two roots. It never signs, never
// creates a ledger by itself, and after one disk error never writes again.
package ledger

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// Faults of this package.
var (
	ErrSlashable  = fault.Define("slashable", fault.Conflict, "Signing this would contradict something already signed.")
	ErrPageClosed = fault.Define("page_closed", fault.Rejected, "The page of this slot takes no more promises.")
	ErrPoisoned   = fault.Define("store_unavailable", fault.Unavailable, "The ledger met a disk error and signs nothing until a restart.")
	ErrClosed     = fault.Define("ledger_closed", fault.Unavailable, "The ledger is closed: the sidecar is shutting down.")
	ErrMissing    = fault.Define("ledger_missing", fault.Unavailable, "There is no ledger at this path; sidecar init makes one.")
	ErrBroken     = fault.Define("ledger_broken", fault.Internal, "The ledger's hash chain does not verify.")
	ErrNewer      = fault.Define("ledger_schema_newer", fault.Unavailable, "A newer sidecar wrote this ledger; this one cannot read it.")
	ErrLocked     = fault.Define("ledger_locked", fault.Conflict, "Another process has this ledger open.")
	ErrExists     = fault.Define("ledger_exists", fault.Conflict, "There is a ledger at this path already.")
	ErrLease      = fault.Define("ledger_lease_held", fault.Unavailable, "Another sidecar holds the lease of the shared ledger; this one stands by and signs nothing.")
	ErrDatabase   = fault.Define("ledger_unreachable", fault.Unavailable, "The database of the shared ledger does not answer; nothing is signed until it does.")
	ErrLossy      = fault.Define("ledger_not_durable", fault.Unavailable, "The database server may lose what it committed: fsync, full_page_writes or synchronous_commit is off.")
	ErrChain      = fault.Define("ledger_other_chain", fault.Conflict, "The ledger belongs to another network.")
	ErrHolding    = fault.Define("ledger_holding", fault.Unavailable, "The ledger holds: another copy of it may have promised for this slot, so nothing new is promised for it.")
	ErrRolledBack = fault.Define("ledger_rolled_back", fault.Conflict, "The ledger is older than its witness or its journal, or without it: somebody put a backup back. Restore the newest one, journal included, or import what it lacks.")
	ErrOtherHost  = fault.Define("ledger_other_host", fault.Conflict, "The ledger belongs to another machine; sidecar ledger adopt binds it to this one, if the other never runs again.")
	ErrKeysLocked = fault.Define("proxy_keys_locked", fault.Conflict, "Another sidecar uses these proxy keys.")
	ErrEntry      = fault.Define("ledger_entry_invalid", fault.Internal, "A part of the sidecar tried to write an entry that makes no sense.")
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
	KindRequest                      // to be signed for a module in another process
	KindProxy                        // to be signed by a consensus key: vouches for a proxy key
	KindRevocation                   // a note: a proxy key or a module's token is worth nothing any more
	KindImport                       // what was signed elsewhere: it takes resources, and nobody signs it here
	KindQuote                        // never in a ledger: policy knows a quote's signature by it
)

var kindNames = [...]string{"unknown", "delegation", "commitment", "constraints", "close", "header_served", "receipt", "verdict", "request", "proxy", "revocation", "import", "quote"}

// String is the kind in snake_case, as in logs, metrics and config.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return kindNames[0]
}

// Signed says whether an entry of this kind is there to be signed.
func (k Kind) Signed() bool {
	switch k {
	case KindDelegation, KindCommitment, KindConstraints, KindRequest, KindProxy:
		return true
	default:
		return false
	}
}

// Entry is one line of the book: the full object, not only its root.
type Entry struct {
	Kind   Kind
	Module string
	Key    commitments.Key // who signs; zero if nobody
	Root   phase0.Root     // the signing root; zero if nobody signs
	// Delegate signs a commitment beside Key, in a group; zero if nobody does. It
	// is no part of what is once: Key and Root are.
	Delegate phase0.BLSPubKey

	// Resources name what may be signed once, such as
	// "delegation/<slot>/<pubkey>". If one of them is taken by an entry with the
	// same Kind, Key and Root, that entry's receipt is the answer, whatever the
	// page; if by another, ErrSlashable. None: no limit. At most 64 of at most
	// 512 bytes each.
	Resources []string

	Nonce     uint64
	SigningID phase0.Root

	// One of these, by Kind.
	Draft       *commitments.Draft              `json:",omitempty"`
	Delegation  *commitments.Delegation         `json:",omitempty"`
	Constraints *commitments.ConstraintsMessage `json:",omitempty"`
	Verdict     *commitments.Verdict            `json:",omitempty"`
	Request     *commitments.ModuleRequest      `json:",omitempty"`
	Proxy       *commitments.ProxyDelegation    `json:",omitempty"`
	Import      *Imported                       `json:",omitempty"`
	Note        map[string]string               `json:",omitempty"`
}

// Contradiction is what was refused, inside ErrSlashable.
type Contradiction struct {
	Resource string
	Kind     Kind // of what was refused
	Module   string
	Key      commitments.Key
	Stands   phase0.Root // zero if it is not known
	Seq      uint64      // of the entry that stands; 0 if it is not known
	Asked    phase0.Root
}

func (c *Contradiction) Error() string {
	return fmt.Sprintf("%s was taken for another root", c.Resource)
}

// Imported is what another ledger signed, or forbids to sign.
type Imported struct {
	Kind  Kind        // of what was signed; 0 in an entry that only sets Least
	Least phase0.Slot // the entry's key signs nothing new for earlier slots; 0: no such limit
}

// Receipt proves that an entry is on disk. Only Append makes one.
type Receipt struct {
	Seq   uint64             // counts entries, from 1
	Page  commitments.PageID // where the entry stands
	Entry Entry              // as stored; as asked for, if an import holds its resources
	Ink                      // not empty if the same entry was signed before
	// Imported says that the ink is another ledger's. The proxy in it is not
	// verified, and may be missing.
	Imported bool
	Batch    *Batch // of a new entry that a delegate signs, and of those alone
}

// Batch is the new entries with a delegate that became durable in one step: it
// may sign them at once. Their receipts share it.
type Batch struct {
	Receipts []Receipt // in their order; without Batch
	Groups   sync.Map  // the signer's, of what is made once for all
}

// Ledger is the book. Its methods may be called from any goroutine.
type Ledger struct {
	engine  engine
	queue   chan *request
	closing chan struct{}
	once    sync.Once // closes closing
	done    chan struct{}
	closed  error // of Close, before done is closed

	// unsealed are entries of this process that await their signature: a seal need
	// not read them back. Owned by the writer; of a ledger of our own only.
	unsealed map[uint64]unsealed

	next *book // owned by the writer: ahead of the disk by the batch under way
	at   head  // owned by the writer: the end of what is known to be durable
	torn bool  // owned by the writer: next may hold what book does not

	mu   sync.RWMutex // held for map operations only, never across I/O
	book *book        // what is durable; guarded by mu

	durable atomic.Pointer[head] // what may be told to the witness
	hold    atomic.Pointer[Hold] // set when the ledger is opened
	witness *keeper              // nil without one
	keys    *keyLock             // nil without one

	poison  atomic.Pointer[error]
	metrics atomic.Pointer[meter]
}

// Append shows the present view to decide under the ledger's one lock, and makes
// the entry decide returns durable before it returns itself. decide must be pure
// and quick: no I/O, no module, no call of this ledger. An error from decide
// writes nothing, and decide is not asked again; it may be asked twice if it
// returned an entry. The view's Seq is the position of the last entry: this one
// becomes Seq+1.
//
// If ctx ends first its error is returned, and the entry may still become
// durable: treat it as promised, and ask again with the same resource.
// Faults: decide's, ErrSlashable, ErrPageClosed, ErrHolding, ErrKeysLocked,
// ErrPoisoned, ErrClosed, ErrEntry.
func (l *Ledger) Append(ctx context.Context, id commitments.PageID, decide func(commitments.View) (Entry, error)) (Receipt, error) {
	if decide == nil {
		return Receipt{}, ErrEntry.With("nothing to decide")
	}
	return l.submit(ctx, &request{id: id, decide: decide})
}

// Seal makes the signatures of an appended entry durable, and then shows them on
// the page. It returns what the entry is sealed with: a delegate may sign the
// same commitment in several groups, and the first one that is sealed stands.
// Another signature of the entry's key is ErrSlashable.
// If ctx ends first, the signatures may still become durable.
// Faults: ErrSlashable, ErrPoisoned, ErrClosed, ErrEntry.
func (l *Ledger) Seal(ctx context.Context, r Receipt, ink Ink) (Ink, error) {
	sealed, err := l.submit(ctx, &request{id: r.Page, receipt: r, ink: ink})
	return sealed.Ink, err
}

// View returns the page with our other open pages: those with a promise that
// is not judged yet. It reads memory.
func (l *Ledger) View(id commitments.PageID) commitments.View {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.book.view(id)
}

// Page returns everything promised for one slot of one proposer. It reads memory
// and never waits for a writer's disk. A page far behind the newest slot whose
// promises are all judged for good has left memory and reads as empty.
func (l *Ledger) Page(id commitments.PageID) commitments.Page {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.book.page(id)
}

// Pages returns the pages of slots from first on, ascending by slot, as far as
// they are in memory; every page with an unjudged promise is.
func (l *Ledger) Pages(first phase0.Slot) []commitments.Page {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.book.from(first)
}

// Recent is Find for promises that are in memory, as all that are not judged are.
func (l *Ledger) Recent(requestHash phase0.Hash32) (commitments.Promise, commitments.PageID, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.book.find(requestHash)
}

// Find returns the promise that answers a request, and its page. Promises that
// left memory are looked up on disk, unless the ledger is poisoned.
func (l *Ledger) Find(requestHash phase0.Hash32) (commitments.Promise, commitments.PageID, bool) {
	l.mu.RLock()
	p, id, ok := l.book.find(requestHash)
	swept, limit := l.book.floor > 0, l.book.records+1
	l.mu.RUnlock()
	if ok || !swept || l.Poisoned() != nil {
		return p, id, ok
	}
	_ = l.engine.view(func(t index) (err error) {
		p, id, ok, err = promiseOf(t, requestHash, limit)
		return err
	})
	return p, id, ok
}

// Records shows every record of an open ledger, in order, checking the chain.
// It reads a snapshot; show must not call this ledger, and should be quick: the
// writer may have to wait for it. Faults: ErrPoisoned, ErrBroken, show's.
func (l *Ledger) Records(show func(Record) error) error {
	if err := l.Poisoned(); err != nil {
		return ErrPoisoned.Wrap(err)
	}
	_, err := l.engine.walk(func(_ index, r Record) error { return show(r) })
	return err
}

// Len returns how many entries are on disk.
func (l *Ledger) Len() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.book.seq
}

// Version is a number that grows with every record, entry or signature, that is
// durable: a page that changed did so at another version.
func (l *Ledger) Version() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.book.records
}

// Poisoned returns the disk error that ended this ledger's writing, or nil.
func (l *Ledger) Poisoned() error {
	if p := l.poison.Load(); p != nil {
		return *p
	}
	return nil
}

// Close ends the ledger. Entries under way are finished first. Memory stays
// readable. A second Close waits for the first and returns its error.
func (l *Ledger) Close() error {
	l.once.Do(func() { close(l.closing) })
	<-l.done
	return l.closed
}
