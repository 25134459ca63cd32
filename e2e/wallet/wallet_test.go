//go:build e2e

package wallet_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
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

// tries is how often a client may begin anew, with another account: slots are
// short, and a busy machine can miss the one that a transaction was promised for.
const tries = 3

// tryFor is how long one try may take.
const tryFor = 45 * time.Second

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
	n, err := simnet.Start(ctx, simnet.Options{SlotDuration: 3 * time.Second, SlotsPerEpoch: 8, Accounts: 1 + 3*tries})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
	car, err := devnet.Start(ctx, n, devnet.Options{Dir: t.TempDir(), Lead: 1200 * time.Millisecond, Extra: "[wallet]\nport = 0\nfee_hold_ms = 6000"})
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
func (s *scene) run(name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.ctx, tryFor)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), args[0], err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes(), nil
}

// play plays a client's scene with one account after the other, until it goes as
// it should.
func (s *scene) play(first int, scene func(account int) error) {
	s.Helper()
	var err error
	for i := range tries {
		if err = scene(first + 3*i); err == nil || s.ctx.Err() != nil {
			break
		}
		s.Logf("once more: %v", err)
	}
	if err != nil {
		s.Error(err)
	}
}

// key is the private key of a funded account, in hexadecimal.
func (s *scene) key(i int) string {
	return "0x" + hex.EncodeToString(crypto.FromECDSA(s.net.Accounts[i].Key))
}

// kept wants a transaction in the block of the slot that it was promised for, and
// that slot's block to be number.
func (s *scene) kept(hash string, number uint64) error {
	var got struct {
		Slot             uint64
		SignedCommitment *json.RawMessage
	}
	if err := s.rpc(&got, "preconf_getCommitment", hash); err != nil || got.SignedCommitment == nil {
		return fmt.Errorf("%s: commitment %+v, %w", hash, got, err)
	}
	slot := phase0.Slot(got.Slot)
	outcome, err := s.net.OutcomeOf(s.ctx, slot)
	if err != nil {
		return fmt.Errorf("slot %d: %w", slot, err)
	}
	for _, tx := range s.net.Transactions(slot) {
		if tx.Hash() == common.HexToHash(hash) {
			if block, ok := s.net.Beacon.BlockHash(slot); !ok || s.net.Execution.Block(common.Hash(block)).NumberU64() != number {
				return fmt.Errorf("%s is in slot %d, the receipt says block %d", hash, slot, number)
			}
			return nil
		}
	}
	return fmt.Errorf("%s was promised for slot %d and is not in it: %+v", hash, slot, outcome)
}

// report is what the scripts print.
type report struct {
	Hash                   string
	Before, Between, After uint64
	SeenBlock, Early       any
	SeenFrom               string
	Slot, Block            uint64
	Status                 int
	Second                 string
	SecondBlock            uint64
	Refused                json.RawMessage
}

// script runs a script with an account, and checks what every one reports.
func (s *scene) script(name string, account int) (r report, err error) {
	out, err := s.run("node", name, s.car.WalletURL, s.key(account), strings.ToLower(recipient.Hex()))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("%w: %s", err, out)
	}
	s.Logf("%s", bytes.TrimSpace(out))
	if r.Between != r.Before+1 {
		s.Errorf("pending nonce %d before the transaction, %d after it", r.Before, r.Between)
	}
	if r.SeenBlock != nil || r.Early != nil || r.Status != 1 {
		s.Errorf("a promised transaction is in block %v, has receipt %v, and then status %d", r.SeenBlock, r.Early, r.Status)
	}
	return r, errors.Join(s.kept(r.Hash, r.Block), s.kept(r.Second, r.SecondBlock))
}

// TestClients: clients that know nothing of promises get one by their URL alone.
func TestClients(t *testing.T) {
	all := open(t)
	client := func(name string, first int, use func(s *scene, account int) error) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &scene{t, all.ctx, all.net, all.car}
			s.play(first, func(account int) error { return use(s, account) })
		})
	}
	client("ethers", 1, func(s *scene, account int) error {
		r, err := s.script("ethers.mjs", account)
		if err == nil && r.After != r.Before+2 {
			s.Errorf("pending nonce %d after two transactions from %d", r.After, r.Before)
		}
		if got, want := string(r.Refused), `{"code":"NONCE_EXPIRED","reason":"nonce_too_low"}`; err == nil && got != want {
			s.Errorf("a spent nonce is %s to ethers, want %s", got, want)
		}
		return err
	})
	client("viem", 2, func(s *scene, account int) error {
		r, err := s.script("viem.mjs", account)
		if got := string(r.Refused); err == nil && got != `"nonce too low"` {
			s.Errorf("a spent nonce is %s to viem", got)
		}
		return err
	})
	client("cast", 3, (*scene).cast)
}

// cast sends one transaction and waits for it, then one by cast's --async.
func (s *scene) cast(account int) error {
	cast, rpc, to := filepath.Join("node_modules", ".bin", "cast"), []string{"--rpc-url", s.car.WalletURL}, strings.ToLower(recipient.Hex())
	send := func(more ...string) ([]byte, error) {
		return s.run(cast, append(append([]string{"send"}, append(rpc, "--private-key", s.key(account))...), more...)...)
	}
	nonce := func(block string) (string, error) {
		out, err := s.run(cast, append([]string{"nonce", "--block", block, strings.ToLower(s.net.Accounts[account].Address.Hex())}, rpc...)...)
		return strings.TrimSpace(string(out)), err
	}
	out, err := send("--json", "--value", "1", to)
	if err != nil {
		return err
	}
	if err := s.received(out); err != nil {
		return err
	}
	if out, err = send("--async", "--value", "2", to); err != nil {
		return err
	}
	if got, err := nonce("pending"); err != nil || got != "2" {
		s.Errorf("pending nonce %s after two transactions, %v", got, err)
	}
	if out, err = s.run(cast, append([]string{"receipt"}, append(rpc, "--json", strings.TrimSpace(string(out)))...)...); err != nil {
		return err
	}
	if err := s.received(out); err != nil {
		return err
	}
	if got, err := nonce("latest"); err != nil || got != "2" {
		s.Errorf("nonce %s after two transactions, %v", got, err)
	}
	return nil
}

// received checks a receipt that cast printed.
func (s *scene) received(out []byte) error {
	var receipt struct {
		TransactionHash, BlockNumber, Status string
	}
	if err := json.Unmarshal(out, &receipt); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	number, err := strconv.ParseUint(receipt.BlockNumber, 0, 64)
	if receipt.Status != "0x1" || err != nil {
		return fmt.Errorf("receipt %s", out)
	}
	return s.kept(receipt.TransactionHash, number)
}

// rpc calls the wallet endpoint.
func (s *scene) rpc(into any, method string, params ...any) error {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return err
	}
	var answer struct{ Result, Error json.RawMessage }
	if err := post(s.ctx, s.car.WalletURL, body, &answer); err != nil || answer.Error != nil {
		return fmt.Errorf("%s: %w %s", method, err, answer.Error)
	}
	return json.Unmarshal(answer.Result, into)
}
