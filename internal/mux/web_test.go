package mux

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/config"
)

// serve starts a server that is closed with the test.
func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func load(t *testing.T, cfg Config, l *config.Loader) (*Table, error) {
	t.Helper()
	if l.HTTPTimeout == 0 {
		l.HTTPTimeout = 2 * time.Second
	}
	cfg.Sources = []Source{{ID: "a", Loader: l}}
	table := newTable(t, cfg)
	return table, table.Load(t.Context())
}

func TestLoad_URL(t *testing.T) {
	good := `["0x` + hexOf(key(1)) + `","` + hexOf(key(2)) + `","` + hexOf(key(2)) + `"]`
	stop := make(chan struct{})
	defer close(stop)
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  string // "" is success
	}{
		"good":     {func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, good) }, ""},
		"no keys":  {func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "[]") }, "no validators"},
		"status":   {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); _, _ = io.WriteString(w, good) }, "status 500"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, "redirect_refused"},
		"huge":     {func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, strings.Repeat(" ", maxBody+1)) }, "response_too_large"},
		"gzip": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("Accept-Encoding: got %q", r.Header.Get("Accept-Encoding"))
			}
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte{0x1f, 0x8b, 0x08})
		}, "response_encoding"},
		"silent": {func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		}, "upstream_timeout"},
		"slow body": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "[")
			w.(http.Flusher).Flush()
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		}, "upstream_timeout"},
		"cut": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, good)
		}, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, c.serve)
			l := &config.Loader{URL: url + "/keys?token=hunter2"}
			if c.want == "upstream_timeout" {
				l.HTTPTimeout = 50 * time.Millisecond
			}
			table, err := load(t, Config{}, l)
			if c.want == "" {
				if err != nil || table.Lookup(key(1)) != 1 || table.Lookup(key(2)) != 1 {
					t.Errorf("got %v", err)
				}
				return
			}
			if !errors.Is(err, ErrLoad) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestLoad_URLRefused: a refused connection is named without its URL.
func TestLoad_URLRefused(t *testing.T) {
	_, err := load(t, Config{}, &config.Loader{URL: "http://127.0.0.1:1/?token=hunter2"})
	if !errors.Is(err, ErrLoad) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("refused connection: got %v", err)
	}
}

// ssv is both of SSV's APIs, with knobs.
type ssv struct {
	keys  []phase0.BLSPubKey
	total int  // claimed, if not 0
	wide  bool // pages of 101
	node  func(w http.ResponseWriter)
	asked []string
}

func (s *ssv) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.asked = append(s.asked, r.Method+" "+r.URL.String()+" "+string(body))
	if r.URL.Path == "/v1/validators" {
		s.node(w)
		return
	}
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	size, _ := strconv.Atoi(r.URL.Query().Get("perPage"))
	if s.wide {
		size++
	}
	from := min((page-1)*size, len(s.keys))
	total := len(s.keys)
	if s.total != 0 {
		total = s.total
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"validators": validators(s.keys[from:min(from+size, len(s.keys))]), "pagination": map[string]any{"total": total, "page": page}})
}

func validators(keys []phase0.BLSPubKey) []map[string]string {
	out := []map[string]string{}
	for _, k := range keys {
		out = append(out, map[string]string{"public_key": hexOf(k)})
	}
	return out
}

func loadSSV(t *testing.T, s *ssv) (*Table, error) {
	t.Helper()
	url := serve(t, s.ServeHTTP)
	return load(t, Config{Network: "hoodi", SSVNodeURL: url + "/v1/", SSVPublicURL: url + "/api/v4"},
		&config.Loader{Registry: config.RegistrySSV, NodeOperatorID: 200})
}

func TestLoad_SSVNode(t *testing.T) {
	vector, err := os.ReadFile("testdata/ssv_valid_node.json")
	if err != nil {
		t.Fatal(err)
	}
	s := &ssv{node: func(w http.ResponseWriter) { _, _ = w.Write(vector) }}
	table, err := loadSSV(t, s)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := parseKeys([]string{"aa370f6250d421d00437b9900407a7ad93b041aeb7259d99b55ab8b163277746680e93e841f87350737bceee46aa104d"})
	if got := table.Lookup(want[0]); got != 1 {
		t.Errorf("got set %d", got)
	}
	if len(s.asked) != 1 || s.asked[0] != `GET /v1/validators {"operators":[200]}` {
		t.Errorf("asked %q", s.asked)
	}
}

