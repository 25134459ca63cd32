package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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

var errNo = fault.Define("test_no", fault.Rejected, "No.")

// obedient does what a test tells it.
type obedient struct {
	do func(ctx context.Context) error
}

func (obedient) Info() modules.Info {
	return modules.Info{ID: "obedient", CommitmentTypes: []uint64{5}, ConstraintTypes: []uint64{5}}
}
func (o obedient) Slot(ctx context.Context, _ commitments.Request) (phase0.Slot, error) {
	return 0, o.do(ctx)
}
func (o obedient) Commit(ctx context.Context, _ commitments.View, r commitments.Request) (commitments.Draft, error) {
	return commitments.Draft{Commitment: commitments.Commitment{Type: r.Type, RequestHash: r.Hash()}}, o.do(ctx)
}
func (o obedient) Verify(ctx context.Context, _ commitments.Page, _ commitments.Candidate) error {
	return o.do(ctx)
}
func (o obedient) Audit(ctx context.Context, _ commitments.Page, _ commitments.Block) ([]commitments.Verdict, error) {
	return nil, o.do(ctx)
}

// served serves a module for the length of a test, and stops it cleanly.
func served(t *testing.T, listen string, m modules.Module) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	at, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- remote.Serve(ctx, remote.ServeConfig{Listen: listen, Secret: secret, Module: m, Started: func(a net.Addr) { at <- a }})
	}()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		ended <- nil
	}
	select {
	case a := <-at:
		t.Cleanup(stop)
		return "http://" + a.String(), stop
	case err := <-ended:
		t.Fatal(err)
		return "", nil
	}
}

// TestFaultsCross: errors.Is holds, an error without a name stays hidden, and a
// panic ends one call.
func TestFaultsCross(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(context.Context) error
		want error
	}{
		"none":      {func(context.Context) error { return nil }, nil},
		"a fault":   {func(context.Context) error { return errNo.With("because") }, errNo},
		"no name":   {func(context.Context) error { return errors.New("password") }, remote.ErrFailed},
		"panic":     {func(context.Context) error { panic("password") }, modules.ErrPanic},
		"deadline":  {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, modules.ErrTimeout},
		"its state": {func(context.Context) error { return fault.Define("test_node_down", fault.Unavailable, "").With("x") }, fault.Define("test_node_down", fault.Unavailable, "")},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := served(t, "127.0.0.1:0", obedient{c.do})
			for call, do := range calls(dialed(t, url)) {
				err := do(t.Context())
				if call == "audit" && c.want == nil {
					continue
				}
				if !errors.Is(err, c.want) || err != nil && strings.Contains(err.Error(), "password") {
					t.Errorf("%s: got %v, want %v", call, err, c.want)
				}
				if c.want == errNo && err.Error() != "test_no: because" {
					t.Errorf("%s: got %q", call, err)
				}
			}
		})
	}
}

// TestDeadlineCrosses: the module is told how long it has.
func TestDeadlineCrosses(t *testing.T) {
	left := make(chan time.Duration, 8)
	url, _ := served(t, "127.0.0.1:0", obedient{func(ctx context.Context) error {
		if d, ok := ctx.Deadline(); ok {
			left <- time.Until(d)
		}
		return nil
	}})
	if err := calls(dialed(t, url))["verify"](t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-left:
		if d <= 0 || d > budget {
			t.Errorf("%v left of %v", d, budget)
		}
	default:
		t.Error("no deadline")
	}
}

