package onchain_test

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/slashing/onchain"
)

// TestSender_fees: a transaction that blocks pass by is replaced at its nonce,
// with fees that nodes accept, until they are at the cap.
func TestSender_fees(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	d := newDouble(t, s.URL)
	var mu sync.Mutex
	var seen []*types.Transaction
	d.set("eth_sendRawTransaction", func(params []json.RawMessage) (any, bool) {
		var raw hexutil.Bytes
		tx := new(types.Transaction)
		if err := errors.Join(json.Unmarshal(params[0], &raw), tx.UnmarshalBinary(raw)); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(seen) == 0 || seen[len(seen)-1].Hash() != tx.Hash() {
			seen = append(seen, tx)
		}
		return tx.Hash(), len(seen) <= 4 // the first four get lost
	})
	p, closed := s.prover(d.URL, func(c *onchain.SenderConfig) { c.BumpAfter = 1 })
	defer closed()
	stop := s.lived()
	_, err := p.Submit(t.Context(), f)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) < 5 {
		t.Fatalf("%d transactions", len(seen))
	}
	for i := 1; i < 5; i++ {
		was, is := seen[i-1], seen[i]
		atLeast := func(n *big.Int) *big.Int {
			return new(big.Int).Div(new(big.Int).Mul(n, big.NewInt(110)), big.NewInt(100))
		}
		if is.Nonce() != was.Nonce() || is.GasFeeCap().Cmp(atLeast(was.GasFeeCap())) < 0 || is.GasTipCap().Cmp(atLeast(was.GasTipCap())) < 0 {
			t.Errorf("%d: nonce %d after %d, cap %s after %s, tip %s after %s", i, is.Nonce(), was.Nonce(), is.GasFeeCap(), was.GasFeeCap(), is.GasTipCap(), was.GasTipCap())
		}
	}
	if got := s.sent(); got != 1 {
		t.Errorf("%d transactions on the chain, want 1", got)
	}
}

// TestSender_stolenNonce: the key is used elsewhere at the same time. The
// nonce is lost, the action is not, and happens once.
func TestSender_stolenNonce(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	d := newDouble(t, s.URL)
	p, closed := s.prover(d.URL, func(c *onchain.SenderConfig) { c.Poll = 20 * time.Millisecond })
	defer closed()
	sends := 0
	d.set("eth_sendRawTransaction", func([]json.RawMessage) (any, bool) {
		sends++
		if sends == 1 {
			s.Mine(s.Sign(s.Prover, &s.Stranger.Address, nil)) // somebody else with our key
			s.Mine()
			return "0x" + strings.Repeat("00", 32), true
		}
		return nil, false
	})
	var once sync.Once
	stop := func() {}
	defer func() { stop() }()
	p.Sender.Report = func(e onchain.Event) {
		if e.Kind == "nonce_lost" {
			once.Do(func() { stop = s.lived() })
		}
	}
	r, err := p.Submit(t.Context(), f)
	stop()
	stop = func() {}
	if err != nil {
		t.Fatal(err)
	}
	if r.Submit == nil || s.sent() != 2 {
		t.Errorf("%d transactions, %+v", s.sent(), r)
	}
}
