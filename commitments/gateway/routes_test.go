package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/httpd"
	"sidecar/internal/quota"
	"sidecar/modules"
)

// serve puts a house behind a real socket and returns its URL.
func (h *house) serve() string {
	h.t.Helper()
	s, err := httpd.New(httpd.Config{Name: "gateway", Addr: "127.0.0.1:0", Routes: h.Routes(), Log: h.Log, Clock: h.Clock})
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	h.t.Cleanup(func() { cancel(); <-done })
	return "http://" + s.Addr().String()
}

func ask(t *testing.T, method, url, contentType, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	status, _, text := do(t, req)
	return status, text
}

func do(t *testing.T, req *http.Request) (int, http.Header, string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, nil, ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, res.Header, string(b)
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestREST(t *testing.T) {
	h := open(t)
	url := h.serve() + rest
	status, body := ask(t, "POST", url+"commitmentRequest", "application/json", text(t, request('a', 1)))
	var s commitments.SignedCommitment
	if err := json.Unmarshal([]byte(body), &s); err != nil || status != 200 {
		t.Fatalf("got %d %s, %v", status, body, err)
	}
	h.verify(s)
	hash := request('a', 1).Hash()
	if status, again := ask(t, "GET", url+fmt.Sprintf("commitmentResult/%#x", hash[:]), "", ""); status != 200 || again != body {
		t.Errorf("result: got %d %s", status, again)
	}
	if status, body := ask(t, "GET", url+"slots", "", ""); status != 200 || !strings.HasPrefix(body, `{"slots":[{"slot":104,"offerings":[{"chain_id":1337,"commitment_types":[1]}]}`) {
		t.Errorf("slots: got %d %s", status, body)
	}
	for _, method := range []string{"GET", "POST"} {
		status, body := ask(t, method, url+"fee", "application/json", text(t, request('a', 1)))
		var f commitments.FeeInfo
		if err := json.Unmarshal([]byte(body), &f); err != nil || status != 200 || !strings.Contains(string(f.Payload), `"price_gwei":0`) || !strings.Contains(string(f.Payload), fmt.Sprintf("%#x", hash[:])) {
			t.Errorf("%s fee: got %d %s, %v", method, status, body, err)
		}
	}
}

func TestREST_Refusals(t *testing.T) {
	h := open(t)
	url := h.serve() + rest
	late := request('a', 1)
	late.Payload = commitments.EncodeInclusion(99, []byte{1, 2})
	good := text(t, request('a', 1))
	for _, tt := range []struct {
		name, method, path, contentType, body string
		status                                int
		reason                                string
	}{
		{"too late", "POST", "commitmentRequest", "application/json", text(t, late), 422, "too_late"},
		{"no body", "POST", "commitmentRequest", "", "", 400, "json_parse"},
		{"not JSON", "POST", "commitmentRequest", "", "{", 400, "json_parse"},
		{"array", "POST", "commitmentRequest", "", "[" + good + "]", 400, "commitment_encoding"},
		{"null", "POST", "commitmentRequest", "", "null", 400, "commitment_encoding"},
		{"no slasher", "POST", "commitmentRequest", "", `{"commitment_type":1,"payload":"0x"}`, 400, "commitment_encoding"},
		{"hex without 0x", "POST", "commitmentRequest", "", strings.Replace(good, "0x", "", 1), 400, "commitment_encoding"},
		{"negative type", "POST", "commitmentRequest", "", strings.Replace(good, `:1,`, `:-1,`, 1), 400, "commitment_encoding"},
		{"form", "POST", "commitmentRequest", "application/x-www-form-urlencoded", good, 415, "unsupported_media_type"},
		{"SSZ", "POST", "commitmentRequest", "application/octet-stream", good, 415, "unsupported_media_type"},
		{"too large", "POST", "commitmentRequest", "", strings.Repeat(" ", maxBody+1), 413, "body_too_large"},
		{"method", "GET", "commitmentRequest", "", "", 405, "method_not_allowed"},
		{"unknown hash", "GET", "commitmentResult/0x" + strings.Repeat("00", 32), "", "", 404, "commitment_not_found"},
		{"short hash", "GET", "commitmentResult/0x00", "", "", 400, "params_invalid"},
		{"hash without hex", "GET", "commitmentResult/0x" + strings.Repeat("zz", 32), "", "", 400, "params_invalid"},
		{"fee of an unserved type", "POST", "fee", "", strings.Replace(good, `:1,`, `:7,`, 1), 400, "unknown_commitment_type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := ask(t, tt.method, url+tt.path, tt.contentType, tt.body)
			var e struct {
				Code            int
				Message, Reason string
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil || status != tt.status || e.Code != status || e.Reason != tt.reason || e.Message == "" {
				t.Errorf("got %d %s, %v, want %d %s", status, body, err, tt.status, tt.reason)
			}
		})
	}
	if h.ledger.Len() != 0 {
		t.Errorf("%d entries after bad requests", h.ledger.Len())
	}
}

func TestRPC(t *testing.T) {
	h := open(t)
	url := h.serve()
	good, hash := text(t, request('a', 1)), request('a', 1).Hash()
	call := func(path, method, params string) string {
		status, body := ask(t, "POST", url+path, "application/json; charset=utf-8", `{"jsonrpc":"2.0","id":"x-7","method":"`+method+`","params":`+params+`}`)
		if status != 200 || !strings.HasPrefix(body, `{"jsonrpc":"2.0","id":"x-7","result":`) {
			t.Fatalf("%s %s: got %d %s", path, method, status, body)
		}
		return strings.TrimSuffix(strings.TrimPrefix(body, `{"jsonrpc":"2.0","id":"x-7","result":`), "}")
	}
	first := call("/", "commitmentRequest", "["+good+"]")
	var s commitments.SignedCommitment
	if err := json.Unmarshal([]byte(first), &s); err != nil {
		t.Fatal(err)
	}
	h.verify(s)
	for _, params := range []string{
		fmt.Sprintf(`["%#x"]`, hash[:]), fmt.Sprintf(`[{"request_hash":"%#x"}]`, hash[:]), fmt.Sprintf(`{"request_hash":"%#x"}`, hash[:]),
	} {
		if got := call("/commitmentResult", "commitmentResult", params); got != first {
			t.Errorf("%s: got %s", params, got)
		}
	}
	if got := call("/commitmentRequest", "commitmentRequest", good); got != first {
		t.Errorf("by name: got %s", got)
	}
	if got := call("/slots", "slots", "[]"); !strings.HasPrefix(got, `{"slots":[{"slot":104`) {
		t.Errorf("slots: got %s", got)
	}
	if got := call("/fee", "fee", "["+good+"]"); !strings.Contains(got, `"fee_payload":"0x7b`) || !strings.Contains(got, `"payload":"0x7b`) {
		t.Errorf("fee: got %s", got)
	}
}

func TestRPC_Errors(t *testing.T) {
	h := open(t)
	url := h.serve()
	with := func(slot phase0.Slot) string {
		r := request('a', 1)
		r.Payload = commitments.EncodeInclusion(slot, []byte{1, 2})
		return text(t, r)
	}
	one := func(method, params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`
	}
	for _, tt := range []struct {
		name, body string
		id         string
		code       int
		message    string
		reason     string
	}{
		{"empty", "", "null", -32700, "Parse error", "json_parse"},
		{"not JSON", "{", "null", -32700, "Parse error", "json_parse"},
		{"trailing", "{}{}", "null", -32700, "Parse error", "json_parse"},
		{"number", "1", "null", -32600, "Invalid request", "rpc_request_invalid"},
		{"no version", `{"id":1,"method":"slots"}`, "null", -32600, "Invalid request", "rpc_request_invalid"},
		{"object id", `{"jsonrpc":"2.0","id":{},"method":"slots"}`, "null", -32600, "Invalid request", "rpc_request_invalid"},
		{"long id", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 200) + `","method":"slots"}`, "null", -32600, "Invalid request", "rpc_request_invalid"},
		{"empty batch", "[]", "null", -32600, "Invalid request", "rpc_request_invalid"},
		{"long batch", "[" + strings.Repeat("1,", 16) + "1]", "null", -32600, "Invalid request", "rpc_request_invalid"},
		{"method", one("generateProxyKey", "[]"), "1", -32601, "Method not found", "rpc_method_unknown"},
		{"no params", one("commitmentRequest", "[]"), "1", -32602, "Invalid commitment request", "params_invalid"},
		{"three params", one("commitmentRequest", "[{},{},{}]"), "1", -32602, "Invalid commitment request", "params_invalid"},
		{"bad request", one("commitmentRequest", "[{}]"), "1", -32602, "Invalid commitment request", "commitment_encoding"},
		{"bad hash", one("commitmentResult", `["0x"]`), "1", -32602, "Invalid commitment request", "params_invalid"},
		{"number as hash", one("commitmentResult", `[7]`), "1", -32602, "Invalid commitment request", "params_invalid"},
		{"unknown hash", one("commitmentResult", `["0x`+strings.Repeat("00", 32)+`"]`), "1", -32602, "Commitment not found", "commitment_not_found"},
		{"too late", one("commitmentRequest", "["+with(100)+"]"), "1", -32602, "Not enough time to satisfy request", "too_late"},
		{"not ours", one("commitmentRequest", "["+with(105)+"]"), "1", -32602, "No delegation for slot", "not_our_slot"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, body := ask(t, "POST", url+"/", "application/json", tt.body)
			var e struct {
				ID    json.RawMessage
				Error rpcError
			}
			err := json.Unmarshal([]byte(body), &e)
			if err != nil || status != 200 || string(e.ID) != tt.id || e.Error.Code != tt.code || e.Error.Message != tt.message || e.Error.Data.Reason != tt.reason {
				t.Errorf("got %d %s, %v, want id %s %d %q %s", status, body, err, tt.id, tt.code, tt.message, tt.reason)
			}
		})
	}
	for _, tt := range []struct {
		fault error
		code  int
	}{
		{errConflict, -32000}, {errNode, -32001}, {ErrBusy, -32005}, {io.EOF, -32603}, {context.DeadlineExceeded, -32001},
	} {
		got := failure(null, tt.fault)
		if got.Error.Code != tt.code {
			t.Errorf("%v: got %d, want %d", tt.fault, got.Error.Code, tt.code)
		}
		if tt.code == -32603 && got.Error.Data.Detail != "" {
			t.Errorf("%v: the text of an internal error is shown: %q", tt.fault, got.Error.Data.Detail)
		}
	}
	if h.ledger.Len() != 0 {
		t.Errorf("%d entries after bad requests", h.ledger.Len())
	}
}

