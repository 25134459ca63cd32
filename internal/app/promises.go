package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/errgroup"

	"sidecar/builderapi"
	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/commitments/gateway"
	"sidecar/fault"
	"sidecar/internal/beacon"
	"sidecar/internal/config"
	"sidecar/internal/events"
	"sidecar/internal/execution"
	"sidecar/internal/ledger"
	"sidecar/modules"
	"sidecar/signer"
	"sidecar/slashing"
)

// ErrNoProxy says what to do about it.
var ErrNoProxy = fault.Define("proxy_missing", fault.Unavailable, "The module has no proxy key; sidecar init makes one.")

// ErrNoCommitter is met after an update from a version without committers.
var ErrNoCommitter = fault.Define("committer_missing", fault.Unavailable, "The module has no ECDSA proxy key to sign commitments with; sidecar init makes one, and leaves the ledger and the other keys as they are.")

// GatewaySigningID sets delegations, promises and constraints messages apart from
// every module's signatures. It is fixed for ever: contracts know it.
var GatewaySigningID = phase0.Root(sha256.Sum256([]byte("sidecar/gateway/v1")))

// promises is everything a sidecar needs to make promises and keep them.
type promises struct {
	ledger    *ledger.Ledger
	signer    *signer.Signer
	schedule  schedule
	execution *execution.Client
	events    *events.Log
	watcher   *watcher
	list      []modules.Module
	modules   modules.Module // the list as one
	gateway   *gateway.Gateway
	auditor   *slashing.Auditor
	stake     *stake // nil without [gateway.collateral]
	clock     *chain.Clock
	log       func(msg string, args ...any)
}

// schedule also finds a validator by its index, for blocks of before a restart.
type schedule struct{ *beacon.Schedule }

// Pubkey returns the key of one of our proposers.
func (s schedule) Pubkey(index phase0.ValidatorIndex) (phase0.BLSPubKey, bool) {
	for _, d := range s.Upcoming() {
		if d.Index == index {
			return d.Pubkey, true
		}
	}
	return phase0.BLSPubKey{}, false
}

// newPromises dials nothing. What fails closes what was opened before.
func newPromises(a *App) (p *promises, err error) {
	p = &promises{clock: a.clock, log: a.log.With("part", "app").Warn, ledger: a.signing.ledger, signer: a.signing.signer}
	defer func(opened *promises) { // p is nil by then
		if err != nil {
			opened.close()
		}
	}(p)
	if p.execution, err = a.stateNode(); err != nil {
		return nil, err
	}
	consensus := a.signing.keys.consensus
	p.schedule = schedule{beacon.NewSchedule(a.beacon, a.clock, func() []phase0.BLSPubKey { return consensus })}
	if err = p.makeEvents(a); err != nil {
		return nil, err
	}
	if err = p.makeModules(a); err != nil {
		return nil, err
	}
	who, err := a.signing.keys.party(promising(a.config))
	if err != nil {
		return nil, err
	}
	a.signing.policy = append(a.signing.policy, p.policy(consensus, promisers(a.config.Gateway, who)))
	if err = p.makeGateway(a, who); err != nil {
		return nil, err
	}
	p.auditor, err = slashing.New(slashing.Config{
		Clock: a.clock, Spec: a.spec, Book: p.ledger, Signer: p.signer, Module: p.modules, Beacon: a.beacon, Execution: p.execution,
		Store: slashing.NewStore(filepath.Join(a.config.Data.Path, "audit")),
		After: a.config.Audit.AfterSlots, Log: a.log.With("part", "audit"), Metrics: slashing.NewMetrics(a.metrics),
	})
	return p, err
}

