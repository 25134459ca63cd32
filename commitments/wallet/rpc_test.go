package wallet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sidecar/internal/httpd"
	"sidecar/internal/quota"
)

// TestRPC_Forms: what is a request, and what is answered to what is none.
func TestRPC_Forms(t *testing.T) {
	h := open(t)
	h.node.answer("eth_chainId", func([]json.RawMessage) any { return "0x539" })
	const ok = `{"jsonrpc":"2.0","id":%s,"result":"0x539"}`
	invalid := func(id string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"error":{"code":-32600,"message":"invalid request","data":{"reason":"wallet_request_invalid"`
	}
	for name, c := range map[string]struct {
		body   string
		status int
		want   string // a prefix of the answer
	}{
		"number":        {`{"jsonrpc":"2.0","id":7,"method":"eth_chainId","params":[]}`, 200, fmt.Sprintf(ok, "7")},
		"string":        {`{"jsonrpc":"2.0","id":"a\"b","method":"eth_chainId"}`, 200, fmt.Sprintf(ok, `"a\"b"`)},
		"null id":       {`{"jsonrpc":"2.0","id":null,"method":"eth_chainId"}`, 200, fmt.Sprintf(ok, "null")},
		"large id":      {`{"jsonrpc":"2.0","id":18446744073709551616,"method":"eth_chainId"}`, 200, fmt.Sprintf(ok, "18446744073709551616")},
		"notification":  {`{"jsonrpc":"2.0","method":"eth_chainId"}`, 204, ""},
		"notifications": {`[{"jsonrpc":"2.0","method":"eth_chainId"}]`, 204, ""},
		"batch": {`[{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},{"jsonrpc":"2.0","method":"eth_chainId"},{"jsonrpc":"2.0","id":2,"method":"x"},5]`,
			200, "[" + fmt.Sprintf(ok, "1") + `,{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"the method is not available","data":{"reason":"wallet_method_unknown","detail":"\"x\""}}},` + invalid("null")},
		"not JSON":       {`{"jsonrpc":`, 200, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"parse error","data":{"reason":"wallet_json"`},
		"empty":          {``, 200, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700`},
		"version 1":      {`{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}`, 200, invalid("null")},
		"id is an array": {`{"jsonrpc":"2.0","id":[1],"method":"eth_chainId"}`, 200, invalid("null")},
		"id is long":     {`{"jsonrpc":"2.0","id":"` + strings.Repeat("a", 200) + `","method":"eth_chainId"}`, 200, invalid("null")},
		"empty batch":    {`[]`, 200, invalid("null")},
		"long batch":     {"[" + strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},`, maxBatch) + "1]", 200, invalid("null")},
		"a string":       {`"eth_chainId"`, 200, invalid("null")},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, text := h.post(c.body)
			if status != c.status || !strings.HasPrefix(string(text), c.want) || c.want == "" && len(text) > 0 {
				t.Errorf("status %d, %s\nwant %d, %s", status, text, c.status, c.want)
			}
		})
	}
	if status, _, _ := h.do(http.MethodPost, `{"jsonrpc":"2.0","id":7,"method":"eth_chainId"}`, "Content-Type", "application/json; charset=utf-8"); status != 200 {
		t.Errorf("a charset: status %d", status)
	}
	if status, _, text := h.do(http.MethodPost, "{}", "Content-Type", "text/plain"); status != http.StatusUnsupportedMediaType {
		t.Errorf("a web form: status %d, %s", status, text)
	}
}

// TestMethods: whatever is not on the list stays away from the node, above all
// what operates it.
func TestMethods(t *testing.T) {
	h := open(t)
	for _, m := range []string{
		"admin_peers", "debug_traceTransaction", "engine_newPayloadV4", "personal_sign", "eth_sign", "eth_signTransaction", "eth_sendTransaction",
		"eth_signTypedData_v4", "miner_start", "txpool_content", "testing_buildBlockV1", "eth_newFilter", "eth_getLogs", "eth_subscribe", "eth_fillTransaction",
		"eth_sendBundle", "trace_block", "", "ETH_CHAINID", "bolt_requestInclusion", "eth_chainId\u0000",
	} {
		if a := h.call(m); a.Error == nil || a.Error.Code != -32601 || a.reason() != "wallet_method_unknown" {
			t.Errorf("%q: %s %+v", m, a.Result, a.Error)
		}
	}
	h.node.mu.Lock()
	defer h.node.mu.Unlock()
	if len(h.node.calls) != 0 {
		t.Errorf("the node was asked %q", h.node.calls)
	}
}