// TestDial refuses what it should not talk to.
func TestDial(t *testing.T) {
	info := func(body string) string {
		s := httptest.NewServer(say(200, body))
		t.Cleanup(s.Close)
		return s.URL
	}
	good := info(anInfo)
	for name, c := range map[string]struct {
		c    remote.Config
		want error // nil: any
	}{
		"another version":  {remote.Config{URL: info(`{"version":2,"id":"x","commitment_types":[5],"constraint_types":[]}`), Secret: secret}, remote.ErrVersion},
		"fewer types":      {remote.Config{URL: good, Secret: secret, CommitmentTypes: []uint64{5, 6}, ConstraintTypes: []uint64{5}}, remote.ErrVersion},
		"more constraints": {remote.Config{URL: good, Secret: secret, CommitmentTypes: []uint64{5}}, remote.ErrVersion},
		"no types":         {remote.Config{URL: info(`{"version":1,"id":"x","commitment_types":[],"constraint_types":[]}`), Secret: secret}, remote.ErrAnswer},
		"no id":            {remote.Config{URL: info(`{"version":1,"id":"","commitment_types":[5],"constraint_types":[]}`), Secret: secret}, remote.ErrAnswer},
		"nobody there":     {remote.Config{URL: "http://127.0.0.1:1", Secret: secret}, remote.ErrUnreachable},
		"a short secret":   {remote.Config{URL: good, Secret: "short"}, nil},
		"a file":           {remote.Config{URL: "file:///etc/passwd", Secret: secret}, nil},
		"a password":       {remote.Config{URL: strings.Replace(good, "//", "//u:p@", 1), Secret: secret}, nil},
		"a query":          {remote.Config{URL: good + "?x=1", Secret: secret}, nil},
		"the wrong secret": {remote.Config{URL: func() string { u, _ := served(t, "127.0.0.1:0", obedient{}); return u }(), Secret: secret + "x"}, remote.ErrSecret},
	} {
		if _, err := remote.Dial(t.Context(), c.c); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	m, err := remote.Dial(t.Context(), remote.Config{ID: "ours", SigningID: phase0.Root{9}, URL: good + "/", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	if i := m.Info(); i.ID != "ours" || i.SigningID != (phase0.Root{9}) || len(i.CommitmentTypes) != 1 {
		t.Errorf("got %+v", i)
	}
	if _, err := remote.New(remote.Config{ID: "x", URL: good, Secret: secret}); err == nil {
		t.Error("New without types")
	}
}

// TestLifeOfAModule: a module may start after the sidecar, die, hang, and come
// back; each is seen within two seconds, and meanwhile calls fail at once.
func TestLifeOfAModule(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	m, err := remote.New(remote.Config{
		ID: "late", URL: "http://" + addr, Secret: secret, CommitmentTypes: []uint64{5}, ConstraintTypes: []uint64{5},
		Budgets: modules.Budgets{Slot: 5 * time.Second, Verify: 5 * time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	if i := m.Info(); i.ID != "late" || len(i.CommitmentTypes) != 1 {
		t.Errorf("info before it was seen: %+v", i)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan error, 1)
	r, ok := modules.RunnerOf(m)
	if !ok {
		t.Fatal("no runner")
	}
	go func() { watching <- r.Run(ctx) }()
	becomes := func(what string, want error) {
		t.Helper()
		begun := time.Now()
		for {
			if _, err := m.Slot(t.Context(), request); fault.Code(err) == fault.Code(want) {
				break
			}
			if time.Since(begun) > 5*time.Second {
				t.Fatalf("%s: never %v", what, want)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("%s: seen after %v", what, took)
		}
	}
	becomes("not started", remote.ErrUnreachable)
	_, stop := served(t, addr, obedient{func(context.Context) error { return nil }})
	becomes("started", nil)
	stop()
	becomes("gone", remote.ErrUnreachable)
	var stuck atomic.Bool
	s := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if stuck.Load() {
			hang(w, q)
			return
		}
		if strings.HasSuffix(q.URL.Path, "info") {
			say(200, anInfo)(w, q)
			return
		}
		say(200, `{"slot":3}`)(w, q)
	})}
	go func() { _ = s.ListenAndServe() }()
	becomes("another is there", nil)
	stuck.Store(true)
	begun := time.Now()
	for { // calls wait for their budget of 5 s until the watch says that it is down
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := m.Verify(short, onePage(), commitments.Candidate{})
		cancel()
		if fault.Code(err) == remote.ErrUnreachable.Code {
			break
		}
		if time.Since(begun) > 5*time.Second {
			t.Fatalf("hangs: never down: %v", err)
		}
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("hangs: seen after %v", took)
	}
	begun = time.Now()
	if err := m.Verify(t.Context(), onePage(), commitments.Candidate{}); fault.Code(err) != remote.ErrUnreachable.Code || time.Since(begun) > time.Second {
		t.Errorf("down: got %v after %v", err, time.Since(begun))
	}
	cancel()
	if err := <-watching; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
	_ = s.Close()
}

// TestSecret: it is in no text, and a file holds one line of it.
func TestSecret(t *testing.T) {
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%+v %#v %q %x", remote.Config{Secret: secret}, secret, secret, secret)} {
		if strings.Contains(text, string(secret)) || strings.Contains(text, fmt.Sprintf("%x", string(secret))) {
			t.Errorf("shown in %s", text)
		}
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{"line": {"0123456789abcdef\n", true}, "windows": {"0123456789abcdef\r\n", true}, "short": {"0123", false}, "two": {"0123456789abcdef\nb", false}, "blank": {"0123456789 abcdef", false}, "huge": {strings.Repeat("x", 5000), false}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := remote.ReadSecret(path); (err == nil) != c.ok || c.ok && len(s) != 16 {
			t.Errorf("%s: got %d characters, %v", name, len(s), err)
		}
	}
}

// TestServe_Bounds: a body has a limit, and is not read before the secret is.
func TestServe_Bounds(t *testing.T) {
	h, err := remote.Handler(remote.ServeConfig{Secret: secret, Module: obedient{}, MaxBody: 100})
	if err != nil {
		t.Fatal(err)
	}
	post := func(token, body string) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/module/v1/info", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		h.ServeHTTP(w, r)
		return w.Code
	}
	if got := post(string(secret), `{"versions":[1]}`+strings.Repeat(" ", 200)); got != http.StatusBadRequest {
		t.Errorf("too much: %d", got)
	}
	if got := post("", `{"versions":[1]}`); got != http.StatusUnauthorized {
		t.Errorf("no secret: %d", got)
	}
	if _, err := remote.Handler(remote.ServeConfig{Secret: "short", Module: obedient{}}); err == nil {
		t.Error("serves with a short secret")
	}
}
