package tests

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// journeyTap stands between a client and a server, remembers what goes through,
// and can be cut.
type journeyTap struct {
	*httptest.Server
	client *http.Client

	mu     sync.Mutex
	target string
	cut    bool
	before func(*http.Request) // before a request goes on; may take its time
	seen   []journeyExchange
	posts  atomic.Int32 // under way: a client may have its answer and seen not yet
}

// journeyExchange is one request with its answer.
type journeyExchange struct {
	method, path string
	header       http.Header
	body         []byte
	status       int
	answer       []byte
}

// journeyTapTo puts a tap before a server, for the length of a test.
func journeyTapTo(t *testing.T, target string) *journeyTap {
	p := &journeyTap{target: target, client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	p.Server = httptest.NewServer(http.HandlerFunc(p.pass))
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
		p.client.CloseIdleConnections()
	})
	return p
}

// set changes the tap.
func (p *journeyTap) set(turn func(*journeyTap)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	turn(p)
}

// exchanges are those so far whose path has a prefix. What was posted and is
// under way is awaited for a moment.
func (p *journeyTap) exchanges(method, prefix string) (out []journeyExchange) {
	for range 300 {
		if p.posts.Load() == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.seen {
		if e.method == method && strings.HasPrefix(e.path, prefix) {
			out = append(out, e)
		}
	}
	return out
}

func (p *journeyTap) pass(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		p.posts.Add(1)
		defer p.posts.Add(-1)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 32<<20))
	p.mu.Lock()
	before := p.before
	p.mu.Unlock()
	if before != nil {
		before(r)
	}
	p.mu.Lock()
	target, cut := p.target, p.cut
	p.mu.Unlock()
	if err != nil || cut {
		panic(http.ErrAbortHandler)
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = r.Header.Clone()
	res, err := p.client.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	e := journeyExchange{method: r.Method, path: r.URL.Path, header: req.Header, body: body, status: res.StatusCode}
	for k, v := range res.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(res.StatusCode)
	e.answer, err = journeyCopy(w, res.Body)
	p.set(func(p *journeyTap) { p.seen = append(p.seen, e) })
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

// journeyCopy copies as it comes, for streams, and keeps the beginning.
func journeyCopy(w http.ResponseWriter, r io.Reader) (kept []byte, err error) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Read(buffer)
		if len(kept) < 4<<20 {
			kept = append(kept, buffer[:n]...)
		}
		if _, werr := w.Write(buffer[:n]); werr != nil {
			return kept, werr
		}
		_ = http.NewResponseController(w).Flush()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return kept, err
		}
	}
}

// tap stands between the proposer and the sidecar from now on.
func (j *journey) tap() *journeyTap {
	p := journeyTapTo(j.T, j.car.BuilderURL)
	j.net.SetBuilderURL(p.URL)
	return p
}