// policy grants what journey d needs and nothing else: a module may promise with
// the proxies that promise, the gateway close pages with those of BLS, sign quotes
// with those of ECDSA, and delegate with the consensus keys. Nobody else has these
// proxies. What is asked most comes first.
func (p *promises) policy(consensus []phase0.BLSPubKey, promisers []commitments.Key) (grants signer.Grants) {
	for _, key := range promisers {
		for _, m := range p.list {
			grants = append(grants, signer.Grant{Module: m.Info().ID, Kind: ledger.KindCommitment, Key: key})
		}
		kind := ledger.KindConstraints
		if key.IsECDSA() {
			kind = ledger.KindQuote
		}
		grants = append(grants, signer.Grant{Module: "gateway", Kind: kind, Key: key})
	}
	for _, key := range consensus {
		grants = append(grants, signer.Grant{Module: "gateway", Kind: ledger.KindDelegation, Key: commitments.BLSKey(key)})
	}
	return grants
}

// promisers are the proxies that promise: the default, and those of some validators.
func promisers(g *config.Gateway, otherwise gateway.Party) []commitments.Key {
	all := []commitments.Key{commitments.ECDSAKey(otherwise.Committer), commitments.BLSKey(otherwise.Delegate)}
	if g == nil {
		return all
	}
	for i := range g.Committers {
		c := &g.Committers[i]
		for _, key := range []commitments.Key{commitments.ECDSAKey(c.Address), commitments.BLSKey(c.Delegate)} {
			if !key.IsZero() && !slices.Contains(all, key) {
				all = append(all, key)
			}
		}
	}
	return all
}

// quoter signs quotes; the policy says with which keys.
type quoter struct{ signer *signer.Signer }

// Quote implements gateway.Quoter.
func (q quoter) Quote(ctx context.Context, committer bellatrix.ExecutionAddress, quote commitments.Quote) (commitments.SignedQuote, error) {
	return q.signer.Quote(ctx, "gateway", commitments.ECDSAKey(committer), quote)
}

func (p *promises) makeGateway(a *App, who gateway.Party) (err error) {
	g := a.config.Gateway
	if g == nil {
		p.log("Modules but no [gateway]: nobody can ask for a promise")
		g = config.DefaultGateway()
	}
	access, err := gatewayAccess(&g.Access)
	if err != nil {
		return err
	}
	targets := a.relays.allTargets()
	most := g.MaxUnproven
	if most == 0 {
		most = -1
	}
	parties, err := a.parties(g, who)
	if err != nil {
		return err
	}
	if len(g.Slashers) == 0 {
		a.log.Warn("A request may name any contract as its slasher: list yours in [gateway] slashers before a key is registered where that contract is believed")
	}
	p.stake = newStake(a, g)
	p.gateway, err = gateway.New(gateway.Config{
		Spec: a.spec, Clock: a.clock, Lead: g.Lead, PostsEnd: g.PostsEnd, MinAcks: g.MinAcks, MaxUnproven: most, MaxCount: g.MaxCommitments,
		Limit:      commitments.Cost{Gas: gasLimit * uint64(g.MaxGasPercent) / 100, Blobs: g.MaxBlobs, Bytes: g.MaxBytes}, // #nosec G115 -- validated
		GasPercent: uint64(g.MaxGasPercent), Head: p.execution.Latest,                                                     // #nosec G115 -- validated
		Modules: func() []modules.Module { return p.list },
		Signer:  p.signer, Schedule: p.schedule, Views: p.ledger,
		Targets: func() []gateway.Target { return targets }, TargetsFor: a.relays.targetsFor,
		Exclusive: a.exclusive(g), Parties: parties, Slashers: g.Slashers, ReceiversFor: a.receivers(g), Collateral: p.stake.known, SignatureForm: commitments.SignatureForm(g.SignatureForm),
		Delegate: who.Delegate, Committer: who.Committer, SigningID: GatewaySigningID,
		Quoter: quoter{p.signer}, Holds: func(slot phase0.Slot) bool { h := p.ledger.Hold(); return h.Until > 0 && slot <= h.Until },
		Events: p.events, MaxRequests: g.Access.MaxRequests, MaxSubscribers: g.Access.MaxSubscribers, Access: access,
		Log: a.log.With("part", "gateway"), Metrics: gateway.NewMetrics(a.metrics),
	})
	return err
}

// gasLimit is what max_gas_percent is a share of before the execution node has
// told one: the smallest any of the networks has had since Fulu.
const gasLimit = 30_000_000

