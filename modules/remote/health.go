package remote

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"sidecar/fault"
	"sidecar/modules"
)

// ready says whether the module may be called. Before the first call, and after
// one that found nobody, the module is asked who it is.
func (m *client) ready(ctx context.Context) error {
	if s := m.state.Load(); s != nil {
		return s.down
	}
	select {
	case m.shaking <- struct{}{}:
		defer func() { <-m.shaking }()
	case <-ctx.Done():
		return ErrUnreachable.Wrap(ctx.Err())
	}
	if s := m.state.Load(); s != nil { // somebody asked meanwhile
		return s.down
	}
	if err := m.handshake(ctx); err != nil {
		return err
	}
	m.state.Store(&state{})
	return nil
}

// handshake asks the module who it is, and compares that with the configuration.
func (m *client) handshake(ctx context.Context) error {
	said, err := m.ask(ctx)
	if err != nil {
		return err
	}
	return m.agree(said)
}

// ask returns what the module says of itself.
func (m *client) ask(ctx context.Context) (modules.Info, error) {
	var out infoAnswer
	if err := m.post(ctx, m.verify, opInfo, infoAsk{Versions: []int{Version}}, &out); err != nil {
		return modules.Info{}, err
	}
	return out.info()
}

// agree wants every configured type served. Fault: ErrVersion.
func (m *client) agree(said modules.Info) error {
	for _, t := range m.info.CommitmentTypes {
		if !slices.Contains(said.CommitmentTypes, t) {
			return ErrVersion.With("commitment type %d is not served, %v are", t, said.CommitmentTypes)
		}
	}
	for _, t := range said.ConstraintTypes {
		if !slices.Contains(m.info.ConstraintTypes, t) {
			return ErrVersion.With("constraint type %d is not in the configuration", t)
		}
	}
	return nil
}

// Run watches the module until ctx ends: a module that does not answer its
// health check is down within 1.5 s, and costs nobody the wait. Beside that it
// is told of events.
func (m *client) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var telling sync.WaitGroup
	defer func() {
		cancel()
		telling.Wait()
		m.verify.CloseIdleConnections()
		m.others.CloseIdleConnections()
		m.telling.CloseIdleConnections()
	}()
	if m.events != nil {
		telling.Go(func() { m.tell(ctx) })
	}
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	reason := "unknown"
	for {
		if now := m.probe(ctx); now != reason && ctx.Err() == nil {
			if now == "" {
				m.log.Info("Module answers", "module", m.info.ID)
			} else {
				m.log.Warn("Module is down; its promises are refused, and bids on its pages", "module", m.info.ID, "reason", now, "detail", m.state.Load().down)
			}
			reason = now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			m.state.Store(nil)
			return ctx.Err()
		}
	}
}

// probe is one health check. It returns the reason why the module is down.
func (m *client) probe(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	err := m.handshake(ctx)
	if err != nil && fault.Of(err) == nil {
		// Not wrapped: a call that fails for this has not run out of its own time.
		err = ErrUnreachable.With("health check: %v", err)
	}
	m.state.Store(&state{down: err})
	return fault.Code(err)
}

// call asks once, unless the module is known to be down.
func (m *client) call(ctx context.Context, hc *http.Client, op string, in, out any) error {
	if err := m.ready(ctx); err != nil {
		return err
	}
	err := m.post(ctx, hc, op, in, out)
	if fault.Code(err) == ErrUnreachable.Code {
		if s := m.state.Load(); s != nil && s.down == nil {
			m.state.CompareAndSwap(s, nil) // whoever answers next may be another
		}
	}
	return err
}

// Healthy is one health check, for whoever started the module's process.
// Faults: this package's.
func (m *client) Healthy(ctx context.Context) error { return m.handshake(ctx) }
