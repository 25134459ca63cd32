package wallet

import (
	"context"
	"mime"
	"net/http"

	"sidecar/internal/httpd"
	"sidecar/internal/quota"
)

// maxBody bounds a request: a transaction with six blobs in hexadecimal.
const maxBody = 2 << 20

// Routes are JSON-RPC over HTTP at the root, and a sign of life.
func (w *Wallet) Routes() []httpd.Route {
	timeout := w.SyncMaxTimeout + sendTimeout + restTimeout
	return []httpd.Route{
		{Name: "wallet_rpc", Method: http.MethodPost, Path: "/", Timeout: timeout, MaxBody: maxBody, Serve: w.serveRPC},
		{Name: "wallet_status", Method: http.MethodGet, Path: "/status", Timeout: readTimeout, Serve: w.serveStatus},
	}
}

func (w *Wallet) serveRPC(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	if err := wantJSON(r); err != nil {
		return httpd.Response{}, err
	}
	from := r.Remote
	if w.From != nil {
		var err error
		if from, err = w.From(r.Remote, r.Header); err != nil {
			return httpd.Response{}, err
		}
	}
	leave, ok := w.slots.Enter(sharer(from), quota.KnownPromise)
	if !ok { // an error of the transport has the RPC's body, too
		return httpd.Response{Status: http.StatusTooManyRequests, Header: [][2]string{{"Retry-After", "1"}}, Value: failed(null, ErrBusy)}, nil
	}
	defer leave()
	c := &caller{remote: from, bolt: r.Header("X-Bolt-Signature"), left: limitLarge}
	answer := w.rpc(ctx, c, r.Body)
	if answer == nil {
		return httpd.Response{Status: http.StatusNoContent}, nil
	}
	return httpd.Response{Value: answer}, nil
}

func (w *Wallet) serveStatus(context.Context, httpd.Request) (httpd.Response, error) {
	return httpd.Response{Status: http.StatusOK}, nil
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
