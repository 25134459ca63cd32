package signer

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
	"sidecar/internal/metrics"
)

func (r *road) signAt(t testing.TB, slot phase0.Slot, e ledger.Entry) (ledger.Receipt, error) {
	t.Helper()
	return r.Sign(context.Background(), commitments.PageID{Slot: slot, Proposer: r.proposer}, func(commitments.View) (ledger.Entry, error) { return e, nil })
}

// TestSign_SlotOutOfRange: it is slot 10. What no clock will see touches nothing.
func TestSign_SlotOutOfRange(t *testing.T) {
	for slot, want := range map[phase0.Slot]error{
		0: commitments.ErrSlotRange, 8: commitments.ErrSlotRange, 9: nil, 10: nil, 74: nil, 75: commitments.ErrSlotRange,
		math.MaxInt64: commitments.ErrSlotRange, math.MaxInt64 + 1: commitments.ErrSlotRange, math.MaxUint64: commitments.ErrSlotRange,
	} {
		r := newRoad(t)
		if _, err := r.signAt(t, slot, r.commitment(t, 1)); !errors.Is(err, want) {
			t.Errorf("slot %d: got %v, want %v", uint64(slot), err, want)
		}
		if want == nil {
			continue
		}
		if r.book.Len() != 0 || r.keys.calls != 0 {
			t.Errorf("slot %d: %d entries, %d signatures; want none", uint64(slot), r.book.Len(), r.keys.calls)
		}
		if _, err := r.signAt(t, 12, r.commitment(t, 1)); err != nil {
			t.Errorf("a plain slot after slot %d: %v", uint64(slot), err)
		}
	}
	r := newRoad(t)
	r.Lookahead = 5
	if _, err := r.signAt(t, 16, r.commitment(t, 1)); !errors.Is(err, commitments.ErrSlotRange) {
		t.Errorf("beyond a lookahead of 5: got %v, want %v", err, commitments.ErrSlotRange)
	}
	r.Clock = nil
	if _, err := r.signAt(t, 10, r.commitment(t, 1)); !errors.Is(err, commitments.ErrSlotRange) {
		t.Errorf("without a clock: got %v, want %v", err, commitments.ErrSlotRange)
	}
}

// TestSign_RepeatsOfThePast: what is signed is answered for ever, what stands
// unsigned is signed while its slot lasts.
func TestSign_RepeatsOfThePast(t *testing.T) {
	r := newRoad(t)
	signed, err := r.sign(t, r.commitment(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	r.keys.fail = errors.New("down")
	for n := byte(2); n < 4; n++ {
		if _, err := r.sign(t, r.commitment(t, n)); !errors.Is(err, r.keys.fail) {
			t.Fatal(err)
		}
	}
	r.keys.fail = nil
	r.slot.Store(11)
	r.open(t)
	if got, err := r.sign(t, r.commitment(t, 2)); err != nil || len(got.Signature) != 96 {
		t.Errorf("unsigned, one slot later: %v", err)
	}
	r.slot.Store(500)
	calls := r.keys.calls
	if got, err := r.sign(t, r.commitment(t, 1)); err != nil || !bytes.Equal(got.Signature, signed.Signature) {
		t.Errorf("signed, long ago: %v", err)
	}
	if _, err := r.sign(t, r.commitment(t, 3)); !errors.Is(err, commitments.ErrSlotRange) {
		t.Errorf("unsigned, long ago: got %v, want %v", err, commitments.ErrSlotRange)
	}
	if _, err := r.sign(t, r.commitment(t, 4)); !errors.Is(err, commitments.ErrSlotRange) {
		t.Errorf("new, long ago: got %v, want %v", err, commitments.ErrSlotRange)
	}
	clash := r.commitment(t, 9)
	clash.Draft.Commitment.RequestHash = phase0.Hash32{1}
	if _, err := r.sign(t, r.rooted(t, clash)); !errors.Is(err, ledger.ErrSlashable) {
		t.Errorf("a contradiction of long ago: got %v, want %v", err, ledger.ErrSlashable)
	}
	if r.keys.calls != calls || r.book.Len() != 3 {
		t.Errorf("%d more signatures, %d entries; want none, 3", r.keys.calls-calls, r.book.Len())
	}
}

// TestSign_Contradictions: each one that is refused is counted and in the log,
// with who asked, for what, and both roots.
func TestSign_Contradictions(t *testing.T) {
	r := newRoad(t)
	var log bytes.Buffer
	registry := metrics.NewRegistry()
	r.Log, r.Metrics = slog.New(slog.NewTextHandler(&log, nil)), NewMetrics(registry)
	r.Policy = append(Grants{{"inclusion", ledger.KindConstraints, commitments.BLSKey(r.proposer)}}, r.Policy.(Grants)...)
	otherAnswer := func() ledger.Entry {
		e := r.commitment(t, 2)
		e.Draft.Commitment.RequestHash = phase0.Hash32{1}
		return r.rooted(t, e)
	}
	otherDelegate := func() ledger.Entry {
		e := r.constraints(t, 1)
		e.Constraints.Delegate, e.Key = r.proposer, commitments.BLSKey(r.proposer)
		return r.rooted(t, e)
	}
	steps := []struct{ first, second ledger.Entry }{
		{r.delegation(t, 1), r.delegation(t, 2)},
		{r.commitment(t, 1), otherAnswer()},
		{r.constraints(t, 1), otherDelegate()},
	}
	for _, s := range steps {
		if _, err := r.sign(t, s.first); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		if _, err := r.sign(t, s.second); !errors.Is(err, ledger.ErrSlashable) {
			t.Fatalf("%s: got %v, want %v", s.first.Kind, err, ledger.ErrSlashable)
		}
		for _, want := range []string{"level=WARN", "module=inclusion", "key=" + s.second.Key.String(), "resource=", "stands=" + s.first.Root.String(), "asked=" + s.second.Root.String()} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("%s: no %s in %s", s.first.Kind, want, log.String())
			}
		}
		if n, _ := registry.Value(`sidecar_signer_contradictions_total{kind="` + s.first.Kind.String() + `"}`); n != 1 {
			t.Errorf("%s: counted %v times, want once", s.first.Kind, n)
		}
	}
}

