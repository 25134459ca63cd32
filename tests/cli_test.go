package tests

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// result is how a command ended.
type result struct {
	code        int
	out, stderr string
	took        time.Duration
}

// invoke runs a command to its end, in a directory with the files.
func invoke(t testing.TB, files map[string]string, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(cmd.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	stop := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	begin := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), stderr.String(), time.Since(begin)}
}

// TestVersion: `sidecar version` says what runs.
func TestVersion(t *testing.T) {
	t.Parallel()
	r := invoke(t, nil, "version")
	if want := fmt.Sprintf("sidecar v0.0.0-test %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH); r.code != 0 || r.out != want || r.stderr != "" {
		t.Errorf("version: exit %d, %q, %q; want %q", r.code, r.out, r.stderr, want)
	}
}

// TestUsage: what is not a command is said so, and nothing runs.
func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"fly"}, {"run", "--no-such-flag"}, {"run", "--config"}} {
		if r := invoke(t, nil, args...); r.code != 2 || r.stderr == "" {
			t.Errorf("%q: exit %d, %q %q; want 2 and why", args, r.code, r.out, r.stderr)
		}
	}
}

// TestCheck: `sidecar check` says everything that is wrong, and with which line.
func TestCheck(t *testing.T) {
	t.Parallel()
	n := newNetwork(time.Hour, 0)
	good, bad := newRelay(t, n, "good", 1, 1), newRelay(t, n, "bad", 2, 1)
	bad.others(status(500))
	gone := freePort(t)
	key := good.secret.PublicKey()
	for name, c := range map[string]struct {
		config string
		code   int
		says   []string // each a regular expression of the output
	}{
		"good": {n.toml() + good.entry("relays"), 0, []string{`^ok: chain custom, 1 relays, 0 muxes, promises false\n$`}},
		"everything at once": {"chain = \"Atlantis\"\n[pbs]\nport = 99999\nmin_bid_eth = 2\nno_such_key = 1\n[[relays]]\nurl = \"ftp://relay\"\n[logs.stdout]\nlevel = \"loud\"\n", 3,
			[]string{`^error: .*sidecar\.toml:1: chain`, `sidecar\.toml:3: pbs\.port`, `sidecar\.toml:4: pbs\.min_bid_eth`, `sidecar\.toml:5: pbs\.no_such_key`,
				`sidecar\.toml:7: relays\[0\]\.url`, `sidecar\.toml:9: logs\.stdout\.level`}},
		"not TOML":            {"chain = \n", 3, []string{`sidecar\.toml:1`}},
		"no relays":           {n.toml(), 3, []string{`at least one`}},
		"relay key is none":   {n.toml() + fmt.Sprintf("[[relays]]\nurl = \"http://0x80%s@127.0.0.1:1\"\n", strings.Repeat("0", 94)), 3, []string{`relay`}},
		"relay key infinite":  {n.toml() + fmt.Sprintf("[[relays]]\nurl = \"http://0xc0%s@127.0.0.1:1\"\n", strings.Repeat("0", 94)), 3, []string{`relays\[0\]\.url`}},
		"relays do not serve": {n.toml() + good.entry("relays") + bad.entry("relays") + fmt.Sprintf("[[relays]]\nid = \"gone\"\nurl = \"http://%s@127.0.0.1:%d\"\n", key, gone), 1, []string{`relay bad: .*500`, `relay gone: .*relay_connect`}},
		"promises without":    {n.toml() + good.entry("relays") + "[[modules]]\nid = \"I\"\ntype = \"inclusion\"\nsigning_id = \"0x01\"\n", 3, []string{`sidecar\.toml:8: modules\[0\]\.signing_id`, `signer`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := invoke(t, map[string]string{"sidecar.toml": c.config}, "check", "--config", "sidecar.toml")
			for _, re := range c.says {
				if !regexp.MustCompile("(?m)" + re).MatchString(r.out + r.stderr) {
					t.Errorf("the output does not match %s", re)
				}
			}
			if r.code != c.code || t.Failed() {
				t.Errorf("exit %d, want %d; output:\n%s%s", r.code, c.code, r.out, r.stderr)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		if r := invoke(t, nil, "run", "--config", "missing.toml"); r.code != 3 || !strings.Contains(r.stderr, "missing.toml") {
			t.Errorf("exit %d, %q", r.code, r.stderr)
		}
	})
	t.Run("the example", func(t *testing.T) {
		text, err := os.ReadFile("../config.example.toml")
		if err != nil {
			t.Fatal(err)
		}
		if r := invoke(t, map[string]string{"sidecar.toml": string(text), "mux_keys.json": "[]"}, "check", "--config", "sidecar.toml"); r.code == 3 {
			t.Errorf("the example is an invalid configuration: %s", r.stderr)
		}
	})
}

// TestLedgerRefused: a sidecar that cannot read its promises does not start.
func TestLedgerRefused(t *testing.T) {
	t.Parallel()
	n := newNetwork(time.Hour, 0)
	relay := newRelay(t, n, "good", 1, 1)
	config := n.toml() + "[pbs]\nport = 0\n" + relay.entry("relays") + `constraints = true
[[modules]]
id = "INCLUSION"
type = "inclusion"
signing_id = "0x6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b"
[signer.local.loader]
key_path = "keys.json"
[signer.local.store]
keys_path = "proxy_keys"
secrets_path = "proxy_secrets"
[beacon]
url = "http://127.0.0.1:1"
[execution]
url = "http://127.0.0.1:1"
[gateway]
port = 0
`
	for name, ledger := range map[string]string{"missing": "", "not a ledger": strings.Repeat("no ledger", 1000), "cut": "x"} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"sidecar.toml": config}
			if ledger != "" {
				files["ledger.db"] = ledger
			}
			if r := invoke(t, files, "run", "--config", "sidecar.toml"); r.code != 5 || !strings.Contains(r.stderr, "ledger") {
				t.Errorf("exit %d, %q; want 5", r.code, r.stderr)
			}
		})
	}
}

