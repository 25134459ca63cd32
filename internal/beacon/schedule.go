package beacon

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// errNotAsked is the state before the first answer.
var errNotAsked = ErrUnavailable.With("not asked yet")

// Schedule knows which of our validators propose in this epoch and the next. It
// follows the node: what the node last said holds until it expires, and a node
// of another chain empties it at once.
type Schedule struct {
	client *Client
	clock  *chain.Clock
	keys   func() []phase0.BLSPubKey
	wake   chan struct{} // cap 1: the dependent roots have changed

	mu       sync.RWMutex // over the fields below; Run writes, everybody reads
	epochs   map[phase0.Epoch]held
	state    error     // nil: the node is in sync; else why not
	polled   time.Time // when state was last learned
	previous headEvent // the last head
	head     phase0.Slot
	stale    bool  // the duties of every epoch must be asked again
	doubt    error // why they could not be, if they could not
}

// held is what the node last said of one epoch.
type held struct {
	Duties
	at     time.Time    // when it said so
	during phase0.Epoch // in which epoch that was
}

// NewSchedule makes a schedule of the proposers among keys, which is called at
// every question and must be quick.
func NewSchedule(client *Client, clock *chain.Clock, keys func() []phase0.BLSPubKey) *Schedule {
	return &Schedule{
		client: client, clock: clock, keys: keys, wake: make(chan struct{}, 1),
		epochs: map[phase0.Epoch]held{}, state: errNotAsked,
	}
}

// Proposer returns which of our validators proposes in a slot; false if none
// does, or if we do not know.
func (s *Schedule) Proposer(slot phase0.Slot) (phase0.BLSPubKey, phase0.ValidatorIndex, bool) {
	s.mu.RLock()
	h, ok := s.epochs[s.client.spec.Epoch(slot)]
	s.mu.RUnlock()
	if !ok || s.expired(h) {
		return phase0.BLSPubKey{}, 0, false
	}
	d, ok := h.of(slot)
	if !ok || !slices.Contains(s.keys(), d.Pubkey) {
		return phase0.BLSPubKey{}, 0, false
	}
	return d.Pubkey, d.Index, true
}

// Upcoming returns our duties from the running slot on, ascending.
func (s *Schedule) Upcoming() []Duty {
	ours, now := map[phase0.BLSPubKey]bool{}, s.clock.Slot()
	for _, k := range s.keys() {
		ours[k] = true
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var up []Duty
	for _, h := range s.epochs {
		if s.expired(h) {
			continue
		}
		for _, d := range h.Proposers {
			if d.Slot >= now && ours[d.Pubkey] {
				up = append(up, d)
			}
		}
	}
	slices.SortFunc(up, func(a, b Duty) int { return cmp.Compare(a.Slot, b.Slot) })
	return up
}

// Ready returns nil if promises may rest on this schedule: the node follows our
// chain, is in sync and not optimistic, and its duties for now are known.
// Faults: ErrUnavailable, ErrSyncing, ErrOtherChain, ErrBadAnswer.
func (s *Schedule) Ready() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.state != nil {
		return s.state
	}
	if age := s.clock.Now().Sub(s.polled); age > s.client.timeout+4*s.pollEvery() {
		return ErrUnavailable.With("no answer for %s", age.Round(time.Millisecond))
	}
	if h, ok := s.epochs[s.client.spec.Epoch(s.clock.Slot())]; !ok || s.expired(h) {
		return ErrUnavailable.With("duties are not known")
	}
	return s.doubt
}

// Head is the slot of the node's head, when it was last asked.
func (s *Schedule) Head() phase0.Slot {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.head
}

// expired says whether the node has been silent about an epoch for too long:
// one and a half epochs. Duties asked at one boundary thus live past the next.
func (s *Schedule) expired(h held) bool {
	spec := s.client.spec
	return s.clock.Now().Sub(h.at) > time.Duration(spec.SlotsPerEpoch)*spec.SlotDuration*3/2 // #nosec G115 -- small
}

// pollEvery is how often the node's health is asked: a node that begins to sync
// stops our promises within a second.
func (s *Schedule) pollEvery() time.Duration { return min(time.Second, s.client.spec.SlotDuration/2) }

// running is what Run remembers from step to step.
type running struct {
	checked   bool // this node follows our chain
	dutiesBad bool // said so in the log
}

