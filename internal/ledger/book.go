package ledger

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// retain is how many slots behind the newest a judged page stays in memory:
// 6.8 hours of 12 s slots.
const retain phase0.Slot = 2048

// sweepEvery is how far the newest slot moves between two sweeps of old pages.
const sweepEvery phase0.Slot = 32

// book is the ledger in memory. The pages it points to never change: a changed
// page is a new one. Two books may therefore share their pages.
type book struct {
	seq      uint64      // position of the last entry
	records  uint64      // number of the last record
	newest   phase0.Slot // of any page
	swept    phase0.Slot // newest at the last sweep
	floor    phase0.Slot // pages of earlier slots that are absent here may be on disk
	pages    map[commitments.PageID]*commitments.Page
	open     []*commitments.Page // with an unjudged promise; ascending
	requests map[phase0.Hash32]place
	least    map[commitments.Key]phase0.Slot // nothing new below; never changed in place
	revoked  map[string]bool                 // resources of revocations; never changed in place
}

// maxNotes is how many notes of a page are kept in memory.
const maxNotes = 64

// place is where a promise stands.
type place struct {
	id    commitments.PageID
	index int
}

func newBook() *book {
	return &book{pages: map[commitments.PageID]*commitments.Page{}, requests: map[phase0.Hash32]place{}}
}

func (b *book) clone() *book {
	c := *b
	c.pages, c.open, c.requests = maps.Clone(b.pages), slices.Clone(b.open), maps.Clone(b.requests)
	return &c
}

// forbid notes what an import forbids, or a revocation. A limit only rises.
func (b *book) forbid(e *Entry) {
	if e.Kind == KindRevocation {
		revoked := maps.Clone(b.revoked)
		if revoked == nil {
			revoked = map[string]bool{}
		}
		for _, name := range e.Resources {
			revoked[name] = true
		}
		b.revoked = revoked
	}
	if e.Kind != KindImport || e.Import.Least <= b.least[e.Key] {
		return
	}
	least := maps.Clone(b.least)
	if least == nil {
		least = map[commitments.Key]phase0.Slot{}
	}
	least[e.Key] = e.Import.Least
	b.least = least
}

// page returns a page as a value whose slices cannot be appended to in place.
func (b *book) page(id commitments.PageID) commitments.Page {
	if p := b.pages[id]; p != nil {
		return clipped(p)
	}
	return commitments.Page{PageID: id}
}

// latest is page for the writer, who alone may append to its slices.
func (b *book) latest(id commitments.PageID) commitments.Page {
	if p := b.pages[id]; p != nil {
		return *p
	}
	return commitments.Page{PageID: id}
}

func (b *book) view(id commitments.PageID) commitments.View {
	v := commitments.View{Page: b.page(id), Seq: b.seq}
	if len(b.open) > 0 {
		v.Open = make([]commitments.Page, 0, len(b.open))
	}
	for _, p := range b.open {
		if p.PageID != id {
			v.Open = append(v.Open, clipped(p))
		}
	}
	return v
}

func (b *book) from(first phase0.Slot) []commitments.Page {
	var pages []commitments.Page
	for id, p := range b.pages {
		if id.Slot >= first {
			pages = append(pages, clipped(p))
		}
	}
	slices.SortFunc(pages, func(x, y commitments.Page) int { return compareIDs(x.PageID, y.PageID) })
	return pages
}

func (b *book) find(hash phase0.Hash32) (commitments.Promise, commitments.PageID, bool) {
	at, ok := b.requests[hash]
	if !ok {
		return commitments.Promise{}, commitments.PageID{}, false
	}
	return b.pages[at.id].Promises[at.index], at.id, true
}

// set puts a page in place of its older self. The caller never changes it again.
func (b *book) set(p *commitments.Page) {
	known := 0
	if old := b.pages[p.PageID]; old != nil {
		known = len(old.Promises)
	}
	for i := known; i < len(p.Promises); i++ {
		hash := p.Promises[i].Commitment.RequestHash
		if _, taken := b.requests[hash]; !taken {
			b.requests[hash] = place{p.PageID, i}
		}
	}
	b.pages[p.PageID] = p
	b.newest = max(b.newest, p.Slot)

	i, found := slices.BinarySearchFunc(b.open, p.PageID, func(x *commitments.Page, id commitments.PageID) int {
		return compareIDs(x.PageID, id)
	})
	switch isOpen := !judged(p); {
	case isOpen && found:
		b.open[i] = p
	case isOpen:
		b.open = slices.Insert(b.open, i, p)
	case found:
		b.open = slices.Delete(b.open, i, i+1)
	}
}

