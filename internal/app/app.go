// Package app wires the sidecar together. It is the only place that knows
// everybody; read it to learn who talks to whom.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/builderapi"
	"sidecar/chain"
	"sidecar/commitments/gateway"
	"sidecar/internal/beacon"
	"sidecar/internal/config"
	"sidecar/internal/execution"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/internal/metrics"
	"sidecar/internal/relay"
	"sidecar/internal/supervise"
	"sidecar/internal/telemetry"
	"sidecar/modules"
	"sidecar/signer"
	"sidecar/signer/api"
	"sidecar/slashing"
)

// Who stands for whom.
var (
	_ builderapi.Relay    = (*relay.Client)(nil)
	_ builderapi.Pages    = (*ledger.Ledger)(nil)
	_ builderapi.Verifier = modules.Module(nil)
	_ gateway.Relay       = (*relay.Client)(nil)
	_ gateway.Signer      = (*signer.Signer)(nil)
	_ gateway.Schedule    = (*beacon.Schedule)(nil)
	_ gateway.Views       = (*ledger.Ledger)(nil)
	_ signer.Book         = (*ledger.Ledger)(nil)
	_ slashing.Book       = (*ledger.Ledger)(nil)
	_ api.Signer          = (*signer.Signer)(nil)
	_ api.Proxies         = proxies{}
	_ modules.State       = (*execution.Client)(nil)
)

// App is a configured sidecar. Make it with New, run it once with Run.
type App struct {
	config   *config.Config
	version  string
	spec     chain.Spec
	clock    *chain.Clock
	log      *slog.Logger
	metrics  *metrics.Registry
	children *supervise.Metrics

	relays   *relaySets
	parent   *execution.Client // of extra validation; may be nil
	beacon   *beacon.Client    // may be nil
	builder  *builderapi.Service
	servers  servers
	signing  *signing    // nil: this sidecar only proposes
	promises *promises   // nil: and makes no promises
	wallet   *walletFace // nil: and none for wallets

	look                bool // to be looked at, not run
	listening, stopping atomic.Bool
	measures            *httpd.Metrics

	onStart func() // may be nil
}

// servers are the listeners; all but builder may be nil.
type servers struct {
	builder, gateway, wallet, signer *httpd.Server
	admin                            *telemetry.Admin
}

// New builds everything a configuration asks for and dials nothing. What it
// opens (the ledger) Close releases, and so does the end of Run.
func New(c *config.Config, version string, log *slog.Logger) (*App, error) {
	return bare(c, version, log).open()
}

