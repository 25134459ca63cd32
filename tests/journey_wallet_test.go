package tests

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/rpc"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyWallet: a client that knows nothing of promises, go-ethereum's own,
// sends transactions to the wallet endpoint of a sidecar whose only validator
// proposes in every slot, and later in every other.
func journeyWallet(t *testing.T) {
	key := filepath.Join(t.TempDir(), "bolt.key")
	operator, err := crypto.GenerateKey()
	if err == nil {
		err = crypto.SaveECDSA(key, operator) // 64 hexadecimal digits, mode 0600
	}
	if err != nil {
		t.Fatal(err)
	}
	j := journeyStart(t, simnet.Options{SSZ: true}, devnet.Options{
		PBS: journeyBudgetLine, Extra: fmt.Sprintf("[wallet]\nport = 0\nfee_hold_ms = 3000\n[wallet.bolt]\nkey_path = %q", key),
	})
	j.ready()
	w := journeyDial(j)
	j.play("a wallet's transaction is promised, pending, and then in the block", func(phase0.Slot) error { return w.send() })
	j.play("the receipt comes with the transaction", func(phase0.Slot) error { return w.sync() })
	j.play("a client of Bolt's is promised the same way", func(slot phase0.Slot) error {
		return w.bolt(slot, crypto.PubkeyToAddress(operator.PublicKey))
	})
	j.stop()
	j.run()
	if c, err := w.dial(j.car.WalletURL); err != nil {
		t.Error(err)
	} else if got, err := w.promise(c, w.last); err != nil || got.SignedCommitment == nil {
		t.Errorf("after a restart the commitment is %+v, %v", got, err)
	}
}

// journeyWalletOf is an account with a client.
type journeyWalletOf struct {
	*journey
	account simnet.Account
	client  *ethclient.Client
	last    common.Hash // of what was in a block
}

func journeyDial(j *journey) *journeyWalletOf {
	j.Helper()
	w := &journeyWalletOf{journey: j, account: j.net.Accounts[2]}
	var err error
	if w.client, err = w.dial(j.car.WalletURL); err != nil {
		j.Fatal(err)
	}
	return w
}

func (w *journeyWalletOf) dial(url string) (*ethclient.Client, error) {
	c, err := rpc.DialContext(w.ctx, url)
	if err != nil {
		return nil, err
	}
	w.Cleanup(c.Close)
	return ethclient.NewClient(c), nil
}

// journeyCommitment is what preconf_getCommitment answers.
type journeyCommitment struct {
	Slot             uint64
	Outcome          string
	SignedCommitment *struct{ Signature string }
}

func (w *journeyWalletOf) promise(c *ethclient.Client, hash common.Hash) (out journeyCommitment, err error) {
	return out, c.Client().CallContext(w.ctx, &out, "preconf_getCommitment", hash)
}

// transaction is made of what the endpoint suggests, as go-ethereum's bindings do.
func (w *journeyWalletOf) transaction(ctx context.Context, value int64) (*types.Transaction, error) {
	nonce, err := w.client.PendingNonceAt(ctx, w.account.Address)
	if err != nil {
		return nil, err
	}
	tip, err := w.client.SuggestGasTipCap(ctx)
	if err != nil {
		return nil, err
	}
	head, err := w.client.HeaderByNumber(ctx, nil)
	if err != nil {
		return nil, err
	}
	to, id := common.Address{0x5e, 0xa5}, new(big.Int).SetUint64(w.net.Spec.ChainID)
	return types.SignNewTx(w.account.Key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
		ChainID: id, Nonce: nonce, To: &to, Value: big.NewInt(value), Gas: 21_000,
		GasTipCap: tip, GasFeeCap: new(big.Int).Add(tip, new(big.Int).Mul(head.BaseFee, big.NewInt(2))),
	})
}

func (w *journeyWalletOf) send() error {
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	tx, err := w.transaction(ctx, 1)
	if err == nil {
		err = w.client.SendTransaction(ctx, tx)
	}
	if err != nil {
		return err
	}
	c, err := w.promise(w.client, tx.Hash())
	if err != nil || c.SignedCommitment == nil {
		return fmt.Errorf("commitment %+v: %v", c, err)
	}
	// The slot may have come meanwhile; what is pending is seen as that, or in a block.
	_, pending, err := w.client.TransactionByHash(ctx, tx.Hash())
	next, nonceErr := w.client.PendingNonceAt(ctx, w.account.Address)
	if err != nil || nonceErr != nil || next != tx.Nonce()+1 {
		w.Errorf("pending %v, next nonce %d after %d: %v", pending, next, tx.Nonce(), errors.Join(err, nonceErr))
	}
	if _, err := w.outcome(phase0.Slot(c.Slot), simnet.FromBuilder, ""); err != nil {
		return err
	}
	if p := (journeyPromise{slot: phase0.Slot(c.Slot), tx: tx}); w.index(p) < 0 {
		w.Errorf("promised for slot %d and not in its block", c.Slot)
	}
	receipt, err := w.client.TransactionReceipt(ctx, tx.Hash())
	if err != nil || receipt.Status != types.ReceiptStatusSuccessful {
		w.Errorf("receipt %+v: %v", receipt, err)
	}
	w.eventually("the same transaction after its block is one too late", func() bool { // not before the sidecar has seen the block
		err := w.client.SendTransaction(ctx, tx)
		return err != nil && strings.HasPrefix(err.Error(), "nonce too low")
	})
	w.eventually("the promise is judged kept", func() bool {
		c, err := w.promise(w.client, tx.Hash())
		return err == nil && c.Outcome == "kept"
	})
	return nil
}

