package signer

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"sidecar/internal/metrics"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/ledger"
)

var spec = chain.Spec{Name: "devnet", ChainID: 1337, GenesisForkVersion: phase0.Version{1, 2, 3, 4}, SlotDuration: 12 * time.Second, SlotsPerEpoch: 32, GenesisTime: time.Unix(1_700_000_000, 0)}

// holder is a keystore with knobs.
type holder struct {
	keys  map[phase0.BLSPubKey]*bls.SecretKey
	mu    sync.Mutex
	calls int
	fail  error // instead of signing
	lie   bool  // sign something else
}

func (h *holder) Sign(_ context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	h.mu.Lock()
	h.calls++
	fail, lie := h.fail, h.lie
	h.mu.Unlock()
	if fail != nil {
		return nil, fail
	}
	if lie {
		m.Object[0] ^= 1
	}
	sig := h.keys[key.BLS].Sign(m.Root())
	return sig[:], nil
}

// road is a signer over a real ledger with one validator and one proxy key.
type road struct {
	*Signer
	book            *ledger.Ledger
	path            string
	keys            *holder
	proposer, proxy phase0.BLSPubKey
	id              commitments.PageID
	slot            atomic.Int64 // of the clock
}

func newRoad(t testing.TB) *road {
	t.Helper()
	r := &road{path: filepath.Join(t.TempDir(), "ledger.db"), keys: &holder{keys: map[phase0.BLSPubKey]*bls.SecretKey{}}}
	for i, key := range []*phase0.BLSPubKey{&r.proposer, &r.proxy} {
		secret, err := bls.ParseSecretKey(append(make([]byte, 31), byte(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		*key = secret.PublicKey()
		r.keys.keys[*key] = secret
	}
	r.id = commitments.PageID{Slot: 10, Proposer: r.proposer}
	r.slot.Store(10)
	if err := ledger.Create(r.ledgerConfig()); err != nil {
		t.Fatal(err)
	}
	r.open(t)
	return r
}

// ledgerConfig is of new keys: nothing to hold for.
func (r *road) ledgerConfig() ledger.Config {
	return ledger.Config{Path: r.path, Network: spec.Name, GenesisForkVersion: spec.GenesisForkVersion, Clock: r.clock(), NewKeys: true}
}

// clock stands in slot 10 unless the test moves it.
func (r *road) clock() *chain.Clock {
	return chain.NewClock(spec, func() time.Time { return spec.GenesisTime.Add(time.Duration(r.slot.Load()) * spec.SlotDuration) })
}

func (r *road) open(t testing.TB) {
	t.Helper()
	if r.book != nil {
		if err := r.book.Close(); err != nil {
			t.Fatal(err)
		}
	}
	book, err := ledger.Open(r.ledgerConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = book.Close() })
	r.book = book
	r.Signer = &Signer{Ledger: book, Keys: r.keys, Message: MessageOf(spec), Clock: r.clock(), Policy: Grants{
		{"inclusion", ledger.KindCommitment, commitments.BLSKey(r.proxy)},
		{"inclusion", ledger.KindConstraints, commitments.BLSKey(r.proxy)},
		{"inclusion", ledger.KindDelegation, commitments.BLSKey(r.proposer)},
	}}
}

// rooted fills in the true signing root.
func (r *road) rooted(t testing.TB, e ledger.Entry) ledger.Entry {
	t.Helper()
	m, err := MessageOf(spec)(e)
	if err != nil {
		t.Fatal(err)
	}
	e.Root = m.Root()
	return e
}

func (r *road) commitment(t testing.TB, n byte) ledger.Entry {
	t.Helper()
	return r.rooted(t, ledger.Entry{
		Kind: ledger.KindCommitment, Module: "inclusion", Key: commitments.BLSKey(r.proxy), Nonce: 1, SigningID: phase0.Root{7},
		Draft: &commitments.Draft{Commitment: commitments.Commitment{Type: 1, Payload: []byte{n}, RequestHash: phase0.Hash32{n}}},
	})
}

func (r *road) constraints(t testing.TB, payload byte) ledger.Entry {
	t.Helper()
	return r.rooted(t, ledger.Entry{
		Kind: ledger.KindConstraints, Module: "inclusion", Key: commitments.BLSKey(r.proxy), SigningID: phase0.Root{7},
		Constraints: &commitments.ConstraintsMessage{Proposer: r.proposer, Delegate: r.proxy, Slot: r.id.Slot, Constraints: []commitments.Constraint{{Type: 1, Payload: []byte{payload}}}},
	})
}

func (r *road) delegation(t testing.TB, committer byte) ledger.Entry {
	t.Helper()
	return r.rooted(t, ledger.Entry{
		Kind: ledger.KindDelegation, Module: "inclusion", Key: commitments.BLSKey(r.proposer), SigningID: phase0.Root{7},
		Delegation: &commitments.Delegation{Proposer: r.proposer, Delegate: r.proxy, Committer: [20]byte{committer}, Slot: r.id.Slot},
	})
}

func (r *road) sign(t testing.TB, e ledger.Entry) (ledger.Receipt, error) {
	t.Helper()
	return r.Sign(context.Background(), r.id, func(commitments.View) (ledger.Entry, error) { return e, nil })
}

func TestSign_EveryKind(t *testing.T) {
	r := newRoad(t)
	for name, e := range map[string]ledger.Entry{"delegation": r.delegation(t, 1), "commitment": r.commitment(t, 1)} {
		got, err := r.sign(t, e)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bls.Verify(e.Key.BLS, e.Root, phase0.BLSSignature(got.Signature)) {
			t.Errorf("%s: the signature does not verify", name)
		}
	}
	message, err := r.sign(t, r.constraints(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	p := r.book.Page(r.id)
	if !p.Closed || p.Delegation == nil || p.Constraints == nil || len(p.Promises) != 1 || len(p.Promises[0].Signature) != 96 ||
		!bytes.Equal(p.Constraints.Signature[:], message.Signature) {
		t.Errorf("page: %+v", p)
	}
	// Repeats, on the closed page and after a restart: the same bytes, and no key is asked.
	for range 2 {
		calls := r.keys.calls
		for _, e := range []ledger.Entry{r.delegation(t, 1), r.commitment(t, 1), r.constraints(t, 1)} {
			got, err := r.sign(t, e)
			if err != nil || !bls.Verify(e.Key.BLS, e.Root, phase0.BLSSignature(got.Signature)) {
				t.Errorf("repeat of a %s: %v", e.Kind, err)
			}
		}
		if r.keys.calls != calls || r.book.Len() != 3 {
			t.Errorf("%d more signatures, %d entries; want none, 3", r.keys.calls-calls, r.book.Len())
		}
		r.open(t)
	}
}

func TestSign_NeverTwice(t *testing.T) {
	r := newRoad(t)
	for _, e := range []ledger.Entry{r.delegation(t, 1), r.commitment(t, 1), r.constraints(t, 1)} {
		if _, err := r.sign(t, e); err != nil {
			t.Fatal(err)
		}
	}
	clash := r.commitment(t, 2)
	clash.Draft.Commitment.RequestHash = phase0.Hash32{1}
	clash = r.rooted(t, clash)
	disguised := r.delegation(t, 2)
	disguised.Resources = []string{"something else"}
	secondDelegate := r.constraints(t, 1)
	secondDelegate.Constraints.Delegate = r.proposer
	secondDelegate.Key = commitments.BLSKey(r.proposer)
	secondDelegate = r.rooted(t, secondDelegate)
	r.Policy = append(Grants{{"inclusion", ledger.KindConstraints, commitments.BLSKey(r.proposer)}}, r.Policy.(Grants)...)
	cases := map[string]struct {
		entry ledger.Entry
		want  error
	}{
		"another delegation":             {r.delegation(t, 2), ledger.ErrSlashable},
		"delegation with own resource":   {disguised, ledger.ErrSlashable},
		"other constraints":              {r.constraints(t, 2), ledger.ErrSlashable},
		"constraints of second delegate": {secondDelegate, ledger.ErrSlashable},
		"commitment on a closed page":    {r.commitment(t, 3), ledger.ErrPageClosed},
		"request answered otherwise":     {clash, ledger.ErrPageClosed},
	}
	calls := r.keys.calls
	for name, c := range cases {
		if _, err := r.sign(t, c.entry); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	if r.keys.calls != calls {
		t.Error("a key was asked")
	}
}

func TestSign_OneRootPerResource(t *testing.T) {
	r := newRoad(t)
	if _, err := r.sign(t, r.commitment(t, 1)); err != nil {
		t.Fatal(err)
	}
	other := r.commitment(t, 2)
	other.Draft.Commitment.RequestHash = phase0.Hash32{1}
	if _, err := r.sign(t, r.rooted(t, other)); !errors.Is(err, ledger.ErrSlashable) {
		t.Errorf("got %v, want %v", err, ledger.ErrSlashable)
	}
	if r.keys.calls != 1 {
		t.Errorf("%d signatures, want 1", r.keys.calls)
	}
}

func TestSign_Refuses(t *testing.T) {
	r := newRoad(t)
	refused := fault.Define("test_refused", fault.Rejected, "")
	change := func(e ledger.Entry, f func(*ledger.Entry)) ledger.Entry { f(&e); return e }
	otherPage := r.delegation(t, 1)
	otherPage.Delegation.Slot++
	cases := map[string]struct {
		entry ledger.Entry
		want  error
	}{
		"module without a grant":   {change(r.commitment(t, 1), func(e *ledger.Entry) { e.Module = "other" }), ErrNotAllowed},
		"no module":                {change(r.commitment(t, 1), func(e *ledger.Entry) { e.Module = "" }), ErrNotAllowed},
		"consensus key for this":   {change(r.commitment(t, 1), func(e *ledger.Entry) { e.Key = commitments.BLSKey(r.proposer) }), ErrNotAllowed},
		"a note":                   {ledger.Entry{Kind: ledger.KindClose, Module: "inclusion"}, ErrNotAllowed},
		"two keys":                 {change(r.commitment(t, 1), func(e *ledger.Entry) { e.Key.Address[0] = 1 }), ErrNotAllowed},
		"no root":                  {change(r.commitment(t, 1), func(e *ledger.Entry) { e.Root = phase0.Root{} }), ErrIncoherent},
		"another object's root":    {change(r.commitment(t, 1), func(e *ledger.Entry) { e.Root = r.commitment(t, 2).Root }), ErrIncoherent},
		"no draft":                 {change(r.commitment(t, 1), func(e *ledger.Entry) { e.Draft = nil }), ErrIncoherent},
		"two objects":              {change(r.commitment(t, 1), func(e *ledger.Entry) { e.Delegation = r.delegation(t, 1).Delegation }), ErrIncoherent},
		"delegation of other slot": {otherPage, ErrIncoherent},
		"delegation without":       {change(r.delegation(t, 1), func(e *ledger.Entry) { e.Delegation = nil }), ErrIncoherent},
		"constraints without":      {change(r.constraints(t, 1), func(e *ledger.Entry) { e.Constraints = nil }), ErrIncoherent},
	}
	for name, c := range cases {
		if _, err := r.sign(t, c.entry); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	_, err := r.Sign(context.Background(), r.id, func(commitments.View) (ledger.Entry, error) { return r.commitment(t, 1), refused.With("no") })
	if !errors.Is(err, refused) {
		t.Errorf("decide's own: got %v, want %v", err, refused)
	}
	r.Policy = nil
	if _, err := r.sign(t, r.commitment(t, 1)); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("no policy: got %v, want %v", err, ErrNotAllowed)
	}
	if r.book.Len() != 0 || r.keys.calls != 0 {
		t.Errorf("%d entries, %d signatures; want none", r.book.Len(), r.keys.calls)
	}
}

// TestSign_KeyFails: the entry stands, counts as promised, and is signed later.
func TestSign_KeyFails(t *testing.T) {
	notHeld := fault.Define("test_not_held", fault.NotFound, "")
	down := errors.New("remote signer is down")
	cases := map[string]struct {
		set  func(*holder)
		want error
	}{
		"unknown key": {func(h *holder) { h.fail = notHeld.With("x") }, ErrUnknownKey},
		"down":        {func(h *holder) { h.fail = down }, down},
		"lies":        {func(h *holder) { h.lie = true }, ErrBadSignature},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRoad(t)
			c.set(r.keys)
			got, err := r.sign(t, r.commitment(t, 1))
			if !errors.Is(err, c.want) || len(got.Signature) > 0 {
				t.Fatalf("got %v, %v, want %v", got.Signature, err, c.want)
			}
			if p := r.book.Page(r.id); len(p.Promises) != 1 || len(p.Promises[0].Signature) != 0 {
				t.Errorf("page: %+v; want an unsigned promise", p)
			}
			r.keys.fail, r.keys.lie = nil, false
			r.open(t)
			if got, err = r.sign(t, r.commitment(t, 1)); err != nil || got.Seq != 1 || r.book.Len() != 1 {
				t.Errorf("again: seq %d, %v, %d entries", got.Seq, err, r.book.Len())
			}
		})
	}
}

// sick is a book whose Seal fails.
type sick struct{ *ledger.Ledger }

func (sick) Seal(context.Context, ledger.Receipt, ledger.Ink) (ledger.Ink, error) {
	return ledger.Ink{}, ledger.ErrPoisoned.With("disk")
}

func TestSign_ReleasesNothingThatIsNotSealed(t *testing.T) {
	r := newRoad(t)
	r.Ledger = sick{r.book}
	got, err := r.sign(t, r.commitment(t, 1))
	if !errors.Is(err, ledger.ErrPoisoned) || got.Seq != 0 || got.Signature != nil {
		t.Errorf("got %+v, %v, want nothing and %v", got, err, ledger.ErrPoisoned)
	}
}

func TestNote(t *testing.T) {
	r := newRoad(t)
	ctx := context.Background()
	for range 2 {
		if err := r.Note(ctx, r.id, ledger.Entry{Kind: ledger.KindClose}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Note(ctx, r.id, ledger.Entry{Kind: ledger.KindReceipt, Note: map[string]string{"relay": "a"}}); err != nil {
		t.Fatal(err)
	}
	if !r.book.Page(r.id).Closed || r.book.Len() != 2 {
		t.Errorf("closed %v, %d entries; want true, 2", r.book.Page(r.id).Closed, r.book.Len())
	}
	if _, err := r.sign(t, r.commitment(t, 1)); !errors.Is(err, ledger.ErrPageClosed) {
		t.Errorf("promise on a closed page: got %v, want %v", err, ledger.ErrPageClosed)
	}
	for name, e := range map[string]ledger.Entry{"signed kind": r.commitment(t, 1), "key": {Kind: ledger.KindClose, Key: commitments.BLSKey(r.proxy)}, "root": {Kind: ledger.KindClose, Root: phase0.Root{1}}} {
		if err := r.Note(ctx, r.id, e); !errors.Is(err, ErrIncoherent) {
			t.Errorf("%s: got %v, want %v", name, err, ErrIncoherent)
		}
	}
}

func TestSign_ConcurrentCallersShareOneSignature(t *testing.T) {
	r := newRoad(t)
	var group sync.WaitGroup
	signatures := make([][]byte, 32)
	for i := range signatures {
		group.Go(func() {
			got, err := r.sign(t, r.commitment(t, 1))
			if err != nil {
				t.Error(err)
			}
			signatures[i] = got.Signature
		})
	}
	group.Wait()
	for _, s := range signatures {
		if !bytes.Equal(s, signatures[0]) {
			t.Fatal("different signatures")
		}
	}
	if got := r.book.Len(); got != 1 {
		t.Errorf("%d entries, want 1", got)
	}
}

func TestMetrics(t *testing.T) {
	r := newRoad(t)
	registry := metrics.NewRegistry()
	r.Metrics = NewMetrics(registry)
	_, _ = r.sign(t, r.commitment(t, 1))
	_, _ = r.sign(t, ledger.Entry{})
	for _, want := range []string{`{kind="commitment",result="ok"}`, `{kind="unknown",result="signer_forbidden"}`} {
		if got, _ := registry.Value("sidecar_signer_requests_total" + want); got != 1 {
			t.Errorf("%s: got %v, want 1", want, got)
		}
	}
}
