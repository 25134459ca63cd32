//go:build e2e

package wallet_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// recipient is where the money goes.
var recipient = common.Address{0x5e, 0xa5}

// scene is a chain with a sidecar whose wallet endpoint is open.
type scene struct {
	*testing.T
	ctx context.Context
	net *simnet.Net
	car *devnet.Sidecar
}

func open(t *testing.T) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(cancel)
	n, err := simnet.Start(ctx, simnet.Options{SlotDuration: 2 * time.Second, SlotsPerEpoch: 8, Accounts: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	car, err := devnet.Start(ctx, n, devnet.Options{Dir: t.TempDir(), Lead: 800 * time.Millisecond, Extra: "[wallet]\nport = 0\nfee_hold_ms = 4000"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := car.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &scene{t, ctx, n, car}
}

// run runs a client and returns what it printed.
func (s *scene) run(name string, args ...string) []byte {
	s.Helper()
	cmd := exec.CommandContext(s.ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		s.Fatalf("%s %s: %v\n%s%s", filepath.Base(name), args[0], err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes()
}

// key is the private key of a funded account, in hexadecimal.
func (s *scene) key(i int) string {
	return "0x" + hex.EncodeToString(crypto.FromECDSA(s.net.Accounts[i].Key))
}

// kept wants a transaction in the block of the slot that it was promised for, and
// that slot's block to be number.
func (s *scene) kept(hash string, promised, number uint64) {
	s.Helper()
	slot := phase0.Slot(promised)
	outcome, err := s.net.OutcomeOf(s.ctx, slot)
	if err != nil {
		s.Fatalf("slot %d: %v", slot, err)
	}
	for _, tx := range s.net.Transactions(slot) {
		if tx.Hash() == common.HexToHash(hash) {
			if block, ok := s.net.Beacon.BlockHash(slot); !ok || s.net.Execution.Block(common.Hash(block)).NumberU64() != number {
				s.Errorf("%s is in slot %d, the receipt says block %d", hash, slot, number)
			}
			return
		}
	}
	s.Errorf("%s was promised for slot %d and is not in it: %+v", hash, slot, outcome)
}

// report is what the scripts print.
type report struct {
	Hash                   string
	Before, Between, After uint64
	SeenBlock, Early       any
	SeenFrom               string
	Slot                   uint64
	Block                  uint64
	Status                 int
	Second                 string
	SecondBlock            uint64
	Refused                json.RawMessage
}

// commitment is what the endpoint says of a promise.
func (s *scene) slotOf(hash string) uint64 {
	s.Helper()
	var got struct {
		Slot             uint64
		SignedCommitment *json.RawMessage
	}
	s.rpc(&got, "preconf_getCommitment", hash)
	if got.SignedCommitment == nil {
		s.Errorf("%s: no signed commitment", hash)
	}
	return got.Slot
}

func (s *scene) check(out []byte) report {
	s.Helper()
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	s.Logf("%s", bytes.TrimSpace(out))
	if r.Between != r.Before+1 {
		s.Errorf("pending nonce %d before the transaction, %d after it", r.Before, r.Between)
	}
	if r.SeenBlock != nil || r.Early != nil || r.Status != 1 {
		s.Errorf("a promised transaction is in block %v, has receipt %v, and then status %d", r.SeenBlock, r.Early, r.Status)
	}
	s.kept(r.Hash, r.Slot, r.Block)
	s.kept(r.Second, s.slotOf(r.Second), r.SecondBlock)
	return r
}

// TestClients: clients that know nothing of promises get one by their URL alone.
func TestClients(t *testing.T) {
	s := open(t)
	to := strings.ToLower(recipient.Hex())
	before := s.balance()
	t.Run("clients", func(t *testing.T) {
		t.Run("ethers", func(t *testing.T) {
			t.Parallel()
			s := &scene{t, s.ctx, s.net, s.car}
			r := s.check(s.run("node", "ethers.mjs", s.car.WalletURL, s.key(1), to))
			if r.After != r.Before+2 {
				t.Errorf("pending nonce %d after two transactions from %d", r.After, r.Before)
			}
			if got, want := string(r.Refused), `{"code":"NONCE_EXPIRED","reason":"nonce_too_low"}`; got != want {
				t.Errorf("a spent nonce is %s to ethers, want %s", got, want)
			}
		})
		t.Run("viem", func(t *testing.T) {
			t.Parallel()
			s := &scene{t, s.ctx, s.net, s.car}
			r := s.check(s.run("node", "viem.mjs", s.car.WalletURL, s.key(2), to))
			if got := string(r.Refused); got != `"nonce too low"` {
				t.Errorf("a spent nonce is %s to viem", got)
			}
		})
		t.Run("cast", func(t *testing.T) {
			t.Parallel()
			s := &scene{t, s.ctx, s.net, s.car}
			s.cast(to)
		})
	})
	if got, want := s.balance(), new(big.Int).Add(before, big.NewInt(3*(1+2))); got.Cmp(want) != 0 {
		t.Errorf("the recipient has %s wei, want %s", got, want)
	}
}

func (s *scene) balance() *big.Int {
	s.Helper()
	_, wei, err := s.net.Execution.Account(recipient, s.net.Execution.Head())
	if err != nil {
		s.Fatal(err)
	}
	return wei
}

// cast sends one transaction and waits for it, then one by cast's --async.
func (s *scene) cast(to string) {
	cast := filepath.Join("node_modules", ".bin", "cast")
	rpc := []string{"--rpc-url", s.car.WalletURL}
	send := func(more ...string) []byte {
		return s.run(cast, append(append([]string{"send"}, append(rpc, "--private-key", s.key(3))...), more...)...)
	}
	var receipt struct {
		TransactionHash, BlockNumber, Status string
	}
	out := send("--json", "--value", "1", to)
	if err := json.Unmarshal(out, &receipt); err != nil {
		s.Fatalf("%v: %s", err, out)
	}
	number, _ := new(big.Int).SetString(strings.TrimPrefix(receipt.BlockNumber, "0x"), 16)
	if receipt.Status != "0x1" || number == nil {
		s.Fatalf("receipt %+v", receipt)
	}
	s.kept(receipt.TransactionHash, s.slotOf(receipt.TransactionHash), number.Uint64())
	from := strings.ToLower(s.net.Accounts[3].Address.Hex())
	nonce := func(block string) string {
		return strings.TrimSpace(string(s.run(cast, append([]string{"nonce", "--block", block, from}, rpc...)...)))
	}
	hash := strings.TrimSpace(string(send("--async", "--value", "2", to)))
	if got := nonce("pending"); got != "2" {
		s.Errorf("pending nonce %s after two transactions", got)
	}
	text := string(s.run(cast, append([]string{"receipt"}, append(rpc, "--json", hash)...)...))
	if err := json.Unmarshal([]byte(text), &receipt); err != nil || receipt.Status != "0x1" {
		s.Errorf("receipt of %s: %s", hash, text)
	}
	if got := nonce("latest"); got != "2" {
		s.Errorf("nonce %s after two transactions", got)
	}
}

// rpc calls the wallet endpoint.
func (s *scene) rpc(into any, method string, params ...any) {
	s.Helper()
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		s.Fatal(err)
	}
	var answer struct {
		Result json.RawMessage
		Error  json.RawMessage
	}
	if err := post(s.ctx, s.car.WalletURL, body, &answer); err != nil || answer.Error != nil {
		s.Fatalf("%s: %v %s", method, err, answer.Error)
	}
	if err := json.Unmarshal(answer.Result, into); err != nil {
		s.Fatal(fmt.Errorf("%s: %w: %s", method, err, answer.Result))
	}
}
