package inclusion

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto/kzg4844"

	"sidecar/chain"
	"sidecar/modules"
)

// maxTxBlobs is how many blobs one transaction may have, from Fulu on by the rules
// of the chain and before by ours. [EIP-7594]
const maxTxBlobs = 6

// splitBlobs reads a blob transaction in its network form, which has blobs,
// commitments and proofs beside it, and returns its canonical form and these; nil for
// one that is in its canonical form. [EIP-4844: networking; EIP-7594] Fault:
// ErrTxEncoding.
func splitBlobs(raw []byte) ([]byte, *types.BlobTxSidecar, error) {
	var in types.Transaction
	if err := in.UnmarshalBinary(raw); err != nil {
		return nil, nil, ErrTxEncoding.With("%v", err)
	}
	blobs := in.BlobTxSidecar()
	if blobs == nil {
		return raw, nil, nil // decode looks at the rest of it
	}
	if again, err := in.MarshalBinary(); err != nil || !bytes.Equal(again, raw) {
		return nil, nil, ErrTxEncoding.With("not canonical")
	}
	canonical, err := in.WithoutBlobTxSidecar().MarshalBinary()
	if err != nil {
		return nil, nil, ErrTxEncoding.With("%v", err)
	}
	return canonical, blobs, nil
}

// checkBlobHashes looks at the versioned hashes alone.
func checkBlobHashes(hashes []common.Hash) error {
	if n := len(hashes); n == 0 || n > maxTxBlobs {
		return ErrBlobCount.With("%d, at most %d", n, maxTxBlobs)
	}
	for i := range hashes {
		if !kzg4844.IsValidVersionedHash(hashes[i][:]) {
			return ErrBlobProof.With("blob hash %d is of another version", i)
		}
	}
	return nil
}

// errBlobless is of a transaction in its canonical form that is not promised.
func errBlobless() error {
	return ErrBlobProof.With("the transaction comes without its blobs; its network form is wanted")
}

// checkSidecar holds blobs to the hashes of their transaction and to the form of
// the slot's fork, all but the proofs. Fault: ErrBlobProof.
func checkSidecar(s *types.BlobTxSidecar, hashes []common.Hash, fork chain.Fork) error {
	if s == nil {
		return errBlobless()
	}
	version, perBlob := types.BlobSidecarVersion0, 1
	if fork >= chain.Fulu {
		version, perBlob = types.BlobSidecarVersion1, kzg4844.CellProofsPerBlob
	}
	switch n := len(hashes); {
	case s.Version != version:
		return ErrBlobProof.With("wrapper version %d; %s wants %d", s.Version, fork, version)
	case len(s.Blobs) != n || len(s.Commitments) != n || len(s.Proofs) != n*perBlob:
		return ErrBlobProof.With("%d blobs, %d commitments and %d proofs of %d blob hashes", len(s.Blobs), len(s.Commitments), len(s.Proofs), n)
	}
	if err := s.ValidateBlobCommitmentHashes(hashes); err != nil {
		return ErrBlobProof.With("a blob hash is not its commitment's")
	}
	return nil
}

// Bounds of checking proofs, which takes 40 ms per blob: one transaction at a time,
// so that a flood of blobs leaves the processors to others, and a few waiting.
const (
	maxProofChecks  = 1
	maxProofWaiting = 8
	maxProven       = 512
)

// proofs checks blobs against their commitments, and remembers which it has.
type proofs struct {
	waiting chan struct{} // one of these to wait, or to check
	running chan struct{} // one of these to check

	// The trusted setup takes seconds to make ready. Run does it as soon as blobs may
	// be asked for; without Run the first blobs wait for it.
	wanted chan struct{}
	run    atomic.Bool
	ready  atomic.Bool

	// proposing says whether a block of ours is being proposed: no proof is begun then.
	proposing func() bool

	mu     sync.Mutex
	proven map[phase0.Hash32]bool // by sha256 of the network form
}

