package app

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/config"
	"sidecar/slashing/onchain"
	"sidecar/slashing/restake"
)

const (
	stakeEvery = 10 * time.Minute // a finalized block is that old anyway
	stakeAsk   = 30 * time.Second // for all questions of one reading
)

// stake reads what is at stake behind our promises, for searchers to see. It
// decides nothing: a node that does not answer leaves what was read before, with
// the block it is from.
type stake struct {
	url               string // of the execution node: may hold a secret
	manager, operator bellatrix.ExecutionAddress
	state             string
	last              atomic.Pointer[commitments.Collateral]
}

// newStake dials nothing. It is nil without [gateway.collateral].
func newStake(a *App, g *config.Gateway) *stake {
	if g.Collateral == nil {
		return nil
	}
	s := &stake{url: a.config.Execution.URL, manager: g.Collateral.Manager, operator: g.Collateral.Operator, state: commitments.CollateralSimulated}
	if _, public := chain.Named(a.spec.Name); public {
		s.state = commitments.CollateralChain
	}
	return s
}

// known is what is known now.
func (s *stake) known() commitments.Collateral {
	if s != nil {
		if c := s.last.Load(); c != nil {
			return *c
		}
	}
	return commitments.Collateral{State: commitments.CollateralUnknown}
}

// run reads until ctx ends. A failure ends it: whoever runs it does so again.
func (s *stake) run(ctx context.Context) error {
	node, err := onchain.NewNode(s.url)
	if err != nil {
		return err
	}
	defer node.Close()
	every := time.NewTicker(stakeEvery)
	defer every.Stop()
	for {
		c, err := s.read(ctx, node)
		if err != nil {
			return fmt.Errorf("read the collateral: %w", err)
		}
		s.last.Store(c)
		select {
		case <-every.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *stake) read(ctx context.Context, node *onchain.Node) (*commitments.Collateral, error) {
	ctx, cancel := context.WithTimeout(ctx, stakeAsk)
	defer cancel()
	service, err := restake.Open(ctx, node, common.Address(s.manager), common.Address{})
	if err != nil {
		return nil, err
	}
	st, err := service.Status(ctx, common.Address(s.operator), onchain.Finalized, nil, nil)
	if err != nil {
		return nil, err
	}
	c := &commitments.Collateral{
		State: s.state, Kind: "eigenlayer_operator_set", Manager: fmt.Sprintf("%#x", s.manager[:]), Operator: fmt.Sprintf("%#x", s.operator[:]),
		Slashable: st.Slashable, Block: st.Block, AtMS: int64(st.Time) * 1000, // #nosec G115 -- seconds of this century
	}
	for _, one := range st.Stakes {
		c.Stakes = append(c.Stakes, commitments.Stake{Strategy: fmt.Sprintf("%#x", one.Strategy[:]), AtStake: one.AtStake.String()})
	}
	return c, nil
}
