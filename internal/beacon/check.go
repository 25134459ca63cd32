package beacon

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Genesis is the beginning of the node's chain. [Beacon API: getGenesis]
type Genesis struct {
	Time           time.Time
	ValidatorsRoot phase0.Root
	ForkVersion    phase0.Version
}

// Genesis asks for the genesis. Faults: ErrUnavailable, ErrBadAnswer.
func (c *Client) Genesis(ctx context.Context) (Genesis, error) {
	var v struct {
		Data struct {
			Time string       `json:"genesis_time"`
			Root *phase0.Root `json:"genesis_validators_root"`
			Fork string       `json:"genesis_fork_version"`
		} `json:"data"`
	}
	if _, err := c.get(ctx, "genesis", "/eth/v1/beacon/genesis", limitSmall, &v); err != nil {
		return Genesis{}, named(err, "genesis") // 404: the chain has not begun
	}
	t, err := strconv.ParseInt(v.Data.Time, 10, 64)
	fork, forkErr := hex.DecodeString(strings.TrimPrefix(v.Data.Fork, "0x"))
	if err != nil || forkErr != nil || len(fork) != len(phase0.Version{}) || v.Data.Root == nil {
		return Genesis{}, ErrBadAnswer.With("genesis without its fields")
	}
	return Genesis{time.Unix(t, 0).UTC(), *v.Data.Root, phase0.Version(fork)}, nil
}

// Spec returns the node's constants as it sent them: {"data":{"NAME":"value"}}.
// Faults: ErrUnavailable, ErrBadAnswer. [Beacon API: getSpec]
func (c *Client) Spec(ctx context.Context) ([]byte, error) {
	var v struct{ Data map[string]json.RawMessage }
	body, err := c.get(ctx, "spec", "/eth/v1/config/spec", limitSmall, &v)
	if err != nil {
		return nil, named(err, "spec")
	}
	if len(v.Data) == 0 {
		return nil, ErrBadAnswer.With("empty spec")
	}
	return body, nil
}

// Check says whether the node follows our chain: genesis time, genesis fork
// version, and every constant of ours that the node also states.
// Faults: ErrOtherChain, ErrUnavailable, ErrBadAnswer.
func (c *Client) Check(ctx context.Context) error {
	g, err := c.Genesis(ctx)
	if err != nil {
		return err
	}
	if g.ForkVersion != c.spec.GenesisForkVersion {
		return ErrOtherChain.With("genesis fork version %#x, want %#x", g.ForkVersion[:], c.spec.GenesisForkVersion[:])
	}
	if g.Time.Unix() != c.spec.GenesisTime.Unix() {
		return ErrOtherChain.With("genesis time %d, want %d", g.Time.Unix(), c.spec.GenesisTime.Unix())
	}
	var v struct{ Data map[string]json.RawMessage }
	if _, err := c.get(ctx, "spec", "/eth/v1/config/spec", limitSmall, &v); err != nil {
		if errors.Is(err, errNotFound) {
			return nil // an optional route in some light nodes; the genesis has agreed
		}
		return err
	}
	return c.checkSpec(v.Data)
}

// checkSpec compares the constants that both sides state.
func (c *Client) checkSpec(stated map[string]json.RawMessage) error {
	want := map[string]uint64{
		"SLOTS_PER_EPOCH":  c.spec.SlotsPerEpoch,
		"DEPOSIT_CHAIN_ID": c.spec.ChainID,
	}
	if _, ok := number(stated["SLOT_DURATION_MS"]); ok {
		want["SLOT_DURATION_MS"] = uint64(c.spec.SlotDuration.Milliseconds()) // #nosec G115 -- positive
	} else if c.spec.SlotDuration%time.Second == 0 {
		want["SECONDS_PER_SLOT"] = uint64(c.spec.SlotDuration / time.Second) // #nosec G115 -- positive
	}
	for _, f := range c.spec.Forks {
		want[strings.ToUpper(f.Fork.String())+"_FORK_EPOCH"] = uint64(f.Epoch)
	}
	for name, w := range want {
		if got, ok := number(stated[name]); ok && got != w {
			return ErrOtherChain.With("%s %d, want %d", name, got, w)
		}
	}
	return nil
}

// number reads a constant; not every constant is one.
func number(raw json.RawMessage) (uint64, bool) {
	n, err := strconv.ParseUint(strings.Trim(string(raw), `"`), 10, 64)
	return n, err == nil
}

// Sync is the node's state of health. [Beacon API: getSyncingStatus]
type Sync struct {
	HeadSlot   phase0.Slot
	Distance   phase0.Slot
	Syncing    bool
	Optimistic bool
	ELOffline  bool
}

// Syncing asks how far the node is. Faults: ErrUnavailable, ErrBadAnswer.
func (c *Client) Syncing(ctx context.Context) (Sync, error) {
	var v struct {
		Data struct {
			HeadSlot   *phase0.Slot `json:"head_slot"`
			Distance   *phase0.Slot `json:"sync_distance"`
			Syncing    *bool        `json:"is_syncing"`
			Optimistic bool         `json:"is_optimistic"`
			ELOffline  bool         `json:"el_offline"`
		} `json:"data"`
	}
	if _, err := c.get(ctx, "syncing", "/eth/v1/node/syncing", limitSmall, &v); err != nil {
		return Sync{}, named(err, "sync state")
	}
	d := v.Data
	if d.HeadSlot == nil || d.Distance == nil || d.Syncing == nil {
		return Sync{}, ErrBadAnswer.With("sync state without its fields")
	}
	return Sync{*d.HeadSlot, *d.Distance, *d.Syncing, d.Optimistic, d.ELOffline}, nil
}