func newProofs(proposing func() bool) *proofs {
	return &proofs{
		proposing: proposing, wanted: make(chan struct{}, 1),
		waiting: make(chan struct{}, maxProofChecks+maxProofWaiting), running: make(chan struct{}, maxProofChecks),
		proven: map[phase0.Hash32]bool{},
	}
}

// verify checks every proof of a transaction in its network form. It waits for its
// turn no longer than ctx. Faults: ErrBlobProof, ErrBlobChecks.
func (p *proofs) verify(ctx context.Context, whole []byte, s *types.BlobTxSidecar) error {
	select {
	case p.waiting <- struct{}{}:
		defer func() { <-p.waiting }()
	default:
		return ErrBlobChecks.With("%d are waiting", maxProofWaiting)
	}
	name := nameOf(whole)
	if p.known(name) {
		return nil
	}
	if p.run.Load() && !p.ready.Load() {
		p.want()
		return ErrBlobChecks.With("the trusted setup is being made ready")
	}
	select {
	case p.running <- struct{}{}:
		defer func() { <-p.running }()
	case <-ctx.Done():
		return ErrBlobChecks.With("no turn in time")
	}
	for i := range s.Blobs { // one by one, so that a bad one ends it and a deadline is seen
		if ctx.Err() != nil {
			return ErrBlobChecks.With("not checked in time")
		}
		if p.proposing() {
			return ErrBlobChecks.With("a block is being proposed")
		}
		if err := verifyBlob(s, i); err != nil {
			return ErrBlobProof.With("blob %d: %v", i, err)
		}
	}
	p.remember(name)
	return nil
}

// want says that blobs may be asked for.
func (p *proofs) want() {
	if p.ready.Load() {
		return
	}
	select {
	case p.wanted <- struct{}{}:
	default:
	}
}

// Run makes the trusted setup ready, on the caller's time, once blobs may be asked
// for, and ends with ctx. [modules.Runner]
func (m *Module) Run(ctx context.Context) error {
	p := m.proofs
	p.run.Store(true)
	defer p.run.Store(false)
	select {
	case <-p.wanted:
		if _, err := kzg4844.BlobToCommitment(new(kzg4844.Blob)); err != nil {
			return fmt.Errorf("make the trusted setup ready: %w", err)
		}
		p.ready.Store(true)
	case <-ctx.Done():
		return ctx.Err()
	}
	<-ctx.Done()
	return ctx.Err()
}

// nameOf sets a transaction with its very blobs and proofs apart from all others.
func nameOf(whole []byte) phase0.Hash32 { return sha256.Sum256(whole) }

func verifyBlob(s *types.BlobTxSidecar, i int) error {
	if s.Version == types.BlobSidecarVersion0 {
		return kzg4844.VerifyBlobProof(&s.Blobs[i], s.Commitments[i], s.Proofs[i])
	}
	cells, err := s.CellProofsAt(i)
	if err != nil {
		return err
	}
	return kzg4844.VerifyCellProofs(s.Blobs[i:i+1], s.Commitments[i:i+1], cells)
}

func (p *proofs) known(name phase0.Hash32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proven[name]
}

func (p *proofs) remember(name phase0.Hash32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.proven) >= maxProven {
		for old := range p.proven { // any
			delete(p.proven, old)
			break
		}
	}
	p.proven[name] = true
}

// proposing says whether a block of ours is being proposed: from a twenty-fourth
// of a slot (0.5 s) before one of our slots to an eighth (1.5 s) into it.
func proposing(host modules.Host) func() bool {
	return func() bool {
		if host.Clock == nil || host.Schedule == nil {
			return false
		}
		slot := host.Spec.SlotDuration
		for _, d := range host.Schedule.Duties() {
			if into := host.Clock.Into(d.Slot); into > -slot/24 && into < slot/8 {
				return true
			}
		}
		return false
	}
}
