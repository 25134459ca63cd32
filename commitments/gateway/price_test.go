package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/ecdsa"
	"sidecar/modules"
	"sidecar/signer"
)

var errCheap = fault.Define("test_tip_too_low", fault.Rejected, "The tip is too low.")

// priced is a module that asks for a wei of tip per gas that is used already,
// and one; a request offers what its transaction's second byte says, times 21,000.
type priced struct{ *module }

func (p priced) Price(_ context.Context, v commitments.View, _ commitments.Request) (commitments.Price, error) {
	tip := uint256.NewInt(v.Used.Gas + 1)
	total := new(uint256.Int).Mul(tip, uint256.NewInt(21_000))
	return commitments.Price{Mode: commitments.PaidByTip, Tip: *tip, Total: *total, BaseFee: *uint256.NewInt(7)}, nil
}

func (p priced) Commit(ctx context.Context, v commitments.View, r commitments.Request) (commitments.Draft, error) {
	if v.Limit.Gas != 1e9 {
		return commitments.Draft{}, fmt.Errorf("the limit is %+v", v.Limit)
	}
	_, tx, err := commitments.DecodeInclusion(r.Payload)
	if err != nil {
		return commitments.Draft{}, err
	}
	offers := uint64(tx[1])*21_000 + 1
	price, err := p.Price(ctx, v, r)
	if err != nil {
		return commitments.Draft{}, err
	}
	if q := v.Quoted; q != nil && offers >= q.Tip.Uint64() {
		return p.module.Commit(ctx, v, r)
	}
	if offers < price.Tip.Uint64() {
		return commitments.Draft{}, errCheap.With("%d", offers)
	}
	d, err := p.module.Commit(ctx, v, r)
	d.UsedBelow = v.Used.Gas + 1
	return d, err
}

// quoter signs with the committer's key, as the app's does.
type quoter struct{ signer *signer.Signer }

func (q quoter) Quote(ctx context.Context, committer bellatrix.ExecutionAddress, one commitments.Quote) (commitments.SignedQuote, error) {
	return q.signer.Quote(ctx, moduleName, commitments.ECDSAKey(committer), one)
}

// openPriced is a house whose module has prices, and that signs quotes.
func openPriced(t *testing.T) (h *house, committer commitments.Key) {
	t.Helper()
	own := &module{}
	h = open(t, func(c *Config) {
		s := c.Signer.(*signer.Signer)
		s.Quoted = signer.QuoteOf(testSpec())
		c.Quoter, committer = quoter{s}, commitments.ECDSAKey(c.Committer)
		c.Modules = func() []modules.Module { return []modules.Module{priced{own}} }
	})
	h.module = own
	return h, committer
}

