package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"sidecar/fault"
	"sidecar/modules"
)

// Faults of the module's side.
var (
	errUnauthorized = fault.Define("module_caller_refused", fault.Unauthorized, "The caller does not carry the module's secret.")
	errMalformed    = fault.Define("module_ask_invalid", fault.Invalid, "A request to a module is not what docs/modules.md says.")
	errMedia        = fault.Define("module_ask_media_type", fault.Unsupported, "A module takes application/json.")
	errCrowded      = fault.Define("module_busy", fault.Busy, "The module works on as many requests as it may.")
	errListening    = fault.Define("module_not_listening", fault.Unavailable, "The module does not ask for events yet.")
	errNoVersion    = fault.Define("module_version_unknown", fault.Invalid, "The sidecar and the module speak no common version.")
)

// Environment of a module that the sidecar starts; see FromEnv.
const (
	EnvID         = "CB_MODULE_ID"          // [Commit-Boost]
	EnvListen     = "CB_MODULE_LISTEN"      // host:port to serve on
	EnvSecretFile = "CB_MODULE_SECRET_FILE" // a path, never a secret #nosec G101 -- the name of a variable
)

const (
	maxAtOnce = 64 // requests a module works on
	graceful  = 2 * time.Second
)

// ServeConfig is what Serve needs.
type ServeConfig struct {
	Listen string         // host:port; port 0 takes any free one. Required.
	Secret Secret         // shared with the sidecar, at least 16 characters. Required.
	Module modules.Module // Required.
	// Events is where the module reads what happened to the sidecar's slots.
	// Without one the sidecar is told that the module takes none. Optional.
	Events *Inbox

	MaxBody int64          // bytes of a request; default MaxAsk
	Log     *slog.Logger   // Optional.
	Started func(net.Addr) // called once it listens. Optional.
}

// FromEnv fills Listen and Secret from the environment that the sidecar gives to
// a module it starts, and returns the module's id beside them.
func FromEnv() (id string, c ServeConfig, err error) {
	id, c.Listen = os.Getenv(EnvID), os.Getenv(EnvListen)
	if id == "" || c.Listen == "" {
		return "", c, fmt.Errorf("set %s, %s and %s, or let the sidecar start this program", EnvID, EnvListen, EnvSecretFile)
	}
	c.Secret, err = ReadSecret(os.Getenv(EnvSecretFile))
	return id, c, err
}

// Serve serves a module until ctx ends, and then finishes what is under way. A
// module with work of its own (modules.Runner) runs meanwhile; when that ends,
// Serve ends, with its error.
func Serve(ctx context.Context, c ServeConfig) error {
	h, err := Handler(c)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(orDiscard(c.Log).Handler(), slog.LevelDebug),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(l) }()
	parts := 1
	if r, ok := modules.RunnerOf(c.Module); ok {
		parts++
		go func() { ended <- r.Run(ctx) }()
	}
	if c.Started != nil {
		c.Started(l.Addr())
	}
	var first error
	select {
	case <-ctx.Done():
	case first = <-ended:
		parts--
	}
	cancel()
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), graceful)
	defer done()
	if err := server.Shutdown(stop); err != nil {
		_ = server.Close()
	}
	for range parts {
		if err := <-ended; first == nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, context.Canceled) {
			first = err
		}
	}
	return first
}

func orDiscard(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// server answers the sidecar for a module.
type server struct {
	ServeConfig
	slots chan struct{} // cap maxAtOnce
}

// Handler is what Serve serves, for a server of one's own.
func Handler(c ServeConfig) (http.Handler, error) {
	if c.Module == nil || len(c.Secret) < minSecret {
		return nil, fmt.Errorf("serve a module: a module and a secret of %d characters or more are required", minSecret)
	}
	if c.MaxBody <= 0 {
		c.MaxBody = MaxAsk
	}
	c.Log = orDiscard(c.Log)
	s := &server{c, make(chan struct{}, maxAtOnce)}
	mux := http.NewServeMux()
	answers := map[string]func(context.Context, []byte) (any, error){
		opInfo: s.info, opSlot: s.slot, opCommit: s.commit, opVerify: s.verify, opAudit: s.audit, opPrice: s.price,
	}
	if c.Events != nil {
		answers[opEvents] = c.Events.serve
	}
	for op, answer := range answers {
		mux.HandleFunc("POST "+path+op, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, answer) })
	}
	return mux, nil
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, answer func(context.Context, []byte) (any, error)) {
	out, err := s.answer(w, r, answer)
	if err != nil {
		s.refuse(w, err)
		return
	}
	write(w, http.StatusOK, out)
}

