package app

import (
	"context"
	"net"

	"golang.org/x/sync/errgroup"

	"sidecar/fault"
)

// ErrShuttingDown is why a stopping sidecar is not ready.
var ErrShuttingDown = fault.Define("shutting_down", fault.Unavailable, "The sidecar is stopping and takes nothing new.")

// Run serves until ctx ends, then stops in order: ready turns 503, the gateway
// closes, the block of a served header is awaited, the servers drain, the loops
// end, the ledger closes. It is journey g.
func (a *App) Run(ctx context.Context) error {
	defer a.Close()
	if err := a.relays.table.Load(ctx); err != nil {
		return err
	}
	if err := a.Listen(); err != nil {
		return err
	}
	a.listening.Store(true)
	// Nothing below hangs on ctx itself: what is under way is finished first.
	root := context.WithoutCancel(ctx)
	public, closePublic := context.WithCancel(root)
	defer closePublic()
	work, stopWork := context.WithCancel(root)
	defer stopWork()
	builder, closeBuilder := context.WithCancel(root)
	defer closeBuilder()

	g, failed := errgroup.WithContext(root)
	a.serve(g, builder, public, work)
	a.startChildren(work, g)
	a.log.Info("Sidecar is running", "version", a.version, "chain", a.spec.Name, "relays", len(a.relays.all),
		"builder", text(a.BuilderAddr()), "gateway", text(a.GatewayAddr()), "wallet", text(a.WalletAddr()), "signer", text(a.SignerAddr()), "metrics", text(a.AdminAddr()))
	if a.onStart != nil {
		a.onStart()
	}

	select {
	case <-ctx.Done():
	case <-failed.Done(): // a part gave up; Wait says which and why
	}
	a.stopping.Store(true)
	a.log.Info("Stopping")
	if a.promises != nil {
		a.promises.gateway.Drain() // searchers hear why, until the listener closes
	}
	if a.wallet != nil {
		a.wallet.Drain()
	}
	drain, cancel := context.WithTimeout(root, a.spec.SlotDuration*3/2) // the next slot may have promises
	a.builder.Drain(drain)
	cancel()
	closePublic()
	closeBuilder()
	stopWork()
	err := g.Wait()
	a.builder.Close()
	a.log.Info("Stopped")
	return err
}

// serve starts the listeners and the loops; the Builder API ends last.
func (a *App) serve(g *errgroup.Group, builder, public, work context.Context) {
	g.Go(func() error { return a.servers.builder.Run(builder) })
	for _, o := range a.others() {
		until := public
		if o.server == a.servers.admin { // it tells of the stop
			until = work
		}
		g.Go(func() error { return a.attend(until, o) })
	}
	g.Go(func() error {
		if err := recovered(func() error { return a.relays.table.Run(work) }); err != nil && work.Err() == nil {
			a.log.Error("Muxes are refreshed no more", "detail", err.Error())
		}
		return nil
	})
	if a.promises != nil {
		a.promises.run(work, g)
	}
}

// text is an address for the log, empty without a listener.
func text(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return addr.String()
}
