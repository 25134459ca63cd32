package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"sidecar/internal/config"
	"sidecar/internal/execution"
)

// checkTimeout bounds each part of a check by itself: one that hangs takes no
// time from the others.
const checkTimeout = 10 * time.Second

// part is something to check: it returns what is wrong.
type part func(ctx context.Context) []error

// Check does all of a start but serving: it opens the ledger and the keys, binds
// every address and lets it go, loads the muxes, asks the relays and the nodes,
// and returns everything that is wrong at once. What a start would end with comes
// first.
func Check(ctx context.Context, c *config.Config, version string, log *slog.Logger) error {
	looked := bare(c, version, log)
	looked.look = true
	a, err := looked.open()
	if err == nil {
		defer a.Close()
		return errors.Join(together(ctx, a.parts())...)
	}
	problems := []error{err}
	for _, p := range unopened(ctx, c, version, log) {
		if !slices.ContainsFunc(problems, func(known error) bool { return known.Error() == p.Error() }) {
			problems = append(problems, p)
		}
	}
	return errors.Join(problems...)
}

// parts are what can be asked of a sidecar that opened.
func (a *App) parts() (parts []part) {
	parts = append(parts, a.checkListeners)
	if a.relays != nil {
		parts = append(parts, a.relays.check, a.relays.checkMuxes)
	}
	if a.parent != nil {
		parts = append(parts, a.checkNode(a.parent))
	}
	if a.beacon != nil {
		parts = append(parts, a.checkBeacon)
	}
	if a.promises != nil {
		parts = append(parts, a.checkNode(a.promises.execution), a.checkPaths)
	}
	return parts
}

// unopened checks each part of a sidecar that does not open by itself.
func unopened(ctx context.Context, c *config.Config, version string, log *slog.Logger) (problems []error) {
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	a := bare(c, version, log)
	var err error
	if a.relays, err = newRelaySets(a); err != nil {
		note(err)
		a.relays = nil
	} else {
		defer a.relays.close()
	}
	if c.Beacon.URL != "" {
		if a.beacon, err = a.beaconNode(); err != nil {
			note(err)
		} else {
			defer a.beacon.Close()
		}
	}
	if c.PBS.ExtraValidation {
		if a.parent, err = a.executionNode(c.PBS.RPCURL); err != nil {
			note(err)
		} else {
			defer a.parent.Close()
		}
	}
	if c.Promises() || c.SignerAPI() {
		s := &signing{clock: a.clock, log: a.log.Warn}
		defer s.close()
		s.ledger, err = openLedger(c, a.clock, a.log, true)
		note(err)
		s.keys, err = openKeys(ctx, c, a.clock, nil, nil, a.log)
		note(err)
		if err == nil && c.Promises() {
			_, err = s.keys.party(promising(c))
			note(err)
		}
	}
	if c.Promises() {
		p := &promises{log: a.log.Warn}
		defer p.close()
		if p.execution, err = a.stateNode(); err != nil {
			note(err)
		} else {
			note(p.makeModules(a))
			a.promises = p
		}
	}
	return append(problems, together(ctx, a.parts())...)
}

// together checks all parts at once and returns what is wrong in their order.
func together(ctx context.Context, parts []part) (problems []error) {
	found := make([][]error, len(parts))
	var wg sync.WaitGroup
	for i, p := range parts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			found[i] = p(ctx)
		})
	}
	wg.Wait()
	return slices.Concat(found...)
}

// checkMuxes loads the muxes.
func (r *relaySets) checkMuxes(ctx context.Context) []error {
	if err := r.table.Load(ctx); err != nil {
		return []error{fmt.Errorf("muxes: %w", err)}
	}
	return nil
}

// checkNode asks an execution node which chain it is on.
func (a *App) checkNode(node *execution.Client) part {
	return func(ctx context.Context) []error {
		id, err := node.ChainID(ctx)
		switch {
		case err != nil:
			return []error{fmt.Errorf("execution node: %w", err)}
		case id != a.spec.ChainID:
			return []error{fmt.Errorf("execution node: chain id %d, the configuration says %d", id, a.spec.ChainID)}
		}
		return nil
	}
}

func (a *App) checkBeacon(ctx context.Context) []error {
	if err := a.beacon.Check(ctx); err != nil {
		return []error{fmt.Errorf("beacon node: %w", err)}
	}
	return nil
}

// checkPaths looks for a relay that can carry a promise.
func (a *App) checkPaths(context.Context) []error {
	if a.relays != nil && len(a.relays.allTargets()) == 0 {
		return []error{errors.New("no relay has constraints = true, and there is no builder: no promise could be carried")}
	}
	return nil
}