func TestFee(t *testing.T) {
	h, _ := openPriced(t)
	fee := func(r commitments.Request) (got map[string]any) {
		t.Helper()
		f, err := h.fee(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(f.Payload, &got); err != nil || f.Type != 1 {
			t.Fatalf("%s: %v", f.Payload, err)
		}
		return got
	}
	hash := request('a', 0).Hash()
	for name, want := range map[string]any{
		"request_hash": fmt.Sprintf("%#x", hash[:]), "price_gwei": 1.0, "slot": 104.0, "mode": "tip", "paid_to": "fee_recipient_of_the_block", "tip_wei_per_gas": "1",
		"total_wei": "21000", "worst_base_fee_wei": "7", "max_fee_per_gas_wei": "8", "binding": false, "valid_until_ms": float64(h.Clock.Start(101).UnixMilli()),
	} {
		if got := fee(request('a', 0))[name]; got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if _, err := h.Commit(t.Context(), request('b', 0)); err != nil {
		t.Fatal(err)
	}
	if got := fee(request('a', 0))["tip_wei_per_gas"]; got != "21001" {
		t.Errorf("after a promise: %v", got)
	}
	late := request('a', 0)
	late.Payload = commitments.EncodeInclusion(99, []byte{1, 2})
	if _, err := h.fee(t.Context(), late); !errors.Is(err, ErrTooLate) {
		t.Errorf("a slot that passed: %v", err)
	}
	h.Holds = func(slot phase0.Slot) bool { return slot == 104 }
	if _, err := h.fee(t.Context(), request('a', 0)); !errors.Is(err, ErrHolding) {
		t.Errorf("holding: %v", err)
	}
	h.Drain()
	if _, err := h.fee(t.Context(), request('a', 0)); !errors.Is(err, ErrDraining) {
		t.Errorf("draining: %v", err)
	}
}

func TestGweiOf(t *testing.T) {
	for wei, want := range map[uint64]uint64{0: 0, 1: 1, 1e9: 1, 1e9 + 1: 2} {
		if got := gweiOf(*uint256.NewInt(wei)); got != want {
			t.Errorf("%d wei: got %d", wei, got)
		}
	}
	if got := gweiOf(*new(uint256.Int).SetAllOne()); got != 1<<64-1 {
		t.Errorf("the most: %d", got)
	}
}

// TestCommit_PriceRace has many ask at once for an empty slot, of whom only the
// first offers enough for its place: nobody gets in below the price.
func TestCommit_PriceRace(t *testing.T) {
	h, _ := openPriced(t)
	const many = 16
	var all sync.WaitGroup
	made := make(chan byte, many)
	var gate sync.WaitGroup
	gate.Add(many)
	for i := range byte(many) {
		all.Go(func() {
			gate.Done()
			gate.Wait()
			_, err := h.Commit(context.Background(), request(i, i/4))
			if err == nil {
				made <- i / 4
			} else if !errors.Is(err, errCheap) {
				t.Errorf("request %d: %v", i, err)
			}
		})
	}
	all.Wait()
	close(made)
	page := h.ledger.Page(h.id())
	for place := range page.Promises {
		_, tx, err := commitments.DecodeInclusion(page.Promises[place].Commitment.Payload)
		if err != nil || int(tx[1]) < place {
			t.Errorf("promise %d was made for %d: %v", place, tx[1], err)
		}
	}
	if len(made) != len(page.Promises) || len(page.Promises) == 0 || len(page.Promises) > many/4 {
		t.Errorf("%d answers, %d promises", len(made), len(page.Promises))
	}
}

// TestCommit_PriceNeverHolds: a module whose price is always overtaken is told so
// at once.
func TestCommit_PriceNeverHolds(t *testing.T) {
	h := open(t)
	if _, err := h.Commit(t.Context(), request('a', 0)); err != nil {
		t.Fatal(err)
	}
	h.module.edit = func(d *commitments.Draft) { d.UsedBelow = 21_000 }
	if _, err := h.Commit(t.Context(), request('b', 0)); !errors.Is(err, modules.ErrDraft) || h.module.calls != 2 {
		t.Errorf("got %v after %d calls", err, h.module.calls)
	}
}

func TestQuote(t *testing.T) {
	h, committer := openPriced(t)
	q, err := h.Quote(t.Context(), request('a', 0))
	if err != nil {
		t.Fatal(err)
	}
	spec := testSpec()
	root := q.Quote.Message(spec.Domain(chain.DomainCommitBoost), spec.ChainID).Root()
	if by, err := ecdsa.Recover(root, [65]byte(q.Signature)); err != nil || by != committer.Address || q.Committer != by {
		t.Errorf("signed by %#x, %v", by, err)
	}
	if end := q.Quote.ValidUntil; end != uint64(h.now().UnixMilli())+3000 || q.Quote.RequestHash != request('a', 0).Hash() || q.Quote.Slot != 104 || q.Quote.Price.Tip.Uint64() != 1 {
		t.Errorf("got %+v", q.Quote)
	}
	if h.ledger.Len() != 0 {
		t.Errorf("%d entries of a quote", h.ledger.Len())
	}
	id := phase0.Hash32(q.Quote.Root())
	// The slot fills, and the price rises; the quote stands.
	if _, err := h.Commit(t.Context(), request('b', 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Commit(t.Context(), request('a', 0)); !errors.Is(err, errCheap) {
		t.Errorf("without the quote: %v", err)
	}
	if _, err := h.CommitQuoted(t.Context(), request('c', 0), id); !errors.Is(err, ErrQuoteOther) {
		t.Errorf("another's quote: %v", err)
	}
	if _, err := h.CommitQuoted(t.Context(), request('a', 0), phase0.Hash32{1}); !errors.Is(err, ErrQuoteExpired) {
		t.Errorf("an unknown quote: %v", err)
	}
	h.setSlot(100, 3*time.Second)
	s, err := h.CommitQuoted(t.Context(), request('a', 0), id)
	if err != nil {
		t.Fatal(err)
	}
	h.verify(s)
	// Once promised, the answer stays, whatever becomes of the quote.
	h.setSlot(100, 4*time.Second)
	if again, err := h.CommitQuoted(t.Context(), request('a', 0), id); err != nil || text(t, again) != text(t, s) {
		t.Errorf("again: %v", err)
	}
	if _, err := h.CommitQuoted(t.Context(), request('d', 0), id); !errors.Is(err, ErrQuoteOther) && !errors.Is(err, ErrQuoteExpired) {
		t.Errorf("a late other: %v", err)
	}
}

func TestQuote_Expires(t *testing.T) {
	h, _ := openPriced(t)
	q, err := h.Quote(t.Context(), request('a', 0))
	if err != nil {
		t.Fatal(err)
	}
	h.setSlot(100, 3*time.Second+time.Millisecond)
	if _, err := h.CommitQuoted(t.Context(), request('a', 0), phase0.Hash32(q.Quote.Root())); !errors.Is(err, ErrQuoteExpired) {
		t.Errorf("got %v", err)
	}
	// It reserves nothing: a page that is full or closed is so for a quote, too.
	q, err = h.Quote(t.Context(), request('a', 0))
	if err != nil {
		t.Fatal(err)
	}
	h.MaxCount = 0
	if _, err := h.CommitQuoted(t.Context(), request('a', 0), phase0.Hash32(q.Quote.Root())); !errors.Is(err, ErrFullCount) {
		t.Errorf("full: %v", err)
	}
}

// TestQuote_Bounded opens as many as may be; those that ended make room.
func TestQuote_Bounded(t *testing.T) {
	var q quotes
	one := commitments.Quote{ValidUntil: 1000}
	for i := range maxQuotes {
		one.Slot = phase0.Slot(i)
		if err := q.add(one, 10); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.add(one, 10); err != nil {
		t.Errorf("the same again: %v", err)
	}
	one.Slot, one.ValidUntil = maxQuotes, 2000
	if err := q.add(one, 1000); !errors.Is(err, ErrQuotesFull) {
		t.Errorf("one more: %v", err)
	}
	if err := q.add(one, 1001); err != nil || len(q.open) != 1 || len(q.order) != 1 {
		t.Errorf("after their end: %v, %d and %d are open", err, len(q.open), len(q.order))
	}
}

func TestQuote_NoKey(t *testing.T) {
	h := open(t)
	if _, err := h.Quote(t.Context(), request('a', 0)); !errors.Is(err, ErrNoQuotes) {
		t.Errorf("got %v", err)
	}
	h.Gateway.Quoter = quoter{}
	if _, err := h.Quote(t.Context(), request('a', 0)); !errors.Is(err, modules.ErrUnpriced) {
		t.Errorf("a module without prices: %v", err)
	}
}

// TestQuote_Wire asks for a quote in both forms of the API, and names it in every
// way there is.
func TestQuote_Wire(t *testing.T) {
	h, _ := openPriced(t)
	url := h.serve()
	good := func(sender byte) string { return text(t, request(sender, 3)) }
	rpc := func(method, params string) string {
		_, body := ask(t, "POST", url, "application/json", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":`+params+`}`)
		return body
	}
	quoted := func(body string) (id string, whole string) {
		t.Helper()
		var q commitments.SignedQuote
		if err := json.Unmarshal([]byte(body), &q); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		return fmt.Sprintf("%#x", q.Quote.Root()), body
	}
	result := func(body string) string {
		return strings.TrimSuffix(strings.TrimPrefix(body, `{"jsonrpc":"2.0","id":1,"result":`), "}")
	}
	for sender, form := range map[byte]func(id, whole string) (int, string){
		'a': func(id, _ string) (int, string) { return 200, rpc("commitmentRequest", "["+good('a')+`,"`+id+`"]`) },
		'b': func(_, whole string) (int, string) {
			return 200, rpc("commitmentRequest", "["+good('b')+","+whole+"]")
		},
		'c': func(id, _ string) (int, string) {
			return 200, rpc("commitmentRequest", "["+strings.TrimSuffix(good('c'), "}")+`,"quote_id":"`+id+`"}]`)
		},
		'd': func(id, _ string) (int, string) {
			return ask(t, "POST", url+rest+"commitmentRequest?quote_id="+id, "application/json", good('d'))
		},
	} {
		_, body := ask(t, "POST", url+rest+"quote", "application/json", good(sender))
		id, whole := quoted(body)
		if status, body := form(id, whole); status != 200 || !strings.Contains(body, `"signature":"0x`) {
			t.Errorf("form %c: %d %s", sender, status, body)
		}
		other, _ := quoted(result(rpc("preconf_quote", "["+good('x')+"]")))
		if _, body := form(other, strings.Replace(whole, id, other, 1)); !strings.Contains(body, `"signature":"0x`) {
			t.Errorf("form %c, promised before: %s", sender, body)
		}
	}
	for params, reason := range map[string]string{
		"[" + good('e') + `,"0x12"]`: "params_invalid", "[" + good('e') + `,{}]`: "params_invalid", "[" + good('e') + `,7]`: "params_invalid",
		"[" + good('e') + `,"0x` + strings.Repeat("ab", 32) + `"]`: "quote_expired",
	} {
		if body := rpc("commitmentRequest", params); !strings.Contains(body, `"reason":"`+reason+`"`) {
			t.Errorf("%s: %s", params, body)
		}
	}
	if status, body := ask(t, "POST", url+rest+"commitmentRequest?quote_id=7", "application/json", good('e')); status != 400 || !strings.Contains(body, "params_invalid") {
		t.Errorf("a bad id: %d %s", status, body)
	}
}
