package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sidecar/fault"
	"sidecar/internal/metrics"
)

// Faults of this package.
var (
	ErrAdminListen = fault.Define("admin_listen_failed", fault.Internal, "The admin address cannot be listened on.")
	ErrNotReady    = fault.Define("not_ready", fault.Unavailable, "The sidecar is not ready.")
	ErrNoReload    = fault.Define("reload_unavailable", fault.Unavailable, "This process does not reload its configuration.")
	ErrAdminCaller = fault.Define("admin_caller_refused", fault.Forbidden, "The admin server does not talk to web pages.")
)

const (
	reloadTimeout = 30 * time.Second
	stopTimeout   = 5 * time.Second
)

// AdminConfig describes the admin server. Addr, Registry and Log are required.
type AdminConfig struct {
	Addr     string // host:port
	Registry *metrics.Registry
	// Ready says why the sidecar is not ready, nil if it is. Nil: always ready.
	Ready func() error
	// Remarks are lines about a sidecar that is ready, for who reads the answer.
	// Nil: none.
	Remarks func() []string
	// Reload loads the configuration again; its context ends after 30 s. Nil:
	// POST /reload answers 503.
	Reload func(ctx context.Context) error
	// Promises tells what was promised for slots that are over, as JSON, for a
	// report. Nil: GET /promises is not served.
	Promises func(first, last uint64) (any, error)
	// NearMisses tells what would have broken promises of these slots, or may yet, as
	// JSON, for a report. Nil: GET /near-misses is not served.
	NearMisses func(first, last uint64) (any, error)
	Log        *slog.Logger
	// Public allows an address that is not loopback. Nothing here asks who calls.
	Public bool
}

// Admin is the operator's door: GET /metrics, /healthz (and /status, its name
// at Commit-Boost), /readyz, /promises, /near-misses; POST /reload. It serves no
// profiles: they show memory, keys in it included.
type Admin struct {
	cfg AdminConfig
	ln  atomic.Pointer[net.Listener] // nil before Listen
}

// NewAdmin checks cfg. It does not listen. Fault: ErrAdminListen.
func NewAdmin(cfg AdminConfig) (*Admin, error) {
	if cfg.Registry == nil || cfg.Log == nil {
		return nil, errors.New("admin server: registry and log are required")
	}
	host, _, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return nil, ErrAdminListen.Wrap(err)
	}
	if !cfg.Public && !loopback(host) {
		return nil, ErrAdminListen.With("%q is not loopback", cfg.Addr)
	}
	return &Admin{cfg: cfg}, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// Listen binds the address. Fault: ErrAdminListen, naming it.
func (a *Admin) Listen() error {
	var lc net.ListenConfig
	ln, err := lc.Listen(context.Background(), "tcp", a.cfg.Addr)
	if err != nil {
		return ErrAdminListen.Wrap(fmt.Errorf("metrics server on %q: %w", a.cfg.Addr, err))
	}
	a.ln.Store(&ln)
	return nil
}

// Addr is the address that Listen bound, nil before.
func (a *Admin) Addr() net.Addr {
	if ln := a.ln.Load(); ln != nil {
		return (*ln).Addr()
	}
	return nil
}

// Close gives up a listener that Run was never called for.
func (a *Admin) Close() error {
	if ln := a.ln.Load(); ln != nil {
		return (*ln).Close()
	}
	return nil
}

// Run serves until ctx ends, then lets answers under way finish for at most 5 s.
func (a *Admin) Run(ctx context.Context) error {
	ln := a.ln.Load()
	if ln == nil {
		return ErrAdminListen.With("Listen was not called")
	}
	srv := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: 2 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      reloadTimeout + 5*time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          slog.NewLogLogger(a.cfg.Log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(*ln) }()
	select {
	case err := <-served:
		return ErrAdminListen.Wrap(err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	err := srv.Shutdown(stop)
	if err != nil {
		_ = srv.Close()
	}
	<-served
	return err
}

func (a *Admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.cfg.Registry)
	mux.HandleFunc("GET /healthz", ok)
	mux.HandleFunc("GET /status", ok)
	mux.HandleFunc("GET /readyz", a.ready)
	mux.HandleFunc("POST /reload", a.reload)
	if a.cfg.Promises != nil {
		mux.HandleFunc("GET /promises", ranged(a.cfg.Promises))
	}
	if a.cfg.NearMisses != nil {
		mux.HandleFunc("GET /near-misses", ranged(a.cfg.NearMisses))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if !a.trusted(r) {
			refuse(w, http.StatusForbidden, ErrAdminCaller)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		mux.ServeHTTP(w, r)
	})
}

// trusted refuses web pages: those that say so, and those that point a name of
// their own at our loopback address (DNS rebinding).
func (a *Admin) trusted(r *http.Request) bool {
	if r.Header.Get("Origin") != "" {
		return false
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" {
		return false
	}
	if a.cfg.Public {
		return true
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return loopback(strings.Trim(host, "[]"))
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("OK\n")) }

func (a *Admin) ready(w http.ResponseWriter, r *http.Request) {
	if a.cfg.Ready != nil {
		if err := a.cfg.Ready(); err != nil {
			if fault.Of(err) == nil {
				err = ErrNotReady.Wrap(err)
			}
			refuse(w, http.StatusServiceUnavailable, err)
			return
		}
	}
	ok(w, r)
	if a.cfg.Remarks != nil {
		for _, line := range a.cfg.Remarks() {
			_, _ = fmt.Fprintln(w, line)
		}
	}
}

// ranged answers ?first and ?last, slots.
func ranged(tell func(first, last uint64) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		first, err := strconv.ParseUint(r.URL.Query().Get("first"), 10, 64)
		last, errLast := strconv.ParseUint(r.URL.Query().Get("last"), 10, 64)
		if err = errors.Join(err, errLast); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		answer, err := tell(first, last)
		var text []byte
		if err == nil {
			text, err = json.Marshal(answer)
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	}
}

func (a *Admin) reload(w http.ResponseWriter, r *http.Request) {
	if a.cfg.Reload == nil {
		refuse(w, http.StatusServiceUnavailable, ErrNoReload)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), reloadTimeout)
	defer cancel()
	err := a.cfg.Reload(ctx)
	if err == nil {
		ok(w, r)
		return
	}
	status := http.StatusInternalServerError
	if f := fault.Of(err); f != nil {
		switch f.Kind {
		case fault.Invalid:
			status = http.StatusBadRequest
		case fault.Conflict:
			status = http.StatusConflict
		case fault.Upstream:
			status = http.StatusBadGateway
		case fault.Busy:
			status = http.StatusTooManyRequests
		case fault.Unavailable:
			status = http.StatusServiceUnavailable
		case fault.Timeout:
			status = http.StatusGatewayTimeout
		}
	}
	a.cfg.Log.Warn("Reload refused", "status", status, "reason", fault.Code(err), "error", err)
	refuse(w, status, err)
}

// refuse writes the error body of the other servers. The operator reads it, so
// nothing is hidden.
func refuse(w http.ResponseWriter, status int, err error) {
	body, merr := json.Marshal(map[string]any{"code": status, "message": err.Error(), "reason": fault.Code(err)})
	if merr != nil {
		body = fmt.Appendf(nil, `{"code":%d}`, status)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
