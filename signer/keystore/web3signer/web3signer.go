// Package web3signer has a Web3Signer sign with validators' keys that it holds.
//
// The signing API that beacon nodes use (/api/v1/eth2/sign) has no type for the
// Commit-Boost domain, and hashes what it signs itself: it cannot sign what we
// sign. The Commit-Boost route of the same server can: given an object root, it
// signs that root under the Commit-Boost domain of its network. So messages of
// any other domain are refused here, before they leave.
package web3signer

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/fetch"
	"sidecar/internal/mtls"
)

// Faults of this package, besides those of internal/fetch and internal/mtls.
var (
	ErrDomain  = fault.Define("web3signer_domain", fault.Invalid, "A Web3Signer signs under the Commit-Boost domain of its network, and nothing else.")
	ErrNotHeld = fault.Define("web3signer_key_not_held", fault.NotFound, "The Web3Signer holds no such key.")
	ErrRefused = fault.Define("web3signer_refused", fault.Upstream, "The Web3Signer refuses to sign; its Commit-Boost API may be off.")
	ErrAnswer  = fault.Define("web3signer_answer", fault.Upstream, "The Web3Signer's answer is not what its API says.")
)

const (
	maxKeys      = 4 << 20 // bytes of the list of keys
	maxSignature = 4 << 10 // bytes of a signature's answer
	maxConns     = 16
)

// Config describes a Web3Signer.
type Config struct {
	URL    string // of the server; its path is a prefix
	Domain phase0.Domain

	// PEM files. All are optional; CertPath and KeyPath go together.
	CertPath, KeyPath, CAPath string

	Timeout time.Duration // of one call
}

// Holder is a Web3Signer. Its methods may be called from any goroutine.
type Holder struct {
	base   string
	domain phase0.Domain
	client *http.Client
	keys   []commitments.Key // ascending; listed at the start
}

// Open connects, and lists the keys once: what the server loads later is not
// ours to use before a restart. Faults: mtls.ErrFiles, fetch's, ErrAnswer.
func Open(ctx context.Context, c Config) (*Holder, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || c.Timeout <= 0 || c.Domain == (phase0.Domain{}) {
		return nil, errors.New("web3signer: URL, Domain and Timeout are required")
	}
	conf, err := mtls.Client(c.CertPath, c.KeyPath, c.CAPath, tls.VersionTLS12)
	if err != nil {
		return nil, err
	}
	h := &Holder{
		base: strings.TrimSuffix(c.URL, "/"), domain: c.Domain,
		client: fetch.New(fetch.Options{Timeout: c.Timeout, DialTimeout: c.Timeout, TLSTimeout: c.Timeout, TLS: conf, MaxConnsPerHost: maxConns}),
	}
	if err := h.list(ctx); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// list reads the keys. [Web3Signer: GET /api/v1/eth2/publicKeys]
func (h *Holder) list(ctx context.Context) error {
	var names []string
	if err := fetch.GetJSON(ctx, h.client, h.base+"/api/v1/eth2/publicKeys", maxKeys, &names); err != nil {
		return err
	}
	for _, name := range names {
		var key phase0.BLSPubKey
		if !unhex(key[:], name) || key == (phase0.BLSPubKey{}) {
			return ErrAnswer.With("%.100q is not a public key", name)
		}
		h.keys = append(h.keys, commitments.BLSKey(key))
	}
	slices.SortFunc(h.keys, func(a, b commitments.Key) int { return bytes.Compare(a.BLS[:], b.BLS[:]) })
	h.keys = slices.Compact(h.keys)
	return nil
}

// Keys returns the keys that the server held when it was asked.
func (h *Holder) Keys() []commitments.Key { return slices.Clone(h.keys) }

// request is Web3Signer's. [Web3Signer: POST /signer/v1/request_signature]
type request struct {
	Type       string           `json:"type"`
	Pubkey     phase0.BLSPubKey `json:"pubkey"`
	ObjectRoot phase0.Root      `json:"object_root"`
}

// Sign has the server sign a message. Whether the signature is right is the
// signer's to check. Faults: ErrDomain, ErrNotHeld, ErrRefused, ErrAnswer, fetch's.
func (h *Holder) Sign(ctx context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	if m.Domain != h.domain {
		return nil, ErrDomain.With("asked for %#x", m.Domain[:4])
	}
	if !slices.Contains(h.keys, key) {
		return nil, ErrNotHeld.With("%s", key)
	}
	body, err := json.Marshal(request{"consensus", key.BLS, m.Object})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.base+"/signer/v1/request_signature", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	status, _, answer, err := fetch.Do(ctx, h.client, req, maxSignature)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, ErrRefused.With("status 404: the key is gone, or the route is not there")
	case status != http.StatusOK:
		return nil, ErrRefused.With("status %d", status)
	}
	var signature [phase0.SignatureLength]byte
	// A JSON string; older servers leave the quotation marks out.
	text := strings.TrimSpace(string(answer))
	if quoted, ok := strings.CutPrefix(text, `"`); ok {
		text, ok = strings.CutSuffix(quoted, `"`)
		if !ok {
			return nil, ErrAnswer.With("%d bytes for a signature", len(answer))
		}
	}
	if !unhex(signature[:], text) {
		return nil, ErrAnswer.With("%d bytes for a signature", len(answer))
	}
	return signature[:], nil
}

// Close lets go of the connections.
func (h *Holder) Close() { h.client.CloseIdleConnections() }

// unhex fills into from hex, 0x optional.
func unhex(into []byte, s string) bool {
	s = strings.TrimPrefix(s, "0x")
	if len(s) != 2*len(into) {
		return false
	}
	_, err := hex.Decode(into, []byte(s))
	return err == nil
}
