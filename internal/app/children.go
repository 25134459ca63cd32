package app

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"sidecar/fault"
	"sidecar/internal/config"
	"sidecar/internal/supervise"
	"sidecar/modules"
	"sidecar/modules/remote"
)

// startChildren starts the modules that have a command. It comes after the
// listeners, which the children call. None of them may end the program.
func (a *App) startChildren(ctx context.Context, g *errgroup.Group) {
	for i := range a.config.Modules {
		m, log := &a.config.Modules[i], a.log.With("module", a.config.Modules[i].ID)
		if len(m.Command) == 0 {
			continue
		}
		env, err := a.childEnv(i, os.LookupEnv)
		if err == nil {
			var child *supervise.Child
			child, err = supervise.New(supervise.Config{
				Name: m.ID, Command: m.Command, Env: env, Healthy: a.healthy(m.ID), Clock: a.clock, Log: log, Metrics: a.children,
			})
			if err == nil {
				g.Go(func() error { return child.Run(ctx) })
			}
		}
		if err != nil {
			log.Error("Module's process is not started", "reason", fault.Code(err), "detail", err)
		}
	}
}

// healthy is the health check of a module that answers us; nil for one that only
// asks.
func (a *App) healthy(id string) func(context.Context) error {
	if a.promises == nil {
		return nil
	}
	for _, m := range a.promises.list {
		if r, _ := modules.RunnerOf(m); m.Info().ID == id {
			if h, ok := r.(interface{ Healthy(context.Context) error }); ok {
				return h.Healthy
			}
		}
	}
	return nil
}

// childEnv is the whole environment of a module's process: what Commit-Boost
// gives to its modules, as far as it is configured, what a remote module needs,
// and the file's env. Of our own environment only PATH and HOME pass: it may hold
// secrets of others. [Commit-Boost: module environment]
func (a *App) childEnv(i int, ours func(string) (string, bool)) ([]string, error) {
	m, c := &a.config.Modules[i], a.config
	env := map[string]string{remote.EnvID: m.ID}
	for _, name := range []string{"PATH", "HOME"} {
		if v, ok := ours(name); ok {
			env[name] = v
		}
	}
	path := func(name, p string) {
		if abs, err := filepath.Abs(p); err == nil && p != "" {
			env[name] = abs
		}
	}
	path("CB_CONFIG", c.File())
	path("CB_CHAIN_SPEC", c.Network.Path)
	if c.Logs.File.Enabled {
		path("CB_LOGS_DIR", c.Logs.File.DirPath)
	}
	if s := c.Metrics; s != nil && s.Enabled && s.StartPort != 0 && int(s.StartPort)+i+1 <= 65535 {
		env["CB_METRICS_PORT"] = strconv.Itoa(int(s.StartPort) + i + 1)
	}
	if m.Remote != nil {
		env[remote.EnvListen] = m.Remote.Listen()
		path(remote.EnvSecretFile, m.Remote.SecretFile)
	}
	if addr := a.SignerAddr(); m.Type == config.ModuleCommit && addr != nil {
		secrets, _, err := c.Secrets(ours)
		if err != nil {
			return nil, err
		}
		scheme := "http://"
		if c.Signer.TLS.Type == config.TLSCertificate {
			scheme = "https://" // whom to trust is in the file's env: our own folder holds our key
		}
		env["CB_SIGNER_URL"] = scheme + reachable(addr)
		env["CB_SIGNER_JWT"] = string(secrets.Modules[m.ID])
	}
	maps.Copy(env, m.Env)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out, nil
}

// reachable is a listener's address as a program on this machine calls it.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
