package bindings

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
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
)

// anvil is a second EVM, of another program and language, as a node.
type anvil struct {
	t    *testing.T
	rpc  *rpc.Client
	from common.Address   // has funds
	more []common.Address // have, too
}

// startAnvil starts the npm package's, which `make contracts` installs.
func startAnvil(t *testing.T, hardfork string, flags ...string) *anvil {
	t.Helper()
	system := map[string]string{"linux/amd64": "linux-amd64", "darwin/arm64": "darwin-arm64"}[runtime.GOOS+"/"+runtime.GOARCH]
	path := filepath.Join(source, "node_modules", "@foundry-rs", "anvil-"+system, "bin", "anvil")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("CI has to run the second EVM: run `make contracts` first")
		}
		t.Skip("no anvil: `make contracts` installs it")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, append([]string{"--port", "0", "--chain-id", fmt.Sprint(testChainID), "--hardfork", hardfork, "--gas-limit", "60000000"}, flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if at, ok := strings.CutPrefix(strings.TrimSpace(lines.Text()), "Listening on "); ok {
			a := &anvil{t: t}
			drained := make(chan struct{})
			go func() { // it stops when nobody reads its log
				defer close(drained)
				_, _ = io.Copy(io.Discard, out)
			}()
			t.Cleanup(func() { cancel(); <-drained })
			if a.rpc, err = rpc.Dial("http://" + at); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(a.rpc.Close)
			var accounts []common.Address
			a.must(&accounts, "eth_accounts")
			a.from, a.more = accounts[0], accounts[1:]
			return a
		}
	}
	t.Fatal("anvil does not listen")
	return nil
}

func (a *anvil) must(out any, method string, params ...any) {
	a.t.Helper()
	if err := a.rpc.CallContext(a.t.Context(), out, method, params...); err != nil {
		a.t.Fatalf("%s: %v", method, err)
	}
}

// deploy creates a contract.
func (a *anvil) deploy(input []byte) common.Address {
	a.t.Helper()
	return a.send(a.from, nil, input).ContractAddress
}

// send has a transaction mined, which must succeed; to nil is a creation.
func (a *anvil) send(from common.Address, to *common.Address, input []byte) *types.Receipt {
	a.t.Helper()
	var hash common.Hash
	a.must(&hash, "eth_sendTransaction", map[string]any{"from": from, "to": to, "input": hexutil.Bytes(input), "gas": hexutil.Uint64(10_000_000)})
	var r *types.Receipt
	for deadline := time.After(30 * time.Second); r == nil; {
		a.must(&r, "eth_getTransactionReceipt", hash)
		select {
		case <-deadline:
			a.t.Fatal("no receipt")
		default:
		}
	}
	if r.Status != types.ReceiptStatusSuccessful {
		a.t.Fatalf("a transaction to %v reverted", to)
	}
	return r
}

// excuse is a contract's answer to a call: "" for guilt, or for consent.
func (a *anvil) excuse(at common.Address, input []byte) string {
	a.t.Helper()
	return a.excuseOf(a.from, at, input)
}

func (a *anvil) excuseOf(from, at common.Address, input []byte) string {
	a.t.Helper()
	var out hexutil.Bytes
	err := a.rpc.CallContext(a.t.Context(), &out, "eth_call", map[string]any{"from": from, "to": at, "input": hexutil.Bytes(input)}, "latest")
	var data rpc.DataError
	if !errors.As(err, &data) {
		if err != nil {
			a.t.Fatal(err)
		}
		return ""
	}
	text, _ := data.ErrorData().(string)
	return excuse(a.t, revert{common.FromHex(text)})
}

// verifier deploys one with the court's rules.
func (a *anvil) verifier() (Contract, common.Address) {
	a.t.Helper()
	v := load(a.t, FaultVerifier)
	input, err := v.Deploy(VerifierConfig{
		GenesisTime: genesisTime, SlotMillis: slotSeconds * 1000, FirstSlot: firstSlot, EndSlot: endSlot, SigningDomain: domain(), SigningId: signingID,
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return v, a.deploy(input)
}

// TestAnvil: both faults and every excuse on a second EVM, with its own
// precompiles of EIP-2537 and its own history of EIP-2935. The blocks of a
// story are not its own, so the child's hash is put where the history has it.
func TestAnvil(t *testing.T) {
	for _, hardfork := range []string{"prague", "osaka"} {
		t.Run(hardfork, func(t *testing.T) {
			a := startAnvil(t, hardfork)
			v, at := a.verifier()
			var code hexutil.Bytes
			a.must(&code, "eth_getCode", params.HistoryStorageAddress, "latest")
			if len(code) == 0 {
				t.Fatal("no history contract [EIP-2935]")
			}
			a.must(nil, "anvil_mine", hexutil.Uint64(400)) // further back than BLOCKHASH reaches
			const child = 50
			absent := func(s story) string {
				s.childNumber = child
				e := s.tell(t)
				slot := common.BigToHash(big.NewInt(child))
				a.must(nil, "anvil_setStorageAt", params.HistoryStorageAddress, slot, e.childHash)
				return a.excuse(at, pack(t, v, "absent", manager, e.delegation, e.promise, e.proof))
			}
			if why := absent(guilty()); why != "" {
				t.Errorf("guilty: acquitted by %s", why)
			}
			for name, c := range excuses() {
				s := guilty()
				c.change(&s)
				if got := absent(s); got != c.want {
					t.Errorf("%s: got %q, want %q", name, got, c.want)
				}
			}
			one, other := guilty().tell(t), another().tell(t)
			if why := a.excuse(at, pack(t, v, "double", manager, one.delegation, one.promise, other.promise)); why != "" {
				t.Errorf("double: acquitted by %s", why)
			}
			if why := a.excuse(at, pack(t, v, "double", manager, one.delegation, one.promise, one.promise)); why != "SamePromise" {
				t.Errorf("the same promise twice: %q", why)
			}
		})
	}
}

// TestAnvil_window: the second EVM's history of hashes ends where EIP-2935 says.
func TestAnvil_window(t *testing.T) {
	a := startAnvil(t, "osaka", "--number", "8200")
	v, at := a.verifier()
	s := guilty()
	s.childNumber = 50
	e := s.tell(t)
	input := pack(t, v, "absent", manager, e.delegation, e.promise, e.proof)
	seen := func() uint64 { // the number a call sees: number mstore(0) return(0, 32)
		var out hexutil.Bytes
		a.must(&out, "eth_call", map[string]any{"input": hexutil.Bytes(common.FromHex("435f5260205ff3"))}, "latest")
		return new(big.Int).SetBytes(out).Uint64()
	}
	a.must(nil, "anvil_mine", hexutil.Uint64(s.childNumber+8190-seen()))
	for _, c := range []struct {
		age  uint64
		want string
	}{{8190, ""}, {8191, ""}, {8192, "ChildUnknown"}} {
		if age := seen() - s.childNumber; age != c.age {
			t.Fatalf("%d blocks back, want %d", age, c.age)
		}
		a.must(nil, "anvil_setStorageAt", params.HistoryStorageAddress, common.BigToHash(big.NewInt(50)), e.childHash) // not its own
		if got := a.excuse(at, input); got != c.want {
			t.Errorf("child %d blocks back: got %q, want %q", c.age, got, c.want)
		}
		a.must(nil, "anvil_mine", hexutil.Uint64(1))
	}
}
