package quota

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// queue is a line before one place that is taken; results come in the order of turns.
type queue struct {
	*Line
	t      *testing.T
	leave  func()
	wg     sync.WaitGroup
	mu     sync.Mutex
	served []string
	away   []string
}

func newQueue(t *testing.T, most int) *queue {
	t.Helper()
	p := NewPlaces(1)
	leave, ok := p.Enter("first", KnownPromise)
	if !ok {
		t.Fatal("no place at all")
	}
	return &queue{Line: NewLine(p, most), t: t, leave: leave}
}

// come waits in the line, takes its turn and gives it on.
func (q *queue) come(ctx context.Context, name, caller string, rank Rank, worth float64) {
	q.wg.Go(func() {
		leave, ok := q.Wait(ctx, caller, rank, worth)
		q.mu.Lock()
		if ok {
			q.served = append(q.served, name)
		} else {
			q.away = append(q.away, name)
		}
		q.mu.Unlock()
		if ok {
			leave()
			q.Next()
		}
	})
	synctest.Wait() // it is in the line
}

// TestLine: turns go by rank and worth; when the line is full, whatever is worth least
// is sent away, and what is worth no more than that does not get in.
func TestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 4)
		for i, worth := range []float64{3, 1, 5, 4} {
			q.come(t.Context(), fmt.Sprint(worth), fmt.Sprint("caller ", i), KnownPromise, worth)
		}
		q.come(t.Context(), "another 1", "e", KnownPromise, 1)
		q.come(t.Context(), "2", "f", KnownPromise, 2)
		q.come(t.Context(), "a stranger's 100", "g", StrangersPromise, 100)
		if q.Len() != 4 || !slices.Equal(q.away, []string{"another 1", "1", "a stranger's 100"}) {
			t.Fatalf("%d wait, sent away: %q", q.Len(), q.away)
		}
		q.leave()
		q.Next()
		q.wg.Wait()
		if !slices.Equal(q.served, []string{"5", "4", "3", "2"}) || q.Len() != 0 || q.places.Used() != 0 {
			t.Errorf("served %q; %d wait, %d places stay taken", q.served, q.Len(), q.places.Used())
		}
	})
}

// TestLine_Share: one caller has a quarter of the line, and its better calls push out
// its own.
func TestLine_Share(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 8)
		for i := range 6 {
			q.come(t.Context(), fmt.Sprint(i), "greedy", KnownPromise, float64(i))
		}
		q.come(t.Context(), "modest", "other", KnownPromise, 0)
		if q.Len() != 3 || !slices.Equal(q.away, []string{"0", "1", "2", "3"}) {
			t.Errorf("%d wait, sent away: %q", q.Len(), q.away)
		}
		q.leave()
		q.Next()
		q.wg.Wait()
		if !slices.Equal(q.served, []string{"5", "4", "modest"}) {
			t.Errorf("served %q", q.served)
		}
	})
}

// TestLine_Deadline: who has waited long enough goes, and leaves nothing behind.
func TestLine_Deadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, 4)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		q.come(ctx, "late", "a", KnownPromise, 9)
		q.come(t.Context(), "patient", "b", KnownPromise, 1)
		time.Sleep(2 * time.Second) // of the bubble's clock
		synctest.Wait()
		if q.Len() != 1 || !slices.Equal(q.away, []string{"late"}) {
			t.Errorf("%d wait, gone: %q", q.Len(), q.away)
		}
		q.leave()
		q.Next()
		q.wg.Wait()
		if !slices.Equal(q.served, []string{"patient"}) || q.places.Used() != 0 {
			t.Errorf("served %q, %d places stay taken", q.served, q.places.Used())
		}
	})
}

// TestLine_Race: however calls come and go, every place that was given comes back.
func TestLine_Race(t *testing.T) {
	p := NewPlaces(2)
	l := NewLine(p, 3)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%3)*time.Microsecond)
				if leave, ok := l.Wait(ctx, fmt.Sprint(i), KnownPromise, float64(n%7)); ok {
					leave()
					l.Next()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if p.Used() != 0 || l.Len() != 0 {
		t.Errorf("%d places taken, %d wait", p.Used(), l.Len())
	}
}