// drop removes a page that is on disk and no longer needed.
func (b *book) drop(id commitments.PageID) {
	p := b.pages[id]
	if p == nil {
		return
	}
	for i := range p.Promises {
		if hash := p.Promises[i].Commitment.RequestHash; b.requests[hash].id == id {
			delete(b.requests, hash)
		}
	}
	delete(b.pages, id)
	b.floor = max(b.floor, id.Slot+1)
}

// sweep names the pages that may leave memory, when it is time to look.
func (b *book) sweep() (old []commitments.PageID) {
	if b.newest < retain || b.newest-b.swept < sweepEvery {
		return nil
	}
	b.swept = b.newest
	for id, p := range b.pages {
		if id.Slot < b.newest-retain && settled(p) {
			old = append(old, id)
		}
	}
	return old
}

// judged says whether every promise of p has a verdict, be it provisional.
func judged(p *commitments.Page) bool {
	return everyVerdict(p, func(v *commitments.Verdict) bool { return v.Outcome != commitments.Unknown || v.Settled() })
}

// settled says whether every promise of p has a verdict that stays.
func settled(p *commitments.Page) bool { return everyVerdict(p, (*commitments.Verdict).Settled) }

func everyVerdict(p *commitments.Page, is func(*commitments.Verdict) bool) bool {
	if len(p.Promises) == 0 {
		return true
	}
	if len(p.Verdicts) == 0 {
		return false
	}
	final := make(map[phase0.Hash32]bool, len(p.Verdicts))
	for i := range p.Verdicts {
		final[p.Verdicts[i].RequestHash] = is(&p.Verdicts[i])
	}
	for i := range p.Promises {
		if !final[p.Promises[i].Commitment.RequestHash] {
			return false
		}
	}
	return true
}

// withEntry returns p with a durable, still unsigned entry applied.
func withEntry(p commitments.Page, seq uint64, e *Entry) *commitments.Page {
	switch e.Kind {
	case KindCommitment:
		// Appending in place is safe: whoever reads an older page has a shorter slice.
		p.Promises = append(p.Promises, commitments.Promise{
			SignedCommitment: commitments.SignedCommitment{Commitment: e.Draft.Commitment, Nonce: e.Nonce, SigningID: e.SigningID},
			Constraints:      e.Draft.Constraints,
			Cost:             e.Draft.Cost,
			Touches:          e.Draft.Touches,
			Seq:              seq,
		})
	case KindConstraints, KindClose:
		p.Closed = true
	case KindHeaderServed, KindReceipt:
		if len(p.Notes) < maxNotes { // the ledger has the rest, too
			p.Notes = append(p.Notes, commitments.Note{Kind: e.Kind.String(), What: e.Note})
		}
	case KindVerdict:
		p.Verdicts = slices.Clone(p.Verdicts)
		i := slices.IndexFunc(p.Verdicts, func(v commitments.Verdict) bool { return v.RequestHash == e.Verdict.RequestHash })
		if i < 0 {
			p.Verdicts = append(p.Verdicts, *e.Verdict)
		} else {
			p.Verdicts[i] = *e.Verdict
		}
	}
	return &p
}

// withSeal returns p with the signature of entry seq applied. Unless the caller
// owns p's promises, because it just copied them, they are copied.
func withSeal(p commitments.Page, seq uint64, e *Entry, ink Ink, own bool) *commitments.Page {
	var blsSignature phase0.BLSSignature
	copy(blsSignature[:], ink.Signature)
	switch e.Kind {
	case KindCommitment:
		if !own {
			// With room for the entries of the batch, which would copy them again.
			p.Promises = append(make([]commitments.Promise, 0, len(p.Promises)+len(p.Promises)/4+16), p.Promises...)
		}
		i, found := slices.BinarySearchFunc(p.Promises, seq, func(x commitments.Promise, seq uint64) int { return cmp.Compare(x.Seq, seq) })
		if found {
			p.Promises[i].Signature, p.Promises[i].Proxy = ink.Signature, ink.Proxy
		}
	case KindDelegation:
		p.Delegation = &commitments.SignedDelegation{Message: *e.Delegation, Nonce: e.Nonce, SigningID: e.SigningID, Signature: blsSignature}
	case KindConstraints:
		p.Constraints = &commitments.SignedConstraints{Message: *e.Constraints, Nonce: e.Nonce, SigningID: e.SigningID, Signature: blsSignature}
	}
	return &p
}

func clipped(p *commitments.Page) commitments.Page {
	c := *p
	c.Promises, c.Verdicts, c.Notes = slices.Clip(c.Promises), slices.Clip(c.Verdicts), slices.Clip(c.Notes)
	return c
}

func compareIDs(x, y commitments.PageID) int {
	if c := cmp.Compare(x.Slot, y.Slot); c != 0 {
		return c
	}
	return bytes.Compare(x.Proposer[:], y.Proposer[:])
}
