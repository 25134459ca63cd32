package simnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"sidecar/chain"
)

const (
	octets   = "application/octet-stream"
	jsonType = "application/json"

	maxBody   = 20 << 20
	keepCalls = 256 // per endpoint
)

// Fault makes an endpoint misbehave. Its parts combine: a delay and then a status.
type Fault struct {
	Delay       time.Duration // before the request is handled
	Silent      bool          // take the request and never answer
	Drop        bool          // close the connection without an answer
	Status      int           // answer this and do nothing
	ContentType string        // with Status: of Body
	Body        []byte        // with Status
}

// Call is a request that arrived, and how it was answered.
type Call struct {
	At     time.Time
	Method string
	Path   string
	Header http.Header
	Body   []byte
	Status int // 0: dropped, silent or still running
}

// server is one HTTP server of the chain with its faults and its memory of
// calls. Faults may be changed at any time.
type server struct {
	URL string

	clock *chain.Clock
	http  *http.Server
	live  sync.WaitGroup // handlers and the accept loop

	mu     sync.Mutex
	closed bool
	faults map[string]Fault
	counts map[string]int
	calls  map[string][]Call
}

// endpoint is one route: Name is what faults and counters know it by.
type endpoint struct {
	name, pattern string
	serve         func(w http.ResponseWriter, r *http.Request, body []byte)
}

// listen serves the endpoints on a port of the loopback interface until close.
func (s *server) listen(ctx context.Context, clock *chain.Clock, endpoints []endpoint) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.clock, s.URL = clock, "http://"+l.Addr().String()
	s.faults, s.counts, s.calls = map[string]Fault{}, map[string]int{}, map[string][]Call{}
	mux := http.NewServeMux()
	for _, e := range endpoints {
		mux.HandleFunc(e.pattern, func(w http.ResponseWriter, r *http.Request) { s.handle(e, w, r) })
	}
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	s.live.Go(func() { _ = s.http.Serve(l) }) // ErrServerClosed, by close
	return nil
}

// close ends every connection and waits for its handler.
func (s *server) close() {
	if s.http == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	_ = s.http.Close()
	s.live.Wait()
}

func (s *server) handle(e endpoint, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	s.live.Add(1) // under the lock, so that close waits for every handler
	s.mu.Unlock()
	defer s.live.Done()
	body, err := readLimited(r.Body, maxBody)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	s.mu.Lock()
	fault, ok := s.faults[e.name]
	if !ok {
		fault = s.faults[""]
	}
	n := s.counts[e.name]
	s.counts[e.name]++
	if kept := s.calls[e.name]; len(kept) >= keepCalls {
		s.calls[e.name] = kept[1:]
	}
	s.calls[e.name] = append(s.calls[e.name], Call{s.clock.Now(), r.Method, r.URL.RequestURI(), r.Header.Clone(), body, 0})
	s.mu.Unlock()

	sw := &statusWriter{ResponseWriter: w}
	defer func() { s.answered(e.name, n, sw.status) }()
	if fault.Delay > 0 && !pause(r.Context(), fault.Delay) {
		return
	}
	switch {
	case fault.Silent:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case fault.Drop:
		panic(http.ErrAbortHandler) // the server closes the connection
	case fault.Status != 0:
		if fault.ContentType != "" {
			sw.Header().Set("Content-Type", fault.ContentType)
		}
		sw.WriteHeader(fault.Status)
		_, _ = sw.Write(fault.Body)
	default:
		e.serve(sw, r, body)
	}
}

// answered notes the status of the n-th call of an endpoint, if still kept.
func (s *server) answered(name string, n, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := n - (s.counts[name] - len(s.calls[name])); i >= 0 {
		s.calls[name][i].Status = status
	}
}

// Break makes an endpoint fail as f says, "" meaning every endpoint without a
// fault of its own. A zero Fault mends it.
func (s *server) Break(endpoint string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Delay == 0 && !f.Silent && !f.Drop && f.Status == 0 {
		delete(s.faults, endpoint)
		return
	}
	s.faults[endpoint] = f
}

// Counts returns how often each endpoint was called.
func (s *server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Calls returns the latest calls of an endpoint, oldest first. Their bodies are
// the bytes as received, and read-only.
func (s *server) Calls(endpoint string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls[endpoint]...)
}

// statusWriter remembers the status and lets streams flush.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// fail answers as the Builder and Beacon APIs do.
func fail(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]any{"code": status, "message": err.Error()})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func answerBytes(w http.ResponseWriter, fork chain.Fork, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Eth-Consensus-Version", fork.String())
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}

// isSSZ says whether a body is SSZ. An absent type is JSON.
func isSSZ(h http.Header) (ssz bool, err error) {
	t := h.Get("Content-Type")
	if t == "" {
		return false, nil
	}
	switch t, _, err = mime.ParseMediaType(t); {
	case err == nil && t == octets:
		return true, nil
	case err == nil && t == jsonType:
		return false, nil
	}
	return false, fmt.Errorf("unsupported media type %q", h.Get("Content-Type"))
}

// accepts returns which encodings an Accept header allows, and whether SSZ
// comes first: by q-value, then by position.
func accepts(h http.Header) (json, ssz, sszFirst bool) {
	all := strings.Join(h.Values("Accept"), ",")
	if strings.TrimSpace(all) == "" {
		return true, false, false
	}
	var jsonQ, sszQ float64
	for _, part := range strings.Split(all, ",") {
		t, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if v, ok := params["q"]; ok {
			if _, err := fmt.Sscanf(v, "%g", &q); err != nil {
				continue
			}
		}
		switch t {
		case jsonType, "*/*", "application/*":
			jsonQ = max(jsonQ, q)
		case octets:
			if q > sszQ && q > jsonQ {
				sszFirst = true
			}
			sszQ = max(sszQ, q)
		}
	}
	return jsonQ > 0, sszQ > 0, sszQ > 0 && (jsonQ < sszQ || sszFirst && jsonQ <= sszQ)
}

// readLimited reads a whole body and refuses one over the limit.
func readLimited(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errors.New("body too large")
	}
	return b, err
}

// newClient is a client that follows no redirect and inflates nothing.
func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exchange sends one request and reads the whole answer.
func exchange(ctx context.Context, c *http.Client, method, url string, h http.Header, body []byte) (status int, header http.Header, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	for k, v := range h {
		req.Header[k] = v
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = readLimited(res.Body, maxBody)
	return res.StatusCode, res.Header, answer, err
}

// pause waits for d and says whether the context is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
