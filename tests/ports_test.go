package tests

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// taken is a port that somebody else listens on until the test ends.
func taken(t *testing.T) (port int, free func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().(*net.TCPAddr).Port, func() { _ = l.Close() }
}

// TestPortInUse_Builder: without the Builder API there is no point in the rest.
func TestPortInUse_Builder(t *testing.T) {
	t.Parallel()
	n := newNetwork(time.Hour, 0)
	relay := newRelay(t, n, "good", 1, 1)
	port, _ := taken(t)
	r := invoke(t, map[string]string{"sidecar.toml": n.toml() + fmt.Sprintf("[pbs]\nport = %d\n", port) + relay.entry("relays")}, "run", "--config", "sidecar.toml")
	if r.code != 6 || !strings.Contains(r.stderr, fmt.Sprint(port)) {
		t.Errorf("exit %d, %q; want 6 and the address", r.code, r.stderr)
	}
}

// TestPortInUse_Others: a proposal does not depend on a port of the promise
// features. The Builder API serves, check names every port, and the rest listens
// as soon as it can.
func TestPortInUse_Others(t *testing.T) {
	t.Parallel()
	h, file := newSignerHouse(t)
	names := []string{"gateway", "wallet", "signer", "metrics"}
	ports, frees := map[string]int{}, map[string]func(){}
	for _, name := range names {
		ports[name], frees[name] = taken(t)
	}
	file = regexp.MustCompile(`(?s)(\[signer\]\nport = )\d+`).ReplaceAllString(file, fmt.Sprintf("${1}%d", ports["signer"]))
	h.write(t, "sidecar.toml", strings.Replace(file, "url = \"", "constraints = true\nurl = \"", 1)+`[[modules]]
id = "INCLUSION"
type = "inclusion"
signing_id = "0x7a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b"
[beacon]
url = "http://127.0.0.1:1"
[execution]
url = "http://127.0.0.1:1"
`+fmt.Sprintf("[gateway]\nport = %d\n[wallet]\nport = %d\n[metrics]\nstart_port = %d\n", ports["gateway"], ports["wallet"], ports["metrics"]))
	h.do(t, 0, "Made the ledger", "init", "--new-keys")
	check := h.command(t, "check")
	said, _ := check.CombinedOutput()
	for _, name := range names {
		if !regexp.MustCompile(fmt.Sprintf(`%s.*127\.0\.0\.1:%d.*in use`, name, ports[name])).Match(said) {
			t.Errorf("check does not name the port of %s:\n%s", name, said)
		}
	}

	h.run = h.command(t, "run")
	h.run.Stdout, h.run.Stderr = &h.out, &h.out
	if err := h.run.Start(); err != nil {
		t.Fatal(err)
	}
	h.exited = make(chan error, 1)
	go func() { h.exited <- h.run.Wait() }()
	defer h.stop(t)
	builder := h.says(t, `"msg":"Sidecar is running".*"builder":"([^"]+)"`)
	if res, err := client.Get("http://" + builder + "/eth/v1/builder/status"); err != nil || res.StatusCode != 200 {
		t.Fatalf("the Builder API: %v, %v", res, err)
	} else {
		_ = res.Body.Close()
	}
	for _, name := range names {
		h.says(t, fmt.Sprintf(`("level":"ERROR".*"server":"%s".*in use)`, name))
	}
	for _, free := range frees {
		free()
	}
	for _, name := range names {
		h.says(t, fmt.Sprintf(`("msg":"A listener is bound at last".*"server":"%s")`, name))
	}
	res, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", ports["metrics"]))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	told, _ := io.ReadAll(res.Body)
	for _, name := range names {
		if !bytes.Contains(told, []byte(fmt.Sprintf("sidecar_listener_up{server=\"%s\"} 1\n", name))) {
			t.Errorf("metrics do not say that %s listens", name)
		}
	}
}

// says waits until the house has said what matches, and returns the first group.
func (h *signerHouse) says(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for range 1500 {
		if m := re.FindStringSubmatch(h.out.String()); m != nil {
			return m[1]
		}
		time.Sleep(40 * time.Millisecond)
	}
	t.Fatalf("nothing says %s:\n%s", pattern, tail(h.out.String(), 6000))
	return ""
}
