package onchain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/contracts/bindings"
	"sidecar/slashing/evidence"
	"sidecar/slashing/onchain"
)

// submission is the call that submits a file.
func (s *stage) submission(f evidence.File) []byte {
	s.t.Helper()
	input, err := bindings.Submit(f)
	if err != nil {
		s.t.Fatal(err)
	}
	return input
}

// transaction is what a node is given to send.
func transaction(t *testing.T, params []json.RawMessage) *types.Transaction {
	var raw hexutil.Bytes
	tx := new(types.Transaction)
	if err := errors.Join(json.Unmarshal(params[0], &raw), tx.UnmarshalBinary(raw)); err != nil {
		t.Error(err)
	}
	return tx
}

// lose has the node of a double lose what it is given while lost says so.
func (d *double) lose(t *testing.T, lost func(*types.Transaction) bool) {
	d.set("eth_sendRawTransaction", func(params []json.RawMessage) (any, bool) {
		tx := transaction(t, params)
		return tx.Hash(), lost(tx)
	})
}

// calls says whether a call has this input.
func calls(params []json.RawMessage, input []byte) bool {
	var call struct{ Input hexutil.Bytes }
	return json.Unmarshal(params[0], &call) == nil && bytes.Equal(call.Input, input)
}

// TestSubmit_race: somebody else's submission comes between our questions. That
// the manager knows the fault is no acquittal.
func TestSubmit_race(t *testing.T) {
	for name, nth := range map[string]int{"while it is examined": 1, "when it is to be sent": 2} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			f := s.Break()
			s.Mine()
			input := s.submission(f)
			d := newDouble(t, s.URL)
			stop := func() {}
			defer func() { stop() }()
			asked := 0
			d.set("eth_call", func(params []json.RawMessage) (any, bool) {
				if calls(params, input) {
					if asked++; asked == nth {
						s.Do(s.Stranger, s.Manager, input)
						stop = s.lived()
					}
				}
				return nil, false
			})
			p, closed := s.prover(d.URL, same)
			defer closed()
			r, err := p.Submit(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if r.Submit != nil || r.Status != "pending" || s.sent() != 0 {
				t.Errorf("%d transactions, %+v", s.sent(), r)
			}
		})
	}
}

// TestDo_earlier: a transaction of an earlier run that nobody mines at its fee is
// raised, too: later nonces wait for it.
func TestDo_earlier(t *testing.T) {
	s := newStage(t)
	one, other := s.Break(), s.Break()
	s.Mine()
	d := newDouble(t, s.URL)
	ctx, cancel := context.WithCancel(t.Context())
	var first common.Hash
	d.lose(t, func(tx *types.Transaction) bool {
		if first == (common.Hash{}) {
			first = tx.Hash()
		}
		cancel()
		return tx.Hash() == first // for ever
	})
	p, closed := s.prover(d.URL, same)
	if _, err := p.Submit(ctx, one); !errors.Is(err, onchain.ErrUnfinished) {
		t.Fatal(err)
	}
	closed()
	p, closed = s.prover(d.URL, func(c *onchain.SenderConfig) { c.BumpAfter = 1 })
	defer closed()
	ctx, cancel2 := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel2()
	stop := s.lived()
	_, err := p.Submit(ctx, other)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if s.sent() != 2 {
		t.Errorf("%d transactions, want both", s.sent())
	}
}

