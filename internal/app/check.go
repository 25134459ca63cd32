package app

import (
	"context"
	"errors"
	"fmt"
	"time"
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
	if p := &a.config.PBS; p.ExtraValidation {
		problems = append(problems, checkChainID(ctx, a, p.RPCURL)...)
	}
	if a.promises != nil {
		problems = append(problems, a.promises.check(ctx, a)...)
	}
	return errors.Join(problems...)
}

func checkChainID(ctx context.Context, a *App, url string) []error {
	id, err := a.executionNode(url).ChainID(ctx)
	switch {
	case err != nil:
		return []error{fmt.Errorf("execution node: %w", err)}
	case id != a.spec.ChainID:
		return []error{fmt.Errorf("execution node: chain id %d, the configuration says %d", id, a.spec.ChainID)}
	}
	return nil
}