// answer checks the caller first, and reads its body only then.
func (s *server) answer(w http.ResponseWriter, r *http.Request, answer func(context.Context, []byte) (any, error)) (out any, err error) {
	switch {
	case !s.Secret.carried(r):
		return nil, errUnauthorized
	case !isJSON(r.Header):
		return nil, errMedia
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		return nil, errCrowded
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.MaxBody))
	if err != nil {
		return nil, errMalformed.Wrap(err)
	}
	ctx := r.Context()
	if ms, err := strconv.ParseInt(r.Header.Get(timeoutHeader), 10, 32); err == nil && ms > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("Module panicked", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			err = modules.ErrPanic.With("%s", r.URL.Path)
		}
	}()
	return answer(ctx, body)
}

// lenient decodes what the sidecar sent; unknown fields are let pass.
func lenient(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return errMalformed.Wrap(err)
	}
	return nil
}

func (s *server) info(_ context.Context, body []byte) (any, error) {
	var in infoAsk
	if err := lenient(body, &in); err != nil {
		return nil, err
	}
	if !slices.Contains(in.Versions, Version) {
		return nil, errNoVersion.With("%v, want %d", in.Versions, Version)
	}
	return infoOf(s.Module.Info()), nil
}

func (s *server) slot(ctx context.Context, body []byte) (any, error) {
	var in slotAsk
	if err := lenient(body, &in); err != nil {
		return nil, err
	}
	slot, err := s.Module.Slot(ctx, in.Request)
	n := uint64(slot)
	return slotAnswer{&n}, err
}

func (s *server) commit(ctx context.Context, body []byte) (any, error) {
	var in commitAsk
	if err := lenient(body, &in); err != nil {
		return nil, err
	}
	view, err := in.View.view()
	if err != nil {
		return nil, errMalformed.Wrap(err)
	}
	d, err := s.Module.Commit(ctx, view, in.Request)
	return draftOf(d), err
}

func (s *server) price(ctx context.Context, body []byte) (any, error) {
	var in commitAsk
	if err := lenient(body, &in); err != nil {
		return nil, err
	}
	view, err := in.View.view()
	if err != nil {
		return nil, errMalformed.Wrap(err)
	}
	pricer, ok := s.Module.(modules.Pricer)
	if !ok {
		return nil, modules.ErrUnpriced
	}
	p, err := pricer.Price(ctx, view, in.Request)
	return priceAnswer{&p}, err
}

func (s *server) verify(ctx context.Context, body []byte) (any, error) {
	var in verifyAsk
	if err := lenient(body, &in); err != nil {
		return nil, err
	}
	page, err := in.Page.page()
	cand, err2 := in.Candidate.candidate()
	if err := errors.Join(err, err2); err != nil {
		return nil, errMalformed.Wrap(err)
	}
	return struct{}{}, s.Module.Verify(ctx, page, cand)
}

func (s *server) audit(ctx context.Context, body []byte) (any, error) {
	var in auditAsk
	if err := lenient(body, &in); err != nil {
		return nil, err
	}
	page, err := in.Page.page()
	block, err2 := in.Block.block()
	if err := errors.Join(err, err2); err != nil {
		return nil, errMalformed.Wrap(err)
	}
	verdicts, err := s.Module.Audit(ctx, page, block)
	out := auditAnswer{Verdicts: []verdictJSON{}}
	for _, v := range verdicts {
		out.Verdicts = append(out.Verdicts, verdictOf(v))
	}
	return out, err
}

// refuse writes an error as everywhere in the sidecar: code, message, reason.
func (s *server) refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = modules.ErrTimeout.Wrap(err)
	}
	p := problemJSON{http.StatusInternalServerError, "Internal error.", "internal"}
	if f := fault.Of(err); f != nil {
		p.Reason, p.Message = f.Code, clean(strings.TrimPrefix(err.Error(), f.Code+": "))
		if p.Message == f.Code { // a bare fault
			p.Message = f.Help
		}
		switch f.Kind {
		case fault.Unauthorized:
			p.Code = http.StatusUnauthorized
		case fault.Unsupported:
			p.Code = http.StatusUnsupportedMediaType
		default:
			for status, kind := range kinds {
				if kind == f.Kind {
					p.Code = status
				}
			}
		}
	} else {
		s.Log.Error("Module failed", "error", err)
	}
	write(w, p.Code, p)
}

func write(w http.ResponseWriter, status int, out any) {
	body, err := json.Marshal(out)
	if err != nil { // a candidate's or a draft's parts cannot fail to encode
		http.Error(w, "encode", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", mediaJSON)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a sidecar that hangs up is its own problem
}
