package wallet

import (
	"context"
	"mime"
	"net/http"
	"slices"

	"sidecar/internal/httpd"
)

// maxBody bounds a request: a transaction with six blobs in hexadecimal.
const maxBody = 2 << 20

// Routes are JSON-RPC over HTTP at the root, the browser's question before it,
// and a sign of life.
func (w *Wallet) Routes() []httpd.Route {
	timeout := w.SyncMaxTimeout + sendTimeout + restTimeout
	return []httpd.Route{
		{Name: "wallet_rpc", Method: http.MethodPost, Path: "/", Timeout: timeout, MaxBody: maxBody, Serve: w.serveRPC},
		{Name: "wallet_preflight", Method: http.MethodOptions, Path: "/", Timeout: readTimeout, Serve: w.servePreflight},
		{Name: "wallet_status", Method: http.MethodGet, Path: "/status", Timeout: readTimeout, Serve: w.serveStatus},
	}
}

func (w *Wallet) serveRPC(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	headers, err := w.origin(r)
	if err != nil {
		return httpd.Response{}, err
	}
	if err := wantJSON(r); err != nil {
		return httpd.Response{Header: headers}, err
	}
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	default: // an error of the transport has the RPC's body, too
		headers = append(headers, [2]string{"Retry-After", "1"})
		return httpd.Response{Status: http.StatusTooManyRequests, Header: headers, Value: failed(null, ErrBusy)}, nil
	}
	c := &caller{remote: r.Remote, bolt: r.Header("X-Bolt-Signature"), left: limitLarge}
	answer := w.rpc(ctx, c, r.Body)
	if answer == nil {
		return httpd.Response{Status: http.StatusNoContent, Header: headers}, nil
	}
	return httpd.Response{Header: headers, Value: answer}, nil
}

// servePreflight tells a browser whether a page may ask. [Fetch: CORS-preflight]
func (w *Wallet) servePreflight(_ context.Context, r httpd.Request) (httpd.Response, error) {
	headers, err := w.origin(r)
	if err != nil {
		return httpd.Response{}, err
	}
	headers = append(headers, [2]string{"Access-Control-Allow-Methods", "POST"},
		[2]string{"Access-Control-Allow-Headers", "Content-Type, X-Bolt-Signature"}, [2]string{"Access-Control-Max-Age", "600"})
	if r.Header("Access-Control-Request-Private-Network") == "true" {
		headers = append(headers, [2]string{"Access-Control-Allow-Private-Network", "true"})
	}
	return httpd.Response{Status: http.StatusNoContent, Header: headers}, nil
}

func (w *Wallet) serveStatus(context.Context, httpd.Request) (httpd.Response, error) {
	return httpd.Response{Status: http.StatusOK}, nil
}

// origin says whether a web page may ask, and returns what its browser must be
// told. A request of a browser that names no page is refused. Fault:
// httpd.ErrOrigin.
func (w *Wallet) origin(r httpd.Request) ([][2]string, error) {
	from := r.Header("Origin")
	site := r.Header("Sec-Fetch-Site")
	switch {
	case from == "" && (site == "" || site == "none"):
		return nil, nil
	case from == "" || !slices.Contains(w.Origins, from) && !slices.Contains(w.Origins, "*"):
		return nil, httpd.ErrOrigin
	}
	return [][2]string{{"Access-Control-Allow-Origin", from}, {"Vary", "Origin"}}, nil
}

// wantJSON refuses bodies that say they are something else: what a web form can
// send, above all.
func wantJSON(r httpd.Request) error {
	header := r.Header("Content-Type")
	if header == "" {
		return nil
	}
	if media, _, err := mime.ParseMediaType(header); err != nil || media != "application/json" {
		return httpd.ErrUnsupported.With("application/json is wanted")
	}
	return nil
}
