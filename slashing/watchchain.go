package slashing

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/beacon"
	"sidecar/internal/execution"
)

// ErrChains is two nodes of two chains.
var ErrChains = fault.Define("watch_other_chain", fault.Conflict, "The beacon node and the execution node are of two chains.")

// maxHanded bounds a promise's file, in bytes.
const maxHanded = 4 << 20

// Chain is what a watch reads, and the constants of its network, as the beacon
// node tells them.
type Chain struct {
	Spec      chain.Spec
	Clock     *chain.Clock
	Beacon    *beacon.Client
	Execution *execution.Client
}

// Close drops the connections.
func (c *Chain) Close() {
	c.Beacon.Close()
	c.Execution.Close()
}

// DialChain learns the network from its nodes. Faults: ErrChains, those of the nodes.
func DialChain(ctx context.Context, beaconURL, rpcURL string) (*Chain, error) {
	first, err := beacon.New(beacon.Config{URL: beaconURL, Clock: chain.NewClock(chain.Spec{SlotDuration: time.Second, SlotsPerEpoch: 1}, nil)})
	if err != nil {
		return nil, err
	}
	defer first.Close()
	genesis, err := first.Genesis(ctx)
	if err != nil {
		return nil, err
	}
	constants, err := first.Spec(ctx)
	if err != nil {
		return nil, err
	}
	spec, err := chain.ParseSpec(constants, genesis.Time)
	if err != nil {
		return nil, beacon.ErrBadAnswer.Wrap(err)
	}
	c := &Chain{Spec: spec, Clock: chain.NewClock(spec, nil)}
	if c.Beacon, err = beacon.New(beacon.Config{URL: beaconURL, Spec: spec, Clock: c.Clock}); err != nil {
		return nil, err
	}
	if c.Execution, err = execution.New(execution.Config{URL: rpcURL, Spec: spec, Clock: c.Clock, Timeout: 5 * time.Second}); err != nil {
		c.Beacon.Close()
		return nil, err
	}
	id, err := c.Execution.ChainID(ctx)
	if err == nil && id != spec.ChainID {
		err = ErrChains.With("chain ids %d and %d", spec.ChainID, id)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// ReadHanded reads a promise's file: {"promise": SignedCommitment, "delegation":
// SignedDelegation}. Fault: ErrHanded.
func ReadHanded(path string) (h Handed, err error) {
	f, err := os.Open(path) // #nosec G304 -- the user's own
	if err != nil {
		return h, ErrHanded.Wrap(err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxHanded+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return h, ErrHanded.Wrap(err)
	}
	if len(text) > maxHanded {
		return h, ErrHanded.With("more than %d bytes", maxHanded)
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, ErrHanded.Wrap(err)
	}
	return h, nil
}