// request is a module's own object, to be signed by the proxy key.
func (r *road) request(t testing.TB, object byte, nonce uint64) ledger.Entry {
	t.Helper()
	return r.rooted(t, ledger.Entry{
		Kind: ledger.KindRequest, Module: "other", Key: commitments.BLSKey(r.proxy), SigningID: phase0.Root{8}, Nonce: nonce,
		Request: &commitments.ModuleRequest{ObjectRoot: phase0.Root{object}},
	})
}

func (r *road) vouch(t testing.TB, proxy commitments.Key) ledger.Entry {
	t.Helper()
	return r.rooted(t, ledger.Entry{
		Kind: ledger.KindProxy, Module: "other", Key: commitments.BLSKey(r.proposer),
		Proxy: &commitments.ProxyDelegation{Delegator: r.proposer, Proxy: proxy},
	})
}

func grantOthers(r *road) {
	r.Policy = Grants{{"other", ledger.KindRequest, commitments.BLSKey(r.proxy)}, {"other", ledger.KindProxy, commitments.BLSKey(r.proposer)}}
}

// TestSign_Requests: a nonce is used once; without one, or in the plain envelope,
// a root is what is repeated.
func TestSign_Requests(t *testing.T) {
	r := newRoad(t)
	grantOthers(r)
	plain := r.request(t, 1, 0)
	plain.SigningID, plain.Request.Envelope = phase0.Root{}, commitments.EnvelopePlain
	plain = r.rooted(t, plain)
	otherID := r.request(t, 2, 7)
	otherID.SigningID = phase0.Root{9}
	otherID = r.rooted(t, otherID)
	for name, c := range map[string]struct {
		slot phase0.Slot
		e    ledger.Entry
	}{
		"first of a nonce": {10, r.request(t, 1, 7)}, "another nonce": {10, r.request(t, 2, 8)}, "another signing id": {10, otherID},
		"without a nonce": {10, r.request(t, 1, 0)}, "another without": {10, r.request(t, 2, 0)}, "plain": {10, plain},
	} {
		if _, err := r.signAt(t, c.slot, c.e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	calls := r.keys.calls
	r.slot.Store(20)
	for _, e := range []ledger.Entry{r.request(t, 1, 7), plain, r.request(t, 2, 0)} {
		if got, err := r.signAt(t, 20, e); err != nil || len(got.Signature) != 96 {
			t.Errorf("repeat on a later page: %v", err)
		}
	}
	if _, err := r.signAt(t, 20, r.request(t, 2, 7)); !errors.Is(err, ledger.ErrSlashable) {
		t.Errorf("a nonce used again: got %v, want %v", err, ledger.ErrSlashable)
	}
	if r.keys.calls != calls {
		t.Errorf("%d signatures for repeats", r.keys.calls-calls)
	}
}

// TestGuard_RequestsAndProxies: each way not to fit.
func TestGuard_RequestsAndProxies(t *testing.T) {
	r := newRoad(t)
	grantOthers(r)
	change := func(e ledger.Entry, f func(*ledger.Entry)) ledger.Entry { f(&e); return e }
	address := commitments.ECDSAKey([20]byte{7})
	cases := map[string]ledger.Entry{
		"request without":          change(r.request(t, 1, 1), func(e *ledger.Entry) { e.Request = nil }),
		"request and proxy":        change(r.request(t, 1, 1), func(e *ledger.Entry) { e.Proxy = r.vouch(t, address).Proxy }),
		"no signing id":            change(r.request(t, 1, 1), func(e *ledger.Entry) { e.SigningID = phase0.Root{} }),
		"plain with a nonce":       change(r.request(t, 1, 1), func(e *ledger.Entry) { e.Request.Envelope, e.SigningID = commitments.EnvelopePlain, phase0.Root{} }),
		"plain with a signing id":  change(r.request(t, 1, 0), func(e *ledger.Entry) { e.Request.Envelope = commitments.EnvelopePlain }),
		"unknown envelope":         change(r.request(t, 1, 0), func(e *ledger.Entry) { e.Request.Envelope = 9 }),
		"proxy without":            change(r.vouch(t, address), func(e *ledger.Entry) { e.Proxy = nil }),
		"proxy of nobody":          change(r.vouch(t, address), func(e *ledger.Entry) { e.Proxy.Proxy = commitments.Key{} }),
		"proxy of itself":          change(r.vouch(t, address), func(e *ledger.Entry) { e.Proxy.Proxy = commitments.BLSKey(r.proposer) }),
		"another delegator":        change(r.vouch(t, address), func(e *ledger.Entry) { e.Proxy.Delegator[0] ^= 1 }),
		"proxy with a nonce":       change(r.vouch(t, address), func(e *ledger.Entry) { e.Nonce = 1 }),
		"proxy with a signing id":  change(r.vouch(t, address), func(e *ledger.Entry) { e.SigningID = phase0.Root{1} }),
		"proxy with another root":  change(r.vouch(t, address), func(e *ledger.Entry) { e.Root[0] ^= 1 }),
		"request with other root":  change(r.request(t, 1, 1), func(e *ledger.Entry) { e.Root[0] ^= 1 }),
		"request, another's nonce": change(r.request(t, 1, 1), func(e *ledger.Entry) { e.Nonce = 2 }),
	}
	for name, e := range cases {
		if _, err := r.sign(t, e); !errors.Is(err, ErrIncoherent) {
			t.Errorf("%s: got %v, want %v", name, err, ErrIncoherent)
		}
	}
	other := commitments.PageID{Slot: 10, Proposer: r.proxy}
	if _, err := r.Sign(t.Context(), other, func(commitments.View) (ledger.Entry, error) { return r.vouch(t, address), nil }); !errors.Is(err, ErrIncoherent) {
		t.Errorf("proxy on another validator's page: got %v, want %v", err, ErrIncoherent)
	}
	if r.book.Len() != 0 || r.keys.calls != 0 {
		t.Errorf("%d entries, %d signatures; want none", r.book.Len(), r.keys.calls)
	}
	for _, proxy := range []commitments.Key{address, commitments.BLSKey(r.proxy)} {
		first, err := r.sign(t, r.vouch(t, proxy))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := r.sign(t, r.vouch(t, proxy)); err != nil || !bytes.Equal(again.Signature, first.Signature) || again.Seq != first.Seq {
			t.Errorf("vouching for %s again: %v", proxy, err)
		}
	}
}

// TestSign_Imported: what another sidecar signed is answered, and not contradicted.
func TestSign_Imported(t *testing.T) {
	r := newRoad(t)
	e := r.commitment(t, 1)
	sig := r.keys.keys[r.proxy].Sign(e.Root)
	file := ledger.Interchange{Metadata: ledger.InterchangeMetadata{Format: ledger.InterchangeFormat, Network: spec.Name, GenesisForkVersion: spec.GenesisForkVersion[:]}}
	item := func(e ledger.Entry, sig []byte) ledger.InterchangeEntry {
		return ledger.InterchangeEntry{Resources: resources(r.id, e), Digest: e.Root[:], Kind: e.Kind.String(), Slot: 10, Signature: sig}
	}
	unsigned := r.commitment(t, 5)
	file.Data = []ledger.InterchangeKey{{Key: r.proxy[:], Signed: []ledger.InterchangeEntry{item(e, sig[:]), item(unsigned, nil)}}}
	if _, err := r.book.Merge(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if got, err := r.sign(t, e); err != nil || !bytes.Equal(got.Signature, sig[:]) || r.keys.calls != 0 {
		t.Errorf("what was signed elsewhere: %v, %d signatures of our own", err, r.keys.calls)
	}
	if got, err := r.sign(t, unsigned); err != nil || len(got.Signature) != 96 || r.keys.calls != 1 {
		t.Errorf("what stands unsigned elsewhere: %v", err)
	}
	clash := r.commitment(t, 2)
	clash.Draft.Commitment.RequestHash = phase0.Hash32{1}
	if _, err := r.sign(t, r.rooted(t, clash)); !errors.Is(err, ledger.ErrSlashable) {
		t.Errorf("a contradiction of what was signed elsewhere: got %v, want %v", err, ledger.ErrSlashable)
	}
}
