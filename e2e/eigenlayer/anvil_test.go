package eigenlayer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"

	"sidecar/chain"
	"sidecar/contracts/bindings"
	"sidecar/contracts/eigenlayer"
	"sidecar/e2e/eigenlayer/core"
	"sidecar/slashing/evidence"
	"sidecar/slashing/onchain"
	"sidecar/slashing/slashingtest"
)

// second is anvil, an EVM of another program and language, as a node with
// EigenLayer's real core and our contracts on it. Its accounts are a scene's,
// and need not sign.
type second struct {
	t    *testing.T
	url  string
	rpc  *rpc.Client
	core core.Core
	home common.Address // of the manager
}

// startSecond starts the npm package's, which `make contracts` installs, at a
// time.
func startSecond(t *testing.T, hardfork string, at int64) *second {
	t.Helper()
	system := map[string]string{"linux/amd64": "linux-amd64", "darwin/arm64": "darwin-arm64"}[runtime.GOOS+"/"+runtime.GOARCH]
	path := filepath.Join("..", "..", "contracts", "node_modules", "@foundry-rs", "anvil-"+system, "bin", "anvil")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI has to run the second EVM: run `make contracts` first")
		}
		t.Skip("no anvil: `make contracts` installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, path, "--port", "0", "--chain-id", fmt.Sprint(slashingtest.ChainID), "--hardfork", hardfork,
		"--gas-limit", "60000000", "--timestamp", fmt.Sprint(at), "--auto-impersonate")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() { cancel(); <-drained; _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		at, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "Listening on ")
		if !ok {
			continue
		}
		go func() { // it stops when nobody reads its log
			defer close(drained)
			_, _ = io.Copy(io.Discard, out)
		}()
		s := &second{t: t, url: "http://" + at}
		if s.rpc, err = rpc.Dial(s.url); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.rpc.Close)
		return s
	}
	close(drained)
	t.Fatal("anvil does not listen")
	return nil
}

func (s *second) must(out any, method string, arguments ...any) {
	s.t.Helper()
	if err := s.rpc.CallContext(s.t.Context(), out, method, arguments...); err != nil {
		s.t.Fatalf("%s: %v", method, err)
	}
}

// do has a transaction mined, which must succeed; to nil is a creation.
func (s *second) do(from common.Address, to *common.Address, input []byte) *types.Receipt {
	s.t.Helper()
	var hash common.Hash
	s.must(&hash, "eth_sendTransaction", map[string]any{"from": from, "to": to, "input": hexutil.Bytes(input), "gas": hexutil.Uint64(10_000_000)})
	var r *types.Receipt
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	for r == nil {
		s.must(&r, "eth_getTransactionReceipt", hash)
		select {
		case <-deadline.C:
			s.t.Fatal("no receipt")
		default:
		}
	}
	if r.Status != types.ReceiptStatusSuccessful {
		s.t.Fatalf("call %x of %v reverted", input[:min(4, len(input))], to)
	}
	return r
}

// why is the error by which a call would be refused; "" if it would not.
func (s *second) why(from, to common.Address, input []byte) string {
	s.t.Helper()
	var out hexutil.Bytes
	err := s.rpc.CallContext(s.t.Context(), &out, "eth_call", map[string]any{"from": from, "to": to, "input": hexutil.Bytes(input)}, "latest")
	var data rpc.DataError
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &data):
		return err.Error()
	}
	text, _ := data.ErrorData().(string)
	return (&onchain.Revert{Data: common.FromHex(text)}).Name()
}

func (s *second) number(to common.Address, input []byte) *big.Int {
	s.t.Helper()
	var out hexutil.Bytes
	s.must(&out, "eth_call", map[string]any{"to": to, "input": hexutil.Bytes(input)}, "latest")
	return new(big.Int).SetBytes(out)
}

func (s *second) balance(of common.Address) *big.Int {
	s.t.Helper()
	return s.number(s.core.Token, append(common.FromHex("0x70a08231"), common.LeftPadBytes(of[:], 32)...)) // balanceOf
}

// at is the time from the next block on.
func (s *second) at(unix int64) {
	s.t.Helper()
	s.must(nil, "evm_setNextBlockTimestamp", hexutil.Uint64(unix))
	s.must(nil, "anvil_mine", hexutil.Uint64(1))
}

