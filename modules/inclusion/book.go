package inclusion

import (
	"fmt"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// promised is a transaction on a page that is still to come.
type promised struct {
	*tx
	slot phase0.Slot
	at   int // its place on the page
}

// book remembers what is promised by account, so that a request costs one look-up
// per page and not one per promise. Pages only grow: what was read of one holds.
type book struct {
	mu    sync.Mutex
	pages map[commitments.PageID]*leaf
}

// leaf is a page as far as it was read.
type leaf struct {
	read    int           // promises
	last    phase0.Hash32 // request hash of the last of them
	senders map[bellatrix.ExecutionAddress][]promised
	named   map[bellatrix.ExecutionAddress]int // the first promise that has an authorization of it
}

// open returns the sender's transactions on pages after the head. A slot at or
// before the head is decided: its transactions are in the account, or never will
// be. Faults: ErrSenderAuthority, ErrAuthorityOpen.
func (m *Module) open(view commitments.View, head phase0.Slot, t *tx) (own []promised, err error) {
	m.book.mu.Lock()
	defer m.book.mu.Unlock()
	look := func(p *commitments.Page) error {
		if p.Slot <= head {
			return nil
		}
		l, err := m.leaf(p)
		if err != nil {
			return err
		}
		if at, ok := l.named[t.sender]; ok && at < len(p.Promises) {
			return ErrSenderAuthority.With("for slot %d", p.Slot)
		}
		for _, a := range t.authorities {
			if s := l.senders[a]; len(s) > 0 && s[0].at < len(p.Promises) {
				return ErrAuthorityOpen.With("%#x, in slot %d", a[:], p.Slot)
			}
		}
		for _, q := range l.senders[t.sender] {
			if q.at < len(p.Promises) { // the view may be older than what was read
				own = append(own, q)
			}
		}
		return nil
	}
	if err := look(&view.Page); err != nil {
		return nil, err
	}
	for i := range view.Open {
		if view.Open[i].PageID == view.PageID {
			continue
		}
		if err := look(&view.Open[i]); err != nil {
			return nil, err
		}
	}
	m.book.forget(head)
	return own, nil
}

// leaf returns what is known of a page, after reading what is new on it.
func (m *Module) leaf(p *commitments.Page) (*leaf, error) {
	l := m.book.pages[p.PageID]
	if l == nil || l.read > 0 && len(p.Promises) >= l.read && p.Promises[l.read-1].Commitment.RequestHash != l.last {
		l = &leaf{senders: map[bellatrix.ExecutionAddress][]promised{}, named: map[bellatrix.ExecutionAddress]int{}}
		if m.book.pages == nil {
			m.book.pages = map[commitments.PageID]*leaf{}
		}
		m.book.pages[p.PageID] = l
	}
	for ; l.read < len(p.Promises); l.read++ {
		c := &p.Promises[l.read].Commitment
		l.last = c.RequestHash
		if !serves(c.Type) {
			continue
		}
		_, raw, err := payload(commitments.Request{Type: c.Type, Payload: c.Payload})
		if err != nil {
			return nil, fmt.Errorf("promise %d of slot %d: %v", l.read, p.Slot, err) // no fault: it is not the caller's
		}
		t, err := m.decode(raw)
		if err != nil {
			return nil, fmt.Errorf("promise %d of slot %d: %v", l.read, p.Slot, err)
		}
		l.senders[t.sender] = append(l.senders[t.sender], promised{t, p.Slot, l.read})
		for _, a := range t.authorities {
			if _, ok := l.named[a]; !ok {
				l.named[a] = l.read
			}
		}
	}
	return l, nil
}

// maxLeaves is how many pages are remembered before those that are decided are
// looked for.
const maxLeaves = 16

// forget drops pages that are decided. There are never many others: our slots of
// two epochs.
func (b *book) forget(head phase0.Slot) {
	if len(b.pages) < maxLeaves {
		return
	}
	for id := range b.pages {
		if id.Slot <= head {
			delete(b.pages, id)
		}
	}
}
