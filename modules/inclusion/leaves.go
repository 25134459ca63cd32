package inclusion

import (
	"sync"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/commitments"
)

// sought is a promised transaction as blocks hold it, with what proofs of it are
// compared with.
type sought struct {
	slot phase0.Slot
	tx   []byte        // EIP-2718, without a blob sidecar
	hash phase0.Hash32 // keccak256 of tx
	leaf phase0.Root   // hash tree root of tx
}

// maxSought bounds the memory of what is sought: two epochs of full slots.
const maxSought = 64 * 128

// leaves remembers promised transactions by request hash, which names what was
// promised: they are hashed at admission, and not while a proposer waits.
type leaves struct {
	mu sync.Mutex
	of map[phase0.Hash32]*sought
}

// sought is the transaction of a commitment for a slot. Faults: those of payload,
// ErrPayload for another slot, ErrTxEncoding.
func (m *Module) sought(c *commitments.Commitment, slot phase0.Slot) (*sought, error) {
	m.leaves.mu.Lock()
	p := m.leaves.of[c.RequestHash]
	m.leaves.mu.Unlock()
	if p == nil {
		of, raw, err := payload(commitments.Request{Type: c.Type, Payload: c.Payload})
		if err != nil {
			return nil, err
		}
		if p, err = newSought(of, raw); err != nil {
			return nil, err
		}
		m.leaves.add(c.RequestHash, p)
	}
	if p.slot != slot {
		return nil, ErrPayload.With("it is for slot %d", p.slot)
	}
	return p, nil
}

func (l *leaves) add(request phase0.Hash32, p *sought) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil || len(l.of) >= maxSought {
		l.of = map[phase0.Hash32]*sought{} // what is still wanted is hashed again
	}
	l.of[request] = p
}

func newSought(slot phase0.Slot, raw []byte) (*sought, error) {
	tx, err := bare(raw)
	if err != nil {
		return nil, err
	}
	return &sought{slot: slot, tx: tx, hash: phase0.Hash32(crypto.Keccak256Hash(tx)), leaf: commitments.TransactionRoot(tx)}, nil
}

// bare is a transaction as blocks hold it: a blob transaction is promised with its
// sidecar, and included without. [EIP-4844: networking] Fault: ErrTxEncoding.
func bare(raw []byte) ([]byte, error) {
	if len(raw) == 0 || raw[0] != types.BlobTxType {
		return raw, nil
	}
	tx := new(types.Transaction)
	if err := tx.UnmarshalBinary(raw); err != nil {
		return nil, ErrTxEncoding.Wrap(err)
	}
	if tx.BlobTxSidecar() == nil {
		return raw, nil
	}
	text, err := tx.WithoutBlobTxSidecar().MarshalBinary()
	if err != nil {
		return nil, ErrTxEncoding.Wrap(err)
	}
	return text, nil
}

// learn hashes a transaction that is about to be promised.
func (l *leaves) learn(request phase0.Hash32, slot phase0.Slot, raw []byte) {
	if p, err := newSought(slot, raw); err == nil {
		l.add(request, p)
	}
}