func TestRPC_Batch(t *testing.T) {
	h := open(t)
	url := h.serve()
	good := text(t, request('a', 1))
	status, body := ask(t, "POST", url, "", `[{"jsonrpc":"2.0","id":1,"method":"commitmentRequest","params":[`+good+`]},
		{"jsonrpc":"2.0","method":"commitmentRequest","params":[`+text(t, request('n', 1))+`]}, 7,
		{"jsonrpc":"2.0","id":null,"method":"slots"}]`)
	var got []struct {
		ID     json.RawMessage
		Result json.RawMessage
		Error  *rpcError
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 || len(got) != 3 {
		t.Fatalf("got %d %s, %v", status, body, err)
	}
	if string(got[0].ID) != "1" || got[0].Error != nil || got[1].Error == nil || got[2].Error != nil {
		t.Errorf("got %s", body)
	}
	if _, _, ok := h.ledger.Find(request('n', 1).Hash()); ok {
		t.Error("a notification became a promise")
	}
	if status, body := ask(t, "POST", url, "", `{"jsonrpc":"2.0","method":"slots"}`); status != 204 || body != "" {
		t.Errorf("notification: got %d %s", status, body)
	}
}

func TestRoutes_Busy(t *testing.T) {
	h := open(t, func(c *Config) { c.MaxRequests = 1 })
	url := h.serve()
	inside, leave := make(chan struct{}), make(chan struct{})
	h.module.stall = func() { close(inside); <-leave }
	done := make(chan int, 1)
	go func() {
		status, _ := ask(t, "POST", url+rest+"commitmentRequest", "", text(t, request('a', 1)))
		done <- status
	}()
	<-inside
	if status, body := ask(t, "GET", url+rest+"slots", "", ""); status != 429 || !strings.Contains(body, `"reason":"gateway_busy"`) {
		t.Errorf("REST: got %d %s", status, body)
	}
	if status, body := ask(t, "POST", url, "", `{"jsonrpc":"2.0","id":1,"method":"slots"}`); status != 429 || !strings.Contains(body, `"code":-32005`) {
		t.Errorf("RPC: got %d %s", status, body)
	}
	close(leave)
	if status := <-done; status != 200 {
		t.Errorf("the request inside: got %d", status)
	}
	if status, _ := ask(t, "GET", url+rest+"slots", "", ""); status != 200 {
		t.Errorf("afterwards: got %d", status)
	}
}

func FuzzRPC(f *testing.F) {
	good, _ := json.Marshal(request('a', 1))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"fee","params":[` + string(good) + `]}`))
	f.Add([]byte(`[{"jsonrpc":"2.0","id":"a","method":"commitmentResult","params":["0x` + strings.Repeat("ab", 32) + `"]}]`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":null,"method":"slots"}`))
	f.Add([]byte(" \n[[]]"))
	clock := chain.NewClock(testSpec(), nil)
	g := &Gateway{Config: Config{
		Views: nothing{}, Schedule: &schedule{err: errNode}, Clock: clock, Log: slog.New(slog.DiscardHandler),
		Modules: func() []modules.Module { return []modules.Module{&module{}} },
	}, places: quota.NewPlaces(8), buckets: quota.NewBuckets(8), diary: newDiary(clock), hub: newHub(1)}
	g.line = quota.NewLine(g.places, 8)
	f.Fuzz(func(t *testing.T, body []byte) {
		if r, err := decodeRequest(body); err == nil {
			var again commitments.Request
			if err := json.Unmarshal([]byte(text(t, r)), &again); err != nil || !reflect.DeepEqual(r, again) {
				t.Fatalf("%+v becomes %+v, %v", r, again, err)
			}
		}
		answer, _ := g.rpc(context.Background(), caller{local: true}, body)
		if answer == nil {
			return
		}
		b, err := json.Marshal(answer)
		if err != nil || !json.Valid(b) {
			t.Fatalf("answer %s, %v", b, err)
		}
	})
}
