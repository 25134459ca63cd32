// Package chain knows one Ethereum network: its constants, its forks and its
// slot clock. It does no I/O.
package chain

import (
	"crypto/sha256"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Spec holds the constants of one network. It is immutable once made.
type Spec struct {
	Name               string
	ChainID            uint64 // of the execution layer
	GenesisTime        time.Time
	GenesisForkVersion phase0.Version
	SlotDuration       time.Duration
	SlotsPerEpoch      uint64
	Forks              []ForkAt  // ascending by epoch
	Blobs              []BlobsAt // ascending by epoch [EIP-7892]
}

// ForkAt says from which epoch a fork is active. Within is how many slots into
// that epoch: 0 but for a custom chain, whose fork may be given by any slot.
type ForkAt struct {
	Fork   Fork
	Epoch  phase0.Epoch
	Within uint64
}

// BlobsAt is a line of the blob schedule: from Epoch on a block holds at most Max blobs.
type BlobsAt struct {
	Epoch phase0.Epoch
	Max   int
}

// Domain types. [builder-specs: DOMAIN_APPLICATION_BUILDER; Commit-Boost: COMMIT_BOOST_DOMAIN]
var (
	DomainBuilder     = phase0.DomainType{0x00, 0x00, 0x00, 0x01}
	DomainCommitBoost = phase0.DomainType{0x6d, 0x6d, 0x6f, 0x43}
)

// Epoch returns the epoch of slot s.
func (s Spec) Epoch(slot phase0.Slot) phase0.Epoch {
	return phase0.Epoch(uint64(slot) / s.SlotsPerEpoch)
}

// Fork returns the fork of a slot. It never looks at a message.
func (s Spec) Fork(slot phase0.Slot) Fork {
	at, epoch, within := UnknownFork, s.Epoch(slot), uint64(slot)%s.SlotsPerEpoch
	for _, f := range s.Forks {
		if f.Epoch < epoch || f.Epoch == epoch && f.Within <= within {
			at = f.Fork
		}
	}
	return at
}

// MaxBlobs returns how many blobs a block of this slot may hold.
func (s Spec) MaxBlobs(slot phase0.Slot) int {
	limit, epoch := 6, s.Epoch(slot) // Deneb's limit [EIP-4844]
	for _, b := range s.Blobs {
		if b.Epoch <= epoch {
			limit = b.Max
		}
	}
	return limit
}

// Domain computes the signing domain of a type over the genesis fork version
// and a zero genesis validators root, as both the Builder API and Commit-Boost
// do on every network. [builder-specs: compute_domain]
func (s Spec) Domain(t phase0.DomainType) phase0.Domain {
	var leaves [64]byte
	copy(leaves[:], s.GenesisForkVersion[:])
	root := sha256.Sum256(leaves[:])
	var d phase0.Domain
	copy(d[:], t[:])
	copy(d[4:], root[:28])
	return d
}
