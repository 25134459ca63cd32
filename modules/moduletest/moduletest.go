// Package moduletest holds the one suite that every module passes, wherever it
// runs: what the sidecar relies on and the compiler cannot check. A test runs it
// with Run or Both; `sidecar module test` runs it against a URL.
package moduletest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/modules"
	"sidecar/modules/remote"
)

// Fixture is a module with something for it to promise. Without Keep or Break
// the checks that need them are skipped, and say so.
type Fixture struct {
	Module  modules.Module
	View    commitments.View    // a page that takes Request
	Request commitments.Request // what Module promises on View
	Slot    phase0.Slot         // what Request names; 0 if it names none

	// Keep returns a bid and a canonical block that keep every promise of page.
	Keep func(page commitments.Page) (commitments.Candidate, commitments.Block, error)

	// Break returns a bid and a canonical block that keep none of them.
	Break func(page commitments.Page) (commitments.Candidate, commitments.Block, error)
}

// Check is one thing a module is held to.
type Check struct {
	Name string
	Skip string // why it cannot be made; "" if it can
	Run  func(ctx context.Context) error
}

// Checks are all of them, in the order they are best read. A check returns
// everything it found wrong.
func Checks(f Fixture) []Check {
	f.View.PageID.Slot = max(f.View.PageID.Slot, f.Slot)
	request, blocks := "", ""
	if f.Request.Type == 0 && f.Request.Payload == nil {
		request = "no request is given that the module promises"
	}
	if blocks = request; blocks == "" && (f.Keep == nil || f.Break == nil) {
		blocks = "no blocks are given that keep and break the promise"
	}
	return []Check{
		{"info", "", f.info},
		{"junk", "", f.junk},
		{"slot", request, f.slot},
		{"commit", request, f.commit},
		{"price", request, f.price},
		{"verify", blocks, f.verify},
		{"audit", blocks, f.audit},
		{"read_only", blocks, f.readOnly},
		{"cancelled", request, f.cancelled},
		{"concurrent", blocks, f.concurrent},
	}
}

// tester is a *testing.T; naming it so keeps package testing out of programs.
type tester[T any] interface {
	Helper()
	Errorf(format string, args ...any)
	Logf(format string, args ...any)
	Context() context.Context
	Run(name string, f func(T)) bool
}

// Run runs the suite in a test.
func Run[T tester[T]](t T, f Fixture) {
	t.Helper()
	for _, c := range Checks(f) {
		t.Run(c.Name, func(t T) {
			if c.Skip != "" {
				t.Logf("skipped: %s", c.Skip)
				return
			}
			if err := c.Run(t.Context()); err != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// Both runs the suite twice: on the module in this process, and on the same
// module served over HTTP.
func Both[T tester[T]](t T, f Fixture) {
	t.Helper()
	t.Run("in_process", func(t T) { Run(t, f) })
	t.Run("remote", func(t T) {
		err := Served(t.Context(), f.Module, nil, func(url string, secret remote.Secret) error {
			m, err := remote.Dial(t.Context(), remote.Config{URL: url, Secret: secret, Budgets: patient})
			if err != nil {
				return err
			}
			f.Module = m
			Run(t, f)
			for _, c := range Wire(url, secret) {
				if err := c.Run(t.Context()); err != nil {
					t.Errorf("%s: %v", c.Name, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%v", err)
		}
	})
}

// patient budgets suit a busy machine with a race detector.
var patient = modules.Budgets{Slot: 10 * time.Second, Commit: 10 * time.Second, Verify: 10 * time.Second, Audit: 10 * time.Second}

// Served serves m on a free port while do runs, with events if inbox is not nil.
func Served(ctx context.Context, m modules.Module, inbox *remote.Inbox, do func(url string, secret remote.Secret) error) error {
	const secret remote.Secret = "moduletest, and no secret at all"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	at, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- remote.Serve(ctx, remote.ServeConfig{Listen: "127.0.0.1:0", Secret: secret, Module: m, Events: inbox, Started: func(a net.Addr) { at <- a }})
	}()
	var err error
	select {
	case a := <-at:
		err = do("http://"+a.String(), secret)
		cancel()
	case err := <-ended:
		return err
	}
	return errors.Join(err, <-ended)
}

// problems collects what a check finds.
type problems []error

func (p *problems) addf(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p *problems) err() error { return errors.Join(*p...) }
