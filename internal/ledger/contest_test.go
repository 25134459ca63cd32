package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// contest lets sidecars fight for the same resources with roots of their own, and
// keeps what was ever released, by anyone.
type contest struct {
	t     *testing.T
	where string

	mu       sync.Mutex
	released map[string]phase0.Root
	by       map[string]int
}

func newContest(t *testing.T, where string) *contest {
	return &contest{t: t, where: where, released: map[string]phase0.Root{}, by: map[string]int{}}
}

// enter lets a sidecar fight until stop is called.
func (c *contest) enter(workers int, name string, l *Ledger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				resource := fmt.Sprintf("r/%d/%d", worker, n)
				root, err := release(ctx, l, name, resource)
				switch {
				case err == nil:
					c.release(name, resource, root)
				case !errors.Is(err, ErrSlashable) && ctx.Err() == nil:
					c.t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	c.t.Cleanup(cancel)
	return func() { cancel(); group.Wait() }
}

// release promises and seals, and repeats both as a caller would until the ledger
// answers.
func release(ctx context.Context, l *Ledger, name, resource string) (phase0.Root, error) {
	e := promise(len(resource), resource)
	copy(e.Draft.Commitment.RequestHash[:], resource)
	copy(e.Root[:], name+" "+resource)
	for {
		r, err := l.Append(ctx, page(1), constant(e))
		if err == nil {
			err = sealed(l, ctx, r, append(bytes.Clone(e.Root[:]), make([]byte, 64)...))
		}
		if !errors.Is(err, ErrLease) && !errors.Is(err, ErrDatabase) {
			return e.Root, err
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return e.Root, ctx.Err()
		}
	}
}

func (c *contest) release(name, resource string, root phase0.Root) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, taken := c.released[resource]; taken && before != root {
		c.t.Errorf("%s was released with two roots, %q and %q", resource, before[:20], root[:20])
	}
	c.released[resource] = root
	c.by[name]++
}

func (c *contest) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.released)
}

func (c *contest) releasedBy(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.by[name]
}

// wait waits for so many more releases.
func (c *contest) wait(more int) {
	c.t.Helper()
	goal := c.count() + more
	within(c.t, 30*time.Second, fmt.Sprintf("%d releases", goal), func() bool { return c.count() >= goal })
}

// judge reads the whole ledger: every release is in it, sealed, and no resource
// is in it twice.
func (c *contest) judge() {
	c.t.Helper()
	stored, seals, seqs := map[string]phase0.Root{}, map[uint64][]byte{}, map[string]uint64{}
	sum, err := WalkPostgres(pgConfig(c.where), func(r Record) error {
		if r.Entry == nil {
			seals[r.Seq] = r.Seal
			return nil
		}
		for _, name := range r.Entry.Resources {
			if _, twice := stored[name]; twice {
				c.t.Errorf("%s is in the ledger twice", name)
			}
			stored[name], seqs[name] = r.Entry.Root, r.Seq
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	for resource, root := range c.released {
		if stored[resource] != root || !bytes.HasPrefix(seals[seqs[resource]], root[:]) {
			c.t.Errorf("%s was released with root %q and is not in the ledger so", resource, root[:20])
		}
	}
	c.t.Logf("%d resources released (by %v), %d entries, %d seals", len(c.released), c.by, sum.Entries, sum.Seals)
}
