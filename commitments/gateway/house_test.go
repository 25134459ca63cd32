package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/commitments/answer"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
	"sidecar/internal/ledger"
	"sidecar/modules"
	"sidecar/signer"
)

var (
	errConflict = fault.Define("test_conflict", fault.Rejected, "The sender has a promise already.")
	errNode     = fault.Define("test_node_down", fault.Unavailable, "The node is down.")
	errDisk     = errors.New("crash before the seal")
	slasher     = bellatrix.ExecutionAddress{0x51}
)

func testSpec() chain.Spec {
	return chain.Spec{
		Name: "test", ChainID: 1337, GenesisTime: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), GenesisForkVersion: phase0.Version{0x20, 0, 0, 0x89},
		SlotDuration: 12 * time.Second, SlotsPerEpoch: 32, Forks: []chain.ForkAt{{Fork: chain.Fulu}},
	}
}

// house is a gateway with a real ledger, a real signer and real keys; the module,
// the schedule and the relays are fakes with knobs.
type house struct {
	*Gateway
	t                  testing.TB
	path               string
	ledger             *ledger.Ledger
	module             *module
	schedule           *schedule
	relays             []*relay
	proposer, delegate *bls.SecretKey
	committer          *ecdsa.SecretKey
	others             keys
	book               *book
	log                *lockedBuffer
	now                func() time.Time
	mu                 sync.Mutex
	at                 time.Time
}

// open makes a house that stands at the start of slot 100; slot 104 is ours.
func open(t testing.TB, edit ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t, path: filepath.Join(t.TempDir(), "ledger.db"), module: &module{}, schedule: &schedule{}, relays: []*relay{{name: "r1", types: []uint64{1}}}}
	h.proposer, h.delegate, h.committer = secret(t, 1), secret(t, 2), committer(t)
	h.schedule.slots = map[phase0.Slot]phase0.BLSPubKey{104: h.proposer.PublicKey(), 110: h.proposer.PublicKey()}
	h.setSlot(100, 0)
	h.now = func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.at }
	if err := ledger.Create(h.ledgerConfig()); err != nil {
		t.Fatal(err)
	}
	h.start(edit...)
	t.Cleanup(h.halt)
	return h
}

