package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"sidecar/commitments/gateway"
	"sidecar/internal/config"
	"sidecar/internal/harden"
	"sidecar/internal/httpd"
	"sidecar/internal/quota"
)

const (
	gatewayBodies  = 64 << 20 // bytes that bodies of searchers may hold together
	maxIdentities  = 1 << 20  // bytes of the file of identities
	gatewayRead    = 5 * time.Second
	gatewayIdle    = 30 * time.Second
	leastConnected = 16 // connections a gateway always takes
)

// gatewayServer is the listener for searchers; nil without [gateway]. What it
// may hold is its own: connections, memory and time are the Builder API's first.
func (a *App) gatewayServer(measures *httpd.Metrics) (*httpd.Server, error) {
	g := a.config.Gateway
	if g == nil || a.promises == nil {
		return nil, nil
	}
	most := connections(g.Access.MaxConnections, harden.Descriptors())
	if most < g.Access.MaxConnections {
		a.log.Warn("The gateway takes fewer connections than configured: half of the descriptors are kept for the Builder API",
			"max_connections", g.Access.MaxConnections, "taken", most)
	}
	s := httpd.Config{
		Name: "gateway", Addr: address(g.Host.String(), g.Port), Routes: a.promises.gateway.Routes(),
		Log: a.log.With("part", "gateway"), Clock: a.clock, Metrics: measures,
		MaxConns: most, MaxConnsPerIP: g.Access.MaxConnectionsPerAddress, BodyMemory: gatewayBodies, Origins: g.Access.CORSOrigins,
		ReadTimeout: gatewayRead, IdleTimeout: gatewayIdle, AccessLevel: slog.LevelDebug,
	}
	if g.Access.TLSPath != "" {
		var err error
		if s.TLS, err = httpd.LoadTLS(g.Access.TLSPath); err != nil {
			return nil, err
		}
	}
	return httpd.New(s)
}

// connections is how many connections the public may have, of the descriptors
// of the process: at most half. 0 descriptors are none known.
func connections(configured int, descriptors uint64) int {
	if half := descriptors / 2; descriptors > 0 && half < uint64(configured) { // #nosec G115 -- validated: positive
		return max(int(half), leastConnected) // #nosec G115 -- below configured
	}
	return configured
}

// gatewayAccess is who may ask, as the file says. Fault: gateway.ErrIdentities.
func gatewayAccess(c *config.Access) (gateway.Access, error) {
	a := gateway.Access{
		Require: c.RequireIdentity, Rate: quota.Rate{PerSecond: c.RatePerSecond, Burst: c.Burst},
		TrustedProxies: c.TrustedProxies, ForwardedHeader: c.ForwardedHeader,
	}
	if c.IdentitiesFile == "" {
		return a, nil
	}
	text, err := readIdentities(c.IdentitiesFile)
	if err == nil {
		a.Identities, err = gateway.ParseIdentities(text)
	}
	if err != nil {
		return a, fmt.Errorf("read %s: %w", c.IdentitiesFile, err)
	}
	return a, nil
}

func readIdentities(path string) (text []byte, err error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, gateway.ErrIdentities.Wrap(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if text, err = io.ReadAll(io.LimitReader(f, maxIdentities+1)); err == nil && len(text) > maxIdentities {
		err = gateway.ErrIdentities.With("more than %d bytes", maxIdentities)
	}
	return text, err
}
