package onchain_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/contracts/bindings"
	"sidecar/internal/ecdsa"
	"sidecar/slashing/onchain"
)

// lived mines until the run is over: time flies, so that the delay passes.
func (s *stage) lived() (stop func()) {
	return s.mining(func() {
		s.MinePool()
		s.Pass(0, 10*time.Minute)
	})
}

// sent counts the transactions of the prover's account.
func (s *stage) sent() uint64 {
	s.t.Helper()
	nonce, _, err := s.Account(s.Prover.Address, s.Head())
	if err != nil {
		s.t.Fatal(err)
	}
	return nonce
}

// slashedOnce fails unless the stake was slashed exactly once, by so many
// transactions of ours.
func (s *stage) slashedOnce(transactions uint64) {
	s.t.Helper()
	if got, want := s.Shares(s.core), new(big.Int).Mul(big.NewInt(900), big.NewInt(1e18)); got.Cmp(want) != 0 {
		s.t.Errorf("%s shares left, want %s", got, want)
	}
	if got := s.sent(); got != transactions {
		s.t.Errorf("%d transactions sent, want %d", got, transactions)
	}
}

// TestRun_node: a node that is silent, wrong or busy for a while delays, and
// changes nothing else: one submission, one execution.
func TestRun_node(t *testing.T) {
	methods := []string{
		"eth_getBlockByNumber", "eth_call", "eth_estimateGas", "eth_getTransactionCount", "eth_getBalance", "eth_maxPriorityFeePerGas",
		"eth_sendRawTransaction", "eth_getTransactionReceipt",
	}
	for name, answer := range map[string]any{
		"silent": silent{}, "no JSON": raw("<html>busy</html>"), "null": raw(`{"jsonrpc":"2.0","id":1,"result":null}`),
		"another id": raw(`{"jsonrpc":"2.0","id":7,"result":"0x1"}`), "another kind": []string{"x"}, "refuses": refusal("rate limited"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			f := s.Break()
			s.Mine()
			d := newDouble(t, s.URL)
			p, closed := s.prover(d.URL, same)
			defer closed()
			for _, method := range methods {
				if name == "null" && method == "eth_getTransactionReceipt" {
					continue // that is an answer: none yet
				}
				d.set(method, times(2, answer))
			}
			stop := s.lived()
			r, err := p.Run(t.Context(), f)
			stop()
			if err != nil {
				t.Fatal(err)
			}
			s.slashedOnce(2)
			if r.Status != "executed" {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestRun_lies: what a lying node can bring about.
func TestRun_lies(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	t.Run("another chain", func(t *testing.T) {
		d := newDouble(t, s.URL)
		d.set("eth_chainId", always("0x1"))
		n, err := onchain.NewNode(d.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if _, err := (&onchain.Prover{Node: n}).Examine(t.Context(), f, common.Address{}); !errors.Is(err, onchain.ErrOtherChain) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("guilty, says the node of an innocent", func(t *testing.T) {
		d := newDouble(t, s.URL)
		d.set("eth_call", always("0x"+strings.Repeat("00", 32)))
		n, err := onchain.NewNode(d.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		innocent := s.Break()
		innocent.Absence.AccountProofs.Pre = nil
		if _, err := (&onchain.Prover{Node: n}).Examine(t.Context(), innocent, common.Address{}); !errors.Is(err, onchain.ErrAcquitted) || !strings.Contains(err.Error(), "PreStateProof") {
			t.Errorf("got %v", err)
		}
		if d.count("eth_call") != 0 {
			t.Error("the node was asked")
		}
	})
	t.Run("a tip and a base fee to ruin us", func(t *testing.T) {
		d := newDouble(t, s.URL)
		d.set("eth_maxPriorityFeePerGas", always("0xffffffffffffffff"))
		p, closed := s.prover(d.URL, same)
		defer closed()
		ctx, cancel := context.WithCancel(t.Context())
		d.set("eth_sendRawTransaction", func(params []json.RawMessage) (any, bool) {
			defer cancel()
			var raw hexutil.Bytes
			var tx types.Transaction
			if err := errors.Join(json.Unmarshal(params[0], &raw), tx.UnmarshalBinary(raw)); err != nil {
				t.Error(err)
				return silent{}, true
			}
			if tip := tx.GasTipCap(); tip.Cmp(big.NewInt(5e9)) > 0 {
				t.Errorf("a tip of %s", tip)
			}
			if most := tx.GasFeeCap(); most.Cmp(big.NewInt(onchain.DefaultMaxFeeGwei*1e9)) > 0 {
				t.Errorf("a fee cap of %s", most)
			}
			return silent{}, true
		})
		if _, err := p.Submit(ctx, f); !errors.Is(err, onchain.ErrUnfinished) {
			t.Errorf("got %v", err)
		}
	})
}

// TestRun_crash: the process dies at any step; the next one sends the same
// bytes, or what was not signed yet, and never the same action twice.
func TestRun_crash(t *testing.T) {
	for name, fatal := range map[string]string{
		"before anything":           "eth_getBlockByNumber",
		"before the nonce":          "eth_getTransactionCount",
		"written, not sent":         "eth_sendRawTransaction",
		"sent, answer not seen":     "eth_sendRawTransaction+",
		"mined, receipt not seen":   "eth_getTransactionReceipt",
		"submitted, delay not over": "",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			f := s.Break()
			s.Mine()
			d := newDouble(t, s.URL)
			stop := s.lived()
			defer func() { stop() }()
			// Each life ends at the fatal call; a node that never answers it again
			// and a context that ends are what a killed process leaves behind.
			for life := range 3 {
				ctx, cancel := context.WithCancel(t.Context())
				method, after := strings.CutSuffix(fatal, "+")
				if method != "" {
					d.set(method, func(params []json.RawMessage) (any, bool) {
						cancel()
						if after {
							passOn(t, s.URL, method, params)
						}
						return silent{}, true
					})
				}
				p, closed := s.prover(d.URL, same)
				if method == "" {
					if _, err := p.Submit(ctx, f); err != nil {
						t.Fatal(err)
					}
				} else if _, err := p.Run(ctx, f); err == nil && life == 0 {
					t.Errorf("life %d ended well", life)
				}
				closed()
				cancel()
				if method != "" {
					d.set(method, nil)
				}
			}
			p, closed := s.prover(s.URL, same)
			defer closed()
			if _, err := p.Run(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			stop()
			s.slashedOnce(2)
		})
	}
}

func passOn(t *testing.T, url, method string, params []json.RawMessage) {
	t.Helper()
	d := &onchainCall{url}
	if err := d.do(method, params); err != nil {
		t.Log(err) // known already, or its nonce used: fine
	}
}

// TestRun_reorg: the chain takes the submission back; it is sent again, and
// the stake slashed once.
func TestRun_reorg(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	for range 4 {
		s.Mine()
	}
	p, closed := s.prover(s.URL, func(c *onchain.SenderConfig) { c.Confirmations = 4 })
	defer closed()
	var mu sync.Mutex
	taken := 0
	stop := s.mining(func() {
		mu.Lock()
		defer mu.Unlock()
		b := s.MinePool()
		if len(b.Transactions()) > 0 && taken < 3 {
			taken++
			s.Reorg(1)
			s.Mine()
		}
		s.Pass(0, 5*time.Minute)
	})
	_, err := p.Run(t.Context(), f)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if taken != 3 {
		t.Errorf("%d blocks were taken back, want 3", taken)
	}
	s.slashedOnce(2)
}

// TestRun_firstOthers: somebody else submits and executes the same fault. We
// send nothing, and say so.
func TestRun_firstOthers(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	input, err := bindings.Submit(f)
	if err != nil {
		t.Fatal(err)
	}
	id := s.Do(s.Stranger, s.Manager, input).Logs[0].Topics[1]
	s.Pass(3, delay)
	execute, err := bindings.Execute(id)
	if err != nil {
		t.Fatal(err)
	}
	s.Do(s.Stranger, s.Manager, execute)
	s.Mine()
	p, closed := s.prover(s.URL, same)
	defer closed()
	r, err := p.Run(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if r.Submit != nil || r.Execute != nil || r.SlashID != nil || s.sent() != 0 {
		t.Errorf("%d transactions, %+v", s.sent(), r)
	}
}

// TestRun_veto: a vetoed case ends the run by its name, and costs no execution.
func TestRun_veto(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	p, closed := s.prover(s.URL, same)
	defer closed()
	stop := s.mining(func() { s.MinePool() })
	r, err := p.Submit(t.Context(), f)
	stop()
	if err != nil {
		t.Fatal(err)
	}
	veto, err := s.manager().Pack("veto", [32]byte(r.ID))
	if err != nil {
		t.Fatal(err)
	}
	s.Do(s.Guardian, s.Manager, veto)
	if _, err := p.Run(t.Context(), f); !errors.Is(err, onchain.ErrVetoed) {
		t.Errorf("got %v", err)
	}
	if s.sent() != 1 {
		t.Errorf("%d transactions", s.sent())
	}
}

// TestRun_excuses: whatever acquits costs nothing, and has its name.
func TestRun_excuses(t *testing.T) {
	s := newStage(t)
	tx, slot := s.Transfer(1), s.Slot()+1
	kept := s.Told(slot, tx, func() { s.Mine(tx) })
	gone := s.Break()
	s.Reorg(2)
	for range 3 {
		s.Mine()
	}
	p, closed := s.prover(s.URL, same)
	defer closed()
	for want, f := range map[string]func() error{
		"NonceSpentInBlock": func() error { _, err := p.Run(t.Context(), kept); return err },
		"ChildUnknown":      func() error { _, err := p.Run(t.Context(), gone); return err }, // only the chain knows
	} {
		if err := f(); !errors.Is(err, onchain.ErrAcquitted) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if s.sent() != 0 {
		t.Errorf("%d transactions", s.sent())
	}
}

// TestSender_poor: an account that cannot pay is told before anything is signed.
func TestSender_poor(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	s.Mine()
	p, closed := s.prover(s.URL, func(c *onchain.SenderConfig) {
		key, err := ecdsa.ParseSecretKey(crypto.Keccak256([]byte("poor")))
		if err != nil {
			t.Fatal(err)
		}
		c.Key = key
	})
	defer closed()
	if _, err := p.Run(t.Context(), f); !errors.Is(err, onchain.ErrFunds) && !errors.Is(err, onchain.ErrRefused) {
		t.Errorf("got %v", err)
	}
	if len(p.Sender.Journal.Records()) != 0 {
		t.Error("something was signed")
	}
}
