package chain

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Bounds of a network, so that no constant can overflow the clock.
const (
	maxSlotDuration  = time.Hour
	maxSlotsPerEpoch = 1 << 16
	maxBlobs         = 4096 // MAX_BLOB_COMMITMENTS_PER_BLOCK [EIP-4844]

	mainnetSlot   = 12 * time.Second
	mainnetEpoch  = 32 // SLOTS_PER_EPOCH of the mainnet preset
	blobsDeneb    = 6  // MAX_BLOBS_PER_BLOCK [EIP-4844]
	blobsElectra  = 9  // MAX_BLOBS_PER_BLOCK_ELECTRA [EIP-7691]
	blobsBPO1     = 15 // [EIP-8134]
	blobsBPO2     = 21 // [EIP-8135]
	unscheduled   = phase0.Epoch(math.MaxUint64)
	customNetwork = "custom"
)

// network is a public network in short form.
type network struct {
	name        string
	chainID     uint64
	genesis     int64 // unix seconds
	forkVersion phase0.Version
	epochs      [Fulu + 1]phase0.Epoch // by Fork
	bpo1, bpo2  phase0.Epoch
}

// Named returns a public network by its name in any case: Mainnet, Holesky,
// Sepolia, Hoodi. Epochs and blob schedules are those of the networks' published
// configurations.
func Named(name string) (Spec, bool) {
	var n network
	switch strings.ToLower(name) {
	case "mainnet":
		n = network{"mainnet", 1, 1606824023, phase0.Version{0x00, 0x00, 0x00, 0x00},
			[...]phase0.Epoch{Altair: 74240, Bellatrix: 144896, Capella: 194048, Deneb: 269568, Electra: 364032, Fulu: 411392}, 412672, 419072}
	case "holesky":
		n = network{"holesky", 17000, 1695902400, phase0.Version{0x01, 0x01, 0x70, 0x00},
			[...]phase0.Epoch{Capella: 256, Deneb: 29696, Electra: 115968, Fulu: 165120}, 166400, 167936}
	case "sepolia":
		n = network{"sepolia", 11155111, 1655733600, phase0.Version{0x90, 0x00, 0x00, 0x69},
			[...]phase0.Epoch{Altair: 50, Bellatrix: 100, Capella: 56832, Deneb: 132608, Electra: 222464, Fulu: 272640}, 274176, 275712}
	case "hoodi":
		n = network{"hoodi", 560048, 1742213400, phase0.Version{0x10, 0x00, 0x09, 0x10},
			[...]phase0.Epoch{Electra: 2048, Fulu: 50688}, 52480, 54016}
	default:
		return Spec{}, false
	}
	s := Spec{
		Name: n.name, ChainID: n.chainID, GenesisTime: time.Unix(n.genesis, 0).UTC(), GenesisForkVersion: n.forkVersion,
		SlotDuration: mainnetSlot, SlotsPerEpoch: mainnetEpoch,
		Blobs: []BlobsAt{{n.epochs[Deneb], blobsDeneb}, {n.epochs[Electra], blobsElectra}, {n.bpo1, blobsBPO1}, {n.bpo2, blobsBPO2}},
	}
	for f := Phase0; f <= Fulu; f++ {
		s.Forks = append(s.Forks, ForkAt{f, n.epochs[f], 0})
	}
	return s, true
}

// Custom returns a network from the numbers of an inline configuration. Slots
// below fuluForkSlot are Electra, as in Commit-Boost, wherever in an epoch it is.
// Such a chain has no blob schedule: from the epoch of Fulu on the highest public
// limit holds, because a bid wrongly refused costs a block and the beacon node
// counts blobs itself.
func Custom(genesisTime time.Time, slotDuration time.Duration, forkVersion phase0.Version, fuluForkSlot phase0.Slot, chainID uint64) Spec {
	fulu := phase0.Epoch(uint64(fuluForkSlot) / mainnetEpoch)
	s := Spec{
		Name: customNetwork, ChainID: chainID, GenesisTime: genesisTime, GenesisForkVersion: forkVersion,
		SlotDuration: slotDuration, SlotsPerEpoch: mainnetEpoch,
		Forks: []ForkAt{{Electra, 0, 0}, {Fulu, fulu, uint64(fuluForkSlot) % mainnetEpoch}},
		Blobs: []BlobsAt{{0, blobsElectra}, {fulu, blobsBPO2}},
	}
	if fulu == 0 {
		s.Blobs = s.Blobs[1:]
	}
	return s
}

// Validate checks what the arithmetic of this package and its users rely on.
// The error joins everything that is wrong.
func (s Spec) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(s.Name != "", "network has no name")
	check(s.ChainID > 0, "chain id is 0")
	check(s.GenesisTime.Unix() > 0, "genesis time is not set")
	check(s.SlotDuration > 0 && s.SlotDuration <= maxSlotDuration, "slot duration %v is not within (0, %v]", s.SlotDuration, maxSlotDuration)
	check(s.SlotsPerEpoch > 0 && s.SlotsPerEpoch <= maxSlotsPerEpoch, "%d slots per epoch are not within 1 to %d", s.SlotsPerEpoch, maxSlotsPerEpoch)
	check(len(s.Forks) > 0, "network has no forks")
	for i, f := range s.Forks {
		check(f.Fork > UnknownFork && int(f.Fork) < len(forkNames), "fork %d is unknown", f.Fork)
		if i == 0 {
			continue
		}
		check(f.Within < s.SlotsPerEpoch, "fork %s begins %d slots into an epoch of %d", f.Fork, f.Within, s.SlotsPerEpoch)
		p := s.Forks[i-1]
		check(p.Fork < f.Fork && p.Epoch <= f.Epoch, "fork %s at epoch %d follows %s at epoch %d", f.Fork, f.Epoch, p.Fork, p.Epoch)
	}
	for i, b := range s.Blobs {
		check(b.Max >= 0 && b.Max <= maxBlobs, "blob limit %d is not within 0 to %d", b.Max, maxBlobs)
		check(i == 0 || s.Blobs[i-1].Epoch < b.Epoch, "blob schedule is not ascending at epoch %d", b.Epoch)
	}
	return errors.Join(errs...)
}
