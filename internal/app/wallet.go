package app

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments/gateway"
	"sidecar/commitments/wallet"
	"sidecar/internal/beacon"
	"sidecar/internal/execution"
	"sidecar/internal/harden"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/internal/quota"
	"sidecar/slashing/onchain"
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

// walletConns is how many connections wallets may have.
const walletConns = 1024

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
	conf := wallet.Config{
		Spec: a.spec, Clock: a.clock, Gateway: a.promises.gateway, Schedule: a.promises.schedule, Views: a.promises.ledger, Node: node,
		Type: c.CommitmentType, Slasher: c.Slasher, Passthrough: c.WithoutPromise == "passthrough", MaxSlotsAhead: c.MaxSlotsAhead,
		FeeHints: c.FeeHints, FeeHold: c.FeeHold, FeeGas: c.FeeGas, MinTip: c.MinTip.ToBig(),
		SyncTimeout: c.SyncTimeout, SyncMaxTimeout: c.SyncMaxTimeout, From: a.promises.from,
		Calls: tenSeconds(c.CallsPerSecond), Sends: tenSeconds(c.TransactionsPerSecond),
		Log: a.log.With("part", "wallet"), Metrics: wallet.NewMetrics(a.metrics),
	}
	conf.Bolt, err = a.bolt()
	var w *wallet.Wallet
	if err == nil {
		w, err = wallet.New(conf)
	}
	if err != nil {
		node.Close()
		return nil, err
	}
	return &walletFace{w, node}, nil
}

// bolt is the adapter for Bolt's clients; nil without [wallet.bolt].
func (a *App) bolt() (*wallet.Bolt, error) {
	c := a.config.Wallet.Bolt
	if c == nil {
		return nil, nil
	}
	key, plain, err := onchain.LoadKey(c.KeyPath, c.PasswordPath)
	if err != nil {
		return nil, fmt.Errorf("wallet.bolt.key_path: %w", err)
	}
	if plain {
		a.log.Warn("The key of Bolt's answers is in plain text", "file", c.KeyPath)
	}
	return &wallet.Bolt{
		Sign:   func(digest [32]byte) ([65]byte, error) { return key.Sign(phase0.Root(digest)) },
		MaxGas: a.promises.gateway.Limit.Gas, Version: a.version,
	}, nil
}

// from is where a caller's request comes from, by the gateway's trusted proxies.
func (p *promises) from(remote netip.Addr, header func(name string) string) (netip.Addr, error) {
	from, _, err := p.gateway.Access.From(remote, header)
	return from, err
}

// tenSeconds allows ten seconds' worth at once.
func tenSeconds(perSecond float64) quota.Rate {
	return quota.Rate{PerSecond: perSecond, Burst: max(10*perSecond, 1)}
}

// walletServer serves the wallet face; nil without [wallet].
func (a *App) walletServer(measures *httpd.Metrics) (*httpd.Server, error) {
	if a.wallet == nil {
		return nil, nil
	}
	c := a.config.Wallet
	most := connections(walletConns, harden.Descriptors()/2) // beside the gateway's half
	s, err := httpd.New(httpd.Config{
		Name: "wallet", Addr: address(c.Host.String(), c.Port), Routes: a.wallet.Routes(),
		Log: a.log.With("part", "wallet"), Clock: a.clock, Metrics: measures, MaxConns: most, MaxConnsPerIP: most / 4,
		BodyMemory: gatewayBodies, Origins: c.CORSOrigins, ReadTimeout: gatewayRead, IdleTimeout: gatewayIdle, AccessLevel: slog.LevelDebug,
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
