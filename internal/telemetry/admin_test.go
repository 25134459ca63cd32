package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecar/fault"
)

// open runs an admin server until the test ends and returns its URL.
func open(t *testing.T, cfg AdminConfig) string {
	t.Helper()
	cfg.Addr, cfg.Log, cfg.Registry = "127.0.0.1:0", slog.New(slog.DiscardHandler), NewRegistry("v1", "abc", "hoodi")
	a, err := NewAdmin(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if a.Addr() != nil || !errors.Is(a.Run(context.Background()), ErrAdminListen) {
		t.Error("runs without a listener")
	}
	if err := a.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	return "http://" + a.Addr().String()
}

// ask returns status, reason of an error body, and body.
func ask(t *testing.T, method, url string, header ...string) (int, string, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: tr, Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Code            int
		Message, Reason string
	}
	if res.Header.Get("Content-Type") == "application/json" && res.StatusCode != http.StatusOK {
		if err := json.Unmarshal(b, &e); err != nil || e.Code != res.StatusCode || e.Message == "" {
			t.Errorf("error body %s: %v", b, err)
		}
	}
	return res.StatusCode, e.Reason, string(b)
}

func TestAdmin(t *testing.T) {
	var ready, reload error
	url := open(t, AdminConfig{
		Ready: func() error { return ready },
		Reload: func(ctx context.Context) error {
			if _, ok := ctx.Deadline(); !ok {
				t.Error("reload without a deadline")
			}
			return reload
		},
	})
	status, _, body := ask(t, "GET", url+"/metrics")
	for _, want := range []string{`sidecar_info{commit="abc",network="hoodi",version="v1"} 1`, "go_goroutines ", "process_open_fds "} {
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("/metrics: %d lacks %s", status, want)
		}
	}
	named := fault.Define("beacon_away", fault.Upstream, "Help.")
	restart := fault.Define("test_needs_restart", fault.Conflict, "Help.")
	for _, c := range []struct {
		ready, reload      error
		method, path       string
		status             int
		reason, bodyHolds  string
		headerKey, headerV string
	}{
		{method: "GET", path: "/healthz", status: 200},
		{method: "GET", path: "/status", status: 200},
		{method: "GET", path: "/readyz", status: 200},
		{method: "GET", path: "/readyz", ready: errors.New("warming up"), status: 503, reason: "not_ready", bodyHolds: "warming up"},
		{method: "GET", path: "/readyz", ready: named.With("no head"), status: 503, reason: "beacon_away", bodyHolds: "no head"},
		{method: "POST", path: "/reload", status: 200, bodyHolds: "OK"},
		{method: "GET", path: "/reload", status: 405},
		{method: "POST", path: "/reload", reload: restart.With("signer.port"), status: 409, reason: "test_needs_restart", bodyHolds: "signer.port"},
		{method: "POST", path: "/reload", reload: errors.New("line 7"), status: 500, reason: "internal", bodyHolds: "line 7"},
		{method: "POST", path: "/reload", headerKey: "Origin", headerV: "http://x", status: 403, reason: "admin_caller_refused"},
		{method: "GET", path: "/metrics", headerKey: "Sec-Fetch-Site", headerV: "cross-site", status: 403, reason: "admin_caller_refused"},
		{method: "GET", path: "/metrics", headerKey: "Host", headerV: "evil.example:9090", status: 403, reason: "admin_caller_refused"},
		{method: "GET", path: "/healthz", headerKey: "Host", headerV: "localhost:9090", status: 200},
		{method: "GET", path: "/healthz", headerKey: "Host", headerV: "[::1]", status: 200},
		{method: "GET", path: "/debug/pprof/", status: 404},
		{method: "GET", path: "/", status: 404},
	} {
		ready, reload = c.ready, c.reload
		var h []string
		if c.headerKey != "" {
			h = []string{c.headerKey, c.headerV}
		}
		status, reason, body := ask(t, c.method, url+c.path, h...)
		if status != c.status || reason != c.reason || !strings.Contains(body, c.bodyHolds) {
			t.Errorf("%s %s %v: %d %s %s", c.method, c.path, h, status, reason, body)
		}
	}
}

func TestAdmin_NoReload(t *testing.T) {
	url := open(t, AdminConfig{Public: true})
	if status, reason, _ := ask(t, "POST", url+"/reload"); status != 503 || reason != "reload_unavailable" {
		t.Errorf("reload: %d %s", status, reason)
	}
}

func TestAdmin_Addresses(t *testing.T) {
	for _, c := range []struct {
		addr       string
		public, ok bool
	}{
		{"127.0.0.1:0", false, true}, {"[::1]:0", false, true}, {"localhost:0", false, true}, {"127.9.9.9:0", false, true},
		{"0.0.0.0:0", false, false}, {":0", false, false}, {"[::]:0", false, false}, {"example.org:0", false, false}, {"127.0.0.1", false, false},
		{"0.0.0.0:0", true, true}, {":0", true, true},
	} {
		_, err := NewAdmin(AdminConfig{Addr: c.addr, Public: c.public, Log: slog.New(slog.DiscardHandler), Registry: NewRegistry("", "", "")})
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrAdminListen) {
			t.Errorf("%s: %v", c.addr, err)
		}
	}
	if _, err := NewAdmin(AdminConfig{Addr: "127.0.0.1:0"}); err == nil {
		t.Error("no log, no registry, no error")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	a, err := NewAdmin(AdminConfig{Addr: taken.Addr().String(), Log: slog.New(slog.DiscardHandler), Registry: NewRegistry("", "", "")})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Listen(); !errors.Is(err, ErrAdminListen) || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("Listen = %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestAdmin_Promises(t *testing.T) {
	url := open(t, AdminConfig{Promises: func(first, last uint64) (any, error) {
		if first > last {
			return nil, ErrNotReady.With("never")
		}
		return map[string]uint64{"first": first, "last": last}, nil
	}})
	if status, _, body := ask(t, http.MethodGet, url+"/promises?first=3&last=9"); status != http.StatusOK || body != `{"first":3,"last":9}` {
		t.Errorf("got %d %s", status, body)
	}
	for _, query := range []string{"", "?first=3", "?first=-1&last=9", "?first=9&last=3"} {
		if status, _, body := ask(t, http.MethodGet, url+"/promises"+query); status != http.StatusBadRequest {
			t.Errorf("%q: got %d %s", query, status, body)
		}
	}
	if status, _, _ := ask(t, http.MethodGet, open(t, AdminConfig{})+"/promises?first=3&last=9"); status != http.StatusNotFound {
		t.Errorf("without promises: %d", status)
	}
}
