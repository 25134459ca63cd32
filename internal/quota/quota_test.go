package quota

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var begin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func TestBuckets(t *testing.T) {
	b, rate := NewBuckets(10), Rate{PerSecond: 10, Burst: 3}
	for i := range 3 {
		if _, ok := b.Take("a", rate, 1, begin); !ok {
			t.Fatalf("token %d of the burst is refused", i)
		}
	}
	wait, ok := b.Take("a", rate, 1, begin)
	if ok || wait != 100*time.Millisecond {
		t.Fatalf("got %v %v, want to wait for 100 ms", wait, ok)
	}
	if _, ok := b.Take("b", rate, 1, begin); !ok {
		t.Error("another name is refused")
	}
	if _, ok := b.Take("a", rate, 1, begin.Add(wait)); !ok {
		t.Error("refused after the wait")
	}
	if wait, ok := b.Take("a", rate, 2, begin.Add(200*time.Millisecond)); ok || wait != 100*time.Millisecond {
		t.Errorf("two tokens: got %v %v", wait, ok)
	}
	if _, ok := b.Take("a", rate, 4, begin.Add(time.Hour)); ok {
		t.Error("more than a burst is given")
	}
	if _, ok := b.Take("a", rate, 3, begin.Add(time.Hour)); !ok {
		t.Error("a burst is refused after an hour")
	}
	if _, ok := b.Take("a", rate, 1, begin); ok {
		t.Error("a clock that was set back gives tokens")
	}
	b.Give("a", 1)
	if _, ok := b.Take("a", rate, 1, begin); !ok {
		t.Error("what was given back is not there")
	}
	for range 1000 {
		if _, ok := b.Take("free", Rate{}, 100, begin); !ok {
			t.Fatal("no limit refuses")
		}
	}
}

// TestBuckets_Crowd: ten thousand names take bounded memory, share one bucket
// once the room is gone, and do not touch whoever has a bucket already.
func TestBuckets_Crowd(t *testing.T) {
	b, rate := NewBuckets(100), Rate{PerSecond: 1, Burst: 2}
	b.Take("friend", rate, 1, begin)
	granted := 0
	for i := range 10_000 {
		if _, ok := b.Take(fmt.Sprint(i), rate, 1, begin); ok {
			granted++
		}
	}
	if b.Len() > 100 || granted > 99+2 {
		t.Errorf("%d names, %d granted", b.Len(), granted)
	}
	if _, ok := b.Take("friend", rate, 1, begin); !ok {
		t.Error("the friend is refused")
	}
	// Buckets that are full again make room.
	if _, ok := b.Take("late", rate, 2, begin.Add(time.Minute)); !ok || b.Len() != 1 {
		t.Errorf("later: %v, %d names", ok, b.Len())
	}
}

// TestBuckets_Rate: over any pattern of calls no more is granted than the burst
// and what came since.
func TestBuckets_Rate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate{PerSecond: rapid.Float64Range(0.5, 100).Draw(t, "rate"), Burst: rapid.Float64Range(1, 50).Draw(t, "burst")}
		b, now, granted := NewBuckets(4), begin, 0.0
		for range rapid.IntRange(1, 100).Draw(t, "calls") {
			now = now.Add(time.Duration(rapid.IntRange(-50, 500).Draw(t, "ms")) * time.Millisecond)
			n := float64(rapid.IntRange(1, 3).Draw(t, "n"))
			if wait, ok := b.Take("a", rate, n, now); ok {
				granted += n
			} else if wait <= 0 {
				t.Fatal("refused without a wait")
			}
		}
		// A clock may go back 50 ms a hundred times: that much may be counted twice.
		if most := rate.Burst + (now.Sub(begin).Seconds()+10)*rate.PerSecond + 1e-6; granted > most {
			t.Fatalf("granted %v, at most %v", granted, most)
		}
	})
}

func TestPlaces(t *testing.T) {
	p := NewPlaces(20)
	enter := func(rank Rank, names, each int) (got int) {
		for n := range names {
			for range each {
				if _, ok := p.Enter(fmt.Sprintf("%d-%d", rank, n), rank); ok {
					got++
				}
			}
		}
		return got
	}
	for _, tt := range []struct {
		rank Rank
		want int
	}{
		{StrangersQuestion, 10}, {StrangersPromise, 2}, {StrangersQuestion, 0}, {KnownQuestion, 5}, {StrangersPromise, 0}, {KnownPromise, 3}, {KnownPromise, 0},
	} {
		if got := enter(tt.rank, 100, 1); got != tt.want {
			t.Errorf("rank %d: %d enter, want %d; %d of 20 are taken", tt.rank, got, tt.want, p.Used())
		}
	}
	p = NewPlaces(20)
	if got := enter(KnownPromise, 1, 20); got != 5 {
		t.Errorf("one name has %d of 20 places, want a quarter", got)
	}
	if _, ok := p.Enter("another", StrangersQuestion); !ok {
		t.Error("a stranger is kept out by one name")
	}
	if NewPlaces(0).total != 1 {
		t.Error("no place at all")
	}
}

func TestPlaces_Leave(t *testing.T) {
	p := NewPlaces(8)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				if leave, ok := p.Enter(fmt.Sprint(i%3), KnownPromise); ok {
					leave()
					leave() // once is enough
				}
			}
		})
	}
	wg.Wait()
	if p.Used() != 0 || len(p.held) != 0 {
		t.Errorf("%d places stay taken by %v", p.Used(), p.held)
	}
}