func secret(t testing.TB, b byte) *bls.SecretKey {
	t.Helper()
	k, err := bls.ParseSecretKey(append(make([]byte, 31), b))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func committer(t testing.TB) *ecdsa.SecretKey {
	t.Helper()
	k, err := ecdsa.ParseSecretKey(append(make([]byte, 31), 3))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// setSlot moves the clock.
func (h *house) setSlot(slot phase0.Slot, into time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = testSpec().GenesisTime.Add(time.Duration(slot)*12*time.Second + into)
}

// ledgerConfig is of new keys: nothing to hold for.
func (h *house) ledgerConfig() ledger.Config {
	spec := testSpec()
	return ledger.Config{
		Path: h.path, Network: spec.Name, GenesisForkVersion: spec.GenesisForkVersion, NewKeys: true,
		Clock: chain.NewClock(spec, func() time.Time { return h.now() }),
	}
}

func (h *house) start(edit ...func(*Config)) {
	h.t.Helper()
	spec := testSpec()
	var err error
	if h.ledger, err = ledger.Open(h.ledgerConfig()); err != nil {
		h.t.Fatal(err)
	}
	h.book, h.log = &book{Ledger: h.ledger}, &lockedBuffer{}
	c := Config{
		Spec: spec, Clock: chain.NewClock(spec, func() time.Time { return h.now() }), Limit: commitments.Cost{Gas: 1e9, Bytes: 1e9},
		Modules:  func() []modules.Module { return []modules.Module{h.module} },
		Signer:   &signer.Signer{Ledger: h.book, Keys: duo{append(keys{h.proposer, h.delegate}, h.others...), h.committer}, Policy: anything{}, Message: signer.MessageOf(spec), Clock: chain.NewClock(spec, func() time.Time { return h.now() })},
		Schedule: h.schedule, Views: h.ledger,
		Targets: func() (out []Target) {
			for _, r := range h.relays {
				if r.types != nil || r.probeErr != nil {
					out = append(out, Target{Relay: r, Lead: r.lead, Strength: r.strength})
				}
			}
			return out
		},
		Delegate: h.delegate.PublicKey(), Committer: h.committer.Address(), SigningID: phase0.Root{0x99},
		Log: slog.New(slog.NewTextHandler(h.log, nil)),
	}
	for _, e := range edit {
		e(&c)
	}
	if h.Gateway, err = New(c); err != nil {
		h.t.Fatal(err)
	}
}

// halt stops the house as a crash would: nothing is finished but the disk.
func (h *house) halt() {
	h.stop()
	if err := h.ledger.Close(); err != nil {
		h.t.Error(err)
	}
}

func (h *house) id() commitments.PageID {
	return commitments.PageID{Slot: 104, Proposer: h.proposer.PublicKey()}
}

// request asks for slot 104; its sender is what requests conflict over.
func request(sender, tx byte) commitments.Request {
	return commitments.Request{Type: 1, Payload: commitments.EncodeInclusion(104, []byte{sender, tx}), Slasher: slasher}
}

// verify checks a promise as a searcher would.
func (h *house) verify(s commitments.SignedCommitment) {
	h.t.Helper()
	spec := testSpec()
	root := commitments.SigningRoot(spec.Domain(chain.DomainCommitBoost), spec.ChainID, s.Commitment.Root(), s.SigningID, s.Nonce)
	if h.Committer == (bellatrix.ExecutionAddress{}) { // as an earlier version would have it
		if len(s.Signature) != 96 || !bls.Verify(h.delegate.PublicKey(), root, phase0.BLSSignature(s.Signature)) || !s.Proxy.IsZero() {
			h.t.Errorf("the signature does not verify: %+v", s)
		}
	} else if err := answer.VerifySignatures(spec, s, answer.Signers{Committer: h.committer.Address(), Delegate: h.delegate.PublicKey()}); err != nil {
		h.t.Errorf("%v: %+v", err, s)
	}
	if s.SigningID != h.SigningID || s.Nonce == 0 {
		h.t.Errorf("signing id %s, nonce %d", s.SigningID, s.Nonce)
	}
}

// module promises anything, one transaction per sender.
type module struct {
	mu    sync.Mutex
	calls int
	edit  func(*commitments.Draft)
	err   error
	slot  *phase0.Slot
	stall func()
}

func (*module) Info() modules.Info {
	return modules.Info{ID: "inclusion", SigningID: phase0.Root{0x11}, CommitmentTypes: []uint64{1}, ConstraintTypes: []uint64{1}}
}

func (m *module) Slot(_ context.Context, r commitments.Request) (phase0.Slot, error) {
	if m.slot != nil {
		return *m.slot, nil
	}
	slot, _, err := commitments.DecodeInclusion(r.Payload)
	return slot, err
}

func (m *module) Commit(_ context.Context, v commitments.View, r commitments.Request) (commitments.Draft, error) {
	m.mu.Lock()
	m.calls++
	stall := m.stall
	m.mu.Unlock()
	if stall != nil {
		stall()
	}
	if m.err != nil {
		return commitments.Draft{}, m.err
	}
	_, tx, err := commitments.DecodeInclusion(r.Payload)
	if err != nil {
		return commitments.Draft{}, err
	}
	name := string(tx[:1])
	for _, p := range append([]commitments.Page{v.Page}, v.Open...) {
		for _, q := range p.Promises {
			if slices.Contains(q.Touches, name) {
				return commitments.Draft{}, errConflict.With("sender %x", name)
			}
		}
	}
	d := commitments.Draft{
		Commitment:  commitments.Commitment{Type: 1, Payload: r.Payload, RequestHash: r.Hash(), Slasher: r.Slasher},
		Constraints: []commitments.Constraint{{Type: 1, Payload: r.Payload}},
		Cost:        commitments.Cost{Gas: 21000, Bytes: uint64(len(tx))}, Touches: []string{name},
	}
	if m.edit != nil {
		m.edit(&d)
	}
	return d, nil
}

func (*module) Verify(context.Context, commitments.Page, commitments.Candidate) error { return nil }

func (*module) Audit(context.Context, commitments.Page, commitments.Block) ([]commitments.Verdict, error) {
	return nil, nil
}

type schedule struct {
	slots map[phase0.Slot]phase0.BLSPubKey
	err   error
}

func (s *schedule) Ready() error { return s.err }

func (s *schedule) Proposer(slot phase0.Slot) (phase0.BLSPubKey, phase0.ValidatorIndex, bool) {
	k, ok := s.slots[slot]
	return k, 7, ok
}

// relay remembers what it was sent. fail is how often it refuses; -1 is always.
type relay struct {
	name        string
	types       []uint64
	probeErr    error
	lead        time.Duration
	strength    Strength
	noProofs    bool
	known       []commitments.SignedDelegation // beside those it was sent
	readErr     error
	reads       int
	deaf        bool  // takes no delegations
	refusal     error // what fail answers; default errNode
	fail        int
	hang        bool
	probeHang   bool // is asked what it honours
	panics      bool // is posted constraints
	mu          sync.Mutex
	probes      int
	attempts    int
	delegations []commitments.SignedDelegation
	constraints []commitments.SignedConstraints
	times       []time.Time
}

func (r *relay) Name() string { return r.name }

func (r *relay) ServesProofs(context.Context, commitments.PageID) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.noProofs, r.probeErr
}

func (r *relay) Delegations(_ context.Context, slot phase0.Slot) (out []commitments.SignedDelegation, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	for _, d := range append(slices.Clone(r.known), r.delegations...) {
		if d.Message.Slot == slot {
			out = append(out, d)
		}
	}
	return out, r.readErr
}

func (r *relay) Capabilities(ctx context.Context) ([]uint64, error) {
	if r.probeHang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probes++
	return r.types, r.probeErr
}

func (r *relay) PostDelegation(_ context.Context, d commitments.SignedDelegation) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deaf {
		return errNode
	}
	r.delegations = append(r.delegations, d)
	return nil
}

