// Package simnet is a whole chain in one process, for tests and for cmd/devnet:
// an execution node (geth, as a library), a beacon node with a toy consensus,
// relays, builders, a proposer and a searcher. Each is a real server or client
// with real keys on a port of the loopback interface, and each can be made
// slow, wrong, silent or lying while it runs. Keys and schedules follow from a
// seed. It does not start the sidecar: it is given the sidecar's URLs.
//
// Slots last at least one second: an execution block's timestamp is the start
// of its slot in whole seconds, and must be above its parent's.
package simnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"sidecar/chain"
	"sidecar/commitments"
)

// Options describe a chain. The zero value is one of Fulu with one validator,
// one relay that honours constraints, one builder, and slots of 2 s.
type Options struct {
	Seed          string        // default "simnet"; same seed, same keys and schedule
	Fork          chain.Fork    // Deneb, Electra or Fulu, from genesis; default Fulu
	SlotDuration  time.Duration // whole seconds; default 2 s
	SlotsPerEpoch uint64        // default 8
	ChainID       uint64        // default 1337
	GenesisDelay  time.Duration // at least this long until slot 0 begins; default 500 ms
	Validators    int           // all of them propose; default 1
	Accounts      int           // prefunded; default 4

	Relays   []RelayOptions   // nil: one, which honours constraints
	Builders []BuilderOptions // nil: one; empty: none
	// BuildLead is how long before a slot builders read constraints and build.
	// What is sent later than that is not in the block. Default a quarter of a slot.
	BuildLead time.Duration

	SSZ           bool          // the proposer speaks SSZ instead of JSON
	Offset        time.Duration // into the slot, when the proposer begins; default 20 ms
	HeaderTimeout time.Duration // default 1 s, at most 60 % of a slot

	Log *slog.Logger // default: none
}

// Net is a running chain.
type Net struct {
	Spec      chain.Spec
	Clock     *chain.Clock
	Execution *Execution
	Beacon    *Beacon
	Relays    []*Relay
	Builders  []*Builder
	Proposer  *Proposer
	Searcher  *Searcher

	Validators []Validator
	Accounts   []Account // with 1,000,000 ETH each

	cancel context.CancelFunc
	work   sync.WaitGroup
	stop   sync.Once
}

func (o Options) withDefaults() (Options, error) {
	o.Seed = cmp.Or(o.Seed, "simnet")
	o.Fork = cmp.Or(o.Fork, chain.Fulu)
	o.SlotDuration = cmp.Or(o.SlotDuration, 2*time.Second)
	o.SlotsPerEpoch = cmp.Or(o.SlotsPerEpoch, 8)
	o.ChainID = cmp.Or(o.ChainID, 1337)
	o.GenesisDelay = cmp.Or(o.GenesisDelay, 500*time.Millisecond)
	o.Validators = max(o.Validators, 1)
	o.Accounts = max(cmp.Or(o.Accounts, 4), 1)
	o.BuildLead = cmp.Or(o.BuildLead, o.SlotDuration/4)
	o.Offset = cmp.Or(o.Offset, 20*time.Millisecond)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, min(time.Second, o.SlotDuration*6/10))
	if o.Relays == nil {
		o.Relays = []RelayOptions{{Constraints: true}}
	}
	if o.Builders == nil {
		o.Builders = []BuilderOptions{{}}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case !o.Fork.Served():
		return o, fmt.Errorf("simnet: fork %s", o.Fork)
	case o.SlotDuration < time.Second || o.SlotDuration%time.Second != 0:
		return o, errors.New("simnet: slots last whole seconds")
	}
	return o, nil
}

