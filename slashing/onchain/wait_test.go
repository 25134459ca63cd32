package onchain_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/internal/ecdsa"
	"sidecar/slashing/evidence"
	"sidecar/slashing/onchain"
)

// TestRun_forgotten: long after the execution the node has no state of its
// block; the result is that of before.
func TestRun_forgotten(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	p, closed := s.prover(s.URL, same)
	stop := s.lived()
	was, err := p.Run(t.Context(), f)
	stop()
	closed()
	if err != nil {
		t.Fatal(err)
	}
	s.Pass(3, 0) // deeper than any question but the one about what was taken
	d := newDouble(t, s.URL)
	d.set("eth_call", func(params []json.RawMessage) (any, bool) {
		return refusal("historical state is not available"), string(params[1]) == `"`+onchain.AtBlock(was.Execute.Block)+`"`
	})
	p, closed = s.prover(d.URL, same)
	defer closed()
	r, err := p.Run(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if r.SlashID.Cmp(was.SlashID.Int) != 0 || len(r.Taken) != 1 || r.Taken[0].Shares.Cmp(was.Taken[0].Shares.Int) != 0 {
		t.Errorf("%+v, then %+v", was, r)
	}
}

// TestRun_paused: while execution is paused the run waits, and says so once.
func TestRun_paused(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	pause := func(to bool) {
		input, err := s.manager().Pack("setPaused", to)
		if err != nil {
			t.Fatal(err)
		}
		s.Do(s.Guardian, s.Manager, input)
	}
	pause(true)
	p, closed := s.prover(s.URL, same)
	defer closed()
	var mu sync.Mutex
	told, blocks := 0, 0
	p.Sender.Report = func(e onchain.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Text == "Paused" {
			told++
		}
	}
	stop := s.mining(func() {
		mu.Lock()
		defer mu.Unlock()
		if told > 0 {
			if blocks++; blocks == 10 {
				pause(false)
			}
		}
		s.MinePool()
		s.Pass(0, 10*time.Minute)
	})
	_, err := p.Run(t.Context(), f)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	s.slashedOnce(2)
	if told != 1 {
		t.Errorf("said %d times", told)
	}
}

// TestRun_capped: what would exceed the operator's cap of a day is executed the
// next day.
func TestRun_capped(t *testing.T) {
	s := newStageOf(t, big.NewInt(1e17))
	one, other := s.Break(), s.Break()
	s.Mine()
	p, closed := s.prover(s.URL, same)
	defer closed()
	// Both are executed at the beginning of one day, however slow this machine is;
	// then time flies to the next.
	var submitted, waited atomic.Bool
	leapt := false
	p.Sender.Report = func(e onchain.Event) {
		if e.Text == "DailyCapReached" {
			waited.Store(true)
		}
	}
	stop := s.mining(func() {
		b := s.MinePool()
		if waited.Load() {
			s.Pass(0, 10*time.Minute)
		} else if submitted.Load() && !leapt {
			const day = 24 * time.Hour
			due := time.Duration(b.Time())*time.Second + delay // #nosec G115 -- since 1970
			s.Pass(0, delay+day-due%day)
			leapt = true
		}
	})
	_, err := p.Submit(t.Context(), other)
	if err == nil {
		_, err = p.Submit(t.Context(), one)
	}
	submitted.Store(true)
	if err == nil {
		_, err = p.Run(t.Context(), one)
	}
	if err == nil {
		_, err = p.Run(t.Context(), other)
	}
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if !waited.Load() || s.sent() != 4 {
		t.Errorf("waited %t, %d transactions", waited.Load(), s.sent())
	}
}

// TestSubmit_tooLate: when the window is over nothing is signed.
func TestSubmit_tooLate(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	d := newDouble(t, s.URL)
	d.set("eth_getBlockByNumber", func([]json.RawMessage) (any, bool) {
		return map[string]any{"number": hexutil.Uint64(f.Absence.ChildNumber + evidence.Window), "hash": common.Hash{1}, "timestamp": "0x7fffffff", "baseFeePerGas": "0x1"}, true
	})
	p, closed := s.prover(d.URL, same)
	defer closed()
	if _, err := p.Run(t.Context(), f); !errors.Is(err, onchain.ErrTooLate) {
		t.Errorf("got %v", err)
	}
	if len(p.Sender.Journal.Records()) != 0 {
		t.Error("something was signed")
	}
}

// TestRun_lags: in the middle of a run another node answers that has not seen
// the contract yet, and that tries transactions itself.
func TestRun_lags(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	d := newDouble(t, s.URL)
	p, closed := s.prover(d.URL, func(c *onchain.SenderConfig) { c.BumpAfter = 2 })
	defer closed()
	var first common.Hash
	var mu sync.Mutex
	d.set("eth_sendRawTransaction", func(params []json.RawMessage) (any, bool) {
		mu.Lock()
		defer mu.Unlock()
		tx := transaction(t, params)
		if first == (common.Hash{}) {
			first = tx.Hash()
			d.set("eth_call", times(5, "0x"))
		}
		return raw(`{"jsonrpc":"2.0","id":1,"error":{"code":3,"message":"execution reverted","data":"0x"}}`), tx.Hash() == first
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	stop := s.lived()
	_, err := p.Run(ctx, f)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	s.slashedOnce(2)
}

// TestExamine_reverts: a revert that is no error of the contract's acquits nobody.
func TestExamine_reverts(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	input := s.submission(f)
	for name, data := range map[string]string{
		"no reason": `""`, "none at all": `"0x"`, "a text": `"0x08c379a0"`, "another contract's": `"0xdeadbeef"`, "a panic": `"0x4e487b710000000000000000000000000000000000000000000000000000000000000011"`,
	} {
		d := newDouble(t, s.URL)
		d.set("eth_call", func(params []json.RawMessage) (any, bool) {
			return raw(`{"jsonrpc":"2.0","id":1,"error":{"code":3,"message":"execution reverted","data":` + data + `}}`), calls(params, input)
		})
		p, closed := s.prover(d.URL, same)
		if _, err := p.Examine(t.Context(), f, common.Address{}); !errors.Is(err, onchain.ErrReverted) || errors.Is(err, onchain.ErrAcquitted) {
			t.Errorf("%s: got %v", name, err)
		}
		closed()
	}
}

// TestRun_two: two provers with two keys at once. Each ends with the slash, which
// happened once; a transaction of the slower one reverts at most.
func TestRun_two(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	one, closed := s.prover(s.URL, same)
	defer closed()
	s.path += ".other"
	other, closed := s.prover(s.URL, func(c *onchain.SenderConfig) {
		key, err := ecdsa.ParseSecretKey(crypto.FromECDSA(s.Stranger.Key))
		if err != nil {
			t.Fatal(err)
		}
		c.Key = key
	})
	defer closed()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stop := s.lived()
	var all sync.WaitGroup
	for _, p := range []*onchain.Prover{one, other} {
		all.Go(func() {
			if r, err := p.Run(ctx, f); err != nil || r.Status != "executed" {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	all.Wait()
	stop()
	if got, want := s.Shares(s.core), new(big.Int).Mul(big.NewInt(900), big.NewInt(1e18)); got.Cmp(want) != 0 {
		t.Errorf("%s shares left, want %s", got, want)
	}
	theirs, _, err := s.Account(s.Stranger.Address, s.Head())
	if n := s.sent() + theirs; err != nil || n < 2 || n > 4 {
		t.Errorf("%d transactions, %v", n, err)
	}
}

// TestRun_double: two promises for one nonce, until a slot and not a block.
func TestRun_double(t *testing.T) {
	s := newStage(t)
	f := s.Contradict()
	p, closed := s.prover(s.URL, same)
	defer closed()
	stop := s.lived()
	r, err := p.Run(t.Context(), f)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != evidence.Double || r.Deadline.Slot != r.Slot+evidence.Window || r.Deadline.Block != 0 || s.sent() != 2 {
		t.Errorf("%d transactions, %+v", s.sent(), r)
	}
	if got, want := s.Shares(s.core), new(big.Int).Mul(big.NewInt(500), big.NewInt(1e18)); got.Cmp(want) != 0 {
		t.Errorf("%s shares left, want half", got)
	}
}