func (r *relay) PostConstraints(ctx context.Context, s commitments.SignedConstraints) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts++
	r.times = append(r.times, time.Now())
	if r.panics {
		panic("a body that nobody thought of")
	}
	if r.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	r.constraints = append(r.constraints, s)
	if r.fail != 0 {
		r.fail--
		if r.refusal != nil {
			return r.refusal
		}
		return errNode
	}
	return nil
}

func (r *relay) took() (int, []commitments.SignedConstraints) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempts, slices.Clone(r.constraints)
}

// book is the ledger with a crash before the seal of one kind.
type book struct {
	*ledger.Ledger
	mu    sync.Mutex
	crash ledger.Kind
}

func (b *book) set(k ledger.Kind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.crash = k
}

func (b *book) Seal(ctx context.Context, r ledger.Receipt, ink ledger.Ink) (ledger.Ink, error) {
	b.mu.Lock()
	crash := b.crash == r.Entry.Kind
	b.mu.Unlock()
	if crash {
		return ledger.Ink{}, errDisk
	}
	return b.Ledger.Seal(ctx, r, ink)
}

type keys []*bls.SecretKey

func (k keys) Sign(_ context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	for _, s := range k {
		if s.PublicKey() == key.BLS {
			sig := s.Sign(m.Root())
			return sig[:], nil
		}
	}
	return nil, signer.ErrUnknownKey
}

// duo holds BLS keys and one committer's.
type duo struct {
	keys
	committer *ecdsa.SecretKey
}

func (d duo) Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	if key == commitments.ECDSAKey(d.committer.Address()) {
		sig, err := d.committer.Sign(m.Root())
		return sig[:], err
	}
	return d.keys.Sign(ctx, key, m)
}

type anything struct{}

func (anything) Allows(string, ledger.Kind, commitments.Key) bool { return true }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// nothing is a ledger without a page.
type nothing struct{ Views }

func (nothing) Find(phase0.Hash32) (commitments.Promise, commitments.PageID, bool) {
	return commitments.Promise{}, commitments.PageID{}, false
}