func (w *journeyWalletOf) sync() error {
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	tx, err := w.transaction(ctx, 2)
	if err != nil {
		return err
	}
	receipt, err := w.client.SendTransactionSync(ctx, tx, nil)
	if err != nil {
		return err
	}
	c, err := w.promise(w.client, tx.Hash())
	if err != nil || receipt.TxHash != tx.Hash() || receipt.BlockNumber == nil {
		return fmt.Errorf("receipt %+v, %v", receipt, err)
	}
	if hash, ok := w.net.Beacon.BlockHash(phase0.Slot(c.Slot)); !ok || receipt.BlockHash != common.Hash(hash) {
		return fmt.Errorf("the receipt is of block %s, slot %d has %#x", receipt.BlockHash, c.Slot, hash)
	}
	w.last = tx.Hash()
	return nil
}

// bolt asks as Bolt's clients do. The header is signed by the account, over
// keccak256 of the transaction's hash and the slot.
func (w *journeyWalletOf) bolt(slot phase0.Slot, operator common.Address) error {
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	tx, err := w.transaction(ctx, 3)
	if err != nil {
		return err
	}
	raw, err := tx.MarshalBinary()
	if err != nil {
		return err
	}
	digest := crypto.Keccak256(binary.LittleEndian.AppendUint64(tx.Hash().Bytes(), uint64(slot)))
	sig, err := crypto.Sign(digest, w.account.Key)
	if err != nil {
		return err
	}
	c, err := rpc.DialOptions(ctx, w.car.WalletURL, rpc.WithHeader("X-Bolt-Signature", fmt.Sprintf("%s:%#x", w.account.Address, sig)))
	if err != nil {
		return err
	}
	defer c.Close()
	var got struct {
		Slot      uint64
		Txs       []hexutil.Bytes
		Signature hexutil.Bytes
	}
	if err := c.CallContext(ctx, &got, "bolt_requestInclusion", map[string]any{"slot": uint64(slot), "txs": []hexutil.Bytes{raw}}); err != nil {
		return err
	}
	if public, err := crypto.SigToPub(digest, got.Signature); err != nil || crypto.PubkeyToAddress(*public) != operator || got.Slot != uint64(slot) {
		w.Errorf("bolt answers %+v, %v", got, err)
	}
	if _, err := w.outcome(slot, simnet.FromBuilder, ""); err != nil {
		return err
	}
	if w.index(journeyPromise{slot: slot, tx: tx}) < 0 {
		w.Errorf("promised to a client of Bolt's for slot %d and not in its block", slot)
	}
	return nil
}

// journeyWalletPolicy: what cannot be promised is refused, or goes to the
// execution node, as the file says. No relay honours constraints.
func journeyWalletPolicy(passthrough bool) func(t *testing.T) {
	return func(t *testing.T) {
		policy := map[bool]string{false: "refuse", true: "passthrough"}[passthrough]
		j := journeyStart(t, simnet.Options{Relays: []simnet.RelayOptions{{}}},
			devnet.Options{PBS: journeyBudgetLine, Extra: "[wallet]\nport = 0\nwithout_promise = \"" + policy + "\""})
		j.ready()
		w := journeyDial(j)
		ctx, cancel := context.WithTimeout(j.ctx, 30*time.Second)
		defer cancel()
		tx, err := w.transaction(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		err = w.client.SendTransaction(ctx, tx)
		if !passthrough {
			var e rpc.DataError
			if !errors.As(err, &e) || fmt.Sprint(e.ErrorData()) != "map[detail:none in the next 8 slots reason:no_slot]" {
				t.Errorf("got %v, want no_slot", err)
			}
			if _, _, err := w.client.TransactionByHash(ctx, tx.Hash()); err == nil {
				t.Error("a refused transaction is known")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, err := w.promise(w.client, tx.Hash()); err != nil || c.SignedCommitment != nil {
			t.Errorf("commitment %+v, %v, want none", c, err)
		}
		j.eventually("what was passed on is in a block", func() bool {
			r, err := w.client.TransactionReceipt(ctx, tx.Hash())
			return err == nil && r.BlockNumber != nil
		})
	}
}