// build puts core, verifier and manager there, and the stake of a scene's
// operator behind the promises of its validator.
func (s *second) build(w *slashingtest.Scene, recipient common.Address, registered int64) {
	s.t.Helper()
	t := s.t
	for _, a := range []common.Address{w.Owner.Address, w.Operator.Address, w.Staker.Address, w.Stranger.Address} {
		s.must(nil, "anvil_setBalance", a, hexutil.EncodeBig(new(big.Int).Mul(big.NewInt(1000), big.NewInt(params.Ether))))
	}
	var err error
	if s.core, err = core.Deploy(t.Context(), s.url, w.Owner.Key, core.Brief); err != nil {
		t.Fatal(err)
	}
	spec := w.Spec
	verifier, err := slashingtest.Load(t, bindings.FaultVerifier).Deploy(bindings.VerifierConfig{
		GenesisTime: uint64(spec.GenesisTime.Unix()), SlotMillis: uint64(spec.SlotDuration.Milliseconds()), FirstSlot: 1, EndSlot: 1 << 39,
		SigningDomain: spec.Domain(chain.DomainCommitBoost), SigningId: slashingtest.SigningID,
	})
	if err != nil {
		t.Fatal(err)
	}
	manager, err := slashingtest.Load(t, bindings.PreconfServiceManager).Deploy(bindings.ManagerConfig{
		AllocationManager: s.core.Allocation, Verifier: s.do(w.Owner.Address, nil, verifier).ContractAddress, Guardian: w.Guardian.Address,
		Strategies: []common.Address{s.core.Strategy}, AbsentWad: big.NewInt(1e17), DoubleWad: big.NewInt(5e17), DailyWad: big.NewInt(6e17),
		Delay: delay, RedistributionRecipient: recipient,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.home = s.do(w.Owner.Address, nil, manager).ContractAddress
	w.Manager = s.home // whom the scene's promises name
	s.at(registered)

	mint := append(crypto.Keccak256([]byte("mint(address,uint256)"))[:4], common.LeftPadBytes(w.Staker.Address[:], 32)...)
	s.do(w.Staker.Address, &s.core.Token, append(mint, common.BigToHash(slashingtest.Stake).Bytes()...))
	s.do(w.Operator.Address, &s.core.Delegation, slashingtest.Pack(t, "registerAsOperator", common.Address{}, uint32(0), ""))
	s.do(w.Staker.Address, &s.core.Strategies, slashingtest.Pack(t, "depositIntoStrategy", s.core.Strategy, s.core.Token, slashingtest.Stake))
	s.do(w.Staker.Address, &s.core.Delegation, slashingtest.Approve(t, w.Operator.Address))
	s.do(w.Operator.Address, &s.core.Allocation, slashingtest.Pack(t, "registerForOperatorSets", w.Operator.Address, eigenlayer.RegisterParams{
		Avs: s.home, OperatorSetIds: []uint32{0}, Data: w.Registration(w.Operator.Address),
	}))
	s.must(nil, "anvil_mine", hexutil.Uint64(core.Brief.Wait()+1))
	s.do(w.Operator.Address, &s.core.Allocation, slashingtest.Pack(t, "modifyAllocations", w.Operator.Address, []eigenlayer.AllocateParams{{
		OperatorSet: eigenlayer.OperatorSet{Avs: s.home}, Strategies: []common.Address{s.core.Strategy}, NewMagnitudes: []uint64{1e18},
	}}))
	s.must(nil, "anvil_mine", hexutil.Uint64(core.Brief.Wait()+1))
}

// submit has a file's proof written down. The blocks it is about are geth's: the
// child's hash is put where this chain's history of hashes has it.
func (s *second) submit(from common.Address, f evidence.File) common.Hash {
	s.t.Helper()
	input, err := bindings.Submit(f)
	if err != nil {
		s.t.Fatal(err)
	}
	if f.Absence != nil {
		slot := common.BigToHash(new(big.Int).SetUint64(f.Absence.ChildNumber))
		s.must(nil, "anvil_setStorageAt", params.HistoryStorageAddress, slot, f.ChildHash())
	}
	r := s.do(from, &s.home, input)
	if len(r.Logs) != 1 {
		s.t.Fatalf("%d logs", len(r.Logs))
	}
	return r.Logs[0].Topics[1]
}

// TestAnvil: EigenLayer's real core and our contracts on a second EVM: F1, of a
// promise broken on geth, and F2, submitted, waited for, executed; in a set that
// burns and in one that pays.
func TestAnvil(t *testing.T) {
	for _, c := range []struct {
		hardfork          string
		recipient, goesTo common.Address
	}{{"prague", common.Address{}, core.Burn}, {"osaka", common.Address{}, core.Burn}, {"osaka", fund, fund}} {
		t.Run(fmt.Sprintf("%s to %s", c.hardfork, c.goesTo), func(t *testing.T) {
			w := slashingtest.Start(t, slashingtest.Options{})
			time := func(slot int64) int64 { return w.Spec.GenesisTime.Unix() + 12*slot }
			s := startSecond(t, c.hardfork, time(1))
			s.build(w, c.recipient, time(1000))
			w.MineAt(2000)
			one, two := w.Break(), w.Contradict()
			s.must(nil, "anvil_mine", hexutil.Uint64(300)) // further back than BLOCKHASH, which is anvil's own
			s.at(time(2100))
			first, other := s.submit(w.Stranger.Address, one), s.submit(w.Stranger.Address, two)
			execute := func(id common.Hash) []byte {
				input, err := bindings.Execute(id)
				if err != nil {
					t.Fatal(err)
				}
				return input
			}
			if why := s.why(w.Stranger.Address, s.home, execute(first)); why != "TooEarly" {
				t.Errorf("within the delay: %q", why)
			}
			s.at(time(2200) + delay)
			for slash, id := range []common.Hash{first, other} {
				s.do(w.Stranger.Address, &s.home, execute(id))
				s.do(w.Stranger.Address, &s.core.Strategies, slashingtest.Pack(t, "clearBurnOrRedistributableShares", eigenlayer.OperatorSet{Avs: s.home}, big.NewInt(int64(slash)+1)))
			}
			left := new(big.Int).Rsh(tenths(9), 1)
			if got := s.number(s.core.Delegation, slashingtest.Pack(t, "operatorShares", w.Operator.Address, s.core.Strategy)); got.Cmp(left) != 0 {
				t.Errorf("%s shares left, want %s", got, left)
			}
			if got, want := s.balance(c.goesTo), new(big.Int).Sub(slashingtest.Stake, left); got.Cmp(want) != 0 {
				t.Errorf("%s went to %s, want %s", got, c.goesTo, want)
			}
			if why := s.why(w.Stranger.Address, s.home, execute(first)); why != "NotPending" {
				t.Errorf("executed twice: %q", why)
			}
		})
	}
}
