package signer

import (
	"context"
	"runtime"
	"sync"
)

// seats let as many callers work with keys in our memory at a time as there are
// processors. The rest wait here and not in the scheduler's queue, where the
// ledger's writer, back from the disk, would stand behind all of them.
type seats struct {
	once sync.Once
	free chan struct{}
}

// take waits for a seat; give frees it.
func (t *seats) take(ctx context.Context) error {
	t.once.Do(func() { t.free = make(chan struct{}, runtime.GOMAXPROCS(0)) })
	select {
	case t.free <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	runtime.Gosched() // whoever came back from the disk meanwhile goes first
	return nil
}

func (t *seats) give() { <-t.free }
