// Package dirk has a Dirk server, or a cluster of them, sign with validators'
// keys that it holds. A key is an account of one server, or is shared: then every
// server of the cluster signs with its share, and as many answers as the account's
// threshold make a signature. Dirk hashes object and domain itself, and refuses
// the domains of blocks and attestations on this road.
//
// Dirk speaks gRPC. Two unary calls of five small messages are all we need, so
// they are made over the HTTP/2 of the standard library: see
// docs/decisions/004-dirk-wire.md.
package dirk

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/sync/errgroup"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/fetch"
	"sidecar/internal/mtls"
)

// Faults of this package, besides mtls.ErrFiles.
var (
	ErrUnreachable = fault.Define("dirk_unreachable", fault.Upstream, "A Dirk server cannot be talked to, or is late.")
	ErrRefused     = fault.Define("dirk_refused", fault.Upstream, "A Dirk server refuses; its permissions, or its rules, do not allow it.")
	ErrAnswer      = fault.Define("dirk_answer", fault.Upstream, "A Dirk server failed, or its answer is not what its API says.")
	ErrAccount     = fault.Define("dirk_account_invalid", fault.Conflict, "Dirk servers disagree about an account, or it can never be used with the servers of the configuration.")
	ErrNotHeld     = fault.Define("dirk_key_not_held", fault.NotFound, "No Dirk server holds such a key.")
	ErrThreshold   = fault.Define("dirk_threshold", fault.Upstream, "Too few servers signed for a distributed account.")
)

// Host is one server.
type Host struct {
	URL     string   // https://host:port
	Name    string   // in its certificate and among participants; optional: the URL's host
	Wallets []string // whose accounts are used; as Dirk's paths
}

// Config describes a cluster.
type Config struct {
	Hosts []Host

	// PEM files. CAPath is optional: the system's authorities.
	CertPath, KeyPath, CAPath string

	MaxResponse int           // bytes of one answer
	Timeout     time.Duration // of one call

	Clock *chain.Clock // tells servers how long they have
}

// Holder is a cluster. Its methods may be called from any goroutine.
type Holder struct {
	timeout  time.Duration
	servers  []*server
	accounts map[commitments.Key]*account // as listed at the start
	silent   []error
}

// server is one host and the connections to it.
type server struct {
	name    string // of the host
	wallets []string
	base    string // of URLs
	limit   int    // bytes of a message
	client  *http.Client
	clock   *chain.Clock
}

// Open connects, and lists the accounts once: what Dirk makes later is not ours
// to use before a restart. A server that does not answer is in Silent; accounts
// that cannot be used without it are an error, those of its own are unknown.
// Faults: mtls.ErrFiles, ErrAccount, ErrUnreachable if nobody answers.
func Open(ctx context.Context, c Config) (*Holder, error) {
	if len(c.Hosts) == 0 || c.Timeout <= 0 || c.MaxResponse <= 0 || c.Clock == nil {
		return nil, errors.New("dirk: Hosts, MaxResponse, Timeout and Clock are required")
	}
	conf, err := mtls.Client(c.CertPath, c.KeyPath, c.CAPath, tls.VersionTLS13)
	if err != nil {
		return nil, err
	}
	h := &Holder{timeout: c.Timeout}
	for _, host := range c.Hosts {
		s, err := dial(host, conf, c)
		if err != nil {
			h.Close()
			return nil, err
		}
		h.servers = append(h.servers, s)
	}
	if err := h.list(ctx); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// dial prepares connections to a host. They are made when they are first used.
func dial(host Host, conf *tls.Config, c Config) (*server, error) {
	u, err := url.Parse(host.URL)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("dirk: %q is not a URL with https and a host", host.URL)
	}
	s := &server{name: host.Name, wallets: host.Wallets, base: strings.TrimSuffix(host.URL, "/"), limit: c.MaxResponse, clock: c.Clock}
	if s.name == "" {
		s.name = u.Hostname()
	}
	conf = conf.Clone()
	conf.ServerName = s.name
	s.client = fetch.New(fetch.Options{Timeout: c.Timeout, DialTimeout: c.Timeout, TLSTimeout: c.Timeout, TLS: conf, HTTP2: true})
	return s, nil
}

// list asks every server at once.
func (h *Holder) list(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	answers, errs := make([]listing, len(h.servers)), make([]error, len(h.servers))
	var group errgroup.Group
	for i, s := range h.servers {
		group.Go(func() error {
			answers[i], errs[i] = s.list(ctx)
			return nil
		})
	}
	_ = group.Wait()
	heard := 0
	for _, err := range errs {
		if err != nil {
			h.silent = append(h.silent, err)
		} else {
			heard++
		}
	}
	if heard == 0 {
		return errors.Join(errs...)
	}
	var err error
	h.accounts, err = gather(h.servers, answers)
	return err
}

// list reads the accounts of the server's wallets. [Dirk: Lister.ListAccounts]
func (s *server) list(ctx context.Context) (l listing, err error) {
	b, err := s.call(ctx, pathList, listRequest(s.wallets))
	if err != nil {
		return l, err
	}
	if l, err = parseListing(b); err != nil {
		return listing{}, ErrAnswer.With("%s: %v", s.name, err)
	}
	return l, s.judge(l.state)
}

// judge names what a server said of a request.
func (s *server) judge(said state) error {
	switch said {
	case stateSucceeded:
		return nil
	case stateDenied:
		return ErrRefused.With("%s", s.name)
	default:
		return ErrAnswer.With("%s: state %d", s.name, said)
	}
}

// Keys returns the keys of all accounts, ascending.
func (h *Holder) Keys() []commitments.Key {
	keys := make([]commitments.Key, 0, len(h.accounts))
	for k := range h.accounts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b commitments.Key) int { return bytes.Compare(a.BLS[:], b.BLS[:]) })
	return keys
}

// Silent are the servers that did not list their accounts at the start, and why.
func (h *Holder) Silent() []error { return h.silent }

// Sign has an account sign a message. The signature of a distributed account is
// verified here, since a wrong share makes a wrong one; that of a simple one is
// the signer's to check.
// Faults: ErrNotHeld, ErrUnreachable, ErrRefused, ErrAnswer, ErrThreshold.
func (h *Holder) Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	a := h.accounts[key]
	if a == nil {
		return nil, ErrNotHeld.With("%s", key)
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	var sig phase0.BLSSignature
	var err error
	if a.threshold == 0 {
		sig, err = a.participants[0].server.sign(ctx, signRequest(key.BLS[:], "", m.Object[:], m.Domain[:]))
	} else {
		sig, err = a.sign(ctx, m)
	}
	if err != nil {
		return nil, err
	}
	return sig[:], nil
}

// sign asks one server. [Dirk: Signer.Sign]
func (s *server) sign(ctx context.Context, request []byte) (sig phase0.BLSSignature, err error) {
	b, err := s.call(ctx, pathSign, request)
	if err != nil {
		return sig, err
	}
	answer, err := parseSigned(b)
	if err != nil {
		return sig, ErrAnswer.With("%s: %v", s.name, err)
	}
	if err := s.judge(answer.state); err != nil {
		return sig, err
	}
	if len(answer.signature) != len(sig) {
		return sig, ErrAnswer.With("%s: a signature of %d bytes", s.name, len(answer.signature))
	}
	return phase0.BLSSignature(answer.signature), nil
}

// Close lets go of the connections.
func (h *Holder) Close() {
	for _, s := range h.servers {
		s.client.CloseIdleConnections()
	}
}
