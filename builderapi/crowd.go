package builderapi

import "sync"

// crowd is goroutines that somebody waits for. Unlike a sync.WaitGroup it may
// grow while somebody waits: the Builder API serves until it has drained. The
// zero value is empty.
type crowd struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed once nobody is left; nil before the first
}

// run runs f in a goroutine of the crowd.
func (c *crowd) run(f func()) {
	c.enter()
	go func() {
		defer c.leave()
		f()
	}()
}

// enter counts the caller in, until it calls leave.
func (c *crowd) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n == 1 {
		c.empty = make(chan struct{})
	}
}

func (c *crowd) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 {
		close(c.empty)
	}
}

// gone is closed once nobody of the crowd that is there now is left.
func (c *crowd) gone() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	return c.empty
}