// Start starts a chain whose genesis is a moment ahead. It runs until Stop, or
// until ctx ends; Stop must be called in either case.
func Start(ctx context.Context, o Options) (*Net, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Net{Spec: newSpec(o)}
	n.Clock = chain.NewClock(n.Spec, nil)
	ctx, n.cancel = context.WithCancel(ctx)
	if err := n.start(ctx, o); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

// newSpec chooses genesis: the first whole second after the delay.
func newSpec(o Options) chain.Spec {
	now := chain.NewClock(chain.Spec{}, nil).Now()
	s := chain.Spec{
		Name: "simnet", ChainID: o.ChainID, GenesisTime: now.Add(o.GenesisDelay + time.Second - 1).Truncate(time.Second),
		GenesisForkVersion: forkVersion(chain.Phase0), SlotDuration: o.SlotDuration, SlotsPerEpoch: o.SlotsPerEpoch,
		Blobs: []chain.BlobsAt{{Epoch: 0, Max: 6}},
	}
	for f := chain.Phase0; f <= o.Fork; f++ {
		s.Forks = append(s.Forks, chain.ForkAt{Fork: f})
	}
	if o.Fork >= chain.Electra {
		s.Blobs[0].Max = 9
	}
	return s
}

func (n *Net) start(ctx context.Context, o Options) error {
	n.fund(o)
	if err := n.startExecution(o); err != nil {
		return err
	}
	n.Beacon = &Beacon{
		spec: n.Spec, fork: o.Fork, seed: o.Seed, validatorsRoot: derive(o.Seed, "validators root", 0),
		validators: n.Validators, el: n.Execution,
	}
	if err := n.Beacon.listen(ctx, n.Clock, n.Beacon.endpoints()); err != nil {
		return err
	}
	if err := n.Beacon.init(); err != nil {
		return err
	}
	for i, ro := range o.Relays {
		r := newRelay(ro, o.Seed, i, n.Beacon, o.Log)
		n.Relays = append(n.Relays, r)
		if err := r.listen(ctx, n.Clock, r.endpoints()); err != nil {
			return err
		}
	}
	for i, bo := range o.Builders {
		b, err := n.newBuilder(o, bo, i)
		if err != nil {
			return err
		}
		n.Builders = append(n.Builders, b)
		n.work.Go(func() { b.run(ctx) })
	}
	n.Proposer = &Proposer{
		beacon: n.Beacon, el: n.Execution, opts: o, client: newClient(), relays: n.Relays,
		log: o.Log, kicked: make(chan struct{}), changed: make(chan struct{}),
	}
	n.Searcher = &Searcher{Account: n.Accounts[0], net: n, client: newClient()}
	n.work.Go(func() { n.Beacon.tick(ctx) })
	n.work.Go(func() { n.Proposer.run(ctx) })
	n.work.Go(func() { n.Proposer.runRegistrar(ctx) })
	return nil
}

// fund makes the keys of validators and accounts.
func (n *Net) fund(o Options) {
	for i := range o.Validators {
		k := blsKey(o.Seed, "validator", uint64(i)) // #nosec G115 -- an index
		n.Validators = append(n.Validators, Validator{
			Index: phase0.ValidatorIndex(i), Key: k, Pubkey: k.PublicKey(), // #nosec G115 -- an index
			FeeRecipient: newAccount(o.Seed, "fee recipient", uint64(i)).Address, // #nosec G115 -- an index
		})
	}
	for i := range o.Accounts {
		n.Accounts = append(n.Accounts, newAccount(o.Seed, "funded", uint64(i))) // #nosec G115 -- an index
	}
}

// startExecution funds accounts, builders and fee recipients, and starts geth.
func (n *Net) startExecution(o Options) (err error) {
	rich := new(big.Int).Mul(big.NewInt(1_000_000), big.NewInt(params.Ether))
	alloc := types.GenesisAlloc{}
	for _, a := range n.Accounts {
		alloc[a.Address] = types.Account{Balance: rich}
	}
	for i := range o.Builders {
		alloc[newAccount(o.Seed, "builder", uint64(i)).Address] = types.Account{Balance: rich} // #nosec G115 -- an index
	}
	n.Execution, err = startExecution(n.Spec, o.Fork, alloc, nil)
	return err
}

func (n *Net) newBuilder(o Options, bo BuilderOptions, i int) (*Builder, error) {
	if bo.Name == "" {
		bo.Name = fmt.Sprintf("builder-%d", i)
	}
	if len(bo.Name) > 32 {
		return nil, errors.New("simnet: the name of a builder is its extra data, at most 32 bytes")
	}
	b := &Builder{
		Name: bo.Name, Account: newAccount(o.Seed, "builder", uint64(i)), key: blsKey(o.Seed, "builder", uint64(i)), // #nosec G115 -- an index
		beacon: n.Beacon, el: n.Execution, lead: o.BuildLead, client: newClient(), log: o.Log.With("builder", bo.Name), knobs: bo.Knobs,
	}
	if bo.Relays == nil {
		b.relays = n.Relays
	}
	for _, at := range bo.Relays {
		if at < 0 || at >= len(n.Relays) {
			return nil, fmt.Errorf("simnet: builder %s wants relay %d", bo.Name, at)
		}
		b.relays = append(b.relays, n.Relays[at])
	}
	return b, nil
}

// Stop ends everything and waits for it. Some goroutines of geth's own outlive
// it: see GethLeaks.
func (n *Net) Stop() (err error) {
	n.stop.Do(func() {
		n.cancel()
		n.work.Wait()
		if n.Searcher != nil {
			n.Searcher.client.CloseIdleConnections()
			n.Proposer.client.CloseIdleConnections()
		}
		for _, r := range n.Relays {
			r.stop()
		}
		if n.Beacon != nil {
			n.Beacon.close()
		}
		if n.Execution != nil {
			err = n.Execution.stop()
		}
	})
	return err
}

// SetBuilderURL gives the proposer its builder: the sidecar, or a relay. It
// registers there at once; "" means none.
func (n *Net) SetBuilderURL(url string) { n.Proposer.setBuilderURL(url) }

// SetGatewayURL tells the searcher where commitments are asked for.
func (n *Net) SetGatewayURL(url string) { n.Searcher.setGateway(url) }

// ProposerOf returns who proposes in a slot.
func (n *Net) ProposerOf(slot phase0.Slot) Validator { return n.Beacon.proposer(slot) }

// Delegate signs a delegation of a slot from its proposer to a key, as a second
// machine with the proposer's key would; forged, with another key.
func (n *Net) Delegate(slot phase0.Slot, to phase0.BLSPubKey, committer bellatrix.ExecutionAddress, forged bool) (commitments.SignedDelegation, error) {
	who := n.ProposerOf(slot)
	d := commitments.SignedDelegation{
		Message: commitments.Delegation{Proposer: who.Pubkey, Delegate: to, Committer: committer, Slot: slot}, Nonce: 1, SigningID: phase0.Root{0x77},
	}
	root, err := d.Message.Root()
	key := who.Key
	if forged {
		key = blsKey("forger", "validator", 0)
	}
	domain := domain(chain.DomainCommitBoost, n.Spec.GenesisForkVersion, phase0.Root{})
	d.Signature = key.Sign(commitments.SigningRoot(domain, n.Spec.ChainID, root, d.SigningID, d.Nonce))
	return d, err
}

// WaitSlot waits until a slot begins.
func (n *Net) WaitSlot(ctx context.Context, slot phase0.Slot) error {
	if d := n.Clock.Until(n.Clock.Start(slot)); d > 0 && !pause(ctx, d) {
		return ctx.Err()
	}
	return nil
}

// Outcomes returns what became of every slot so far, in order, from slot 1 on.
func (n *Net) Outcomes() []Outcome {
	n.Proposer.mu.Lock()
	defer n.Proposer.mu.Unlock()
	return append([]Outcome(nil), n.Proposer.outcomes...)
}

// WaitOutcome waits for the first outcome that is good, among past and coming.
func (n *Net) WaitOutcome(ctx context.Context, good func(Outcome) bool) (Outcome, error) {
	for seen := 0; ; {
		n.Proposer.mu.Lock()
		all, changed := n.Proposer.outcomes, n.Proposer.changed
		n.Proposer.mu.Unlock()
		for _, o := range all[seen:] {
			if good(o) {
				return o, nil
			}
		}
		seen = len(all)
		select {
		case <-ctx.Done():
			return Outcome{}, fmt.Errorf("wait for an outcome: %w", ctx.Err())
		case <-changed:
		}
	}
}

// OutcomeOf waits for the outcome of one slot.
func (n *Net) OutcomeOf(ctx context.Context, slot phase0.Slot) (Outcome, error) {
	return n.WaitOutcome(ctx, func(o Outcome) bool { return o.Slot == slot })
}

// Transactions returns the transactions of a slot's block, nil if it was missed.
func (n *Net) Transactions(slot phase0.Slot) types.Transactions {
	if hash, ok := n.Beacon.BlockHash(slot); ok {
		return n.Execution.Block(common.Hash(hash)).Transactions()
	}
	return nil
}

// GethLeaks names the functions of geth that keep a goroutine after its node
// is closed, for goleak.IgnoreAnyFunction.
func GethLeaks() []string {
	return []string{
		"github.com/ethereum/go-ethereum/eth/catalyst.(*ConsensusAPI).heartbeat", // one a node, for ever
		"github.com/ethereum/go-ethereum/core.(*txSenderCacher).cache",           // a few a process, for ever
		"github.com/syndtr/goleveldb/leveldb.(*DB).mpoolDrain",                   // one a node, for a second
	}
}