// TestMethods_Pass: a read goes to the node as it is, and its answer or refusal
// comes back as it is.
func TestMethods_Pass(t *testing.T) {
	h := open(t)
	h.node.answer("eth_call", func(p []json.RawMessage) any { return p })
	h.call("eth_call", map[string]string{"to": "0x01"}, "latest").want(t, `[{"to":"0x01"},"latest"]`)
	h.node.answer("eth_call", func([]json.RawMessage) any { return refuses{3, "execution reverted: no", "0x08c379a0"} })
	a := h.call("eth_call")
	if a.Error == nil || a.Error.Code != 3 || a.Error.Message != "execution reverted: no" || string(a.Error.Data) != `"0x08c379a0"` {
		t.Errorf("a revert: %+v", a.Error)
	}
	h.call("eth_accounts").want(t, "[]")
	h.call("eth_getBlockByNumber", "0xffff", false).want(t, "null")
}

// TestNode_Bad: a node that lies, is silent or says too much is an error by name.
func TestNode_Bad(t *testing.T) {
	h := open(t)
	for name, c := range map[string]struct {
		serve  http.HandlerFunc
		reason string
	}{
		"status":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "execution_unavailable"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "execution_bad_answer"},
		"nothing": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":0}`)) }, "execution_bad_answer"},
		"another": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"id":9,"result":1}`)) }, "execution_bad_answer"},
		"large": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"id":0,"result":"` + strings.Repeat("a", limitLarge) + `"}`))
		}, "wallet_answer_too_large"},
		"hung up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "execution_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			h.node.mu.Lock()
			h.node.serve = c.serve
			h.node.mu.Unlock()
			if a := h.call("eth_blockNumber"); a.reason() != c.reason {
				t.Errorf("%s %+v, want %s", a.Result, a.Error, c.reason)
			}
		})
	}
}

// TestAnswers_Bounded: the answers to one HTTP request share one bound.
func TestAnswers_Bounded(t *testing.T) {
	h := open(t)
	h.node.answer("eth_getCode", func([]json.RawMessage) any { return strings.Repeat("a", limitLarge/2) })
	body := `[` + strings.Repeat(`{"jsonrpc":"2.0","id":1,"method":"eth_getCode","params":[]},`, 3)
	_, _, text := h.post(strings.TrimSuffix(body, ",") + "]")
	var all []answered
	if err := json.Unmarshal(text, &all); err != nil || len(all) != 3 {
		t.Fatalf("%v: %.200s", err, text)
	}
	if all[0].Error != nil || all[2].reason() != "wallet_answer_too_large" {
		t.Errorf("errors %+v and %+v, want the last too large", all[0].Error, all[2].Error)
	}
}

// TestBusy: one HTTP request too many is told so, and the next finds room.
func TestBusy(t *testing.T) {
	h := open(t, func(c *Config) { c.MaxRequests = 1 })
	in, out := make(chan bool), make(chan bool)
	h.node.answer("eth_chainId", func([]json.RawMessage) any { in <- true; <-out; return "0x1" })
	first := make(chan answered, 1)
	go func() { first <- h.call("eth_chainId") }()
	<-in
	status, header, text := h.post(`{"jsonrpc":"2.0","id":1,"method":"eth_accounts"}`)
	if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" || !strings.Contains(string(text), `"code":-32005`) || !strings.Contains(string(text), `"wallet_busy"`) {
		t.Errorf("status %d, %v, %s", status, header, text)
	}
	close(out)
	(<-first).want(t, `"0x1"`)
	h.call("eth_accounts").want(t, "[]")
}

// TestBusy_Share: one address fills its share of the places, and no more.
func TestBusy_Share(t *testing.T) {
	var from atomic.Pointer[netip.Addr]
	come := func(text string) { a := netip.MustParseAddr(text); from.Store(&a) }
	h := open(t, func(c *Config) {
		c.MaxRequests = 8
		c.From = func(netip.Addr, func(string) string) (netip.Addr, error) { return *from.Load(), nil }
	})
	in, out := make(chan bool), make(chan bool)
	h.node.answer("eth_chainId", func([]json.RawMessage) any { in <- true; <-out; return "0x1" })
	first := make(chan answered, 2)
	come("198.51.100.1")
	for range 2 {
		go func() { first <- h.call("eth_chainId") }()
		<-in
	}
	const ask = `{"jsonrpc":"2.0","id":1,"method":"eth_accounts"}`
	if status, _, text := h.post(ask); status != http.StatusTooManyRequests {
		t.Errorf("the third of one address: status %d, %s", status, text)
	}
	for _, other := range []string{"198.51.100.2", "2001:db8::1", "127.0.0.1"} {
		come(other)
		if status, _, text := h.post(ask); status != http.StatusOK {
			t.Errorf("%s: status %d, %s", other, status, text)
		}
	}
	close(out)
	for range 2 {
		(<-first).want(t, `"0x1"`)
	}
}

