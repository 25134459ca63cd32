package onchain_test

import (
	"context"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/contracts/bindings"
	"sidecar/internal/ecdsa"
	"sidecar/slashing/onchain"
	"sidecar/slashing/slashingtest"
)

const delay = time.Hour

var burn = common.HexToAddress("0x00000000000000000000000000000000000E16E4")

// stage is a scene with stake at risk, and whoever proves on it.
type stage struct {
	*slashingtest.Scene
	t      *testing.T
	core   slashingtest.Core
	path   string // of the journal
	events chan onchain.Event
}

func newStage(t *testing.T) *stage { return newStageOf(t, nil) }

// newStageOf caps what an operator may lose in a day.
func newStageOf(t *testing.T, daily *big.Int) *stage {
	t.Helper()
	s := &stage{Scene: slashingtest.Start(t, slashingtest.Options{}), t: t, path: filepath.Join(t.TempDir(), "journal"), events: make(chan onchain.Event, 1000)}
	at := s.DevCore()
	s.core = slashingtest.Core{Allocation: at, Delegation: at, Strategies: at, Strategy: at, Token: at}
	s.Deploy(slashingtest.Terms{Allocation: at, Strategies: []common.Address{at}, Delay: delay, DailyWad: daily, DoubleWad: daily})
	s.Restake(s.core, func() {})
	s.Mine()
	return s
}

// prover opens one over the journal, through the node at a URL.
func (s *stage) prover(url string, change func(*onchain.SenderConfig)) (*onchain.Prover, func()) {
	s.t.Helper()
	n, err := onchain.NewNode(url)
	if err != nil {
		s.t.Fatal(err)
	}
	key, err := ecdsa.ParseSecretKey(crypto.FromECDSA(s.Prover.Key))
	if err != nil {
		s.t.Fatal(err)
	}
	j, err := onchain.OpenJournal(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	c := onchain.SenderConfig{
		Node: n, Key: key, Journal: j, ChainID: slashingtest.ChainID, Confirmations: 2, Poll: 5 * time.Millisecond,
		Report: func(e onchain.Event) {
			select {
			case s.events <- e:
			default:
			}
		},
	}
	change(&c)
	sender, err := onchain.NewSender(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	return &onchain.Prover{Node: n, Sender: sender}, func() { n.Close(); _ = j.Close() }
}

// manager is the ABI of the service manager.
func (s *stage) manager() *abi.ABI {
	m := slashingtest.Load(s.t, bindings.PreconfServiceManager)
	return &m.ABI
}

func same(*onchain.SenderConfig) {}

// mining makes blocks of whatever waits, until it is stopped.
func (s *stage) mining(each func()) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(15 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				each()
			}
		}
	}()
	return func() { cancel(); <-done }
}

func TestRun(t *testing.T) {
	s := newStage(t)
	f := s.Break()
	p, closed := s.prover(s.URL, same)
	defer closed()
	stop := s.mining(func() {
		s.MinePool()
		s.Pass(0, 10*time.Minute)
	})
	defer stop()
	r, err := p.Run(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Burn(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	tenth := new(big.Int).Div(slashingtest.Stake, big.NewInt(10))
	if got := new(big.Int).Sub(slashingtest.Stake, s.Shares(s.core)); got.Cmp(tenth) != 0 {
		t.Errorf("%s shares gone, want %s", got, tenth)
	}
	if got := s.Balance(s.core.Token, burn); got.Cmp(tenth) != 0 || r.To != burn {
		t.Errorf("%s burnt, want %s; to %s", got, tenth, r.To)
	}
	if r.SlashID == nil || len(r.Wads) != 1 || len(r.Taken) != 1 || r.Taken[0].Shares.Cmp(tenth) != 0 || r.Submit == nil || r.Execute == nil {
		t.Errorf("%+v", r)
	}
}
