package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/ethereum/go-ethereum/accounts"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"go.uber.org/goleak"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/ecdsa"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ask() commitments.Request {
	return commitments.Request{Type: 1, Payload: commitments.EncodeInclusion(104, []byte{2, 1}), Slasher: bellatrix.ExecutionAddress{0x51}}
}

// serve runs a gateway that answers as told, and a client of it.
func serve(t *testing.T, h http.HandlerFunc, edit ...func(*Config)) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	cfg := Config{URL: s.URL + "/"}
	for _, e := range edit {
		e(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func promiseJSON(t *testing.T) (text string, s commitments.SignedCommitment) {
	t.Helper()
	s = commitments.SignedCommitment{Commitment: commitments.Commitment{Type: 1, Payload: ask().Payload, RequestHash: ask().Hash(), Slasher: ask().Slasher}, Nonce: 7, Signature: append(make([]byte, 64), 27)}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), s
}

func TestNew(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:1", "ftp://x", "http://", "ht tp://x"} {
		if _, err := New(Config{URL: url}); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}

// TestRequest_Again: a lost answer, a busy gateway and a broken one are asked
// again with the same bytes; a refusal is not.
func TestRequest_Again(t *testing.T) {
	want, _ := promiseJSON(t)
	errLate := fault.Define("too_late", fault.Rejected, "Late.")
	var mu sync.Mutex
	var bodies []string
	answers := []func(http.ResponseWriter){}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies = append(bodies, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-Api-Key")+" "+string(b))
		next := answers[0]
		answers = answers[1:]
		next(w)
	}, func(c *Config) { c.APIKey = "k" })
	lost := func(w http.ResponseWriter) {
		conn, _, _ := w.(http.Hijacker).Hijack()
		_ = conn.Close()
	}
	status := func(code int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(code); _, _ = io.WriteString(w, body) }
	}
	good := status(200, want)
	for _, tt := range []struct {
		name    string
		answers []func(http.ResponseWriter)
		calls   int
		err     error
	}{
		{"at once", []func(http.ResponseWriter){good}, 1, nil},
		{"lost, busy, broken", []func(http.ResponseWriter){lost, status(429, `{"reason":"rate_limited"}`), status(500, ""), good}, 4, nil},
		{"a refusal", []func(http.ResponseWriter){status(422, `{"code":422,"message":"slot 7","reason":"too_late"}`)}, 1, errLate},
		{"always busy", slices.Repeat([]func(http.ResponseWriter){status(429, `{"reason":"rate_limited"}`)}, 4), 4, nil},
	} {
		bodies, answers = nil, tt.answers
		s, err := c.Request(t.Context(), ask())
		if len(bodies) != tt.calls || len(slices.Compact(slices.Clone(bodies))) != 1 || !strings.HasPrefix(bodies[0], "POST /commitments/v0/gateway/commitmentRequest k {") {
			t.Errorf("%s: asked %d times: %q", tt.name, len(bodies), bodies)
		}
		var refused *Error
		switch {
		case tt.err != nil:
			if !errors.Is(err, tt.err) || !errors.As(err, &refused) || refused.Status != 422 || refused.Message != "slot 7" {
				t.Errorf("%s: got %v", tt.name, err)
			}
		case tt.name == "always busy":
			if !errors.As(err, &refused) || refused.Status != 429 || refused.Reason != "rate_limited" {
				t.Errorf("%s: got %v", tt.name, err)
			}
		case err != nil || s.Nonce != 7:
			t.Errorf("%s: got %+v, %v", tt.name, s, err)
		}
	}
}

// TestIdentity: what a Flashbots relay would check, with go-ethereum's functions.
func TestIdentity(t *testing.T) {
	key, err := ecdsa.NewSecretKey()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := promiseJSON(t)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		who, text, _ := strings.Cut(r.Header.Get("X-Flashbots-Signature"), ":")
		sig, err := hexutil.Decode(text)
		if err == nil {
			sig[64] -= 27
			public, err := crypto.SigToPub(accounts.TextHash([]byte(hexutil.Encode(crypto.Keccak256(b)))), sig)
			if err == nil && strings.EqualFold(crypto.PubkeyToAddress(*public).Hex(), who) {
				_, _ = io.WriteString(w, want)
				return
			}
		}
		w.WriteHeader(401)
	}, func(c *Config) { c.Identity = key })
	if _, err := c.Request(t.Context(), ask()); err != nil {
		t.Error(err)
	}
	if _, err := c.Result(t.Context(), ask().Hash()); err != nil {
		t.Errorf("without a body: %v", err)
	}
}

// TestSubscribe: a stream that breaks is taken up behind the last event.
func TestSubscribe(t *testing.T) {
	event := func(n int, state commitments.State) string {
		u := commitments.Update{ID: fmt.Sprintf("%d-x", n), Step: commitments.Step{State: state}}
		b, _ := json.Marshal(u)
		return fmt.Sprintf("id: %s\nevent: status\ndata: %s\n\n", u.ID, b)
	}
	var mu sync.Mutex
	var resumed []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		resumed = append(resumed, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		switch len(resumed) {
		case 1:
			_, _ = io.WriteString(w, "retry: 1000\n"+event(1, "journaled")+":\n\n"+event(2, "signed")+"data: {\"cut")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case 2:
			w.WriteHeader(503)
		default:
			_, _ = io.WriteString(w, event(3, "sealed")+event(4, "final")+event(5, "never read"))
		}
	})
	var got []string
	err := c.Subscribe(t.Context(), ask().Hash(), func(u commitments.Update) error { got = append(got, string(u.Step.State)); return nil })
	if want := "journaled signed sealed final"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	if want := []string{"", "2-x", "2-x"}; !slices.Equal(resumed, want) {
		t.Errorf("resumed at %q, want %q", resumed, want)
	}
}

func TestSubscribe_Ends(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"no more":    {204, "", "<nil>"},
		"refused":    {401, `{"reason":"identity_required"}`, "gateway refuses: identity_required (401): "},
		"not JSON":   {200, "data: {\n\n", "the gateway's event: unexpected end of JSON input"},
		"the caller": {200, "data: {\"step\":{\"state\":\"signed\"}}\n\n", "enough"},
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		})
		err := c.Subscribe(t.Context(), ask().Hash(), func(commitments.Update) error { return errors.New("enough") })
		if fmt.Sprint(err) != tt.want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.Subscribe(ctx, ask().Hash(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silence: got %v", err)
	}
}
