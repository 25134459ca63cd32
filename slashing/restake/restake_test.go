package restake

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/contracts/bindings"
	"sidecar/contracts/eigenlayer"
	"sidecar/internal/ecdsa"
	"sidecar/slashing/onchain"
	"sidecar/slashing/slashingtest"
)

// registration is the validator's proof that it joins, of one nonce.
func registration(t *testing.T, s *slashingtest.Scene, nonce uint64) bindings.Registration {
	t.Helper()
	object := phase0.Root(Possession(s.Manager, s.Operator.Address))
	root := commitments.SigningRoot(s.Spec.Domain(chain.DomainCommitBoost), slashingtest.ChainID, object, slashingtest.SigningID, nonce)
	pubkey, err1 := bindings.NewG1(s.Validator.PublicKey())
	signature, err2 := bindings.NewG2(s.Validator.Sign(root))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return bindings.Registration{Pubkey: pubkey, Nonce: nonce, Signature: signature}
}

// TestRegister_again: a registration of keys that was interrupted goes on where it
// was, though the keys have signed anew: it is one transaction.
func TestRegister_again(t *testing.T) {
	s := slashingtest.Start(t, slashingtest.Options{})
	core := s.DevCore()
	s.Deploy(slashingtest.Terms{Allocation: core, Strategies: []common.Address{core}, Delay: time.Hour})
	s.Do(s.Operator, core, slashingtest.Pack(t, "registerAsOperator", common.Address{}, uint32(0), ""))
	s.Do(s.Operator, core, slashingtest.Pack(t, "registerForOperatorSets", s.Operator.Address, eigenlayer.RegisterParams{Avs: s.Manager, OperatorSetIds: []uint32{0}}))
	before, _, _ := s.Account(s.Operator.Address, s.Head())
	// A node that loses what it is given, and with it the process.
	ctx, cancel := context.WithCancel(t.Context())
	deaf := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if bytes.Contains(body, []byte("eth_sendRawTransaction")) {
			cancel()
			panic(http.ErrAbortHandler)
		}
		res, err := http.Post(s.URL, "application/json", bytes.NewReader(body))
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		defer func() { _ = res.Body.Close() }()
		_, _ = io.Copy(w, res.Body)
	}))
	defer deaf.Close()
	path := filepath.Join(t.TempDir(), "journal")
	register := func(ctx context.Context, url string, nonce uint64) error {
		n, err1 := onchain.NewNode(url)
		key, err2 := ecdsa.ParseSecretKey(crypto.FromECDSA(s.Operator.Key))
		j, err3 := onchain.OpenJournal(path)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		defer func() { n.Close(); _ = j.Close() }()
		service, err := Open(t.Context(), n, s.Manager, common.Address{})
		if err != nil {
			t.Fatal(err)
		}
		sender, err := onchain.NewSender(t.Context(), onchain.SenderConfig{Node: n, Key: key, Journal: j, ChainID: slashingtest.ChainID, Confirmations: 2, Poll: 5 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		return service.Register(ctx, sender, Membership{Registrations: []bindings.Registration{registration(t, s, nonce)}})
	}
	if err := register(ctx, deaf.URL, 1); !errors.Is(err, onchain.ErrUnfinished) {
		t.Fatal(err)
	}
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-tick.C:
				s.MinePool()
			case <-ended:
				tick.Stop()
				return
			}
		}
	}()
	err := register(t.Context(), s.URL, 2)
	close(ended)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	if after, _, err := s.Account(s.Operator.Address, s.Head()); err != nil || after != before+1 {
		t.Errorf("%d transactions, %v", after-before, err)
	}
}

// TestTarget: what an allocation will be, whatever a core says.
func TestTarget(t *testing.T) {
	for _, c := range []struct {
		now  uint64
		diff *big.Int
		want uint64
	}{{5, nil, 5}, {5, big.NewInt(3), 8}, {5, big.NewInt(-5), 0}, {5, big.NewInt(-7), 0}, {1, new(big.Int).Lsh(big.NewInt(1), 64), 0}} {
		if got := (allocated{eigenlayer.Allocation{CurrentMagnitude: c.now, PendingDiff: c.diff}}).target(); got != c.want {
			t.Errorf("%d and %v: %d, want %d", c.now, c.diff, got, c.want)
		}
	}
}

// TestUndefendable: the calls of published games, and nothing that only looks so.
func TestUndefendable(t *testing.T) {
	for code, want := range map[string]bool{
		"": false, "63ccfa336f14": true, "80636ef8d43714": true, "62ccfa336f14": false, "63ccfa336e14": false,
		"63" + common.Bytes2Hex(selector("resolveExpiredChallenge(bytes32)")): true,
	} {
		if got := Undefendable(common.FromHex(code)); (got != "") != want {
			t.Errorf("%s: %q", code, got)
		}
	}
	manager := slashingtest.Load(t, bindings.PreconfServiceManager)
	input, err := manager.Deploy(bindings.ManagerConfig{AbsentWad: new(big.Int), DoubleWad: new(big.Int), DailyWad: new(big.Int)})
	if err != nil || Undefendable(input) != "" {
		t.Errorf("our own manager: %q, %v", Undefendable(input), err)
	}
}