// TestStop: a block on its way is handed over before the end (S-15), and the
// end comes in time.
func TestStop(t *testing.T) {
	t.Parallel()
	n := newNetwork(time.Hour, 0)
	r := newRelay(t, n, "slow", 1, 1)
	admin := freePort(t)
	p := launch(t, n.toml()+fmt.Sprintf("[pbs]\nport = 0\n[metrics]\nstart_port = %d\n", admin)+r.entry("relays"))
	parent := parentOf("stop")
	taken := make(chan struct{})
	r.plan(parent, onBlock(func(c *call) bool {
		close(taken)
		return c.wait(time.Second) && honest(c)
	}))
	got := p.must(t, "GET", headerPath(20, parent, validator(1)), nil, "Accept", mediaSSZ)
	block := inEncoding(t, mediaSSZ, blockOf(t, 20, 1, decodeBid(t, got, mediaSSZ, "fulu")))
	answers := make(chan *answer, 1)
	go func() {
		a, err := p.ask("POST", v2, block, "Content-Type", mediaSSZ, version, "fulu")
		if err != nil {
			a = &answer{body: []byte(err.Error())}
		}
		answers <- a
	}()
	<-taken
	ended := make(chan error, 1)
	var took time.Duration
	go func() {
		var err error
		took, err = p.terminate(stopWithin)
		ended <- err
	}()
	ready := func() int {
		resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", admin))
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if p.await(3*time.Second, func(l logLine) bool { return l.text("msg") == "Stopping" }) == nil {
		t.Error("no line says that it stops")
	}
	if got := ready(); got != http.StatusServiceUnavailable {
		t.Errorf("readyz while stopping: %d, want 503", got)
	}
	checkTaken(t, <-answers)
	if err := <-ended; err != nil || took > stopWithin {
		t.Errorf("end after %v: %v, want exit status 0 within %v", took, err, stopWithin)
	}
	p.healthy()
	if len(r.seen(parent, v2)) != 1 {
		t.Error("the relay did not get the block")
	}
}

// TestStopAtOnce: a second signal does not wait, and an idle sidecar need not.
func TestStopAtOnce(t *testing.T) {
	t.Parallel()
	// Where this test itself runs under nohup its children would ignore SIGHUP; what
	// a parent handles they have as usual.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	n := newNetwork(time.Hour, 0)
	r := newRelay(t, n, "slow", 1, 1)
	r.others(silence)
	config := n.toml() + "[pbs]\nport = 0\n" + r.entry("relays")
	for _, sig := range []os.Signal{syscall.SIGTERM, os.Interrupt, syscall.SIGHUP} {
		p := launch(t, config)
		begin := time.Now()
		_ = p.cmd.Process.Signal(sig)
		select {
		case <-p.exited:
		case <-time.After(20 * time.Second):
			t.Fatalf("%v: idle, and it does not end", sig)
		}
		if took := time.Since(begin); p.err != nil || took > 5*time.Second {
			t.Errorf("%v: idle, it ended after %v: %v", sig, took, p.err)
		}
	}
	p := launch(t, config)
	parent := parentOf("hang")
	r.plan(parent, onBlock(silence))
	got := p.must(t, "GET", headerPath(20, parent, validator(1)), nil, "Accept", mediaSSZ)
	block := inEncoding(t, mediaSSZ, blockOf(t, 20, 1, decodeBid(t, got, mediaSSZ, "fulu")))
	go func() { _, _ = p.ask("POST", v2, block, "Content-Type", mediaSSZ) }()
	r.awaitSeen(1, parent, v2)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if p.await(3*time.Second, func(l logLine) bool { return l.text("msg") == "Stopping" }) == nil {
		t.Fatal("no line says that it stops")
	}
	for range 2 { // a closed terminal sends it, and more than once
		_ = p.cmd.Process.Signal(syscall.SIGHUP)
		if _, err := p.ask("GET", headerPath(20, parent, validator(1)), nil); err != nil {
			t.Fatalf("SIGHUP cut a stop short: %v", err)
		}
	}
	begin := time.Now()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end at the second signal")
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("ended %v after the second signal, want at once", took)
	}
}

