package builderapi

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/fault"
	"sidecar/internal/httpd"
	"sidecar/internal/wire"
)

// registration is what the auction wants to know of a validator.
type registration struct {
	feeRecipient bellatrix.ExecutionAddress
	gasLimit     uint64
	timestamp    uint64
}

// registry remembers the latest registration of each key. It may be lost: the
// beacon node sends all of them each epoch.
type registry struct {
	mu    sync.RWMutex
	byKey map[phase0.BLSPubKey]*registration

	scratch sync.Pool // *[]wire.Registration, for one request each
}

func (r *registry) init() {
	r.byKey = map[phase0.BLSPubKey]*registration{}
	r.scratch.New = func() any { return new([]wire.Registration) }
}

func (r *registry) remember(rs []wire.Registration) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range rs {
		switch old := r.byKey[rs[i].Pubkey]; {
		case old == nil:
			r.byKey[rs[i].Pubkey] = &registration{rs[i].FeeRecipient, rs[i].GasLimit, rs[i].Timestamp}
		case rs[i].Timestamp >= old.timestamp:
			*old = registration{rs[i].FeeRecipient, rs[i].GasLimit, rs[i].Timestamp}
		}
	}
	return len(r.byKey)
}

func (r *registry) of(key phase0.BLSPubKey) (registration, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if v := r.byKey[key]; v != nil {
		return *v, true
	}
	return registration{}, false
}

// register is journey a. The signed bytes go on as they came; only a relay that
// refuses the encoding gets them in the other. It answers 200 once every batch
// is with a relay; the other relays finish on the service's own time.
func (s *Service) register(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	enc, err := httpd.ContentType(r.Header("Content-Type"))
	if err != nil {
		return httpd.Response{}, err
	}
	body, free := r.Keep() // the relays outlive this request
	users := &holders{free: free}
	users.n.Store(1)
	defer users.leave()
	decoded := s.registrations.scratch.Get().(*[]wire.Registration)
	defer s.registrations.scratch.Put(decoded)
	rs, err := wire.ScanRegistrations(enc, body, (*decoded)[:0])
	if err != nil {
		return httpd.Response{}, err
	}
	*decoded = rs
	s.Metrics.registered(len(rs), s.registrations.remember(rs))
	if len(rs) == 0 {
		return httpd.Response{}, nil
	}
	batches := s.batches(enc, body, rs)
	userAgent := strings.Clone(r.Header("User-Agent")) // the request may be over before a relay is asked
	done := make(chan batchResult, postCount(batches))
	for i := range batches {
		for _, to := range batches[i].relays {
			users.n.Add(1)
			s.detach(func(work context.Context) {
				defer users.leave()
				done <- batchResult{i, s.post(work, to, &batches[i], userAgent)}
			})
		}
	}
	if err := s.awaitBatches(ctx, batches, done); err != nil {
		return httpd.Response{}, err
	}
	return httpd.Response{}, nil
}

// holders counts who still reads a body. The last to leave frees it.
type holders struct {
	n    atomic.Int64
	free func()
}

func (h *holders) leave() {
	if h.n.Add(-1) == 0 {
		h.free()
	}
}

// batch is a body for some relays. It outlives the request.
type batch struct {
	relays []Relay
	enc    wire.Encoding
	body   []byte
	count  int
	other  func() []byte // the body in the other encoding, made once, on demand
}

func newBatch(relays []Relay, enc wire.Encoding, body []byte, count int) batch {
	return batch{relays, enc, body, count, sync.OnceValue(func() []byte {
		rs, err := wire.DecodeRegistrations(enc, body, nil)
		if err != nil {
			return nil // it decoded when it came
		}
		return wire.ConvertRegistrations(1-enc, rs)
	})}
}

type batchResult struct {
	batch int
	err   error
}

func postCount(batches []batch) (n int) {
	for i := range batches {
		n += len(batches[i].relays)
	}
	return n
}

// batches groups registrations by relay set, so that a validator in a mux is
// known to no relay outside it, and cuts the groups to size. One group that
// fits is the body itself.
func (s *Service) batches(enc wire.Encoding, body []byte, rs []wire.Registration) (out []batch) {
	size := len(rs)
	if s.RegisterBatch > 0 {
		size = s.RegisterBatch
	}
	if sets := s.Sets.All(); len(sets) == 1 && size >= len(rs) {
		return []batch{newBatch(sets[0].Relays, enc, body, len(rs))}
	}
	groups := map[*Set][]wire.Registration{}
	var order []*Set
	for _, one := range rs {
		set := s.Sets.For(one.Pubkey)
		if _, ok := groups[set]; !ok {
			order = append(order, set)
		}
		groups[set] = append(groups[set], one)
	}
	for _, set := range order {
		for part := range slices.Chunk(groups[set], size) {
			if len(part) == len(rs) {
				return []batch{newBatch(set.Relays, enc, body, len(rs))}
			}
			out = append(out, newBatch(set.Relays, enc, wire.JoinRegistrations(enc, part), len(part)))
		}
	}
	return out
}

// post hands a batch to one relay within RegisterTimeout, retries included.
func (s *Service) post(work context.Context, to Relay, b *batch, userAgent string) error {
	ctx, cancel := context.WithTimeout(work, s.RegisterTimeout)
	defer cancel()
	var err error
	for try, pause := 0, 250*time.Millisecond; try < s.RegisterTries; try, pause = try+1, 2*pause {
		if try > 0 && !sleep(ctx, pause) {
			break
		}
		err = s.guarded(to, func() error { return to.Register(ctx, b.enc, b.body, b.other, userAgent) })
		if !retryable(err) {
			break
		}
	}
	if err != nil {
		s.Log.Warn("Relay took no registrations", "relay", to.Name(), "reason", fault.Code(err), "count", b.count)
	}
	return err
}

// awaitBatches returns nil once every batch is with at least one relay.
func (s *Service) awaitBatches(ctx context.Context, batches []batch, done <-chan batchResult) error {
	left, missing := make([]int, len(batches)), len(batches)
	for i := range batches {
		left[i] = len(batches[i].relays)
	}
	taken := make([]bool, len(batches))
	for missing > 0 {
		select {
		case d := <-done:
			left[d.batch]--
			if d.err == nil && !taken[d.batch] {
				taken[d.batch] = true
				missing--
			}
			if left[d.batch] == 0 && !taken[d.batch] {
				return ErrNoRelay.With("no response from relays")
			}
		case <-ctx.Done():
			return ErrNoRelay.With("no response from relays in time")
		}
	}
	return nil
}

// retryable says whether asking the same relay again may help: it could not be
// reached, broke off, was late, or failed on its side.
func retryable(err error) bool {
	return slices.ContainsFunc(passing, func(f *fault.Fault) bool { return errors.Is(err, f) })
}

// sleep waits, and says false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