// run starts the loops that promises need. None of them may end the program:
// proposals go on without them.
func (p *promises) run(ctx context.Context, g *errgroup.Group) {
	loop := func(name string, f func(context.Context) error) {
		g.Go(func() error { keep(ctx, name, p.log, f); return nil })
	}
	loop("schedule", p.schedule.Run)
	loop("execution", p.execution.Run)
	loop("gateway", p.gateway.Run)
	loop("audit", p.auditor.Run)
	loop("events", p.events.Run)
	if p.stake != nil {
		loop("collateral", p.stake.run)
	}
	loop("watch", p.watcher.Run)
	for _, m := range p.list {
		if r, ok := modules.RunnerOf(m); ok {
			loop("module "+m.Info().ID, r.Run)
		}
	}
}

// keep runs f until ctx ends, and again whenever it ends before. A panic ends it
// like an error.
func keep(ctx context.Context, name string, log func(msg string, args ...any), f func(context.Context) error) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		err := recovered(func() error { return f(ctx) })
		if ctx.Err() != nil {
			return
		}
		log("A loop ended and is started again", "loop", name, "reason", fault.Code(err), "detail", fmt.Sprint(err))
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

func recovered(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// heard publishes the bids of an auction, for modules.
func (p *promises) heard(id commitments.PageID, bids []builderapi.Bid) {
	for i := range bids {
		b := &bids[i]
		p.events.Publish(modules.Event{
			Kind: modules.EventBid, Slot: id.Slot, Proposer: id.Proposer, BlockHash: b.BlockHash, Relay: b.Relay,
			ValueWei: b.Value.Dec(), Refused: b.Refused,
		})
	}
}

// served notes a header that was handed out, for modules and, on a page with
// promises, in the ledger.
func (p *promises) served(id commitments.PageID, hash phase0.Hash32, relay string) {
	p.events.Publish(modules.Event{Kind: modules.EventHeaderServed, Slot: id.Slot, Proposer: id.Proposer, BlockHash: hash, Relay: relay})
	page := p.ledger.Page(id)
	if page.Empty() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	note := ledger.Entry{Kind: ledger.KindHeaderServed, Module: "builder", Note: map[string]string{
		"block_hash": hash.String(), "relay": relay, "at_ms": strconv.FormatInt(p.clock.Now().UnixMilli(), 10),
	}}
	if err := p.signer.Note(ctx, id, note); err != nil {
		p.log("The served header is not in the ledger", "reason", fault.Code(err))
	}
}

// unserved notes, on a page with promises, that the beacon node was left to
// build its own block.
func (p *promises) unserved(id commitments.PageID, why string) {
	page := p.ledger.Page(id)
	known := func(n commitments.Note) bool {
		return n.What["outcome"] == gateway.OutcomeNoSafeBlock && n.What["reason"] == why
	}
	if page.Empty() || slices.ContainsFunc(page.Notes, known) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	note := ledger.Entry{Kind: ledger.KindReceipt, Module: "builder", Note: map[string]string{
		"outcome": gateway.OutcomeNoSafeBlock, "reason": why, "at_ms": strconv.FormatInt(p.clock.Now().UnixMilli(), 10),
	}}
	if err := p.signer.Note(ctx, id, note); err != nil {
		p.log("That no header was served is not in the ledger", "reason", fault.Code(err))
	}
}

// owed says whether there are promises for a slot.
func (p *promises) owed(slot phase0.Slot) bool {
	return slices.ContainsFunc(p.ledger.Pages(slot), func(page commitments.Page) bool { return page.Slot == slot && !page.Empty() })
}

// close ends what may be open. It may be called on a half-made value.
func (p *promises) close() {
	if p.execution != nil {
		p.execution.Close()
	}
}

// Parent reads what bids are compared with.
func (p parents) Parent(ctx context.Context, hash phase0.Hash32) (builderapi.Parent, error) {
	found, err := p.node.Parent(ctx, hash)
	return builderapi.Parent{Number: found.Number, GasLimit: found.GasLimit}, err
}
