// Command deploy puts EigenLayer's real core, v1.9.0-rc.0, on a development
// chain and prints where it is, as JSON. Its delays are a few blocks.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/params"

	"sidecar/e2e/eigenlayer/core"
)

// brief are delays that a development chain can wait for.
var brief = core.Delays{Deallocation: 20, Configuration: 2, Withdrawal: 3}

func main() {
	url := flag.String("rpc", "", "URL of an execution node")
	key := flag.String("key", "", "file with the secret key of a funded account, in hex")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := run(ctx, *url, *key); err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, keyPath string) error {
	text, err := os.ReadFile(keyPath)
	if err != nil {
		return err
	}
	key, err := crypto.HexToECDSA(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	client, err := ethclient.DialContext(ctx, url)
	if err != nil {
		return err
	}
	defer client.Close()
	id, err := client.ChainID(ctx)
	if err != nil {
		return err
	}
	from := crypto.PubkeyToAddress(key.PublicKey)
	nonce, err := client.PendingNonceAt(ctx, from)
	if err != nil {
		return err
	}
	at, steps, err := core.Plan(from, nonce, brief)
	if err != nil {
		return err
	}
	var sent []*types.Transaction
	for i, step := range steps {
		const gas = 8_000_000
		tx, err := types.SignNewTx(key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
			ChainID: id, Nonce: nonce + uint64(i), GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(200 * params.GWei), Gas: gas, To: step.To, Data: step.Input,
		})
		if err != nil {
			return err
		}
		if err := client.SendTransaction(ctx, tx); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
		sent = append(sent, tx)
	}
	for i, tx := range sent { // a block takes several
		if err := mined(ctx, client, tx); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(struct {
		core.Core
		Blocks uint32 `json:"blocks"`
		Mints  bool   `json:"mints"`
	}{at, max(brief.Configuration, brief.Withdrawal) + 1, true})
}

// mined waits for a transaction to succeed.
func mined(ctx context.Context, client *ethclient.Client, tx *types.Transaction) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if r, err := client.TransactionReceipt(ctx, tx.Hash()); err == nil {
			if r.Status != types.ReceiptStatusSuccessful {
				return errors.New("reverted")
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
