package gateway

import (
	"context"
	"mime"
	"net/http"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/httpd"
)

// maxBody bounds a request: a transaction of 128 KiB is as much again in hex.
const maxBody = 256<<10 + 4<<10

const rest = "/commitments/v0/gateway/"

// Routes are the Commitments API in both its forms: JSON-RPC 2.0 as fabric
// serves it, and REST. [Commitments API]
func (g *Gateway) Routes() []httpd.Route {
	route := func(name, method, path string, body int, h httpd.Handler) httpd.Route {
		return httpd.Route{Name: name, Method: method, Path: path, Timeout: requestTimeout, MaxBody: body, Serve: h}
	}
	routes := []httpd.Route{
		route("commitment_request", http.MethodPost, rest+"commitmentRequest", maxBody, g.limited(g.serveCommit)),
		route("commitment_result", http.MethodGet, rest+"commitmentResult/{request_hash}", 0, g.limited(g.serveResult)),
		route("slots", http.MethodGet, rest+"slots", 0, g.limited(g.serveSlots)),
		route("fee", http.MethodGet, rest+"fee", maxBody, g.limited(g.serveFee)),  // the specification's yaml has a GET with a body,
		route("fee", http.MethodPost, rest+"fee", maxBody, g.limited(g.serveFee)), // its prose a POST
	}
	routes = append(routes, route("quote", http.MethodPost, rest+"quote", maxBody, g.limited(g.serveQuote)))
	for _, path := range []string{"/", "/commitmentRequest", "/commitmentResult", "/slots", "/fee"} {
		routes = append(routes, route("json_rpc", http.MethodPost, path, maxBody, g.serveRPC))
	}
	return routes
}

// enter takes one of the slots for API calls, and says whether there was one.
func (g *Gateway) enter() bool {
	select {
	case g.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g *Gateway) leave() { <-g.slots }

// limited refuses calls beyond MaxRequests, rather than let them wait.
func (g *Gateway) limited(h httpd.Handler) httpd.Handler {
	return func(ctx context.Context, r httpd.Request) (httpd.Response, error) {
		if !g.enter() {
			return httpd.Response{}, ErrBusy
		}
		defer g.leave()
		return h(ctx, r)
	}
}

func (g *Gateway) serveCommit(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	req, err := body(r)
	if err != nil {
		return httpd.Response{}, err
	}
	id, err := quoteOf(r)
	if err != nil {
		return httpd.Response{}, err
	}
	s, err := g.commitAs(ctx, req, id)
	return httpd.Response{Value: s}, err
}

// quoteOf reads the id of a quote beside a request: ?quote_id, or the header
// X-Quote-Id. Fault: ErrParams.
func quoteOf(r httpd.Request) (*phase0.Hash32, error) {
	text := r.Query("quote_id")
	if text == "" {
		text = r.Header("X-Quote-Id")
	}
	if text == "" {
		return nil, nil
	}
	h, err := parseHash(text)
	return &h, err
}

func (g *Gateway) serveQuote(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	req, err := body(r)
	if err != nil {
		return httpd.Response{}, err
	}
	q, err := g.Quote(ctx, req)
	return httpd.Response{Value: q}, err
}

func (g *Gateway) serveResult(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	hash, err := parseHash(r.Param("request_hash"))
	if err != nil {
		return httpd.Response{}, err
	}
	s, err := g.Result(ctx, hash)
	return httpd.Response{Value: s}, err
}

func (g *Gateway) serveSlots(ctx context.Context, _ httpd.Request) (httpd.Response, error) {
	s, err := g.Slots(ctx)
	return httpd.Response{Value: s}, err
}

func (g *Gateway) serveFee(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	req, err := body(r)
	if err != nil {
		return httpd.Response{}, err
	}
	f, err := g.fee(ctx, req)
	return httpd.Response{Value: f}, err
}

func (g *Gateway) serveRPC(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	if err := wantJSON(r); err != nil {
		return httpd.Response{}, err
	}
	if !g.enter() { // an error of the transport has the RPC's body, too
		return httpd.Response{Status: http.StatusTooManyRequests, Header: [][2]string{{"Retry-After", "1"}}, Value: failure(null, ErrBusy)}, nil
	}
	defer g.leave()
	answer := g.rpc(ctx, r.Body)
	if answer == nil {
		return httpd.Response{Status: http.StatusNoContent}, nil
	}
	return httpd.Response{Value: answer}, nil
}

func body(r httpd.Request) (commitments.Request, error) {
	if err := wantJSON(r); err != nil {
		return commitments.Request{}, err
	}
	return decodeRequest(r.Body)
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