// open opens what New does.
func (a *App) open() (*App, error) {
	c := a.config
	var err error
	if a.relays, err = newRelaySets(a); err != nil {
		return nil, err
	}
	if c.Beacon.URL != "" {
		if a.beacon, err = a.beaconNode(); err != nil {
			a.Close()
			return nil, err
		}
	}
	if c.Promises() || c.SignerAPI() {
		if a.signing, err = newSigning(a); err != nil {
			a.Close()
			return nil, err
		}
	}
	if c.Promises() {
		if a.promises, err = newPromises(a); err != nil {
			a.Close()
			return nil, err
		}
	}
	if c.Wallet != nil && a.promises != nil {
		if a.wallet, err = newWalletFace(a); err != nil {
			a.Close()
			return nil, err
		}
	}
	if c.PBS.ExtraValidation {
		if a.parent, err = a.executionNode(c.PBS.RPCURL); err != nil {
			a.Close()
			return nil, err
		}
	}
	if a.builder, err = builderapi.New(a.builderConfig()); err != nil {
		a.Close()
		return nil, err
	}
	if err = a.makeServers(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// bare is an App that has opened nothing yet.
func bare(c *config.Config, version string, log *slog.Logger) *App {
	a := &App{config: c, version: version, spec: c.Chain(), log: log}
	a.clock = chain.NewClock(a.spec, nil)
	a.metrics = telemetry.NewRegistry(version, "", a.spec.Name)
	a.children = supervise.NewMetrics(a.metrics)
	return a
}

// Close releases what New opened, for an App that never ran.
func (a *App) Close() {
	if a.wallet != nil {
		a.wallet.node.Close()
	}
	if a.promises != nil {
		a.promises.close()
	}
	if a.signing != nil {
		a.signing.close()
	}
	if a.parent != nil {
		a.parent.Close()
	}
	if a.beacon != nil {
		a.beacon.Close()
	}
	a.relays.close()
}

// builderConfig is the Builder API as the file describes it.
func (a *App) builderConfig() builderapi.Config {
	p := &a.config.PBS
	c := builderapi.Config{
		Spec: a.spec, Clock: a.clock, Sets: a.relays, Log: a.log.With("part", "builder"),
		Metrics:      builderapi.NewMetrics(a.metrics),
		AnswerWithin: p.AnswerWithin, MinBid: p.MinBid, MaxBid: p.MaxValue, SkipSignature: p.SkipSigverify,
		RequireFeeRecipient: p.FeeRecipientStrict,
		RelayCheck:          p.RelayCheck, RegisterTimeout: p.TimeoutRegisterValidator, RegisterTries: p.RegisterRetryLimit,
		RegisterBatch: int(p.RegistrationBatch), SubmitTimeout: p.TimeoutGetPayload,
		Penalty: builderapi.Penalty{Misses: p.Penalty.Misses, Slots: uint64(p.Penalty.Slots)}, // #nosec G115 -- validated
	}
	if a.parent != nil {
		c.Parents = parents{a.parent}
	}
	if a.beacon != nil {
		c.Slots = slots{a.beacon}
	}
	if a.promises != nil {
		c.Pages, c.Modules = a.promises.ledger, a.promises.modules
		c.Heard = a.promises.heard
		c.Served, c.PageSettles = a.promises.served, a.promises.gateway.Settles()
		c.Barred, c.Proven = a.promises.gateway.Barred, a.promises.gateway.Judged
		c.Delivered, c.Unserved = a.promises.delivered, a.promises.unserved
		c.Validators, c.Owed = a.promises.schedule, a.promises.owed
	}
	return c
}

func (a *App) makeServers() (err error) {
	p := &a.config.PBS
	a.measures = httpd.NewMetrics(a.metrics)
	measures := a.measures
	a.servers.builder, err = httpd.New(httpd.Config{
		Name: "builder", Addr: address(p.Host.String(), p.Port), Routes: a.builder.Routes(),
		Log: a.log.With("part", "builder"), Clock: a.clock, Metrics: measures, Drain: a.spec.SlotDuration,
		Headers: [][2]string{{"X-Sidecar-Version", a.version}}, AccessLevel: slog.LevelDebug,
	})
	if err != nil {
		return fmt.Errorf("make the Builder API: %w", err)
	}
	if a.servers.gateway, err = a.gatewayServer(measures); err != nil {
		return fmt.Errorf("make the gateway: %w", err)
	}
	if a.servers.wallet, err = a.walletServer(measures); err != nil {
		return err
	}
	if a.servers.signer, err = a.signerServer(measures); err != nil {
		return err
	}
	if m := a.config.Metrics; m != nil && m.Enabled {
		a.servers.admin, err = telemetry.NewAdmin(telemetry.AdminConfig{
			Addr: address(m.Host.String(), m.StartPort), Registry: a.metrics, Ready: a.ready, Remarks: a.remarks, Promises: a.pastPromises, NearMisses: a.nearMisses, Log: a.log.With("part", "admin"),
			Public: !m.Host.IsLoopback(), // the file says so, and was warned about
		})
	}
	return err
}

func address(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// BuilderAddr is where the Builder API listens, once Run does.
func (a *App) BuilderAddr() net.Addr { return a.servers.builder.Addr() }

// GatewayAddr is where searchers ask; nil without a gateway.
func (a *App) GatewayAddr() net.Addr {
	if a.servers.gateway == nil {
		return nil
	}
	return a.servers.gateway.Addr()
}

// SignerAddr is where modules in other processes ask; nil without any.
func (a *App) SignerAddr() net.Addr {
	if a.servers.signer == nil {
		return nil
	}
	return a.servers.signer.Addr()
}

// AdminAddr is where metrics are served; nil without [metrics].
func (a *App) AdminAddr() net.Addr {
	if a.servers.admin == nil {
		return nil
	}
	return a.servers.admin.Addr()
}

// OnStart has f called once, when Run serves; call it before Run.
func (a *App) OnStart(f func()) { a.onStart = f }

// Listening says whether the Builder API's listener is bound, and every other was
// tried.
func (a *App) Listening() bool { return a.listening.Load() }

// Promisers are the proxies that promise, unless the file names others for some
// validators; zero if none do.
func (a *App) Promisers() (who gateway.Party) {
	if a.promises != nil {
		who = gateway.Party{Delegate: a.promises.gateway.Delegate, Committer: a.promises.gateway.Committer}
	}
	return who
}

// Ledger is the book of what was signed, to be read; nil if nothing is.
func (a *App) Ledger() *ledger.Ledger {
	if a.signing == nil {
		return nil
	}
	return a.signing.ledger
}

// ready says why the sidecar is not ready, or nil. Proposals do not depend on
// the nodes, so neither does this.
func (a *App) ready() error {
	if a.stopping.Load() {
		return ErrShuttingDown.With("the sidecar is stopping")
	}
	if a.signing == nil {
		return nil
	}
	if err := a.signing.ledger.Poisoned(); err != nil {
		return err
	}
	// Who stands by is not ready: one address in front of several sidecars finds
	// the one that signs.
	if at := a.signing.ledger.Standing(); !at.Leads {
		return errors.Join(ledger.ErrLease.With("standing by"), at.Trouble)
	}
	return nil
}

// remarks say what a sidecar that is ready does not do.
func (a *App) remarks() (lines []string) {
	for _, o := range a.others() {
		if o.server.Addr() == nil {
			lines = append(lines, "its address cannot be listened on: "+o.name)
		}
	}
	if a.signing == nil {
		return nil
	}
	if h := a.signing.ledger.Hold(); h.Until > 0 && h.Until >= a.clock.Slot() {
		lines = append(lines, "the ledger holds: "+h.String())
	}
	if a.promises != nil {
		if err := a.promises.execution.Trouble(); err != nil {
			lines = append(lines, "nothing is promised: "+err.Error())
		}
	}
	return lines
}

// beaconNode makes a client of the beacon node.
func (a *App) beaconNode() (*beacon.Client, error) {
	return beacon.New(beacon.Config{
		URL: a.config.Beacon.URL, Spec: a.spec, Clock: a.clock, Log: a.log.With("part", "beacon"), Metrics: beacon.NewMetrics(a.metrics),
	})
}

// slots lets the Builder API see whether a block it handed over came to be.
type slots struct{ node *beacon.Client }

// Missed says whether a slot has no block.
func (s slots) Missed(ctx context.Context, slot phase0.Slot) (bool, error) {
	b, err := s.node.Block(ctx, slot)
	return b.Missed, err
}

// executionNode makes a client of an execution node that is asked now and then.
func (a *App) executionNode(url string) (*execution.Client, error) {
	return execution.New(execution.Config{URL: url, Spec: a.spec, Clock: a.clock, Log: a.log.With("part", "execution")})
}

// stateNode makes the client of the node, or the two, that promises rest upon.
func (a *App) stateNode() (*execution.Client, error) {
	return execution.New(execution.Config{
		URL: a.config.Execution.URL, SecondURL: a.config.Execution.SecondURL, Spec: a.spec, Clock: a.clock,
		Log: a.log.With("part", "execution"), Metrics: execution.NewMetrics(a.metrics),
	})
}

// parents lets the auction read parents from the execution node.
type parents struct{ node *execution.Client }
