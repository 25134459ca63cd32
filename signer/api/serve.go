package api

import (
	"context"
	"errors"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"sidecar/fault"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/signer"
)

// route is what a handler's surroundings know of it.
type route struct {
	name, path string
	grant      string // of a module; "" wants an administrator
	body       bool
}

// call is a request whose caller is known.
type call struct {
	module *Module // nil of an administrator
	legacy bool    // the token binds neither route nor body
	fields fields  // of the body
	key    string  // that is asked for, for the log
	proxy  bool    // key is a proxy
}

// handler answers a call. A nil value is an empty answer.
type handler func(ctx context.Context, c *call) (any, error)

// serve puts a handler behind token, grant and body.
func (s *Service) serve(r route, h handler) httpd.Handler {
	return func(ctx context.Context, req httpd.Request) (httpd.Response, error) {
		c, err := s.enter(r, req)
		var value any
		if err == nil {
			value, err = h(ctx, c)
		}
		err = translate(c, err)
		s.cfg.Metrics.answered(r.name, c, err)
		if err == nil {
			return httpd.Response{Value: value}, nil
		}
		s.record(ctx, r, c, err)
		return refusal(req, err), err
	}
}

// enter finds out who calls and whether they may call this, and reads the body.
// The call it returns has what is known, even with an error.
func (s *Service) enter(r route, req httpd.Request) (*call, error) {
	c, err := s.authenticate(r, req)
	if err != nil {
		return c, err
	}
	if c.module != nil && !slices.Contains(c.module.Grant.Routes, r.grant) {
		return c, ErrRoute.With("module %s may not use %s; its grant needs routes = [%q]", c.module.ID, r.path, r.grant)
	}
	if !r.body {
		return c, nil
	}
	if media, _, err := mime.ParseMediaType(req.Header("Content-Type")); err != nil || media != "application/json" {
		return c, ErrMediaType
	}
	c.fields, err = object(req.Body)
	return c, err
}

// translate gives the errors of below the names of this API.
func translate(c *call, err error) error {
	if errors.Is(err, signer.ErrNotAllowed) { // the policy changed under way, or knows better
		return ErrKey.Wrap(err)
	}
	if errors.Is(err, signer.ErrUnknownKey) { // it went between our look and the signature
		if c.proxy {
			return ErrProxy.With("unknown proxy signer: %s", c.key)
		}
		return ErrConsensus.With("unknown consensus signer: %s", c.key)
	}
	return err
}

// refusal is the answer to err, beside its status: the reason in a header, and
// plain text as Commit-Boost's clients may show it, unless the caller asks for
// JSON by name.
func refusal(req httpd.Request, err error) httpd.Response {
	resp := httpd.Response{Header: [][2]string{{"X-Reason", fault.Code(err)}}}
	var wait retry
	if errors.As(err, &wait) {
		seconds := max(1, int64(math.Ceil(wait.after.Seconds())))
		resp.Header = append(resp.Header, [2]string{"Retry-After", strconv.FormatInt(seconds, 10)})
	}
	if !strings.Contains(strings.ToLower(req.Header("Accept")), "application/json") {
		resp.Plain = plain(err)
	}
	return resp
}

// plain is the text of a refusal. [Commit-Boost: signer errors]
func plain(err error) string {
	f := fault.Of(err)
	switch {
	case f == nil || f.Kind == fault.Internal:
		return "internal error"
	case f.Code == ErrNoToken.Code:
		return "Header of type `authorization` was missing"
	case f.Kind == fault.Unauthorized:
		return "unauthorized"
	case f.Kind == fault.Invalid:
		return "bad request: " + httpd.Message(err)
	}
	return httpd.Message(err)
}

// record writes the line that an audit looks for: which module was refused what
// for want of a right, or for contradicting itself. Failed tokens are in the
// server's own log: they name nobody, for anybody may write a name into one.
func (s *Service) record(ctx context.Context, r route, c *call, err error) {
	module := "unknown"
	if c.module != nil {
		module = c.module.ID
	}
	level := s.cfg.Log.Debug
	if status := httpd.Status(err); status == http.StatusForbidden || errors.Is(err, ledger.ErrSlashable) {
		level = s.cfg.Log.Warn
	}
	level("Signature refused", "module", module, "route", r.name, "key", c.key, "reason", fault.Code(err))
}
