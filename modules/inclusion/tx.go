package inclusion

import (
	"bytes"
	"errors"
	"math/big"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// Gas of a call. [Yellow Paper, appendix G; EIP-2028, EIP-2930, EIP-7623]
const (
	txGas          = 21_000
	gasZeroByte    = 4
	gasNonZeroByte = 16
	gasAddress     = 2_400
	gasStorageKey  = 1_900
	floorPerToken  = 10
)

// tx is what the module needs of a transaction. It is read-only: it is cached.
type tx struct {
	hash   phase0.Hash32
	sender bellatrix.ExecutionAddress
	nonce  uint64
	gas    uint64
	least  uint64   // gas it uses for sure: no call refunds more than a fifth [EIP-3529]
	tip    *big.Int // the most it tips per gas, wei; the gas price of types 0 and 1
	cap    *big.Int // the most it pays per gas, wei
	cost   *big.Int // the most it takes from the sender: value + gas × cap, wei
}

// decode reads a transaction and checks everything that needs neither account
// nor configuration: what was promised under another still decodes.
// Faults: ErrTxEncoding, ErrTxType, ErrWrongChain, ErrSignature, ErrGasAboveCap,
// ErrGasBelow, ErrFees.
func (m *Module) decode(raw []byte) (*tx, error) {
	hash := phase0.Hash32(crypto.Keccak256Hash(raw))
	if t := m.txs.get(hash); t != nil {
		return t, nil
	}
	if raw[0] == types.BlobTxType || raw[0] == types.SetCodeTxType {
		return nil, ErrTxType.With("type %d", raw[0])
	}
	var in types.Transaction
	if err := in.UnmarshalBinary(raw); err != nil {
		if errors.Is(err, types.ErrTxTypeNotSupported) {
			return nil, ErrTxType.With("type %d", raw[0])
		}
		return nil, ErrTxEncoding.With("%v", err)
	}
	if again, err := in.MarshalBinary(); err != nil || !bytes.Equal(again, raw) {
		return nil, ErrTxEncoding.With("not canonical")
	}
	if err := m.check(&in); err != nil {
		return nil, err
	}
	sender, err := types.Sender(m.signer, &in)
	if err != nil {
		return nil, ErrSignature.With("%v", err)
	}
	t := &tx{
		hash: hash, sender: bellatrix.ExecutionAddress(sender), nonce: in.Nonce(), gas: in.Gas(), least: leastGas(in.Data(), in.AccessList()),
		tip: in.GasTipCap(), cap: in.GasFeeCap(), cost: in.Cost(),
	}
	m.txs.put(t)
	return t, nil
}

// check looks at the transaction alone.
func (m *Module) check(t *types.Transaction) error {
	switch typ := t.Type(); {
	case typ != types.LegacyTxType && typ != types.AccessListTxType && typ != types.DynamicFeeTxType:
		return ErrTxType.With("type %d", typ)
	case t.To() == nil:
		return ErrTxType.With("contract creation")
	case !t.Protected():
		return ErrWrongChain.With("signed for any chain")
	case t.ChainId().Cmp(m.chain) != 0:
		return ErrWrongChain.With("signed for chain %s", clip(t.ChainId()))
	case t.GasFeeCap().BitLen() > 256 || t.GasTipCap().BitLen() > 256 || t.Value().BitLen() > 256:
		return ErrFees.With("more than 256 bits")
	case t.GasTipCap().Cmp(t.GasFeeCap()) > 0:
		return ErrFees.With("priority fee above fee cap")
	case t.Gas() > maxTxGas:
		return ErrGasAboveCap.With("%d gas, at most %d", t.Gas(), maxTxGas)
	case t.Nonce() == 1<<64-1: // [EIP-2681]
		return ErrNonceGap.With("nonce 2^64-1 is never valid")
	}
	if least := intrinsicGas(t.Data(), t.AccessList()); t.Gas() < least {
		return ErrGasBelow.With("%d gas, needs %d", t.Gas(), least)
	}
	return nil
}

// clip writes a number of any size in a few bytes.
func clip(n *big.Int) string {
	if n.BitLen() > 64 {
		return "beyond 64 bits"
	}
	return n.String()
}

// intrinsicGas is the least gas of a call: what it costs before it runs, and no
// less than the floor of its calldata. Sizes are bounded by maxTxSize.
func intrinsicGas(data []byte, access types.AccessList) uint64 {
	zero := uint64(bytes.Count(data, []byte{0})) // #nosec G115 -- a count
	other := uint64(len(data)) - zero
	gas := txGas + zero*gasZeroByte + other*gasNonZeroByte +
		uint64(len(access))*gasAddress + uint64(access.StorageKeys())*gasStorageKey // #nosec G115 -- a count
	return max(gas, txGas+floorPerToken*(zero+4*other))
}

// leastGas is what a call uses for sure, after any refund. [EIP-3529, EIP-7623]
func leastGas(data []byte, access types.AccessList) uint64 {
	tokens := uint64(4*len(data) - 3*bytes.Count(data, []byte{0})) // #nosec G115 -- a count
	intrinsic := intrinsicGas(data, access)
	return max(intrinsic-intrinsic/5, txGas+floorPerToken*tokens)
}

// maxCached bounds the cache: two slots of promises for every slot of two epochs.
const maxCached = 8192

// cache keeps decoded transactions by hash, since recovering a sender is dear.
type cache struct {
	mu  sync.Mutex
	txs map[phase0.Hash32]*tx
}

func (c *cache) get(hash phase0.Hash32) *tx {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.txs[hash]
}

func (c *cache) put(t *tx) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.txs == nil || len(c.txs) >= maxCached {
		c.txs = make(map[phase0.Hash32]*tx)
	}
	c.txs[t.hash] = t
}

// addressOf is for messages.
func (t *tx) addressOf() string { return common.Address(t.sender).Hex() }
