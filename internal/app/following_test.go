package app

import (
	"context"
	"errors"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/modules"
)

// stateAt is an execution node with its head at a slot.
type stateAt struct{ slot phase0.Slot }

func (s stateAt) Head(context.Context) (modules.Head, error) { return modules.Head{Slot: s.slot}, nil }

func (s stateAt) Account(context.Context, bellatrix.ExecutionAddress) (modules.Account, modules.Head, error) {
	return modules.Account{}, modules.Head{Slot: s.slot}, nil
}

func (s stateAt) Accounts(context.Context, []bellatrix.ExecutionAddress) ([]modules.Account, modules.Head, error) {
	return nil, modules.Head{Slot: s.slot}, nil
}

func TestFollowing(t *testing.T) {
	for _, c := range []struct {
		execution, beacon phase0.Slot
		want              error
	}{{100, 100, nil}, {98, 100, nil}, {97, 100, ErrStuck}, {0, 3, ErrStuck}, {103, 100, nil}, {0, 0, nil}, {0, 1 << 40, ErrStuck}} {
		f := following{stateAt{c.execution}, func() phase0.Slot { return c.beacon }}
		if _, err := f.Head(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%d beside %d: head: %v", c.execution, c.beacon, err)
		}
		if _, _, err := f.Account(t.Context(), bellatrix.ExecutionAddress{}); !errors.Is(err, c.want) {
			t.Errorf("%d beside %d: account: %v", c.execution, c.beacon, err)
		}
		if _, _, err := f.Accounts(t.Context(), nil); !errors.Is(err, c.want) {
			t.Errorf("%d beside %d: accounts: %v", c.execution, c.beacon, err)
		}
	}
}
