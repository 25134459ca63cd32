// Package fetch makes the HTTP clients for everything outside that is not a
// relay: beacon node, execution node, key registries. It promises that a call
// ends by its deadline, that an answer is no larger than its limit, and that
// its faults have names. It follows no redirect, decompresses nothing, uses no
// proxy unless asked, and its errors name the host of a URL but never the rest,
// where operators put their API keys.
package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sidecar/fault"
)

// Faults of this package.
var (
	ErrUnreachable = fault.Define("upstream_unreachable", fault.Upstream, "An upstream server cannot be talked to.")
	ErrTimeout     = fault.Define("upstream_timeout", fault.Upstream, "An upstream server did not answer in time.")
	ErrStatus      = fault.Define("upstream_status", fault.Upstream, "An upstream server answered with an error.")
	ErrRedirect    = fault.Define("redirect_refused", fault.Upstream, "An upstream server redirects; give its final address.")
	ErrTooLarge    = fault.Define("response_too_large", fault.Upstream, "An upstream answer is larger than its limit.")
	ErrEncoding    = fault.Define("response_encoding", fault.Upstream, "An upstream answer is compressed though nobody asked.")
	ErrJSON        = fault.Define("response_json", fault.Upstream, "An upstream answer is not the JSON that was expected.")
)

// StatusError is inside every ErrStatus; find it with errors.As.
type StatusError struct {
	Host   string
	Status int
	Body   []byte // at most the limit of the call
}

// Error names host, status and the beginning of the body, on one line.
func (e *StatusError) Error() string {
	const shown = 128
	b := e.Body
	if len(b) > shown {
		b = b[:shown]
	}
	return fmt.Sprintf("%s: status %d: %q", e.Host, e.Status, b)
}

// Options describes a client. Zero means the default.
type Options struct {
	Timeout           time.Duration // of a whole call, body included. Default 10 s
	DialTimeout       time.Duration // Default 300 ms; far servers need more
	TLSTimeout        time.Duration // of the handshake. Default 500 ms
	MaxConnsPerHost   int           // Default 4
	MaxResponseHeader int64         // bytes. Default 64 KiB
	TLS               *tls.Config   // below TLS 1.2 is refused whatever it says
	HTTP2             bool          // and nothing else. Default HTTP/1.1, and nothing else
	// Proxy chooses a proxy. Default: none, also none from the environment.
	Proxy func(*http.Request) (*url.URL, error)
	// Dial replaces the dialer, for in-memory networks and address rules. It
	// must keep its context.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// New returns a client. Its owner calls CloseIdleConnections at the end.
func New(o Options) *http.Client {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&o.Timeout, 10*time.Second)
	def(&o.DialTimeout, 300*time.Millisecond)
	def(&o.TLSTimeout, 500*time.Millisecond)
	if o.MaxConnsPerHost <= 0 {
		o.MaxConnsPerHost = 4
	}
	if o.MaxResponseHeader <= 0 {
		o.MaxResponseHeader = 64 << 10
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: o.DialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		conf = o.TLS.Clone()
		conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!o.HTTP2)
	protocols.SetHTTP2(o.HTTP2)
	return &http.Client{
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return ErrRedirect },
		Transport: &http.Transport{
			Proxy:                  o.Proxy,
			DialContext:            o.Dial,
			TLSClientConfig:        conf,
			TLSHandshakeTimeout:    o.TLSTimeout,
			DisableCompression:     true,
			MaxConnsPerHost:        o.MaxConnsPerHost,
			MaxIdleConnsPerHost:    o.MaxConnsPerHost,
			MaxIdleConns:           16 * o.MaxConnsPerHost,
			IdleConnTimeout:        90 * time.Second,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: o.MaxResponseHeader,
			Protocols:              protocols,
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
		},
	}
}

// Do sends req under ctx and reads the answer, of at most limit bytes. The
// status is the caller's to judge, except that a redirect is a fault. Faults:
// ErrUnreachable, ErrTimeout, ErrRedirect, ErrTooLarge, ErrEncoding. When ctx was
// cancelled errors.Is(err, context.Canceled) holds, too.
func Do(ctx context.Context, client *http.Client, req *http.Request, limit int64) (status int, header http.Header, body []byte, err error) {
	host := req.URL.Host
	res, err := client.Do(req.WithContext(ctx))
	if err != nil {
		return 0, nil, nil, name(host, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		return 0, nil, nil, ErrRedirect.With("%s: status %d", host, res.StatusCode)
	}
	if c := res.Header.Get("Content-Encoding"); c != "" && !strings.EqualFold(c, "identity") {
		return 0, nil, nil, ErrEncoding.With("%s: %.20q", host, c)
	}
	limit = max(limit, 0)
	if res.ContentLength > limit {
		return 0, nil, nil, ErrTooLarge.With("%s: %d bytes, at most %d", host, res.ContentLength, limit)
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return 0, nil, nil, name(host, err)
	}
	if int64(len(body)) > limit {
		return 0, nil, nil, ErrTooLarge.With("%s: more than %d bytes", host, limit)
	}
	return res.StatusCode, res.Header, body, nil
}

// name gives a failed call its fault, and takes the URL out of its text.
func name(host string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var timeout net.Error
	switch {
	case errors.Is(err, ErrRedirect):
		return ErrRedirect.With("%s", host)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout.Wrap(fmt.Errorf("%s: %w", host, err))
	}
	return ErrUnreachable.Wrap(fmt.Errorf("%s: %w", host, err))
}

// GetJSON gets url and decodes the answer into out. Unknown fields are let
// pass: upstreams grow. Faults: those of Do, ErrStatus for anything but 2xx,
// ErrJSON.
func GetJSON(ctx context.Context, client *http.Client, url string, limit int64, out any) error {
	return callJSON(ctx, client, http.MethodGet, url, limit, nil, out)
}

// PostJSON posts in as JSON and decodes the answer into out, unless out is nil.
// Faults: those of GetJSON.
func PostJSON(ctx context.Context, client *http.Client, url string, limit int64, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return callJSON(ctx, client, http.MethodPost, url, limit, b, out)
}

func callJSON(ctx context.Context, client *http.Client, method, url string, limit int64, in []byte, out any) error {
	var reader io.Reader
	if in != nil {
		reader = bytes.NewReader(in)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return name("", err)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	status, _, body, err := Do(ctx, client, req, limit)
	switch {
	case err != nil:
		return err
	case status < 200 || status > 299:
		return ErrStatus.Wrap(&StatusError{req.URL.Host, status, body})
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return ErrJSON.Wrap(fmt.Errorf("%s: %w", req.URL.Host, err))
	}
	return nil
}
