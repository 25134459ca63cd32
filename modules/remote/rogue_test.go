package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/modules"
	"sidecar/modules/remote"
)

const (
	secret  remote.Secret = "a secret of a test, long enough"
	anInfo                = `{"version":1,"id":"rogue","commitment_types":[5],"constraint_types":[5]}`
	budget                = 300 * time.Millisecond
	tooMany               = 70
)

// rogue is a module that answers info well and everything else as it likes.
type rogue struct {
	*httptest.Server
	asked atomic.Int64 // but for info
}

func newRogue(t *testing.T, do http.HandlerFunc) *rogue {
	t.Helper()
	r := &rogue{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/info") {
			say(200, anInfo)(w, q)
			return
		}
		r.asked.Add(1)
		do(w, q)
	}))
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// raw writes bytes to the connection and closes it.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// drip begins an answer and never ends it.
func drip(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	for r.Context().Err() == nil {
		_, _ = io.WriteString(w, " ")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func flood(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for b := make([]byte, 1<<20); ; {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

func dialed(t *testing.T, url string) modules.Module {
	t.Helper()
	m, err := remote.Dial(t.Context(), remote.Config{
		URL: url, Secret: secret, Budgets: modules.Budgets{Slot: budget, Commit: budget, Verify: budget, Audit: budget}, MaxAnswer: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var request = commitments.Request{Type: 5, Payload: []byte{1}}

func onePage() commitments.Page {
	return commitments.Page{PageID: commitments.PageID{Slot: 7}, Promises: []commitments.Promise{{SignedCommitment: commitments.SignedCommitment{
		Commitment: commitments.Commitment{Type: 5, Payload: []byte{1}, RequestHash: request.Hash()},
	}}}}
}

// calls are the four calls of a module.
func calls(m modules.Module) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"slot":   func(ctx context.Context) error { _, err := m.Slot(ctx, request); return err },
		"commit": func(ctx context.Context) error { _, err := m.Commit(ctx, commitments.View{}, request); return err },
		"verify": func(ctx context.Context) error { return m.Verify(ctx, onePage(), commitments.Candidate{}) },
		"audit": func(ctx context.Context) error {
			_, err := m.Audit(ctx, onePage(), commitments.Block{Slot: 7})
			return err
		},
	}
}

// TestFailures is the table of docs/modules.md: whatever a module does, each
// call ends by its budget with a fault that says what.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		do   http.HandlerFunc
		want *fault.Fault
	}{
		"hangs":              {hang, modules.ErrTimeout},
		"drips":              {drip, modules.ErrTimeout},
		"hangs up":           {raw(""), remote.ErrUnreachable},
		"answers half":       {raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"slot\":"), remote.ErrUnreachable},
		"is no HTTP":         {raw("SSH-2.0-OpenSSH_9.6\r\n"), remote.ErrUnreachable},
		"floods":             {flood, remote.ErrAnswer},
		"announces a flood":  {raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{"), remote.ErrAnswer},
		"another media type": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"slot":1}`) }, remote.ErrAnswer},
		"compressed":         {raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"), remote.ErrAnswer},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, remote.ErrAnswer},
		"no JSON":                {say(200, `<html>`), remote.ErrAnswer},
		"a list":                 {say(200, `[]`), remote.ErrAnswer},
		"an unknown field":       {say(200, `{"slot":1,"commitment":null,"verdicts":[],"extra":1}`), remote.ErrAnswer},
		"two values":             {say(200, `{}{}`), remote.ErrAnswer},
		"deep nesting":           {say(200, strings.Repeat("[", 20_000)), remote.ErrAnswer},
		"500":                    {say(500, `{"code":500,"message":"stack trace","reason":"internal"}`), remote.ErrFailed},
		"500 of a proxy":         {raw("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"), remote.ErrFailed},
		"a panic":                {say(500, `{"code":500,"message":"x","reason":"module_panic"}`), modules.ErrPanic},
		"does not take us":       {say(401, `{"code":401,"message":"x","reason":"who"}`), remote.ErrSecret},
		"a reason of our ledger": {say(409, `{"code":409,"message":"x","reason":"Not A Reason"}`), remote.ErrFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := dialed(t, newRogue(t, c.do).URL)
			for call, do := range calls(m) {
				begun := time.Now()
				err := do(t.Context())
				if fault.Code(err) != c.want.Code {
					t.Errorf("%s: got %v, want %s", call, err, c.want)
				}
				if took := time.Since(begun); took > budget+2*time.Second { // the machine is busy
					t.Errorf("%s took %v of %v", call, took, budget)
				}
			}
		})
	}
}

// TestLies are answers in form that say what was not asked.
func TestLies(t *testing.T) {
	hash, zero := request.Hash().String(), "0x"+strings.Repeat("00", 20)
	draft := func(kind, payload, hash, slasher, more string) string {
		return fmt.Sprintf(`{"commitment":{"commitment_type":%s,"payload":%q,"request_hash":%q,"slasher":%q%s},"constraints":[],"cost":{"gas":1,"blobs":0,"bytes":0},"touches":[],"claims":[]}`,
			kind, payload, hash, slasher, more)
	}
	verdict := func(hash, outcome string) string {
		return fmt.Sprintf(`{"request_hash":%q,"outcome":%q,"reason":""}`, hash, outcome)
	}
	good := draft("5", "0x01", hash, zero, "")
	for name, c := range map[string]struct {
		call, body string
		want       *fault.Fault // nil: all is well
	}{
		"a draft":                {"commit", good, nil},
		"another type":           {"commit", draft("6", "0x01", hash, zero, ""), modules.ErrDraft},
		"another request":        {"commit", draft("5", "0x01", "0x"+strings.Repeat("11", 32), zero, ""), modules.ErrDraft},
		"another slasher":        {"commit", draft("5", "0x01", hash, "0x"+strings.Repeat("22", 20), ""), modules.ErrDraft},
		"a short hash":           {"commit", draft("5", "0x01", "0x11", zero, ""), remote.ErrAnswer},
		"no 0x":                  {"commit", draft("5", "01", hash, zero, ""), remote.ErrAnswer},
		"a field in the draft":   {"commit", draft("5", "0x01", hash, zero, `,"tip":1`), remote.ErrAnswer},
		"no cost":                {"commit", strings.Replace(good, `"cost":{"gas":1,"blobs":0,"bytes":0},`, "", 1), remote.ErrAnswer},
		"a negative cost":        {"commit", strings.Replace(good, `"gas":1`, `"gas":-1`, 1), remote.ErrAnswer},
		"an empty claim":         {"commit", strings.Replace(good, `"claims":[]`, `"claims":[""]`, 1), remote.ErrAnswer},
		"100 claims":             {"commit", strings.Replace(good, `"claims":[]`, `"claims":["x"`+strings.Repeat(`,"x"`, 99)+`]`, 1), remote.ErrAnswer},
		"300 constraints":        {"commit", strings.Replace(good, `"constraints":[]`, `"constraints":[{"constraint_type":5,"payload":"0x"}`+strings.Repeat(`,{"constraint_type":5,"payload":"0x"}`, 299)+`]`, 1), remote.ErrAnswer},
		"no slot":                {"slot", `{}`, remote.ErrAnswer},
		"a slot":                 {"slot", `{"slot":0}`, nil},
		"a verdict":              {"audit", `{"verdicts":[` + verdict(hash, "kept") + `]}`, nil},
		"no verdicts":            {"audit", `{}`, remote.ErrAnswer},
		"two verdicts":           {"audit", `{"verdicts":[` + verdict(hash, "kept") + "," + verdict(hash, "broken") + `]}`, remote.ErrAnswer},
		"a verdict on another":   {"audit", `{"verdicts":[` + verdict("0x"+strings.Repeat("11", 32), "kept") + `]}`, remote.ErrAnswer},
		"an outcome of its own":  {"audit", `{"verdicts":[` + verdict(hash, "superb") + `]}`, remote.ErrAnswer},
		"a bid that passes":      {"verify", `{}`, nil},
		"a bid, and more to say": {"verify", `{"ok":false}`, remote.ErrAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			m := dialed(t, newRogue(t, say(200, c.body)).URL)
			err := calls(m)[c.call](t.Context())
			if c.want == nil && err != nil || c.want != nil && fault.Code(err) != c.want.Code {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestReasons: a module's refusals keep their code and their kind, and no more
// of them than can be labels of a metric.
func TestReasons(t *testing.T) {
	var status, n atomic.Int64
	m := dialed(t, newRogue(t, func(w http.ResponseWriter, r *http.Request) {
		say(int(status.Load()), fmt.Sprintf(`{"code":1,"message":"line\nline \u001b[31m%s","reason":"reason_%d"}`, strings.Repeat("x", 1000), n.Load()))(w, r)
	}).URL)
	for s, kind := range map[int]fault.Kind{400: fault.Invalid, 422: fault.Rejected, 429: fault.Busy, 503: fault.Unavailable, 502: fault.Upstream, 504: fault.Timeout, 409: fault.Conflict} {
		status.Store(int64(s))
		_, err := m.Slot(t.Context(), request)
		if f := fault.Of(err); f == nil || f.Code != "reason_0" || f.Kind != kind {
			t.Errorf("%d: got %v", s, err)
		}
		if text := err.Error(); strings.ContainsAny(text, "\n\x1b") || len(text) > 400 {
			t.Errorf("message %q", text)
		}
	}
	own := 0
	for i := range tooMany {
		n.Store(int64(i))
		if _, err := m.Slot(t.Context(), request); !errors.Is(err, remote.ErrFailed) {
			own++
		}
	}
	if own != 64 {
		t.Errorf("%d reasons of %d crossed, want 64", own, tooMany)
	}
}

// TestVerifyIsApart: a hundred requests that hang keep no proposal waiting.
func TestVerifyIsApart(t *testing.T) {
	r := newRogue(t, func(w http.ResponseWriter, q *http.Request) {
		if strings.HasSuffix(q.URL.Path, "/verify") {
			say(200, `{}`)(w, q)
			return
		}
		hang(w, q)
	})
	m, err := remote.Dial(t.Context(), remote.Config{URL: r.URL, Secret: secret, Budgets: modules.Budgets{Commit: 5 * time.Second, Verify: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 100)
	for range 100 {
		go func() { ended <- calls(m)["commit"](ctx) }()
	}
	for r.asked.Load() < 16 { // as many as get a connection
		time.Sleep(time.Millisecond)
	}
	for range 20 {
		if err := m.Verify(t.Context(), onePage(), commitments.Candidate{}); err != nil {
			t.Errorf("verify: %v", err)
		}
	}
	cancel()
	for range 100 {
		if err := <-ended; err == nil {
			t.Error("a commit came back")
		}
	}
}

// TestIdleConnection: a module that closes a connection between two questions,
// as one does that is started again, loses neither.
func TestIdleConnection(t *testing.T) {
	r := newRogue(t, raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")) // and closes
	m := dialed(t, r.URL)
	for range 100 {
		if err := m.Verify(t.Context(), onePage(), commitments.Candidate{}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOwnTypesOnly: a module is not told what others promise.
func TestOwnTypesOnly(t *testing.T) {
	var seen atomic.Pointer[string]
	m := dialed(t, newRogue(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		text := string(b)
		seen.Store(&text)
		say(422, `{"code":422,"message":"","reason":"no"}`)(w, r)
	}).URL)
	page := onePage()
	other := page.Promises[0]
	other.Commitment.Type, other.Commitment.Payload = 6, []byte("theirs")
	page.Promises = append(page.Promises, other)
	_, _ = m.Commit(t.Context(), commitments.View{Page: page, Open: []commitments.Page{page}}, request)
	text := *seen.Load()
	if n := strings.Count(text, `"commitment_type":5`); n != 3 || strings.Contains(text, "746865697273") || len(page.Promises) != 2 {
		t.Errorf("%d of its own in %s", n, text)
	}
}

// TestAskTooLarge: a page that cannot be sent is refused by name, and nobody is asked.
func TestAskTooLarge(t *testing.T) {
	r := newRogue(t, say(200, `{}`))
	m, err := remote.Dial(t.Context(), remote.Config{URL: r.URL, Secret: secret, MaxAsk: 1000})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Audit(t.Context(), onePage(), commitments.Block{Slot: phase0.Slot(7), Txs: [][]byte{make([]byte, 1000)}})
	if !errors.Is(err, remote.ErrAskTooLarge) || r.asked.Load() != 0 {
		t.Errorf("got %v, %d asked", err, r.asked.Load())
	}
}
