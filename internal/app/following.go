package app

import (
	"context"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/fault"
	"sidecar/modules"
)

// ErrStuck is met when the execution node is stuck and the beacon node does not
// say so.
var ErrStuck = fault.Define("execution_stuck", fault.Unavailable, "The execution node's head is more than two slots behind the beacon node's: its accounts are old, and nothing is promised on them.")

// mayLag is how many slots the execution node may be behind: one is on its way to
// it, and the two are asked half a second and a second apart.
const mayLag = 2

// following is the state of an execution node that keeps up with a beacon node's
// head. What a promise rests on must not be older than what the chain holds.
type following struct {
	modules.State
	beaconHead func() phase0.Slot
}

// Account implements modules.State. Faults: those of the node, ErrStuck.
func (f following) Account(ctx context.Context, addr bellatrix.ExecutionAddress) (modules.Account, modules.Head, error) {
	account, head, err := f.State.Account(ctx, addr)
	if err == nil {
		err = f.keepsUp(head)
	}
	return account, head, err
}

// Accounts implements modules.State. Faults: those of the node, ErrStuck.
func (f following) Accounts(ctx context.Context, addrs []bellatrix.ExecutionAddress) ([]modules.Account, modules.Head, error) {
	accounts, head, err := f.State.Accounts(ctx, addrs)
	if err == nil {
		err = f.keepsUp(head)
	}
	return accounts, head, err
}

// Head implements modules.State. Faults: those of the node, ErrStuck.
func (f following) Head(ctx context.Context) (modules.Head, error) {
	head, err := f.State.Head(ctx)
	if err == nil {
		err = f.keepsUp(head)
	}
	return head, err
}

func (f following) keepsUp(head modules.Head) error {
	if at := f.beaconHead(); at > head.Slot && at-head.Slot > mayLag {
		return ErrStuck.With("its head is at slot %d, the beacon node's at %d", head.Slot, at)
	}
	return nil
}
