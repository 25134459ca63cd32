package signer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Whose turn it is waits for those who set out before, however they arrive; for
// none who set out later; and for nobody longer than patience.
func TestComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c coming
		settled := func() time.Duration {
			begin := time.Now()
			c.settle(t.Context())
			return time.Since(begin)
		}
		if took := settled(); took != 0 {
			t.Errorf("a first caller waited %s for nobody", took)
		}
		c.arrive(c.depart())
		if took := settled(); took != 0 {
			t.Errorf("waited %s for one who has arrived", took)
		}
		first, second := c.depart(), c.depart()
		go func() {
			time.Sleep(time.Millisecond)
			later := c.depart()
			c.arrive(second)
			time.Sleep(time.Millisecond)
			c.arrive(first)
			time.Sleep(10 * time.Millisecond)
			c.arrive(later)
		}()
		if took := settled(); took != 2*time.Millisecond {
			t.Errorf("waited %s, want 2ms: for both who had set out, and not for the third", took)
		}
		if took := settled(); took != patience {
			t.Errorf("waited %s for the third, want %s", took, patience)
		}
		time.Sleep(10 * time.Millisecond) // it arrives after all, and nobody listens
		if took := settled(); took != 0 {
			t.Errorf("waited %s for one who was given up", took)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		w := c.depart()
		c.settle(gone)
		c.arrive(w)
	})
}
