package builderapi

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/httpd"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// The relays here are values, not servers, so that time in these tests can be
// virtual; tests/ runs the same service between real servers.
type fakeRelay struct {
	name        string
	secret      *bls.SecretKey
	constraints bool
	offers      func(ctx context.Context, r relay.HeaderRequest, emit func(relay.Offer)) error
	submit      func(ctx context.Context, try int) (*wire.Payload, error)
	submitV1    func(ctx context.Context, try int) (*wire.Payload, error) // nil: submit
	registers   func(ctx context.Context, try int) error

	mu        sync.Mutex
	asked     int
	submitted int
	v1s       int // of submitted, over v1
	bodies    [][]byte
}

func (f *fakeRelay) Name() string                     { return f.name }
func (f *fakeRelay) Pubkey() phase0.BLSPubKey         { return f.secret.PublicKey() }
func (f *fakeRelay) ProvesBids() bool                 { return f.constraints }
func (f *fakeRelay) Status(ctx context.Context) error { return ctx.Err() }

func (f *fakeRelay) count(n *int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	*n++
	return *n
}

func (f *fakeRelay) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bodies = nil
}

func (f *fakeRelay) read(n *int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *n
}

// Ask leaves everything to Offers; tests/ has relays that answer it.
func (f *fakeRelay) Ask(context.Context, relay.HeaderRequest, time.Time) *relay.Asked { return nil }

func (f *fakeRelay) Offers(ctx context.Context, r relay.HeaderRequest, emit func(relay.Offer)) error {
	f.count(&f.asked)
	return f.offers(ctx, r, emit)
}

func (f *fakeRelay) Register(ctx context.Context, _ wire.Encoding, body []byte, _ func() []byte, _ string) error {
	f.mu.Lock()
	f.bodies = append(f.bodies, body)
	try := len(f.bodies)
	f.mu.Unlock()
	if f.registers == nil {
		return nil
	}
	return f.registers(ctx, try)
}

func (f *fakeRelay) SubmitV1(ctx context.Context, _ *wire.BlindedBlock, _ string) (*wire.Payload, error) {
	f.count(&f.v1s)
	if try := f.count(&f.submitted); f.submitV1 == nil {
		return f.submit(ctx, try)
	} else {
		return f.submitV1(ctx, try)
	}
}

func (f *fakeRelay) SubmitV2(ctx context.Context, _ *wire.BlindedBlock, _ string) error {
	_, err := f.submit(ctx, f.count(&f.submitted))
	return err
}

// bench is a service in a synctest bubble with its relays.
type bench struct {
	t       *testing.T
	service *Service
	spec    chain.Spec
	clock   *chain.Clock
	relays  []*fakeRelay
	parent  phase0.Hash32
	key     phase0.BLSPubKey
}

type oneSet struct{ set *Set }

func (o oneSet) For(phase0.BLSPubKey) *Set { return o.set }
func (o oneSet) All() []*Set               { return []*Set{o.set} }

// newBench makes a service over n relays that answer nothing yet. The bubble's
// clock stands at the start of slot 0.
func newBench(t *testing.T, n int, change func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, parent: phase0.Hash32{0xaa}, key: phase0.BLSPubKey{0x99}}
	b.spec = chain.Spec{
		Name: "test", ChainID: 7, GenesisTime: time.Now().Truncate(time.Second), SlotDuration: 12 * time.Second, SlotsPerEpoch: 32,
		Forks: []chain.ForkAt{{Fork: chain.Fulu}}, Blobs: []chain.BlobsAt{{Max: 9}},
	}
	b.clock = chain.NewClock(b.spec, nil)
	set := &Set{ID: "default", Timeout: 950 * time.Millisecond, Late: 2 * time.Second}
	for i := range n {
		secret, err := bls.ParseSecretKey(append(make([]byte, 31), byte(i+1)))
		if err != nil {
			t.Fatal(err)
		}
		r := &fakeRelay{name: string(rune('a' + i)), secret: secret}
		r.offers = func(context.Context, relay.HeaderRequest, func(relay.Offer)) error { return nil }
		b.relays = append(b.relays, r)
		set.Relays = append(set.Relays, r)
	}
	c := Config{Spec: b.spec, Clock: b.clock, Sets: oneSet{set}, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	b.service = s
	return b
}

// offer makes relay i answer with a bid of wei after a delay; change spoils it
// before it is signed, spoil after.
func (b *bench) offer(i int, after time.Duration, wei uint64, change, spoil func(*wire.Bid)) {
	r := b.relays[i]
	r.offers = func(ctx context.Context, q relay.HeaderRequest, emit func(relay.Offer)) error {
		started := b.clock.Now()
		if !sleep(ctx, after) {
			return relay.ErrTimeout
		}
		bid := b.bid(r, q.Slot, wei, change)
		if spoil != nil {
			spoil(bid)
		}
		emit(relay.Offer{Bid: bid, Started: started, Received: b.clock.Now()})
		return nil
	}
}

func (b *bench) bid(r *fakeRelay, slot phase0.Slot, wei uint64, change func(*wire.Bid)) *wire.Bid {
	h := wire.Header{
		ParentHash: b.parent, BlockNumber: 100, GasLimit: 30_000_000, GasUsed: 21_000,
		Timestamp: uint64(b.clock.Start(slot).Unix()), BlockHash: phase0.Hash32{1, r.name[0]}, TransactionsRoot: phase0.Root{2},
	}
	bid := wire.NewBid(chain.Fulu, h, nil, make([]byte, 12), *uint256.NewInt(wei), r.secret.PublicKey())
	bid.ExecutionRequests[0], bid.ExecutionRequests[4], bid.ExecutionRequests[8] = 12, 12, 12
	if change != nil {
		change(bid)
	}
	bid.Signature = r.secret.Sign(commitments.SigningData(bid.Root(), b.spec.Domain(chain.DomainBuilder)))
	return bid
}

// header calls getHeader for a slot, and returns the answer and how long it took.
func (b *bench) header(slot phase0.Slot, headers map[string]string) (httpd.Response, time.Duration) {
	b.t.Helper()
	params := map[string]string{"slot": itoa(uint64(slot)), "parent_hash": b.parent.String(), "pubkey": b.key.String()}
	start := b.clock.Now()
	resp, err := b.service.header(b.t.Context(), httpd.Request{
		Param: func(n string) string { return params[n] }, Header: func(n string) string { return headers[n] },
		Query: func(string) string { return "" }, Received: start,
	})
	if err != nil {
		b.t.Fatalf("getHeader: %v", err)
	}
	return resp, b.clock.Now().Sub(start)
}

// winner decodes the bid of an answer; nil for 204.
func (b *bench) winner(resp httpd.Response) *wire.Bid {
	b.t.Helper()
	if resp.Status == 204 {
		return nil
	}
	bid, err := wire.DecodeBid(chain.Fulu, wire.JSON, resp.Body)
	if err != nil {
		b.t.Fatalf("answer: %v", err)
	}
	return bid
}

func itoa(n uint64) string { return uint256.NewInt(n).Dec() }
