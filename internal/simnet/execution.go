package simnet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"

	"sidecar/chain"
)

// gasLimit of genesis, of every block after it and of the registrations: the
// default of today's clients.
const gasLimit = 60_000_000

// Execution is a geth node without peers, in memory.
type Execution struct {
	URL string // JSON-RPC over HTTP: eth, net, web3, txpool, debug, testing

	stack   *node.Node
	backend *eth.Ethereum
	rpc     *rpc.Client // in process; reaches the engine namespace too
	fork    chain.Fork
}

// startExecution starts geth on a genesis block at the time of spec's, after
// the changes to it, if any.
func startExecution(spec chain.Spec, fork chain.Fork, alloc types.GenesisAlloc, changes func(*core.Genesis)) (*Execution, error) {
	conf := node.DefaultConfig
	conf.DataDir = "" // in memory
	conf.IPCPath = ""
	conf.HTTPHost, conf.HTTPPort = "127.0.0.1", 0
	conf.HTTPModules = []string{"eth", "net", "web3", "txpool", "debug", "testing"}
	conf.AuthAddr, conf.AuthPort = "127.0.0.1", 0
	conf.WSHost = ""
	conf.P2P = p2p.Config{NoDiscovery: true, NoDial: true}
	stack, err := node.New(&conf)
	if err != nil {
		return nil, fmt.Errorf("make execution node: %w", err)
	}
	e := &Execution{stack: stack, fork: fork}
	g := genesis(spec, fork, alloc)
	if changes != nil {
		changes(g)
	}
	if err := e.start(g); err != nil {
		_ = stack.Close()
		return nil, fmt.Errorf("start execution node: %w", err)
	}
	return e, nil
}

func (e *Execution) start(g *core.Genesis) (err error) {
	conf := ethconfig.Defaults
	conf.Genesis = g
	conf.NetworkId = g.Config.ChainID.Uint64()
	conf.SyncMode = ethconfig.FullSync
	conf.NoPruning = true    // old accounts stay readable
	conf.LogNoHistory = true // no index of logs: it costs more than the chain
	conf.TrieCleanCache, conf.TrieDirtyCache, conf.SnapshotCache = 16, 16, 0
	conf.Miner.GasCeil = gasLimit
	conf.Miner.GasPrice = big.NewInt(1)
	conf.TxPool.Journal, conf.TxPool.NoLocals = "", true
	conf.TxPool.PriceLimit = 1
	if e.backend, err = eth.New(e.stack, &conf); err != nil {
		return err
	}
	e.stack.RegisterAPIs([]rpc.API{{
		Namespace: "eth",
		Service:   filters.NewFilterAPI(filters.NewFilterSystem(e.backend.APIBackend, filters.Config{})),
	}})
	if err := catalyst.Register(e.stack, e.backend); err != nil {
		return err
	}
	if err := e.stack.Start(); err != nil {
		return err
	}
	e.rpc, e.URL = e.stack.Attach(), e.stack.HTTPEndpoint()
	e.backend.SetSynced() // the pool takes transactions at once
	return nil
}

// genesis has every fork up to fork active from the start, the system
// contracts, and alloc.
func genesis(spec chain.Spec, fork chain.Fork, alloc types.GenesisAlloc) *core.Genesis {
	zero := new(uint64)
	config := *params.AllDevChainProtocolChanges
	config.ChainID = new(big.Int).SetUint64(spec.ChainID)
	config.PragueTime, config.OsakaTime, config.AmsterdamTime, config.BogotaTime = nil, nil, nil, nil
	if fork >= chain.Electra {
		config.PragueTime = zero
	}
	if fork >= chain.Fulu {
		config.OsakaTime = zero
	}
	config.BlobScheduleConfig = &params.BlobScheduleConfig{
		Cancun: params.DefaultCancunBlobConfig,
		Prague: params.DefaultPragueBlobConfig,
	}
	all := core.SystemContractAllocs()
	maps.Copy(all, alloc)
	return &core.Genesis{
		Config:    &config,
		Timestamp: uint64(spec.GenesisTime.Unix()), // #nosec G115 -- after 1970
		GasLimit:  gasLimit,
		BaseFee:   big.NewInt(params.InitialBaseFee),
		Alloc:     all,
	}
}

// Build makes a block on parent, which must be the head: of these transactions
// in this order, or of the pool's when txs is nil.
func (e *Execution) Build(ctx context.Context, parent common.Hash, attrs engine.PayloadAttributes, txs [][]byte, extra string) (*engine.ExecutionPayloadEnvelope, error) {
	var list *[]hexutil.Bytes
	if txs != nil {
		raw := make([]hexutil.Bytes, len(txs))
		for i, tx := range txs {
			raw[i] = tx
		}
		list = &raw
	}
	var env engine.ExecutionPayloadEnvelope
	if err := e.rpc.CallContext(ctx, &env, "testing_buildBlockV1", parent, attrs, list, hexutil.Bytes(extra)); err != nil {
		return nil, fmt.Errorf("build block: %w", err)
	}
	return &env, nil
}

// Import executes a block and makes it the head. The last finalized block
// and the last justified one go along.
func (e *Execution) Import(ctx context.Context, data engine.ExecutableData, blobs []common.Hash, beaconRoot, safe, finalized common.Hash) error {
	args := []any{data, blobs, beaconRoot}
	method := "engine_newPayloadV3"
	if e.fork >= chain.Electra {
		method, args = "engine_newPayloadV4", append(args, []hexutil.Bytes{})
	}
	var status engine.PayloadStatusV1
	if err := e.rpc.CallContext(ctx, &status, method, args...); err != nil {
		return fmt.Errorf("new payload: %w", err)
	}
	if status.Status != engine.VALID {
		return fmt.Errorf("new payload: %s: %s", status.Status, deref(status.ValidationError))
	}
	var res engine.ForkChoiceResponse
	state := engine.ForkchoiceStateV1{HeadBlockHash: data.BlockHash, SafeBlockHash: safe, FinalizedBlockHash: finalized}
	if err := e.rpc.CallContext(ctx, &res, "engine_forkchoiceUpdatedV3", state, nil); err != nil {
		return fmt.Errorf("fork choice: %w", err)
	}
	if res.PayloadStatus.Status != engine.VALID {
		return fmt.Errorf("fork choice: %s", res.PayloadStatus.Status)
	}
	return nil
}

// Head returns the header of the head.
func (e *Execution) Head() *types.Header { return e.backend.BlockChain().CurrentBlock() }

// Block returns a block by hash, or nil.
func (e *Execution) Block(hash common.Hash) *types.Block {
	return e.backend.BlockChain().GetBlockByHash(hash)
}

// Send puts a transaction into the pool.
func (e *Execution) Send(_ context.Context, tx *types.Transaction) error {
	return errors.Join(e.backend.TxPool().Add([]*types.Transaction{tx}, true)...)
}

// Account returns nonce and balance (wei) of addr after the block at header.
func (e *Execution) Account(addr common.Address, at *types.Header) (nonce uint64, balanceWei *big.Int, err error) {
	state, err := e.backend.BlockChain().StateAt(at.Root, at.Number, at.Time)
	if err != nil {
		return 0, nil, fmt.Errorf("read state: %w", err)
	}
	return state.GetNonce(addr), state.GetBalance(addr).ToBig(), nil
}

// stop closes the node.
func (e *Execution) stop() error {
	e.rpc.Close()
	return e.stack.Close()
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
