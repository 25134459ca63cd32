// Package client asks a Signer API for signatures, on behalf of a module in a
// process of its own. It speaks the API of Commit-Boost from 0.10 on and the
// sidecar's typed intents. It makes a fresh token for every request, binds it to
// route and body, and checks that the answer is about what was asked. It needs
// no cgo. It does not verify signatures, retry, or keep anything.
package client

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/sha3"

	"sidecar/chain"
)

// Config says whom to ask, and as whom.
type Config struct {
	// URL of the Signer API, such as "http://127.0.0.1:20000". Required.
	URL string
	// ModuleID is the id of [[modules]] in the sidecar's configuration. Required.
	ModuleID string
	// Secret is shared with the sidecar. Required. It is never sent.
	Secret string
	// TLS is for an https URL; see LoadTLS. Optional.
	TLS *tls.Config
	// Timeout bounds one request. Default 12 s, a slot.
	Timeout time.Duration
	// Clock is for tests. Optional.
	Clock *chain.Clock
}

// Format hides the secret from every verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "client.Config(module %q at %q)", c.ModuleID, c.URL)
}

const (
	life      = 55 * time.Second // of a token; strict modules may ask for 60 s
	maxAnswer = 4 << 20          // bytes
)

// Client asks. Its methods may be called from any goroutine.
type Client struct {
	base   string
	module string
	secret []byte
	http   *http.Client
	clock  *chain.Clock
}

// New makes a client. It asks nothing yet.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "":
		return nil, errors.New("signer client: the URL is not http://host or https://host")
	case c.ModuleID == "" || c.Secret == "":
		return nil, errors.New("signer client: module id and secret are required")
	case c.Timeout < 0:
		return nil, errors.New("signer client: negative timeout")
	}
	if c.Timeout == 0 {
		c.Timeout = 12 * time.Second
	}
	if c.Clock == nil {
		c.Clock = chain.NewClock(chain.Spec{}, nil)
	}
	transport := &http.Transport{
		TLSClientConfig: c.TLS, DisableCompression: true, MaxConnsPerHost: 64, MaxIdleConnsPerHost: 64,
		IdleConnTimeout: 60 * time.Second, TLSHandshakeTimeout: 5 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		base: strings.TrimSuffix(u.String(), "/"), module: c.ModuleID, secret: []byte(c.Secret), clock: c.Clock,
		http: &http.Client{Transport: transport, CheckRedirect: noRedirects, Timeout: c.Timeout},
	}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Format hides the secret from every verb.
func (c *Client) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "client.Client(module %q at %q)", c.module, c.base)
}

// ask makes a request and decodes its answer. A nil in asks with GET.
func (c *Client) ask(ctx context.Context, path string, in, out any) error {
	method, body := http.MethodGet, []byte(nil)
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		method = http.MethodPost
	}
	token, err := c.token(path, body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return ErrUnreachable.Wrap(err)
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or given up
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return ErrUnreachable.Wrap(err)
	case len(answer) > maxAnswer:
		return ErrAnswer.With("more than %d bytes", maxAnswer)
	case res.StatusCode != http.StatusOK:
		return refusal(res, answer)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return ErrAnswer.Wrap(err)
	}
	return nil
}

// token binds a request to the module: for this path and this body, once, for
// less than a minute. [Commit-Boost: module JWT]
func (c *Client) token(path string, body []byte) (string, error) {
	now := c.clock.Now()
	claims := struct {
		Exp         int64   `json:"exp"`
		Iat         int64   `json:"iat"`
		JTI         string  `json:"jti"`
		Module      string  `json:"module"`
		Route       string  `json:"route"`
		PayloadHash *string `json:"payload_hash"`
	}{now.Add(life).Unix(), now.Unix(), rand.Text(), c.module, path, nil}
	if len(body) > 0 {
		k := sha3.NewLegacyKeccak256()
		k.Write(body)
		hash := fmt.Sprintf("%#x", k.Sum(nil))
		claims.PayloadHash = &hash
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + enc.EncodeToString(payload)
	m := hmac.New(sha256.New, c.secret)
	m.Write([]byte(signed))
	return signed + "." + enc.EncodeToString(m.Sum(nil)), nil
}

// Status asks whether the API is there. It needs no token.
func (c *Client) Status(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/status", nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return ErrUnreachable.Wrap(err)
	}
	defer func() { _ = res.Body.Close() }() // nothing in it
	if res.StatusCode != http.StatusOK {
		return ErrUnreachable.With("status %d", res.StatusCode)
	}
	return nil
}
