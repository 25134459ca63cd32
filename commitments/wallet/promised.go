package wallet

import (
	"sync"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/commitments"
)

const (
	// remember is how many slots behind the newest a promise is found by its
	// transaction: what the ledger keeps in memory.
	remember phase0.Slot = 2048
	// late is how many slots a promise of another sidecar on a shared ledger may
	// come behind.
	late phase0.Slot = 4
)

// index finds promises by transaction and by sender, whoever asked for them. The
// ledger is the truth; this is made from its pages, which only grow.
type index struct {
	views  Views
	signer types.Signer

	mu    sync.Mutex
	next  phase0.Slot // pages of earlier slots take no more promises
	swept phase0.Slot
	known map[commitments.PageID]int // promises indexed, by page
	txs   map[phase0.Hash32]*known
}

// known is a promised transaction.
type known struct {
	places []place // in the order they were found
	sender bellatrix.ExecutionAddress
	nonce  uint64
	sent   bool // sender and nonce are known
}

// place is where a promise stands: a promise keeps its place on its page.
type place struct {
	id commitments.PageID
	at int
}

// promise is one line of a page with its transaction.
type promise struct {
	commitments.Promise
	page commitments.Page
	raw  []byte
}

func newIndex(v Views, signer types.Signer) *index {
	return &index{views: v, signer: signer, known: map[commitments.PageID]int{}, txs: map[phase0.Hash32]*known{}}
}

// refresh reads what was promised since it last did. now is the running slot:
// promises are made for later ones only.
func (x *index) refresh(now phase0.Slot) {
	for _, page := range x.views.Pages(x.next) {
		for i := x.known[page.PageID]; i < len(page.Promises); i++ {
			c := &page.Promises[i].Commitment
			if raw, ok := decode(c.Type, c.Payload); ok {
				x.add(raw, place{page.PageID, i}, page.Slot+late >= now)
			}
		}
		x.known[page.PageID] = len(page.Promises)
	}
	x.next = max(now, late) - late
	if now > x.swept+remember/8 {
		x.sweep(now)
	}
}

// add notes a promise. Senders are dear to recover, and wanted only while the
// promise is open.
func (x *index) add(raw []byte, at place, open bool) {
	hash := phase0.Hash32(crypto.Keccak256Hash(raw))
	k := x.txs[hash]
	if k == nil {
		k = &known{}
		x.txs[hash] = k
	}
	k.places = append(k.places, at)
	if k.sent || !open {
		return
	}
	tx := new(types.Transaction)
	if tx.UnmarshalBinary(raw) != nil {
		return
	}
	if from, err := types.Sender(x.signer, tx); err == nil {
		k.sender, k.nonce, k.sent = bellatrix.ExecutionAddress(from), tx.Nonce(), true
	}
}

// sweep forgets what the ledger has forgotten.
func (x *index) sweep(now phase0.Slot) {
	x.swept = now
	for id := range x.known {
		if id.Slot+remember < now {
			delete(x.known, id)
		}
	}
	for hash, k := range x.txs {
		if k.newest().id.Slot+remember < now {
			delete(x.txs, hash)
		}
	}
}

// newest is the place on the page of the latest slot.
func (k *known) newest() place {
	best := k.places[0]
	for _, at := range k.places[1:] {
		if at.id.Slot > best.id.Slot {
			best = at
		}
	}
	return best
}

// of returns the newest promise of a transaction.
func (x *index) of(hash phase0.Hash32, now phase0.Slot) (p promise, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.refresh(now)
	k := x.txs[hash]
	if k == nil {
		return p, false
	}
	at := k.newest()
	page := x.views.Page(at.id)
	if at.at >= len(page.Promises) { // the ledger has forgotten it
		return p, false
	}
	line := page.Promises[at.at]
	raw, _ := decode(line.Commitment.Type, line.Commitment.Payload)
	return promise{line, page, raw}, true
}

// nonces returns those of a sender's transactions that are promised for slots
// after head.
func (x *index) nonces(sender bellatrix.ExecutionAddress, head, now phase0.Slot) map[uint64]bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.refresh(now)
	found := map[uint64]bool{}
	for _, k := range x.txs {
		if k.sent && k.sender == sender && k.newest().id.Slot > head {
			found[k.nonce] = true
		}
	}
	return found
}
