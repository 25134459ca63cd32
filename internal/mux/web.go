package mux

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/config"
	"sidecar/internal/fetch"
)

const (
	ssvPage  = 100 // keys per page of the public API
	maxPages = maxKeys / ssvPage
)

// web reads bounded answers over HTTP, without redirects and decompression.
type web struct {
	client *http.Client
	own    bool // made here, so that its idle connections are ours to drop
}

func newWeb(client *http.Client) web {
	if client == nil {
		return web{fetch.New(fetch.Options{Timeout: loadTimeout, DialTimeout: 5 * time.Second, TLSTimeout: 5 * time.Second}), true}
	}
	c := *client
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return fetch.ErrRedirect }
	return web{&c, false}
}

// close drops idle connections: the next load is minutes away, if it comes.
func (w web) close() {
	if w.own {
		w.client.CloseIdleConnections()
	}
}

// get reads a JSON answer of at most maxBody bytes. Messages name the host of
// the URL and never the rest, which may hold a key.
func (w web) get(ctx context.Context, timeout time.Duration, url string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("URL is not one")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Encoding", "identity") // set by us, nothing is decompressed for us
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	status, _, answer, err := fetch.Do(ctx, w.client, r, maxBody)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", r.URL.Host, status)
	}
	return answer, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxBody {
		return nil, fmt.Errorf("more than %d bytes", maxBody)
	}
	return data, nil
}

func loadFile(path string) ([]phase0.BLSPubKey, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	data, err := readBounded(f)
	if err != nil {
		return nil, err
	}
	return decodeKeys(data)
}

func (w web) loadURL(ctx context.Context, l *config.Loader) ([]phase0.BLSPubKey, error) {
	data, err := w.get(ctx, l.HTTPTimeout, l.URL, nil)
	if err != nil {
		return nil, err
	}
	return decodeKeys(data)
}

// decodeKeys reads a JSON array of public keys.
func decodeKeys(data []byte) ([]phase0.BLSPubKey, error) {
	var list []string
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("not a JSON array of keys: %w", err)
	}
	if list == nil {
		return nil, errors.New("not a JSON array of keys: null")
	}
	return parseKeys(list)
}

// parseKeys reads keys, 0x optional, and drops repeated ones.
func parseKeys(list []string) ([]phase0.BLSPubKey, error) {
	if len(list) > maxKeys {
		return nil, fmt.Errorf("more than %d keys", maxKeys)
	}
	out := make([]phase0.BLSPubKey, 0, len(list))
	for i, text := range list {
		var key phase0.BLSPubKey
		b, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
		if err != nil || len(b) != len(key) {
			return nil, fmt.Errorf("key %d is not 48 bytes in hexadecimal", i)
		}
		copy(key[:], b)
		out = append(out, key)
	}
	return checkKeys(out)
}

// checkKeys refuses what cannot be a validator and drops repeated keys.
func checkKeys(keys []phase0.BLSPubKey) ([]phase0.BLSPubKey, error) {
	seen := make(map[phase0.BLSPubKey]bool, len(keys))
	out := keys[:0]
	for i, key := range keys {
		if key[0]&0x80 == 0 || key[0]&0x40 != 0 { // the flags of a compressed point, not infinity
			return nil, fmt.Errorf("key %d is not a compressed BLS public key", i)
		}
		if !seen[key] {
			seen[key] = true
			out = append(out, key)
		}
	}
	return out, nil
}

// loadSSV asks the operator's own node, and the public API if that fails.
func (t *Table) loadSSV(ctx context.Context, s Source) ([]phase0.BLSPubKey, error) {
	keys, err := t.web.ssvNode(ctx, t.cfg.SSVNodeURL, s.Loader)
	if err == nil {
		return keys, nil
	}
	t.cfg.Log.Warn("SSV node does not answer, asking the public API", "mux", s.ID, "err", err)
	keys, public := t.web.ssvPublic(ctx, t.cfg.SSVPublicURL, t.cfg.Network, s.Loader)
	if public != nil {
		return nil, fmt.Errorf("SSV node: %w; SSV API: %w", err, public)
	}
	return keys, nil
}

// ssvNode asks an SSV node. It takes its question as the body of a GET.
func (w web) ssvNode(ctx context.Context, base string, l *config.Loader) ([]phase0.BLSPubKey, error) {
	body := fmt.Appendf(nil, `{"operators":[%d]}`, l.NodeOperatorID)
	data, err := w.get(ctx, l.HTTPTimeout, strings.TrimSuffix(base, "/")+"/validators", body)
	if err != nil {
		return nil, err
	}
	return decodeSSVNode(data)
}

type ssvValidator struct {
	PublicKey string `json:"public_key"`
}

func decodeSSVNode(data []byte) ([]phase0.BLSPubKey, error) {
	var answer struct {
		Data *[]ssvValidator `json:"data"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("not an answer: %w", err)
	}
	if answer.Data == nil { // an error object, or another service: not "no validators"
		return nil, errors.New("answer has no data")
	}
	return parseKeys(publicKeys(*answer.Data))
}

func publicKeys(list []ssvValidator) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.PublicKey
	}
	return out
}

// ssvPublic reads the pages of the public API. The total must match.
func (w web) ssvPublic(ctx context.Context, base, network string, l *config.Loader) ([]phase0.BLSPubKey, error) {
	if network != "mainnet" && network != "holesky" && network != "hoodi" {
		return nil, fmt.Errorf("SSV is not on %s", network)
	}
	var all []string
	for page := 1; page <= maxPages+1; page++ {
		url := fmt.Sprintf("%s/%s/validators/in_operator/%d?perPage=%d&page=%d", strings.TrimSuffix(base, "/"), network, l.NodeOperatorID, ssvPage, page)
		data, err := w.get(ctx, l.HTTPTimeout, url, nil)
		if err != nil {
			return nil, err
		}
		keys, total, err := decodeSSVPage(data)
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", page, err)
		}
		all = append(all, keys...)
		if len(keys) == ssvPage {
			continue
		}
		if total != len(all) {
			return nil, fmt.Errorf("%d keys on %d pages, where the total is %d", len(all), page, total)
		}
		return parseKeys(all)
	}
	return nil, fmt.Errorf("more than %d pages", maxPages)
}

func decodeSSVPage(data []byte) (keys []string, total int, err error) {
	var answer struct {
		Validators *[]ssvValidator `json:"validators"`
		Pagination *struct {
			Total *int `json:"total"`
		} `json:"pagination"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, 0, fmt.Errorf("not an answer: %w", err)
	}
	switch {
	case answer.Validators == nil || answer.Pagination == nil || answer.Pagination.Total == nil:
		return nil, 0, errors.New("answer has no validators or no total")
	case len(*answer.Validators) > ssvPage:
		return nil, 0, fmt.Errorf("more than %d keys", ssvPage)
	}
	return publicKeys(*answer.Validators), *answer.Pagination.Total, nil
}
