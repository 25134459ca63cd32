package execution

import (
	"context"
	"errors"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"
	"golang.org/x/sync/singleflight"

	"sidecar/chain"
	"sidecar/modules"
)

// When Run asks for the head.
const (
	pollEvery = headLife / 2
	idleAfter = time.Minute // after the last caller; the next one begins it again
)

// Head returns the latest block, at most half a second old; of two nodes, the one
// both have. Faults: ErrUnavailable, ErrBadAnswer, ErrRefused, ErrBehind,
// ErrLagging, ErrDisagree.
func (c *Client) Head(ctx context.Context) (modules.Head, error) {
	now := c.clock.Now()
	c.mu.Lock()
	head, at := c.head, c.headAt
	c.askedAt = now
	c.mu.Unlock()
	if age := now.Sub(at); !at.IsZero() && age >= 0 && age < headLife {
		return head, nil
	}
	return share(ctx, &c.flights, "head", func() (modules.Head, error) { return c.refresh(ctx) })
}

// Latest returns the last head that was read, without asking for it, and whether
// there is one. It may be of any age.
func (c *Client) Latest() (modules.Head, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head, !c.headAt.IsZero()
}

// Trouble says why heads and accounts could not be told when they were last asked
// for; nil if they could. It asks no node.
func (c *Client) Trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

// Run keeps the head, and the accounts asked for lately, at hand, until ctx ends:
// then no caller has to wait for a node. It rests while nobody asks.
func (c *Client) Run(ctx context.Context) error {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		c.mu.Lock()
		asked := c.askedAt
		c.mu.Unlock()
		if asked.IsZero() || c.clock.Now().Sub(asked) > idleAfter {
			continue
		}
		_, _ = share(ctx, &c.flights, "head", func() (modules.Head, error) { return c.refresh(ctx) })
	}
}

// refresh reads the head and, at a new one, the accounts in use, and remembers
// both. The accounts may be missing; callers then ask for them.
func (c *Client) refresh(ctx context.Context) (modules.Head, error) {
	head, err := c.agreed(ctx)
	c.metrics.agree(err)
	if err != nil {
		c.mu.Lock()
		c.trouble = err
		c.mu.Unlock()
		return modules.Head{}, err
	}
	c.mu.Lock()
	same := head.Hash == c.head.Hash
	if same {
		c.head, c.headAt, c.trouble = head, c.clock.Now(), nil
	}
	c.mu.Unlock()
	if same {
		return head, nil
	}
	next := c.prefetch(ctx, head)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head, c.headAt, c.trouble, c.accounts = head, c.clock.Now(), nil, next
	return head, nil
}

// agreed reads the head of every node.
func (c *Client) agreed(ctx context.Context) (modules.Head, error) {
	head, its, err := both(c, func(node *Client) (modules.Head, error) { return node.latest(ctx) })
	switch {
	case err != nil:
		return modules.Head{}, err
	case head.Number != its.Number:
		return modules.Head{}, ErrLagging.With("one is at block %d, the other at %d", head.Number, its.Number)
	case head.Hash != its.Hash:
		return modules.Head{}, ErrDisagree.With("about block %d", head.Number)
	case head.Blobs.Known() && its.Blobs.Known() && (head.Blobs != its.Blobs || head.NextBlobs != its.NextBlobs || head.NextBlobsSlot != its.NextBlobsSlot):
		return modules.Head{}, ErrDisagree.With("about the blob schedule")
	}
	if slot := c.clock.Slot(); slot > head.Slot+maxBehind {
		return modules.Head{}, ErrBehind.With("slot %d in slot %d", head.Slot, slot)
	}
	return head, nil
}

// both asks the node, and the second at the same time if there is one; with one
// node its answer stands for both.
func both[T any](c *Client, ask func(node *Client) (T, error)) (first, second T, err error) {
	if c.second == nil {
		first, err = ask(c)
		return first, first, err
	}
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := ask(c.second)
		done <- answer{v, err}
	}()
	first, err = ask(c)
	a := <-done // ends with its own deadline
	if err == nil && a.err != nil {
		err = a.err
	}
	return first, a.value, err
}