// TestAdmin: metrics and readiness, for this machine only.
func TestAdmin(t *testing.T) {
	t.Parallel()
	n := newNetwork(time.Hour, 0)
	r := newRelay(t, n, "good", 1, 1)
	port := freePort(t)
	p := start(t, n.toml()+fmt.Sprintf("[pbs]\nport = 0\n[metrics]\nstart_port = %d\n", port)+r.entry("relays"))
	p.must(t, "GET", headerPath(phase0.Slot(20), parentOf("admin"), validator(1)), nil)
	admin := &process{builder: fmt.Sprintf("127.0.0.1:%d", port)}
	for _, path := range []string{"/readyz", "/healthz", "/status"} {
		wantBare(t, admin.must(t, "GET", path, nil), 200)
	}
	text := string(admin.must(t, "GET", "/metrics", nil).body)
	for _, line := range []string{`sidecar_headers_total{outcome="served"} 1`, `sidecar_bids_total{relay="good",verdict="accepted"} 1`, `sidecar_info{`,
		`sidecar_http_requests_total{`, "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(text, line) {
			t.Errorf("metrics lack %s", line)
		}
	}
	admin.must(t, "GET", "/metrics", nil, "Origin", "http://evil.example").refused(t, 403, "admin_caller_refused")
	wantBare(t, admin.must(t, "GET", "/debug/pprof/cmdline", nil), 404)
	for _, path := range []string{"/metrics", "/readyz"} {
		p.must(t, "GET", path, nil).refused(t, 404, "not_found") // the Builder API's port has none of it
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		ip := a.(*net.IPNet).IP
		if ip.IsLoopback() || ip.IsLinkLocalUnicast() {
			continue
		}
		for _, at := range []string{fmt.Sprint(port), p.builder[strings.LastIndex(p.builder, ":")+1:]} {
			if conn, err := net.DialTimeout("tcp", net.JoinHostPort(ip.String(), at), time.Second); err == nil {
				_ = conn.Close()
				t.Errorf("port %s is open on %s", at, ip)
			}
		}
	}
}
