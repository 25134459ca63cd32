package httpd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"sidecar/fault"
	"sidecar/internal/certs"
)

// TestMutualTLS: a caller with a certificate of the authority is named, one
// without gets no answer.
func TestMutualTLS(t *testing.T) {
	dir := t.TempDir()
	if err := certs.Make(certs.Plan{Dir: dir, Clients: []string{"MODULE"}, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	config, err := LoadTLS(filepath.Join(dir, "server"))
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, Config{TLS: config, Routes: []Route{{Name: "who", Method: "GET", Path: "/", Serve: func(_ context.Context, r Request) (Response, error) {
		return Response{Body: []byte(strings.Join(r.Peer(), " "))}, nil
	}}}})
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	get := func(own *tls.Config) (string, error) {
		own.RootCAs = pool
		tr := &http.Transport{TLSClientConfig: own}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr, Timeout: 5 * time.Second}).Get(strings.Replace(r.url, "http:", "https:", 1))
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return string(b), err
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "clients/MODULE/cert.pem"), filepath.Join(dir, "clients/MODULE/key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := get(&tls.Config{Certificates: []tls.Certificate{own}}); err != nil || got != "MODULE" {
		t.Errorf("with a certificate: %q, %v", got, err)
	}
	if got, err := get(&tls.Config{}); err == nil {
		t.Errorf("without one: %q", got)
	}
	if got, err := get(&tls.Config{Certificates: []tls.Certificate{own}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Errorf("TLS 1.1: %q", got)
	}
}

func TestLoadTLS_Refuses(t *testing.T) {
	dir := t.TempDir()
	if err := certs.Make(certs.Plan{Dir: dir, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	server := filepath.Join(dir, "server")
	spoil := map[string]func(){
		"client_ca.pem is rubbish": func() { _ = os.WriteFile(filepath.Join(server, "client_ca.pem"), []byte("x"), 0o600) },
		"key of another":           func() { _ = os.Rename(filepath.Join(dir, "ca_key.pem"), filepath.Join(server, "key.pem")) },
		"no key":                   func() { _ = os.Remove(filepath.Join(server, "key.pem")) },
	}
	for _, name := range []string{"client_ca.pem is rubbish", "key of another", "no key"} {
		spoil[name]()
		if _, err := LoadTLS(server); !errors.Is(err, ErrTLS) {
			t.Errorf("%s: %v, want %v", name, err, ErrTLS)
		}
	}
}

// TestPlain: a handler may put its own words in the place of an error's JSON.
func TestPlain(t *testing.T) {
	refused := &fault.Fault{Code: "test_refused", Kind: fault.Forbidden}
	r := start(t, Config{Routes: []Route{{Name: "p", Method: "GET", Path: "/", Serve: func(context.Context, Request) (Response, error) {
		return Response{Plain: "no", Body: []byte("not this")}, refused.With("x")
	}}}})
	status, header, body := r.do(t, "GET", "/", "")
	if status != 403 || body != "no" || header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %q %q", status, header.Get("Content-Type"), body)
	}
}

// TestStream_TLS: streams go through TLS, too, events and sockets.
func TestStream_TLS(t *testing.T) {
	dir := t.TempDir()
	if err := certs.Make(certs.Plan{Dir: dir, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	config, err := LoadTLS(filepath.Join(dir, "server"))
	if err != nil {
		t.Fatal(err)
	}
	tick, left := make(chan string, 1), make(chan error, 1)
	r := start(t, Config{TLS: config, Routes: streamTable(tick, left)})
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Get(strings.Replace(r.url, "http:", "https:", 1) + "/events/a")
	if err != nil {
		t.Fatal(err)
	}
	tick <- "x"
	b := make([]byte, len("data: a  \n\ndata: x\n\n"))
	if _, err := io.ReadFull(res.Body, b); err != nil || !strings.HasSuffix(string(b), "data: x\n\n") {
		t.Errorf("got %q, %v", b, err)
	}
	_ = res.Body.Close()
	within30(t, "the handler hears that the caller left", left)
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: pool}}
	c, answer, err := dialer.Dial(strings.Replace(r.url, "http:", "wss:", 1)+"/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	defer c.Close()
	if err := c.WriteMessage(websocket.TextMessage, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.ReadMessage(); err != nil || string(got) != "hi" {
		t.Errorf("echo: %q, %v", got, err)
	}
}
