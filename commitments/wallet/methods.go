package wallet

import (
	"context"
	"encoding/json"
)

// serve answers the parameters of a method.
type serve func(w *Wallet, ctx context.Context, c *caller, params json.RawMessage) (any, error)

// method is one that wallets may call. Without serve the node answers it.
type method struct {
	serve serve
	heavy bool // makes the node run code, or read much
	waits bool // has times of its own
	bolt  bool // only with Config.Bolt
}

// cost is what a call takes from its address's allowance.
func (m method) cost() float64 {
	if m.heavy {
		return 5
	}
	return 1
}

// methods is the list of everything that is served; whatever is not on it is
// not. Missing on purpose: what has state on the node (filters, subscriptions),
// what reads without bound (logs, traces), what signs (eth_sendTransaction,
// eth_sign…, personal_), and what operates a node (admin_, debug_, engine_, miner_,
// txpool_, testing_).
var methods = map[string]method{
	"eth_sendRawTransaction":     {serve: (*Wallet).sendRawTransaction, waits: true},
	"eth_sendRawTransactionSync": {serve: (*Wallet).sendRawTransactionSync, waits: true},
	"preconf_getCommitment":      {serve: (*Wallet).getCommitment},

	"eth_getTransactionCount":   {serve: (*Wallet).getTransactionCount},
	"eth_getTransactionByHash":  {serve: (*Wallet).getTransactionByHash},
	"eth_getTransactionReceipt": {serve: (*Wallet).getTransactionReceipt},
	"eth_gasPrice":              {serve: (*Wallet).gasPrice},
	"eth_maxPriorityFeePerGas":  {serve: (*Wallet).maxPriorityFeePerGas},
	"eth_feeHistory":            {serve: (*Wallet).feeHistory, heavy: true},
	"eth_accounts":              {serve: (*Wallet).accounts},

	"eth_chainId":        {},
	"eth_blockNumber":    {},
	"eth_syncing":        {},
	"eth_blobBaseFee":    {},
	"net_version":        {},
	"net_listening":      {},
	"web3_clientVersion": {},

	"eth_getBalance":       {},
	"eth_getCode":          {},
	"eth_getStorageAt":     {},
	"eth_call":             {heavy: true},
	"eth_estimateGas":      {heavy: true},
	"eth_createAccessList": {heavy: true},

	"eth_getBlockByNumber":                    {heavy: true},
	"eth_getBlockByHash":                      {heavy: true},
	"eth_getBlockTransactionCountByNumber":    {},
	"eth_getBlockTransactionCountByHash":      {},
	"eth_getTransactionByBlockNumberAndIndex": {},
	"eth_getTransactionByBlockHashAndIndex":   {},

	"bolt_requestInclusion": {serve: (*Wallet).boltRequestInclusion, waits: true, bolt: true},
	"bolt_getVersion":       {serve: (*Wallet).boltGetVersion, bolt: true},
	"bolt_metadata":         {serve: (*Wallet).boltMetadata, bolt: true},
}

// accounts are those whose keys are here: none.
func (w *Wallet) accounts(context.Context, *caller, json.RawMessage) (any, error) {
	return []string{}, nil
}
