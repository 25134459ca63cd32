// Package client asks a gateway for promises, on behalf of a searcher, and
// follows what becomes of them. It asks again when an answer was lost, which is
// safe: the same request has the same answer. It keeps nothing, and checks no
// signature: package answer does.
package client

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/crypto/sha3"

	"sidecar/commitments"
	"sidecar/fault"
)

// Signer signs a request so that the gateway knows who asks. It is an identity,
// and need hold no funds.
type Signer interface {
	Address() bellatrix.ExecutionAddress
	Sign(hash phase0.Root) ([65]byte, error) // ECDSA over the 32 bytes as they are; v is 27 or 28
}

// Config says whom to ask, and as whom.
type Config struct {
	URL    string // of the gateway, such as "http://127.0.0.1:18560". Required
	APIKey string // Optional
	// Identity signs every request. Optional. [Flashbots: X-Flashbots-Signature]
	Identity Signer
	// Timeout bounds one attempt. Default 3 s: the gateway gives itself two.
	Timeout time.Duration
	// Tries is how often a call is made if the gateway is busy, or its answer does
	// not arrive. Default 4.
	Tries int
}

const (
	base      = "/commitments/v0/gateway/"
	maxAnswer = 8 << 20 // bytes
	jsonType  = "application/json"
)

// Client asks. Its methods may be called from any goroutine.
type Client struct {
	Config
	http *http.Client
}

// New checks c.
func New(c Config) (*Client, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("gateway URL %q is not http or https", c.URL)
	}
	c.URL = strings.TrimRight(c.URL, "/")
	if c.Timeout <= 0 {
		c.Timeout = 3 * time.Second
	}
	if c.Tries <= 0 {
		c.Tries = 4
	}
	return &Client{c, &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 20 * time.Second, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close gives up idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is a gateway's refusal.
type Error struct {
	Status     int
	Reason     string // stable: docs/errors.md
	Message    string
	RetryAfter time.Duration // of a busy gateway
}

func (e *Error) Error() string {
	return fmt.Sprintf("gateway refuses: %s (%d): %s", e.Reason, e.Status, e.Message)
}

// Is compares reasons with the codes of faults.
func (e *Error) Is(target error) bool {
	f, ok := target.(*fault.Fault)
	return ok && f.Code == e.Reason
}

// Request asks for a promise.
func (c *Client) Request(ctx context.Context, r commitments.Request) (s commitments.SignedCommitment, err error) {
	return s, c.post(ctx, "commitmentRequest", r, &s)
}

// RequestQuoted asks for a promise at the price of a quote, by its id.
func (c *Client) RequestQuoted(ctx context.Context, r commitments.Request, quote phase0.Hash32) (s commitments.SignedCommitment, err error) {
	return s, c.post(ctx, "commitmentRequest?quote_id="+hashText(quote), r, &s)
}

// Quote asks for a price that the gateway stands by for seconds.
func (c *Client) Quote(ctx context.Context, r commitments.Request) (q commitments.SignedQuote, err error) {
	return q, c.post(ctx, "quote", r, &q)
}

// Result returns the promise that answers a request hash.
func (c *Client) Result(ctx context.Context, hash phase0.Hash32) (s commitments.SignedCommitment, err error) {
	return s, c.call(ctx, http.MethodGet, "commitmentResult/"+hashText(hash), nil, &s)
}

// Slots lists the slots that take promises.
func (c *Client) Slots(ctx context.Context) (s commitments.SlotInfoResponse, err error) {
	return s, c.call(ctx, http.MethodGet, "slots", nil, &s)
}

// Fee tells what a promise would cost.
func (c *Client) Fee(ctx context.Context, r commitments.Request) (f commitments.FeeInfo, err error) {
	return f, c.post(ctx, "fee", r, &f)
}

// Capabilities tell what is promised, until when, and what is left.
func (c *Client) Capabilities(ctx context.Context) (out commitments.Capabilities, err error) {
	return out, c.call(ctx, http.MethodGet, "capabilities", nil, &out)
}

// Status tells what became of a request.
func (c *Client) Status(ctx context.Context, hash phase0.Hash32) (s commitments.Status, err error) {
	return s, c.call(ctx, http.MethodGet, "status/"+hashText(hash), nil, &s)
}

func hashText(h phase0.Hash32) string { return "0x" + hex.EncodeToString(h[:]) }

func (c *Client) post(ctx context.Context, path string, r commitments.Request, into any) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, path, body, into)
}

// call makes a request, and makes it again if the gateway was busy or its answer
// was lost.
func (c *Client) call(ctx context.Context, method, path string, body []byte, into any) error {
	for try, wait := 1, 50*time.Millisecond; ; try, wait = try+1, 2*wait {
		err := c.once(ctx, method, path, body, into)
		var refused *Error
		switch {
		case err == nil || try >= c.Tries || ctx.Err() != nil:
			return err
		case !errors.As(err, &refused): // the network's: the answer may be on its way
		case refused.Status != http.StatusTooManyRequests && refused.Status < 500 || refused.Status == http.StatusServiceUnavailable && refused.Reason != "too_many_connections":
			return err
		default:
			wait = max(wait, refused.RetryAfter)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

func (c *Client) once(ctx context.Context, method, path string, body []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	res, err := c.send(ctx, method, path, body, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the gateway's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return refusal(res, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("the gateway's answer: %w", err)
	}
	return nil
}

// refusal reads an answer that is no success.
func refusal(res *http.Response, text []byte) error {
	e := &Error{Status: res.StatusCode}
	var body struct{ Message, Reason string }
	if json.Unmarshal(text, &body) == nil {
		e.Reason, e.Message = body.Reason, body.Message
	}
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds >= 0 && seconds < 3600 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

func (c *Client) send(ctx context.Context, method, path string, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	if c.APIKey != "" {
		req.Header.Set("X-Api-Key", c.APIKey)
	}
	if c.Identity != nil {
		signature, err := identify(c.Identity, body)
		if err != nil {
			return nil, fmt.Errorf("sign the request: %w", err)
		}
		req.Header.Set("X-Flashbots-Signature", signature)
	}
	return c.http.Do(req)
}

// identify signs a body: the EIP-191 text of its hexadecimal keccak256.
// [Flashbots: X-Flashbots-Signature]
func identify(s Signer, body []byte) (string, error) {
	hash := keccak(body)
	message := "0x" + hex.EncodeToString(hash[:])
	signature, err := s.Sign(keccak([]byte("\x19Ethereum Signed Message:\n" + strconv.Itoa(len(message)) + message)))
	if err != nil {
		return "", err
	}
	who := s.Address()
	return "0x" + hex.EncodeToString(who[:]) + ":0x" + hex.EncodeToString(signature[:]), nil
}

func keccak(b []byte) (h phase0.Root) {
	d := sha3.NewLegacyKeccak256()
	_, _ = d.Write(b) // never fails [hash.Hash]
	d.Sum(h[:0])
	return h
}
