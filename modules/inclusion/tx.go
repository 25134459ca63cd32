package inclusion

import (
	"bytes"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
)

// Bounds of a transaction. [the pools of execution clients: txMaxSize]
const (
	maxTxSize         = 131_072 // bytes, in canonical form
	maxAuthorizations = 32      // the address of each has to be recovered
)

// tx is what the module needs of a transaction. It is read-only: it is cached.
type tx struct {
	hash   phase0.Hash32
	typ    byte
	sender bellatrix.ExecutionAddress
	nonce  uint64
	gas    uint64
	least  uint64   // gas it uses for sure: no call refunds more than a fifth [EIP-3529]
	tip    *big.Int // the most it tips per gas, wei; the gas price of types 0 and 1
	cap    *big.Int // the most it pays per gas, wei
	cost   *big.Int // the most it takes from the sender, wei: value + gas × cap + blob gas × blobCap

	blobCap     *big.Int                     // the most it pays per blob gas, wei; nil without blobs
	blobHashes  []common.Hash                // versioned
	authorities []bellatrix.ExecutionAddress // whose nonces it may move [EIP-7702]
}

// blobs is how many the transaction carries.
func (t *tx) blobs() uint64 { return uint64(len(t.blobHashes)) }

// touches are the accounts whose other promises matter to t.
func (t *tx) touches() []string {
	out := []string{accountName(t.sender)}
	for _, a := range t.authorities {
		if name := accountName(a); !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func accountName(a bellatrix.ExecutionAddress) string { return fmt.Sprintf("account/%#x", a[:]) }

// asked is a transaction as a request brings it.
type asked struct {
	*tx
	raw   []byte               // in canonical form
	blobs *types.BlobTxSidecar // nil unless it came with blobs
	whole []byte               // as it came
}

// read reads the transaction of a request: one with blobs in its network form, any
// other in the canonical form that is promised. Faults: those of decode; ErrTxTooBig.
func (m *Module) read(raw []byte) (asked, error) {
	if raw[0] != types.BlobTxType {
		t, err := m.decode(raw)
		return asked{tx: t, raw: raw, whole: raw}, err
	}
	canonical, blobs, err := splitBlobs(raw)
	if err != nil {
		return asked{}, err
	}
	if len(canonical) > maxTxSize {
		return asked{}, ErrTxTooBig.With("%d bytes without blobs", len(canonical))
	}
	t, err := m.decode(canonical)
	return asked{tx: t, raw: canonical, blobs: blobs, whole: raw}, err
}

// decode reads a transaction in canonical form and checks everything that needs
// neither slot, account nor configuration: what was promised under another still
// decodes. Faults: ErrTxEncoding, ErrTxType, ErrWrongChain, ErrSignature,
// ErrGasAboveCap, ErrGasBelow, ErrInitCode, ErrFees, ErrBlobCount, ErrAuthorizations.
func (m *Module) decode(raw []byte) (*tx, error) {
	hash := phase0.Hash32(crypto.Keccak256Hash(raw))
	if t := m.txs.get(hash); t != nil {
		return t, nil
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
	if in.BlobTxSidecar() != nil {
		return nil, ErrTxEncoding.With("blobs are no part of what is promised")
	}
	if err := m.check(&in); err != nil {
		return nil, err
	}
	sender, err := types.Sender(m.signer, &in)
	if err != nil {
		return nil, ErrSignature.With("%v", err)
	}
	t := &tx{
		hash: hash, typ: in.Type(), sender: bellatrix.ExecutionAddress(sender), nonce: in.Nonce(), gas: in.Gas(), least: leastGas(&in),
		tip: in.GasTipCap(), cap: in.GasFeeCap(), cost: in.Cost(),
		blobCap: in.BlobGasFeeCap(), blobHashes: in.BlobHashes(), authorities: m.authorities(&in),
	}
	m.txs.put(t)
	return t, nil
}

// check looks at the transaction alone.
func (m *Module) check(t *types.Transaction) error {
	switch {
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
	case t.To() == nil && len(t.Data()) > maxInitCodeSize: // [EIP-3860]
		return ErrInitCode.With("%d bytes", len(t.Data()))
	}
	if least := intrinsicGas(t); t.Gas() < least {
		return ErrGasBelow.With("%d gas, needs %d", t.Gas(), least)
	}
	switch t.Type() {
	case types.BlobTxType:
		return checkBlobHashes(t.BlobHashes())
	case types.SetCodeTxType:
		if n := len(t.SetCodeAuthorizations()); n == 0 || n > maxAuthorizations {
			return ErrAuthorizations.With("%d", n)
		}
	}
	return nil
}

// authorities are the accounts whose nonces the authorizations of t may move.
// Those that are void whatever happens are skipped, as execution does. [EIP-7702]
func (m *Module) authorities(t *types.Transaction) (out []bellatrix.ExecutionAddress) {
	list := t.SetCodeAuthorizations()
	for i := range list {
		a := &list[i]
		if !a.ChainID.IsZero() && a.ChainID.CmpBig(m.chain) != 0 || a.Nonce == 1<<64-1 {
			continue
		}
		if who, err := a.Authority(); err == nil {
			out = append(out, bellatrix.ExecutionAddress(who))
		}
	}
	return out
}

// clip writes a number of any size in a few bytes.
func clip(n *big.Int) string {
	if n.BitLen() > 64 {
		return "beyond 64 bits"
	}
	return n.String()
}

// maxCached bounds the cache. What is promised is remembered by page (book.go), so
// this is for requests that come again.
const maxCached = 4096

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
	if c.txs == nil {
		c.txs = make(map[phase0.Hash32]*tx)
	}
	if len(c.txs) >= maxCached {
		for old := range c.txs { // any
			delete(c.txs, old)
			break
		}
	}
	c.txs[t.hash] = t
}

// addressOf is for messages.
func (t *tx) addressOf() string { return common.Address(t.sender).Hex() }