// TestLoad_SSVPublic: whatever is wrong with the node, the public API is asked.
func TestLoad_SSVPublic(t *testing.T) {
	for name, node := range map[string]func(http.ResponseWriter){
		"404":      func(w http.ResponseWriter) { w.WriteHeader(404) },
		"error":    func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"error":"no"}`) },
		"garbage":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, `<html>`) },
		"bad key":  func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"data":[{"public_key":"12"}]}`) },
		"huge":     func(w http.ResponseWriter) { _, _ = io.WriteString(w, strings.Repeat(" ", maxBody+1)) },
		"data nil": func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"data":null}`) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &ssv{node: node, keys: keys(0, 250)}
			table, err := loadSSV(t, s)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range s.keys {
				if table.Lookup(k) != 1 {
					t.Fatalf("%s is missing", k)
				}
			}
			if want := "GET /api/v4/hoodi/validators/in_operator/200?perPage=100&page=3 "; len(s.asked) != 4 || s.asked[3] != want {
				t.Errorf("asked %q, want %q last", s.asked, want)
			}
		})
	}
}

func TestLoad_SSVPublicPages(t *testing.T) {
	down := func(w http.ResponseWriter) { w.WriteHeader(503) }
	for n, asked := range map[int]int{1: 1, 99: 1, 100: 2, 101: 2, 200: 3} { // a full page may not be the last
		s := &ssv{node: down, keys: keys(0, n)}
		if _, err := loadSSV(t, s); err != nil || len(s.asked) != asked+1 {
			t.Errorf("%d keys: got %v and %d questions, want %d", n, err, len(s.asked)-1, asked)
		}
	}
	for name, c := range map[string]struct {
		s    *ssv
		want string
	}{
		"total too high": {&ssv{node: down, keys: keys(0, 150), total: 151}, "150 keys on 2 pages, where the total is 151"},
		"total too low":  {&ssv{node: down, keys: keys(0, 150), total: 149}, "where the total is 149"},
		"wide pages":     {&ssv{node: down, keys: keys(0, 150), wide: true}, "more than 100 keys"},
		"none":           {&ssv{node: down}, "no validators"},
	} {
		if _, err := loadSSV(t, c.s); !errors.Is(err, ErrLoad) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestLoad_SSVEndless: a server that always has another page is left.
func TestLoad_SSVEndless(t *testing.T) {
	full, err := json.Marshal(map[string]any{"validators": validators(keys(0, ssvPage)), "pagination": map[string]int{"total": 1}})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	url := serve(t, func(w http.ResponseWriter, r *http.Request) { asked++; _, _ = w.Write(full) })
	_, err = load(t, Config{Network: "mainnet", SSVNodeURL: "http://127.0.0.1:1", SSVPublicURL: url, Client: http.DefaultClient},
		&config.Loader{Registry: config.RegistrySSV, NodeOperatorID: 1})
	if !errors.Is(err, ErrLoad) || !strings.Contains(err.Error(), fmt.Sprintf("more than %d pages", maxPages)) || asked > maxPages+1 {
		t.Errorf("got %v after %d pages", err, asked)
	}
	if _, err := (web{}).ssvPublic(t.Context(), url, "sepolia", &config.Loader{}); err == nil {
		t.Error("SSV on Sepolia: accepted")
	}
}

func FuzzDecodeWeb(f *testing.F) {
	for _, file := range []string{"testdata/ssv_valid_node.json", "testdata/mux_keys.example.json"} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"validators":[{"public_key":"00"}],"pagination":{"total":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, decode := range []func([]byte) ([]phase0.BLSPubKey, error){decodeKeys, decodeSSVNode} {
			list, err := decode(data)
			if err == nil && len(list)*96 > len(data) {
				t.Errorf("%d keys of %d bytes", len(list), len(data))
			}
		}
		if list, total, err := decodeSSVPage(data); err == nil && (len(list) > ssvPage || total > len(data)*1000 && len(list) > total) {
			t.Errorf("%d keys, total %d", len(list), total)
		}
	})
}
