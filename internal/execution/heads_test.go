package execution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/chain"
	"sidecar/internal/metrics"
	"sidecar/modules"
)

// duo is a client of two nodes, and its clock, which stands still.
type duo struct {
	*Client
	one, two *node
	now      atomic.Int64
	registry *metrics.Registry
}

func startTwo(t *testing.T) *duo {
	t.Helper()
	d := &duo{one: &node{t: t, block: testBlock(t), calls: map[string]int{}}, registry: metrics.NewRegistry()}
	d.two = &node{t: t, block: d.one.block, calls: map[string]int{}}
	spec, _ := chain.Named("hoodi")
	d.now.Store(1742213500e9)
	first, second := httptest.NewServer(d.one), httptest.NewServer(d.two)
	t.Cleanup(first.Close)
	t.Cleanup(second.Close)
	var err error
	d.Client, err = New(Config{
		URL: first.URL, SecondURL: second.URL, Spec: spec, Metrics: NewMetrics(d.registry),
		Clock: chain.NewClock(spec, func() time.Time { return time.Unix(0, d.now.Load()) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// later lets what is remembered grow old.
func (d *duo) later() { d.now.Add(int64(headLife)) }

// child is a block on another's height + 1.
func child(b *types.Block, extra string) *types.Block {
	h := b.Header()
	h.Number, h.Extra = new(big.Int).Add(h.Number, big.NewInt(1)), []byte(extra)
	return types.NewBlockWithHeader(h)
}

func (n *node) set(b *types.Block, answer func(method string, params []json.RawMessage) any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.block, n.answer = b, answer
}

// TestTwoNodes: what is not the same from both is not believed, and is believed
// again as soon as it is.
func TestTwoNodes(t *testing.T) {
	d, ctx := startTwo(t), t.Context()
	base, addr := d.one.block, bellatrix.ExecutionAddress{1}
	next, fork := child(base, "a"), child(base, "b")
	poor := func(method string, _ []json.RawMessage) any {
		if method == "eth_getBalance" {
			return "0x1"
		}
		return nil
	}
	config := func(target int) func(string, []json.RawMessage) any {
		return func(method string, _ []json.RawMessage) any {
			if method == "eth_config" {
				return json.RawMessage(fmt.Sprintf(`{"current":{"activationTime":0,"blobSchedule":{"target":%d,"max":21,"baseFeeUpdateFraction":11684671}},"next":null}`, target))
			}
			return nil
		}
	}
	down := func(string, []json.RawMessage) any { return errors.New("down") }
	for i, c := range []struct {
		name     string
		one, two func()
		want     error
	}{
		{"both at the start", func() {}, func() {}, nil},
		{"the second lags", func() { d.one.set(next, nil) }, func() {}, ErrLagging},
		{"it catches up", func() {}, func() { d.two.set(next, nil) }, nil},
		{"the first lags", func() { d.one.set(base, nil) }, func() {}, ErrLagging},
		{"another block of the height", func() { d.one.set(fork, nil) }, func() {}, ErrDisagree},
		{"agreed again", func() { d.one.set(next, nil) }, func() {}, nil},
		{"another balance", func() { d.one.set(base, nil) }, func() { d.two.set(base, poor) }, ErrDisagree},
		{"the same balance", func() { d.one.set(base, poor) }, func() {}, nil},
		{"the second is down", func() {}, func() { d.two.set(base, down) }, ErrRefused},
		{"the first is down", func() { d.one.set(next, down) }, func() { d.two.set(next, nil) }, ErrRefused},
		{"both are back", func() { d.one.set(next, nil) }, func() {}, nil},
		{"other blob parameters", func() { d.one.set(next, config(14)) }, func() { d.two.set(next, config(12)) }, ErrDisagree},
		{"the same", func() {}, func() { d.two.set(next, config(14)) }, nil},
	} {
		c.one()
		c.two()
		d.blobs.askedAt, d.headAt, d.second.blobs.askedAt = time.Time{}, time.Time{}, time.Time{} // all is old
		a, head, err := d.Account(ctx, addr)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Fatalf("%d %s: got %v, want %v", i, c.name, err, c.want)
		}
		if err == nil && (head.Number != d.one.block.NumberU64() || a.Nonce != 7) {
			t.Errorf("%d %s: got %+v at %+v", i, c.name, a, head)
		}
	}
	if v, _ := d.registry.Value("sidecar_execution_agree"); v != 1 {
		t.Errorf("agreement: got %v", v)
	}
}

// TestTwoNodes_Trouble: a disagreement shows until it ends, and what was agreed
// on lives no longer than a head may.
func TestTwoNodes_Trouble(t *testing.T) {
	d, ctx := startTwo(t), t.Context()
	if _, err := d.Head(ctx); err != nil || d.Trouble() != nil {
		t.Fatal(err, d.Trouble())
	}
	d.two.set(child(d.two.block, ""), nil)
	if _, err := d.Head(ctx); err != nil {
		t.Errorf("a head just agreed on: %v", err)
	}
	d.later()
	if _, err := d.Head(ctx); !errors.Is(err, ErrLagging) || !errors.Is(d.Trouble(), ErrLagging) {
		t.Errorf("got %v, trouble %v", err, d.Trouble())
	}
	if head, ok := d.Latest(); !ok || head.Number != 7 {
		t.Errorf("latest: got %+v, %v", head, ok)
	}
	if v, _ := d.registry.Value("sidecar_execution_agree"); v != 0 {
		t.Errorf("agreement: got %v", v)
	}
	d.one.set(d.two.block, nil)
	if head, err := d.Head(ctx); err != nil || head.Number != 8 || d.Trouble() != nil {
		t.Errorf("got %+v, %v, trouble %v", head, err, d.Trouble())
	}
}

// TestHead_Behind: a node that stands still is not believed for ever.
func TestHead_Behind(t *testing.T) {
	spec, _ := chain.Named("hoodi")
	now := time.Unix(1742213400+36, 0)
	_, c := start(t, chain.NewClock(spec, func() time.Time { return now }))
	now = now.Add(maxBehind * spec.SlotDuration)
	if _, err := c.Head(t.Context()); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	now = now.Add(spec.SlotDuration)
	if _, err := c.Head(t.Context()); !errors.Is(err, ErrBehind) {
		t.Errorf("beyond it: got %v", err)
	}
}

// TestPrefetch: at a new head the accounts in use are there already; those that
// nobody asks for any more are not.
func TestPrefetch(t *testing.T) {
	d, ctx := startTwo(t), t.Context()
	used, left := bellatrix.ExecutionAddress{1}, bellatrix.ExecutionAddress{2}
	for _, a := range []bellatrix.ExecutionAddress{used, left} {
		if _, _, err := d.Account(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxIdle + 2 {
		b := child(d.one.block, fmt.Sprint(i))
		d.one.set(b, nil)
		d.two.set(b, nil)
		d.later()
		if _, err := d.Head(ctx); err != nil {
			t.Fatal(err)
		}
		posts := d.one.count()
		a, head, err := d.Account(ctx, used)
		if err != nil || a.Nonce != 7 || head.Number != b.NumberU64() || d.one.count() != posts {
			t.Fatalf("head %d: %+v at %+v, %v, %d requests", i, a, head, err, d.one.count()-posts)
		}
	}
	posts := d.one.count()
	if _, _, err := d.Account(ctx, left); err != nil || d.one.count() != posts+1 {
		t.Errorf("an account nobody asks for: %v, %d requests", err, d.one.count()-posts)
	}
	hits, _ := d.registry.Value(`sidecar_execution_accounts_total{result="hit"}`)
	misses, _ := d.registry.Value(`sidecar_execution_accounts_total{result="miss"}`)
	if hits != maxIdle+2 || misses != 3 {
		t.Errorf("%v hits, %v misses", hits, misses)
	}
}

func (n *node) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.posts
}

// TestAccount_Shared: callers at the same time cause one request.
func TestAccount_Shared(t *testing.T) {
	d := startTwo(t)
	arrived, release := make(chan struct{}, 16), make(chan struct{})
	d.one.answer = func(method string, _ []json.RawMessage) any {
		if method == "eth_getCode" {
			arrived <- struct{}{}
			<-release
		}
		return nil
	}
	if _, err := d.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ask := func() {
		defer wg.Done()
		if _, _, err := d.Account(t.Context(), bellatrix.ExecutionAddress{1}); err != nil {
			t.Error(err)
		}
	}
	wg.Add(1)
	go ask()
	<-arrived
	wg.Add(20)
	for range 20 {
		go ask()
	}
	close(release)
	wg.Wait()
	if got := d.one.calls["eth_getCode"]; got != 1 {
		t.Errorf("%d requests", got)
	}
}

// TestAccounts_Bounded: strangers do not fill the memory.
func TestAccounts_Bounded(t *testing.T) {
	d := startTwo(t)
	head, err := d.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxAccounts + 100 {
		d.remember(head.Hash, bellatrix.ExecutionAddress{byte(i), byte(i >> 8)}, modules.Account{})
	}
	d.remember([32]byte{1}, bellatrix.ExecutionAddress{9, 9, 9}, modules.Account{})
	if len(d.accounts) != maxAccounts || d.accounts[bellatrix.ExecutionAddress{9, 9, 9}] != nil {
		t.Errorf("remembers %d", len(d.accounts))
	}
	if next := d.prefetch(t.Context(), head); len(next) != maxPrefetch {
		t.Errorf("reads %d ahead, want %d", len(next), maxPrefetch)
	}
}

// TestHead_BlobSchedule: the node's own parameters, and those that come next.
func TestHead_BlobSchedule(t *testing.T) {
	d := startTwo(t)
	answer := func(method string, _ []json.RawMessage) any {
		if method != "eth_config" {
			return nil
		}
		return json.RawMessage(`{"current":{"activationTime":0,"blobSchedule":{"target":10,"max":15,"baseFeeUpdateFraction":8346193}},
			"next":{"activationTime":1742213448,"blobSchedule":{"target":14,"max":21,"baseFeeUpdateFraction":11684671}},"last":null}`)
	}
	d.one.set(d.one.block, answer)
	d.two.set(d.one.block, answer)
	now, then := chain.BlobParams{Target: 10, Max: 15, Fraction: 8346193}, chain.BlobParams{Target: 14, Max: 21, Fraction: 11684671}
	head, err := d.Head(t.Context())
	if err != nil || head.Blobs != now || head.NextBlobs != then || head.NextBlobsSlot != 4 {
		t.Errorf("before: got %+v, %v", head, err)
	}
	h := d.one.block.Header()
	h.Time = 1742213448
	b := types.NewBlockWithHeader(h)
	d.one.set(b, answer)
	d.two.set(b, answer)
	d.later()
	if head, err = d.Head(t.Context()); err != nil || head.Blobs != then || head.NextBlobs.Known() {
		t.Errorf("after: got %+v, %v", head, err)
	}
	if n := d.one.calls["eth_config"]; n != 1 {
		t.Errorf("the schedule was asked for %d times", n)
	}
}

// TestRun keeps up with the node by itself, once somebody has asked.
func TestRun(t *testing.T) {
	n := &node{t: t, block: testBlock(t), calls: map[string]int{}}
	srv := httptest.NewServer(n)
	t.Cleanup(srv.Close)
	spec, _ := chain.Named("hoodi")
	spec.GenesisTime = time.Now().Add(-time.Hour)
	n.block = stamped(n.block)
	c, err := New(Config{URL: srv.URL, Spec: spec, Clock: chain.NewClock(spec, nil)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	defer func() { cancel(); <-done }()
	if _, _, err := c.Account(t.Context(), bellatrix.ExecutionAddress{1}); err != nil {
		t.Fatal(err)
	}
	b := child(n.block, "")
	n.set(b, nil)
	for deadline := time.Now().Add(30 * time.Second); ; {
		if head, _ := c.Latest(); head.Number == b.NumberU64() {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the head did not come")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// stamped is a block of now.
func stamped(b *types.Block) *types.Block {
	h := b.Header()
	h.Time = uint64(time.Now().Unix()) // #nosec G115 -- after 1970
	return types.NewBlockWithHeader(h)
}

// TestAccounts_Many: accounts that are not known at the head come in one request for
// 64, in the order asked, and are known then.
func TestAccounts_Many(t *testing.T) {
	d := startTwo(t)
	if _, err := d.Head(t.Context()); err != nil {
		t.Fatal(err)
	}
	addrs := make([]bellatrix.ExecutionAddress, 100)
	for i := range addrs {
		addrs[i] = bellatrix.ExecutionAddress{1, byte(i)}
	}
	nonce := func(params []json.RawMessage) string {
		return fmt.Sprintf("0x%x", 1000+int(params[0][6]-'0')*10+int(params[0][5]-'0'))
	}
	for _, n := range []*node{d.one, d.two} {
		n.answer = func(method string, params []json.RawMessage) any {
			if method == "eth_getTransactionCount" {
				return nonce(params)
			}
			return nil
		}
	}
	before := d.one.posts
	all, head, err := d.Accounts(t.Context(), addrs)
	if err != nil || len(all) != 100 || head.Hash != d.head.Hash {
		t.Fatalf("%d accounts, %v", len(all), err)
	}
	for i := range addrs {
		text, _ := json.Marshal(fmt.Sprintf("%#x", addrs[i][:]))
		if want := nonce([]json.RawMessage{text}); fmt.Sprintf("0x%x", all[i].Nonce) != want {
			t.Fatalf("account %d: nonce %#x, want %s", i, all[i].Nonce, want)
		}
	}
	if n := d.one.posts - before; n != 2 {
		t.Errorf("%d requests for 100 accounts, want 2", n)
	}
	if _, _, err := d.Accounts(t.Context(), addrs[10:]); err != nil || d.one.posts-before != 2 {
		t.Errorf("asked again: %v, %d requests", err, d.one.posts-before)
	}
	d.two.answer = func(string, []json.RawMessage) any { return errors.New("no") }
	if _, _, err := d.Accounts(t.Context(), []bellatrix.ExecutionAddress{{7}}); err == nil {
		t.Error("one node of two is enough")
	}
}