// latest reads this node's head.
func (c *Client) latest(ctx context.Context) (modules.Head, error) {
	h, err := c.header(ctx, "eth_getBlockByNumber", "latest")
	if errors.Is(err, ErrUnknownBlock) {
		err = ErrUnavailable.With("the node has no head")
	}
	if err != nil {
		return modules.Head{}, err
	}
	if h.BaseFee == nil {
		return modules.Head{}, ErrBadAnswer.With("head without base fee")
	}
	base, over := uint256.FromBig(h.BaseFee)
	if over {
		return modules.Head{}, ErrBadAnswer.With("base fee")
	}
	head := modules.Head{
		Number: h.Number.Uint64(), Hash: phase0.Hash32(h.Hash()), Slot: c.slotAt(h.Time), Timestamp: h.Time,
		GasLimit: h.GasLimit, GasUsed: h.GasUsed, BaseFee: *base,
	}
	if h.ExcessBlobGas != nil {
		head.ExcessBlobGas = *h.ExcessBlobGas
	}
	s := c.schedule(ctx)
	head.Blobs, head.NextBlobs = s.current, s.next
	if s.next.Known() {
		head.NextBlobsSlot = c.slotAt(s.nextAt)
		if head.Timestamp >= s.nextAt { // it came since the node was asked
			head.Blobs, head.NextBlobs, head.NextBlobsSlot = s.next, chain.BlobParams{}, 0
		}
	}
	return head, nil
}

// blobSchedule is what a node says of its blob parameters. [EIP-7910]
type blobSchedule struct {
	current, next chain.BlobParams
	nextAt        uint64 // unix seconds
	askedAt       time.Time
}

// schedule returns what the node last said of its blob parameters, and asks again
// once an epoch. A node that has nothing to say is none the worse for it.
func (c *Client) schedule(ctx context.Context) blobSchedule {
	now := c.clock.Now()
	c.mu.Lock()
	s := c.blobs
	c.mu.Unlock()
	epoch := time.Duration(c.spec.SlotsPerEpoch) * c.spec.SlotDuration // #nosec G115 -- validated
	if !s.askedAt.IsZero() && now.Sub(s.askedAt) < epoch {
		return s
	}
	type params struct {
		At    uint64 `json:"activationTime"`
		Blobs *struct {
			Target   int    `json:"target"`
			Max      int    `json:"max"`
			Fraction uint64 `json:"baseFeeUpdateFraction"`
		} `json:"blobSchedule"`
	}
	var said struct {
		Current *params `json:"current"`
		Next    *params `json:"next"`
	}
	err := c.call(ctx, limitSmall, call{"eth_config", nil, &said})
	if err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrBadAnswer) {
		return s // ask again with the next head
	}
	read := func(p *params) (out chain.BlobParams, at uint64) {
		if err == nil && p != nil && p.Blobs != nil {
			out, at = chain.BlobParams{Target: p.Blobs.Target, Max: p.Blobs.Max, Fraction: p.Blobs.Fraction}, p.At
		}
		return out, at
	}
	s = blobSchedule{askedAt: now}
	s.current, _ = read(said.Current)
	s.next, s.nextAt = read(said.Next)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blobs = s
	return s
}

// share runs f once for all callers with the same key at the same time. Who would
// share an answer that only the first caller's end spoiled asks again.
func share[T any](ctx context.Context, g *singleflight.Group, key string, f func() (T, error)) (T, error) {
	for {
		led := false
		v, err, _ := g.Do(key, func() (any, error) { led = true; return f() })
		if err != nil && !led && ctx.Err() == nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
			continue
		}
		out, _ := v.(T)
		return out, err
	}
}
