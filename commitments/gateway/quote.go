package gateway

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// Faults of quotes.
var (
	ErrQuoteExpired = fault.Define("quote_expired", fault.Rejected, "The quote has expired, or this sidecar did not make it, or not since it was started.")
	ErrQuoteOther   = fault.Define("quote_of_another_request", fault.Invalid, "The quote is for another request: type, payload or slasher differ.")
	ErrQuotesFull   = fault.Define("quotes_busy", fault.Busy, "As many quotes are open as may be; they end within seconds.")
	ErrNoQuotes     = fault.Define("quotes_not_signed", fault.NotFound, "This sidecar has no committer key to sign quotes with; fee tells the price.")
)

// Quoter signs quotes with a committer's key, and nothing else.
type Quoter interface {
	Quote(ctx context.Context, committer bellatrix.ExecutionAddress, q commitments.Quote) (commitments.SignedQuote, error)
}

const (
	quoteLife = 3_000 // milliseconds
	maxQuotes = 8192  // that are open at a time
)

// quotes are those that are open. They are in memory: a restart takes longer
// than a quote lives.
type quotes struct {
	mu    sync.Mutex
	open  map[phase0.Hash32]commitments.Quote
	order []phase0.Hash32 // by their end: all live as long
}

// add opens a quote at now, in unix milliseconds. Fault: ErrQuotesFull.
func (q *quotes) add(one commitments.Quote, now uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open == nil {
		q.open = map[phase0.Hash32]commitments.Quote{}
	}
	for len(q.order) > 0 && q.open[q.order[0]].ValidUntil < now {
		delete(q.open, q.order[0])
		q.order = q.order[1:]
	}
	id := phase0.Hash32(one.Root())
	if _, again := q.open[id]; again {
		return nil
	}
	if len(q.order) >= maxQuotes {
		return ErrQuotesFull
	}
	q.open[id], q.order = one, append(q.order, id)
	return nil
}

// find returns an open quote for a request. Faults: ErrQuoteExpired, ErrQuoteOther.
func (q *quotes) find(id phase0.Hash32, request phase0.Hash32, now uint64) (commitments.Quote, error) {
	q.mu.Lock()
	one, ok := q.open[id]
	q.mu.Unlock()
	switch {
	case !ok:
		return one, ErrQuoteExpired
	case one.RequestHash != request:
		return one, ErrQuoteOther
	case now > one.ValidUntil:
		return one, ErrQuoteExpired.With("it was valid until %d, it is %d", one.ValidUntil, now)
	}
	return one, nil
}

// Quote names a price and stands by it for seconds, if the slot has room and the
// request is otherwise good: it reserves nothing. Faults: those of Price,
// ErrQuotesFull, ErrNoQuotes, the signer's.
func (g *Gateway) Quote(ctx context.Context, r commitments.Request) (commitments.SignedQuote, error) {
	if g.Quoter == nil {
		return commitments.SignedQuote{}, ErrNoQuotes
	}
	id, price, err := g.Price(ctx, r)
	if err != nil {
		return commitments.SignedQuote{}, err
	}
	now := g.unixMilli()
	q := commitments.Quote{RequestHash: r.Hash(), Type: r.Type, Slot: id.Slot, Price: price, ValidUntil: now + quoteLife}
	if err := g.quotes.add(q, now); err != nil { // before it is signed: a full house costs no signature
		return commitments.SignedQuote{}, err
	}
	return g.Quoter.Quote(ctx, g.party(id).Committer, q) // who would sign the commitment
}

func (g *Gateway) unixMilli() uint64 { return uint64(max(g.Clock.Now().UnixMilli(), 0)) } // #nosec G115 -- not negative

// CommitQuoted is Commit at the price of an open quote, by its id. Who was
// promised the same before has the same answer, whatever has become of the quote.
// Faults: those of Commit, ErrQuoteExpired, ErrQuoteOther.
func (g *Gateway) CommitQuoted(ctx context.Context, r commitments.Request, id phase0.Hash32) (commitments.SignedCommitment, error) {
	began := g.Clock.Now()
	s, err := g.commit(ctx, r, &id)
	g.Metrics.request(err, g.Clock.Now().Sub(began))
	return s, err
}

// commitAs is Commit, or CommitQuoted if an id is given.
func (g *Gateway) commitAs(ctx context.Context, r commitments.Request, id *phase0.Hash32) (commitments.SignedCommitment, error) {
	if id == nil {
		return g.Commit(ctx, r)
	}
	return g.CommitQuoted(ctx, r, *id)
}

// paramQuoted reads a request and, behind it or in it, the id of a quote: a
// string, or an object {quote_id} such as the quote itself. fabric sends one
// parameter.
func paramQuoted(params json.RawMessage) (r commitments.Request, id *phase0.Hash32, err error) {
	var list []json.RawMessage
	if json.Unmarshal(params, &list) == nil && len(list) == 2 {
		if r, err = decodeRequest(list[0]); err == nil {
			id, err = quoteID(list[1])
		}
		return r, id, err
	}
	one, err := single(params)
	if err != nil {
		return r, nil, err
	}
	if r, err = decodeRequest(one); err == nil {
		id, err = quoteIDIn(one)
	}
	return r, id, err
}

// quoteID reads the id of a quote. Fault: ErrParams.
func quoteID(text json.RawMessage) (*phase0.Hash32, error) {
	var s string
	if json.Unmarshal(text, &s) == nil {
		h, err := parseHash(s)
		return &h, err
	}
	id, err := quoteIDIn(text)
	if err == nil && id == nil {
		err = ErrParams.With("a quote's id is wanted")
	}
	return id, err
}

// quoteIDIn reads the field quote_id of an object; nil if it has none.
func quoteIDIn(text json.RawMessage) (*phase0.Hash32, error) {
	var object struct {
		QuoteID *string `json:"quote_id"`
	}
	if json.Unmarshal(text, &object) != nil {
		return nil, ErrParams.With("a quote's id is 0x and 64 hex digits")
	}
	if object.QuoteID == nil {
		return nil, nil
	}
	h, err := parseHash(*object.QuoteID)
	return &h, err
}