// Run keeps the schedule until ctx ends, and then returns nil.
func (s *Schedule) Run(ctx context.Context) error {
	var streams sync.WaitGroup
	streams.Go(func() { s.client.follow(ctx, s.onHead) })
	defer streams.Wait()
	var wait backoff
	var r running
	for ctx.Err() == nil {
		err := s.step(ctx, &r)
		if ctx.Err() != nil {
			return nil
		}
		pause := s.pollEvery()
		if err == nil || errors.Is(err, ErrSyncing) {
			wait.reset()
		} else {
			pause = wait.next(err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.wake:
		}
		timer.Stop()
	}
	return nil
}

// onHead notes a head. A change of the roots that duties depend on, by a new
// epoch or a reorganisation, makes every epoch worth asking again.
func (s *Schedule) onHead(h headEvent) {
	s.mu.Lock()
	changed := h.PreviousRoot != s.previous.PreviousRoot || h.CurrentRoot != s.previous.CurrentRoot
	s.previous = h
	s.stale = s.stale || changed
	s.mu.Unlock()
	if changed {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// step asks the node what has to be asked now. Bad duties alone do not make the
// node bad: the old ones hold until they expire, unless a head has put them in
// doubt.
func (s *Schedule) step(ctx context.Context, r *running) error {
	err := s.health(ctx, r)
	var dutiesErr error
	if err == nil {
		dutiesErr = s.refresh(ctx)
	}
	if ctx.Err() != nil {
		return err
	}
	if dutiesErr != nil && !r.dutiesBad {
		s.client.log.Warn("Proposer duties are not known", "error", dutiesErr)
	}
	r.dutiesBad = dutiesErr != nil
	s.mu.Lock()
	before := s.state
	s.state, s.polled = err, s.clock.Now()
	if errors.Is(err, ErrOtherChain) {
		clear(s.epochs) // what that node said was about another chain
	}
	s.mu.Unlock()
	if (before == nil) != (err == nil) {
		if err != nil {
			s.client.log.Warn("Beacon node is not ready", "error", err)
		} else {
			s.client.log.Info("Beacon node is ready")
		}
	}
	s.client.metrics.setReady(err)
	if err == nil {
		err = dutiesErr
	}
	if err != nil && !errors.Is(err, ErrSyncing) {
		r.checked = false // behind the same address there may be another node next time
	}
	return err
}

// health asks whether the node is one to rely on.
func (s *Schedule) health(ctx context.Context, r *running) error {
	if !r.checked {
		if err := s.client.Check(ctx); err != nil {
			return err
		}
		r.checked = true
	}
	n, err := s.client.Syncing(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.head = n.HeadSlot
	s.mu.Unlock()
	now := s.clock.Slot()
	switch {
	case n.Syncing || n.Optimistic || n.ELOffline:
		return ErrSyncing.With("syncing %t, optimistic %t, execution offline %t", n.Syncing, n.Optimistic, n.ELOffline)
	case n.HeadSlot > now+1:
		return ErrUnavailable.With("head %d is ahead of our clock, %d", n.HeadSlot, now)
	case uint64(n.HeadSlot)+s.client.spec.SlotsPerEpoch < uint64(now):
		return ErrSyncing.With("head %d is more than an epoch behind %d", n.HeadSlot, now)
	}
	return nil
}

// refresh asks for the duties of this epoch and the next where they are missing,
// older than the epoch boundary, or doubtful.
func (s *Schedule) refresh(ctx context.Context) error {
	now := s.client.spec.Epoch(s.clock.Slot())
	s.mu.Lock()
	all := s.stale
	s.stale = false // a head that comes from here on marks it again
	s.mu.Unlock()
	err := s.ask(ctx, now, all)
	if nextErr := s.ask(ctx, now+1, all); err == nil {
		err = nextErr
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doubt = nil; err != nil && all {
		s.stale, s.doubt = true, err // asked again, whatever epoch we are in by then
	}
	for epoch := range s.epochs {
		if epoch+1 < now { // the epoch before is kept: its last slots may still be asked about
			delete(s.epochs, epoch)
		}
	}
	return err
}

// ask asks for one epoch, if it is due or again is set. An answer replaces the
// old one whole; an error leaves it.
func (s *Schedule) ask(ctx context.Context, epoch phase0.Epoch, again bool) error {
	during := s.client.spec.Epoch(s.clock.Slot())
	s.mu.RLock()
	old, ok := s.epochs[epoch]
	s.mu.RUnlock()
	if ok && old.during == during && !again {
		return nil
	}
	d, err := s.client.ProposerDuties(ctx, epoch)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.epochs[epoch] = held{d, s.clock.Now(), during}
	s.mu.Unlock()
	if ok && old.DependentRoot != d.DependentRoot {
		s.client.log.Info("Proposer duties changed", "epoch", uint64(epoch), "dependent_root", d.DependentRoot.String())
	}
	return nil
}