// TestLimits: an address that asks too often is told when it may again.
func TestLimits(t *testing.T) {
	h := open(t, func(c *Config) {
		c.Calls, c.Sends = quota.Rate{PerSecond: 1, Burst: 8}, quota.Rate{PerSecond: 0.5, Burst: 1}
	})
	h.node.answer("eth_call", func([]json.RawMessage) any { return "0x" })
	h.call("eth_call").want(t, `"0x"`) // five
	first, hash := h.tx(0, 1)
	h.call("eth_sendRawTransaction", first).want(t, `"`+hash+`"`)
	second, _ := h.tx(1, 1)
	a := h.call("eth_sendRawTransaction", second)
	a.refused(t, -32005, "limit exceeded: again in 2000 ms", "rate_limited")
	var d errorData
	if json.Unmarshal(a.Error.Data, &d) != nil || d.RetryAfterMS != 2000 {
		t.Errorf("data %s", a.Error.Data)
	}
	h.call("eth_accounts").want(t, "[]")
	if a := h.call("eth_accounts"); a.reason() != "rate_limited" {
		t.Errorf("the ninth call: %s", a.Result)
	}
	h.setSlot(100, 2*time.Second)
	h.call("eth_accounts").want(t, "[]")
	h.setSlot(100, 4*time.Second)
	if a := h.call("eth_sendRawTransaction", second); a.Error != nil {
		t.Errorf("after the time: %+v", a.Error)
	}
}

// TestOrigins: web pages are refused, but for those on the list, whose browsers
// are told so.
func TestOrigins(t *testing.T) {
	const ask = `{"jsonrpc":"2.0","id":1,"method":"eth_accounts"}`
	preflight := []string{"Origin", "https://good.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type"}
	off := open(t)
	if status, _, text := off.post(ask, "Origin", "https://good.example"); status != http.StatusForbidden || !strings.Contains(string(text), "browser_refused") {
		t.Errorf("without a list: %d %s", status, text)
	}
	h := openFor(t, []string{"https://good.example"})
	status, header, text := h.post(ask, "Origin", "https://good.example")
	if status != 200 || header.Get("Access-Control-Allow-Origin") != "https://good.example" {
		t.Errorf("a page on the list: %d %v %s", status, header, text)
	}
	status, header, _ = h.do(http.MethodOptions, "", preflight...)
	if status != http.StatusNoContent || header.Get("Access-Control-Allow-Methods") != "POST" || !strings.Contains(header.Get("Access-Control-Allow-Headers"), "Content-Type") {
		t.Errorf("preflight: %d %v", status, header)
	}
	if status, _, _ := h.post(ask, "Origin", "https://evil.example"); status != http.StatusForbidden {
		t.Errorf("another page: %d", status)
	}
}

// TestFrom: behind a proxy limits go by whom it asks for.
func TestFrom(t *testing.T) {
	h := open(t, func(c *Config) {
		c.Calls = quota.Rate{PerSecond: 1, Burst: 1}
		c.From = func(_ netip.Addr, header func(string) string) (netip.Addr, error) {
			a, err := netip.ParseAddr(header("X-Forwarded-For"))
			if err != nil {
				return a, httpd.ErrMalformed
			}
			return a, nil
		}
	})
	const ask = `{"jsonrpc":"2.0","id":1,"method":"eth_accounts"}`
	for _, c := range []struct{ from, want string }{{"192.0.2.1", "[]"}, {"192.0.2.1", "rate_limited"}, {"192.0.2.2", "[]"}, {"nobody", "malformed_request"}} {
		if _, _, text := h.post(ask, "X-Forwarded-For", c.from); !strings.Contains(string(text), c.want) {
			t.Errorf("from %s: %s, want %s", c.from, text, c.want)
		}
	}
}
