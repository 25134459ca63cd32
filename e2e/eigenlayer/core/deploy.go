package core

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/params"
)

// Deploy puts the core on the chain of a node, by a funded account.
func Deploy(ctx context.Context, url string, key *ecdsa.PrivateKey, d Delays) (Core, error) {
	client, err := ethclient.DialContext(ctx, url)
	if err != nil {
		return Core{}, err
	}
	defer client.Close()
	id, err := client.ChainID(ctx)
	if err != nil {
		return Core{}, err
	}
	from := crypto.PubkeyToAddress(key.PublicKey)
	nonce, err := client.PendingNonceAt(ctx, from)
	if err != nil {
		return Core{}, err
	}
	at, steps, err := Plan(from, nonce, d)
	if err != nil {
		return Core{}, err
	}
	var sent []*types.Transaction
	for i, step := range steps {
		const gas = 8_000_000
		tx, err := types.SignNewTx(key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
			ChainID: id, Nonce: nonce + uint64(i), GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(100 * params.GWei), Gas: gas, To: step.To, Data: step.Input,
		})
		if err != nil {
			return Core{}, err
		}
		if err := client.SendTransaction(ctx, tx); err != nil {
			return Core{}, fmt.Errorf("step %d: %w", i, err)
		}
		sent = append(sent, tx)
	}
	for i, tx := range sent { // a block takes several
		if err := mined(ctx, client, tx); err != nil {
			return Core{}, fmt.Errorf("step %d: %w", i, err)
		}
	}
	return at, nil
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
