// Package api is the Signer API: modules in other processes ask for signatures
// over HTTP, as they do of Commit-Boost (both generations) or with typed intents
// of our own. It owns who may ask for what. It promises that a module gets
// nothing its grant does not list, never another module's proxy key, and that
// everything signed went down the signer's one road. It holds no keys and never
// shows a secret or a token in a log, an error or a metric.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/config"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/signer"
)

// Signer is the one road to a signature.
type Signer interface {
	Sign(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error)
}

// Proxy is a proxy key, as the API shows it.
type Proxy struct {
	Module     string
	Delegator  phase0.BLSPubKey
	Key        commitments.Key
	Delegation phase0.BLSSignature // by Delegator, over the ProxyDelegation
}

// Proxies is the registry of proxy keys. What is revoked or expired is not in it.
type Proxies interface {
	// Of returns the proxies of a module.
	Of(module string) []Proxy
	// Lookup finds a proxy, whose ever it is.
	Lookup(key commitments.Key) (Proxy, bool)
	// Generate makes a proxy key for a module, durably, delegated by a
	// validator's key through the signer. Faults: the signer's, the store's.
	Generate(ctx context.Context, module string, delegator phase0.BLSPubKey, ecdsa bool) (Proxy, error)
	// Revoke ends a proxy key for good, durably, before it returns. A fault of
	// kind NotFound is a key that it does not hold.
	Revoke(ctx context.Context, key commitments.Key) error
}

// Revocations remember which secrets are worth nothing any more.
type Revocations interface {
	// Revoke makes the revocation of a secret durable before it returns.
	Revoke(ctx context.Context, module string, fingerprint [32]byte) error
	// Revoked says whether a secret was revoked, ever, here or by another sidecar that
	// shares the ledger. It is asked for every request.
	Revoked(module string, fingerprint func() [32]byte) bool
}

// Config is what the API needs. Metrics, Reload and Address are optional.
type Config struct {
	Spec    chain.Spec
	Clock   *chain.Clock
	Log     *slog.Logger
	Metrics *Metrics
	Policy  *Policy // who may call; the Signer's policy must ask it, too
	Signer  Signer
	// Consensus returns the validators' keys that are loaded, ascending.
	Consensus func() []phase0.BLSPubKey
	// Reload loads the configuration again and returns the table of it. Nil:
	// nothing to reload.
	Reload func(ctx context.Context) (Table, error)
	// FailLimit is how many tokens may fail in one name from one address before
	// it is blocked for FailTimeout. 0: no limit.
	FailLimit   int
	FailTimeout time.Duration
	// Address says where a caller's address is found.
	Address Address
}

// Service serves the API. Its methods may be called from any goroutine.
type Service struct {
	cfg     Config
	message func(ledger.Entry) (commitments.Message, error)
	started time.Time
	dummy   config.Secret // stands for the secret of unknown modules
	limiter limiter

	admin  sync.Mutex // one reload or revocation at a time
	mu     sync.Mutex
	states map[string]*state // by module id; guarded by mu
}

// state is what is remembered of a module beyond a reload.
type state struct {
	replay replay
	quota  quota
}

// New makes a service.
func New(c Config) (*Service, error) {
	switch {
	case c.Clock == nil || c.Log == nil || c.Policy == nil || c.Signer == nil || c.Consensus == nil:
		return nil, errors.New("signer API: clock, log, policy, signer and consensus keys are required")
	case c.FailLimit < 0 || c.FailTimeout < 0:
		return nil, errors.New("signer API: a limit is negative")
	}
	if err := c.Address.check(); err != nil {
		return nil, err
	}
	dummy, err := randomSecret()
	return &Service{
		cfg: c, message: signer.MessageOf(c.Spec), started: c.Clock.Now(), dummy: dummy,
		limiter: limiter{limit: c.FailLimit, timeout: c.FailTimeout}, states: map[string]*state{},
	}, err
}

func (s *Service) state(module string) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.states[module]
	if st == nil {
		st = &state{}
		s.states[module] = st
	}
	return st
}

// Limits of a request. [security: bodies, signer]
const (
	timeout = 10 * time.Second
	// A new key is encrypted with a function that is slow on purpose.
	timeoutGenerate = 30 * time.Second
	maxBody         = 64 << 10
	maxIntent       = 2*maxObject + 16<<10
	signerPath      = "/signer/v1/"
)

// Paths of the API.
const (
	pathPubkeys    = signerPath + "get_pubkeys"
	pathLegacy     = signerPath + "request_signature"
	pathBLS        = pathLegacy + "/bls"
	pathProxyBLS   = pathLegacy + "/proxy-bls"
	pathProxyECDSA = pathLegacy + "/proxy-ecdsa"
	pathGenerate   = signerPath + "generate_proxy_key"
	pathIntents    = signerPath + "intents"
	pathReload     = "/reload"
	pathRevoke     = "/revoke_jwt"
	pathProxy      = "/revoke_proxy"
	pathStatus     = "/status"
	pathOpenAPI    = "/openapi.json"
)

// Routes are the whole API. [Commit-Boost: Signer API]
func (s *Service) Routes() []httpd.Route {
	open := func(name, path string, h httpd.Handler) httpd.Route {
		return httpd.Route{Name: name, Method: http.MethodGet, Path: path, Timeout: timeout, Serve: h}
	}
	guarded := func(name, method, path, grant string, body int, h handler) httpd.Route {
		r, limit := route{name: name, path: path, grant: grant, body: body > 0}, timeout
		if path == pathGenerate {
			limit = timeoutGenerate
		}
		return httpd.Route{Name: name, Method: method, Path: path, Timeout: limit, MaxBody: body, Serve: s.serve(r, h)}
	}
	return []httpd.Route{
		open("status", pathStatus, func(context.Context, httpd.Request) (httpd.Response, error) { return httpd.Response{}, nil }),
		open("openapi", pathOpenAPI, serveOpenAPI),
		guarded("get_pubkeys", http.MethodGet, pathPubkeys, RoutePubkeys, 0, s.pubkeys),
		guarded("request_signature_legacy", http.MethodPost, pathLegacy, RouteSign, maxBody, s.signLegacy),
		guarded("request_signature_bls", http.MethodPost, pathBLS, RouteSign, maxBody, s.signBLS),
		guarded("request_signature_proxy_bls", http.MethodPost, pathProxyBLS, RouteSign, maxBody, s.signProxyBLS),
		guarded("request_signature_proxy_ecdsa", http.MethodPost, pathProxyECDSA, RouteSign, maxBody, s.signProxyECDSA),
		guarded("generate_proxy_key", http.MethodPost, pathGenerate, RouteGenerate, maxBody, s.generate),
		guarded("intents", http.MethodPost, pathIntents, RouteIntents, maxIntent, s.intent),
		guarded("reload", http.MethodPost, pathReload, "", maxBody, s.reload),
		guarded("revoke_jwt", http.MethodPost, pathRevoke, "", maxBody, s.revoke),
		guarded("revoke_proxy", http.MethodPost, pathProxy, "", maxBody, s.revokeProxy),
	}
}
