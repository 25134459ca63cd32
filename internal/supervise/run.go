package supervise

import "runtime"

// run starts the process and waits for it, on one thread: Linux ends the child
// when the thread that started it ends. What it leaves behind is ended before
// its number may be another's.
func (p *process) run(started chan<- error) {
	defer close(p.gone)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	seen := awaitExit(p.cmd.Process.Pid)
	if !seen {
		_ = p.cmd.Wait() // how it ended is in its state
	}
	p.mu.Lock()
	killGroup(p.cmd.Process)
	p.reaped = true
	p.mu.Unlock()
	if seen {
		_ = p.cmd.Wait()
	}
	p.state = p.cmd.ProcessState.String()
}

// signal does something to the group, unless its number may be another's by now.
func (p *process) signal(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		do()
	}
}
