package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"sidecar/fault"
)

// other is a server beside the Builder API. No proposal waits for it: where its
// address cannot be had, the sidecar runs without it and goes on trying.
type other struct {
	name   string
	server interface {
		Listen() error
		Addr() net.Addr
		Close() error
		Run(ctx context.Context) error
	}
}

// others are the servers that this sidecar has beside the Builder API.
func (a *App) others() (all []other) {
	if a.servers.gateway != nil {
		all = append(all, other{"gateway", a.servers.gateway})
	}
	if a.servers.wallet != nil {
		all = append(all, other{"wallet", a.servers.wallet})
	}
	if a.servers.signer != nil {
		all = append(all, other{"signer", a.servers.signer})
	}
	if a.servers.admin != nil {
		all = append(all, other{"metrics", a.servers.admin})
	}
	return all
}

// Listen binds the Builder API's listener, without which there is no point in
// the rest, and then tries the others: what fails there is loud, and tried again
// by attend. Faults: httpd's listen_failed, of the Builder API.
func (a *App) Listen() error {
	err := a.servers.builder.Listen()
	a.measures.Listens("builder", err == nil)
	if err != nil {
		return err
	}
	for _, o := range a.others() {
		err := o.server.Listen()
		a.measures.Listens(o.name, err == nil)
		if err != nil {
			a.log.Error("A listener cannot be bound: the sidecar proposes without it, and goes on trying",
				"server", o.name, "reason", fault.Code(err), "detail", err.Error())
		}
	}
	return nil
}

// Pauses between two attempts to listen.
const (
	listenAgain = time.Second
	listenMost  = 15 * time.Second
)

// attend serves one of the others until ctx ends. A listener that could not be
// bound is tried again; one that is lost costs what it served and nothing else.
func (a *App) attend(ctx context.Context, o other) error {
	for pause := listenAgain; o.server.Addr() == nil; pause = min(2*pause, listenMost) {
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
		if err := o.server.Listen(); err != nil {
			a.log.Debug("A listener still cannot be bound", "server", o.name, "detail", err.Error())
			continue
		}
		a.measures.Listens(o.name, true)
		a.log.Info("A listener is bound at last", "server", o.name, "address", text(o.server.Addr()))
	}
	err := recovered(func() error { return o.server.Run(ctx) })
	if ctx.Err() != nil {
		return err
	}
	a.measures.Listens(o.name, false)
	a.log.Error("A listener was lost: the sidecar proposes without it until it is started again",
		"server", o.name, "reason", fault.Code(err), "detail", fmt.Sprint(err))
	return nil
}

// checkListeners finds addresses that cannot be listened on. Where a sidecar
// answers at the Builder API's, it runs already, and the addresses are its own.
func (a *App) checkListeners(ctx context.Context) (problems []error) {
	if a.servers.builder == nil || a.runsAlready(ctx) {
		return nil
	}
	try := append([]other{{"builder", a.servers.builder}}, a.others()...)
	for _, o := range try {
		if err := o.server.Listen(); err != nil {
			problems = append(problems, err)
		}
	}
	for _, o := range try {
		_ = o.server.Close() // nil if it does not listen
	}
	return problems
}

// runsAlready says whether a sidecar answers at the Builder API's address.
func (a *App) runsAlready(ctx context.Context) bool {
	p := &a.config.PBS
	if p.Port == 0 {
		return false
	}
	host := p.Host.String()
	if p.Host.IsUnspecified() {
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(host, p.Port)+"/eth/v1/builder/status", http.NoBody)
	if err != nil {
		return false
	}
	res, err := (&http.Client{Timeout: checkTimeout / 5, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.Header.Get("X-Sidecar-Version") != ""
}