// TestRun_void: ours waits in vain while somebody else submits the same. Its
// nonce is used up by a transaction that does nothing, and the run goes on.
func TestRun_void(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	d := newDouble(t, s.URL)
	stop := func() {}
	defer func() { stop() }()
	var first common.Hash
	var void *types.Transaction
	var mu sync.Mutex
	d.lose(t, func(tx *types.Transaction) bool {
		mu.Lock()
		defer mu.Unlock()
		if first == (common.Hash{}) {
			first = tx.Hash()
			s.Do(s.Stranger, s.Manager, s.submission(f))
			stop = s.lived()
		}
		if tx.Nonce() == 0 {
			void = tx
		}
		return tx.Hash() == first
	})
	p, closed := s.prover(d.URL, func(c *onchain.SenderConfig) { c.BumpAfter = 1 })
	defer closed()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := p.Run(ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stop = func() {}
	s.slashedOnce(2)
	if r.Submit != nil || r.Execute == nil {
		t.Errorf("%+v", r)
	}
	mu.Lock()
	defer mu.Unlock()
	if void == nil || *void.To() != s.Prover.Address || len(void.Data()) != 0 || void.Value().Sign() != 0 || void.Gas() != 21_000 {
		t.Errorf("the nonce went to %+v", void)
	}
}

// TestSubmit_deepReorg: the chain takes back what was deep enough. The same
// bytes are sent again, and no second transaction is signed.
func TestSubmit_deepReorg(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	p, closed := s.prover(s.URL, func(c *onchain.SenderConfig) { c.BumpAfter = 1000 })
	defer closed()
	var receipts []common.Hash
	for range 2 {
		stop := s.lived()
		r, err := p.Submit(t.Context(), f)
		stop()
		if err != nil || r.Submit == nil {
			t.Fatal(r, err)
		}
		receipts = append(receipts, r.Submit.Hash)
		s.Reorg(s.Head().Number.Uint64() - r.Submit.Block + 1)
		if s.sent() != 0 {
			t.Fatal("still there")
		}
	}
	if receipts[0] != receipts[1] {
		t.Errorf("two transactions for one fault: %v", receipts)
	}
}

// TestSubmit_evidenceReorg: between the dry run and the block the chain leaves the
// blocks of the evidence. The transaction is lost, and the excuse has its name.
func TestSubmit_evidenceReorg(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	d := newDouble(t, s.URL)
	var once sync.Once
	stop := func() {}
	defer func() { stop() }()
	d.set("eth_sendRawTransaction", func([]json.RawMessage) (any, bool) {
		once.Do(func() {
			s.Reorg(3)
			stop = s.lived()
		})
		return nil, false
	})
	p, closed := s.prover(d.URL, same)
	defer closed()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := p.Run(ctx, f); !errors.Is(err, onchain.ErrAcquitted) || !strings.Contains(err.Error(), "ChildUnknown") {
		t.Errorf("got %v", err)
	}
	stop()
	stop = func() {}
	if n := s.sent(); n > 1 {
		t.Errorf("%d transactions", n)
	}
}

// TestDo_wasted: a node that says every nonce is used up, and nothing done, gets
// a few transactions, and no more.
func TestDo_wasted(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	d := newDouble(t, s.URL)
	var nonces []uint64
	var mu sync.Mutex
	d.lose(t, func(tx *types.Transaction) bool {
		mu.Lock()
		defer mu.Unlock()
		if !slices.Contains(nonces, tx.Nonce()) {
			nonces = append(nonces, tx.Nonce())
		}
		return true
	})
	d.set("eth_getTransactionCount", func([]json.RawMessage) (any, bool) {
		mu.Lock()
		defer mu.Unlock()
		return hexutil.Uint64(len(nonces)), true
	})
	p, closed := s.prover(d.URL, same)
	defer closed()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := p.Submit(ctx, f); !errors.Is(err, onchain.ErrWasted) {
		t.Errorf("got %v", err)
	}
	if len(nonces) != 4 {
		t.Errorf("%d nonces", len(nonces))
	}
}

// TestDo_gas: a contract that would burn more than a proof needs, or a node that
// says so, gets nothing.
func TestDo_gas(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	for _, gas := range []string{"0x989680", "0xffffffffffffffff"} {
		d := newDouble(t, s.URL)
		d.set("eth_estimateGas", always(gas))
		p, closed := s.prover(d.URL, same)
		if _, err := p.Submit(t.Context(), f); !errors.Is(err, onchain.ErrGas) {
			t.Errorf("%s: got %v", gas, err)
		}
		if len(p.Sender.Journal.Records()) != 0 {
			t.Error("something was signed")
		}
		closed()
	}
}

// TestDo_funds: an account that cannot pay for a higher fee waits with the one
// that was sent.
func TestDo_funds(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	d := newDouble(t, s.URL)
	p, closed := s.prover(d.URL, func(c *onchain.SenderConfig) { c.BumpAfter = 1 })
	defer closed()
	var mu sync.Mutex
	told := false
	p.Sender.Report = func(e onchain.Event) {
		mu.Lock()
		defer mu.Unlock()
		told = told || e.Kind == "funds"
	}
	d.lose(t, func(*types.Transaction) bool {
		mu.Lock()
		defer mu.Unlock()
		d.set("eth_getBalance", always("0x1"))
		return !told
	})
	stop := s.lived()
	_, err := p.Submit(t.Context(), f)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if s.sent() != 1 {
		t.Errorf("%d transactions", s.sent())
	}
}

// TestDo_young: a manager that is younger than the confirmations.
func TestDo_young(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	p, closed := s.prover(s.URL, func(c *onchain.SenderConfig) { c.Confirmations = 20 })
	defer closed()
	stop := s.lived()
	_, err := p.Submit(t.Context(), f)
	stop()
	if err != nil {
		t.Fatal(err)
	}
}
