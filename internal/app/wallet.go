package app

import (
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments/gateway"
	"sidecar/commitments/wallet"
	"sidecar/internal/beacon"
	"sidecar/internal/execution"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
)

// Who stands for whom.
var (
	_ wallet.Gateway  = (*gateway.Gateway)(nil)
	_ wallet.Schedule = (*beacon.Schedule)(nil)
	_ wallet.Views    = (*ledger.Ledger)(nil)
	_ wallet.Node     = (*execution.Client)(nil)
)

// walletNodeTimeout bounds one call of a wallet at the execution node: eth_call
// may take it seconds.
const walletNodeTimeout = 5 * time.Second

// walletFace is the RPC URL for wallets, with connections of its own to the
// execution node: what admission reads never waits for a wallet.
type walletFace struct {
	*wallet.Wallet
	node *execution.Client
}

func newWalletFace(a *App) (*walletFace, error) {
	c := a.config.Wallet
	node, err := execution.New(execution.Config{
		URL: a.config.Execution.URL, Spec: a.spec, Clock: a.clock, Log: a.log.With("part", "wallet"), Timeout: walletNodeTimeout,
	})
	if err != nil {
		return nil, err
	}
	tip := c.MinTip.ToBig()
	conf := wallet.Config{
		Spec: a.spec, Clock: a.clock, Gateway: a.promises.gateway, Schedule: a.promises.schedule, Views: a.promises.ledger, Node: node,
		Type: c.CommitmentType, Slasher: c.Slasher, Passthrough: c.WithoutPromise == "passthrough", MaxSlotsAhead: c.MaxSlotsAhead,
		Lead: a.promises.gateway.Lead, MinTipWei: func(phase0.Slot) *big.Int { return tip }, FeeHints: c.FeeHints, FeeHold: c.FeeHold,
		SyncTimeout: c.SyncTimeout, SyncMaxTimeout: c.SyncMaxTimeout, Origins: c.CORSOrigins,
		Calls: walletLimit(a, c.CallsPerSecond), Sends: walletLimit(a, c.TransactionsPerSecond),
		Log: a.log.With("part", "wallet"), Metrics: wallet.NewMetrics(a.metrics),
	}
	w, err := wallet.New(conf)
	if err != nil {
		node.Close()
		return nil, err
	}
	return &walletFace{w, node}, nil
}

// walletLimit allows an address ten seconds' worth at once; nil is no limit.
func walletLimit(a *App, perSecond float64) wallet.Limiter {
	if perSecond == 0 {
		return nil
	}
	return wallet.NewBuckets(a.clock, perSecond, max(10*perSecond, 1))
}

// walletServer serves the wallet face; nil without [wallet].
func (a *App) walletServer(measures *httpd.Metrics) (*httpd.Server, error) {
	if a.wallet == nil {
		return nil, nil
	}
	c := a.config.Wallet
	s, err := httpd.New(httpd.Config{
		Name: "wallet", Addr: address(c.Host.String(), c.Port), Routes: a.wallet.Routes(),
		Log: a.log.With("part", "wallet"), Clock: a.clock, Metrics: measures, MaxConns: 2048, MaxConnsPerIP: 128,
		ReadTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, AccessLevel: slog.LevelDebug, AllowOrigin: len(c.CORSOrigins) > 0,
	})
	if err != nil {
		return nil, fmt.Errorf("make the wallet endpoint: %w", err)
	}
	return s, nil
}

// WalletAddr is where wallets ask; nil without [wallet].
func (a *App) WalletAddr() net.Addr {
	if a.servers.wallet == nil {
		return nil
	}
	return a.servers.wallet.Addr()
}
