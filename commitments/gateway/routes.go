package gateway

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
)

// Bounds of a request's body: a transaction is twice as long in hex, and blobs
// come with it.
const (
	maxBody      = 1 << 20
	maxBodyBlobs = 4 << 20
)

const rest = "/commitments/v0/gateway/"

// Routes are the Commitments API in both its forms: JSON-RPC 2.0 as fabric
// serves it, and REST; and our additions to it. [Commitments API]
func (g *Gateway) Routes() []httpd.Route {
	most := g.maxBody()
	route := func(name, method, path string, body int, promise bool, h httpd.Handler) httpd.Route {
		return httpd.Route{Name: name, Method: method, Path: path, Timeout: requestTimeout, MaxBody: body, Serve: g.limited(promise, h)}
	}
	routes := []httpd.Route{
		route("commitment_request", http.MethodPost, rest+"commitmentRequest", most, true, g.serveCommit),
		route("commitment_result", http.MethodGet, rest+"commitmentResult/{request_hash}", 0, false, g.serveResult),
		route("slots", http.MethodGet, rest+"slots", 0, false, g.serveSlots),
		route("fee", http.MethodGet, rest+"fee", most, false, g.serveFee),  // the specification's yaml has a GET with a body,
		route("fee", http.MethodPost, rest+"fee", most, false, g.serveFee), // its prose a POST
		route("quote", http.MethodPost, rest+"quote", most, false, g.serveQuote),
		route("status", http.MethodGet, rest+"status/{request_hash}", 0, false, g.serveStatus),
		route("capabilities", http.MethodGet, rest+"capabilities", 0, false, g.serveCapabilities),
		{Name: "subscribe", Method: http.MethodGet, Path: rest + "subscribe", Stream: http.HandlerFunc(g.serveSubscribe)},
	}
	for _, path := range []string{"/", "/commitmentRequest", "/commitmentResult", "/slots", "/fee"} {
		routes = append(routes, httpd.Route{Name: "json_rpc", Method: http.MethodPost, Path: path, Timeout: requestTimeout, MaxBody: most, Serve: g.serveRPC})
	}
	return append(routes, g.describeRoutes()...)
}

func (g *Gateway) maxBody() int {
	if g.Limit.Blobs > 0 {
		return maxBodyBlobs
	}
	return maxBody
}

// limited refuses callers we do not serve, and calls beyond what may run at a
// time, rather than let them wait; requests for promises wait a little.
func (g *Gateway) limited(promise bool, h httpd.Handler) httpd.Handler {
	return func(ctx context.Context, r httpd.Request) (httpd.Response, error) {
		c, err := g.greet(askedBy(r))
		if err != nil {
			return busyResponse(err), err
		}
		leave, err := g.seatBy(ctx, c, promise, r)
		if err != nil {
			return busyResponse(err), err
		}
		defer leave()
		return h(ctx, r)
	}
}

func (g *Gateway) seatBy(ctx context.Context, c caller, promise bool, r httpd.Request) (leave func(), err error) {
	if !promise {
		return g.seat(c)
	}
	return g.seatFor(ctx, c, func() (commitments.Request, error) { return body(r) })
}

// busyResponse says when to ask again.
func busyResponse(err error) httpd.Response {
	if after := retryHeader(err); after != "" {
		return httpd.Response{Header: [][2]string{{"Retry-After", after}}}
	}
	return httpd.Response{}
}

// retryHeader is Retry-After in seconds, "" for an error of another kind than Busy.
func retryHeader(err error) string {
	if f := fault.Of(err); f == nil || f.Kind != fault.Busy {
		return ""
	}
	seconds := (retryAfter(err) + time.Second - 1) / time.Second
	return strconv.FormatInt(int64(max(seconds, 1)), 10)
}

// promiseTo is Commit for a caller, or CommitQuoted if a quote is named: it is
// noted while it lasts, and its refusals have the names that callers know.
func (g *Gateway) promiseTo(ctx context.Context, r commitments.Request, quote *phase0.Hash32) (commitments.SignedCommitment, phase0.Hash32, error) {
	hash := r.Hash()
	g.diary.enter(hash)
	defer g.diary.leave(hash)
	s, err := g.commitAs(ctx, r, quote)
	switch {
	case errors.Is(err, ledger.ErrHolding):
		err = ErrHolding
	case errors.Is(err, ledger.ErrPageClosed):
		err = ErrTooLate
	}
	return s, hash, err
}

func (g *Gateway) serveCommit(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	req, err := body(r)
	if err != nil {
		return httpd.Response{}, err
	}
	quote, err := quoteOf(r)
	if err != nil {
		return httpd.Response{}, err
	}
	s, hash, err := g.promiseTo(ctx, req, quote)
	if err != nil {
		return httpd.Response{}, err
	}
	return httpd.Response{Value: g.written(s), After: func() { g.diary.released(hash) }}, nil
}

// written is a commitment in the form that callers get.
func (g *Gateway) written(s commitments.SignedCommitment) any {
	if g.SignatureForm == "" || g.SignatureForm == commitments.FormV27 {
		return s
	}
	return commitments.Written{SignedCommitment: s, Form: g.SignatureForm}
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
	return httpd.Response{Value: g.written(s)}, err
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

func (g *Gateway) serveStatus(_ context.Context, r httpd.Request) (httpd.Response, error) {
	hash, err := parseHash(r.Param("request_hash"))
	if err != nil {
		return httpd.Response{}, err
	}
	s, err := g.Status(hash)
	return httpd.Response{Value: s}, err
}

func (g *Gateway) serveCapabilities(ctx context.Context, _ httpd.Request) (httpd.Response, error) {
	c, err := g.Capabilities(ctx)
	return httpd.Response{Value: c}, err
}

func (g *Gateway) serveRPC(ctx context.Context, r httpd.Request) (httpd.Response, error) {
	if err := wantJSON(r); err != nil {
		return httpd.Response{}, err
	}
	c, err := g.greet(askedBy(r))
	if err != nil { // an error of the transport has the RPC's body, too
		resp := busyResponse(err)
		resp.Status, resp.Value = httpd.Status(err), failure(null, err)
		return resp, nil
	}
	answer, released := g.rpc(ctx, c, r.Body)
	if answer == nil {
		return httpd.Response{Status: http.StatusNoContent}, nil
	}
	resp := httpd.Response{Value: answer}
	if one, ok := answer.(*rpcResponse); ok && one.busy != nil {
		resp = busyResponse(one.busy)
		resp.Status, resp.Value = http.StatusTooManyRequests, answer
	}
	if len(released) > 0 {
		resp.After = func() {
			for _, hash := range released {
				g.diary.released(hash)
			}
		}
	}
	return resp, nil
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
