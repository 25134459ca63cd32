package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sidecar/internal/execution"
)

// Check does all of a start but listening: it loads the muxes, asks the relays
// and the nodes, and returns everything that is wrong at once.
func (a *App) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	problems := a.relays.check(ctx)
	if err := a.relays.table.Load(ctx); err != nil {
		problems = append(problems, fmt.Errorf("muxes: %w", err))
	}
	if a.parent != nil {
		problems = append(problems, checkChainID(ctx, a.parent, a.spec.ChainID)...)
	}
	if a.promises != nil {
		problems = append(problems, a.promises.check(ctx, a)...)
	}
	return errors.Join(problems...)
}

func checkChainID(ctx context.Context, node *execution.Client, want uint64) []error {
	id, err := node.ChainID(ctx)
	switch {
	case err != nil:
		return []error{fmt.Errorf("execution node: %w", err)}
	case id != want:
		return []error{fmt.Errorf("execution node: chain id %d, the configuration says %d", id, want)}
	}
	return nil
}
