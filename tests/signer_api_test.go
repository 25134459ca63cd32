package tests

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/sha3"
)

// signerHouse is a sidecar in a directory of its own that serves modules.
type signerHouse struct {
	dir, url string
	run      *exec.Cmd
	out      heard
	exited   chan error
}

// heard is what a process says, while it says it.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *heard) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *heard) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

const (
	signerSecret = "journey-secret-journey-secret-journey"
	signerAdmin  = "journey-admin--journey-admin--journey"
	signerKey    = "0x883827193f7627cd04e621e1e8d56498362a52b2a30c9a1c72036eb935c4278dee23d38a24d2f7dda62689886f0c39f4"
	signerRoot   = "0x0123456789012345678901234567890123456789012345678901234567890123"
)

// newSignerHouse writes the configuration of Commit-Boost with one module.
func newSignerHouse(t *testing.T) (h *signerHouse, file string) {
	t.Helper()
	relay := newRelay(t, newNetwork(time.Hour, 0), "good", 1, 1)
	port := freePort(t)
	h = &signerHouse{dir: t.TempDir(), url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	file = "chain = \"Hoodi\"\n[pbs]\nport = 0\n" + relay.entry("relays") + fmt.Sprintf("[signer]\nport = %d\n", port) + `[signer.local.loader]
key_path = "keys.json"
[signer.local.store]
` + proxyStore + `[[modules]]
id = "DA_COMMIT"
type = "commit"
docker_image = "test_da_commit"
signing_id = "0x6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b"
sleep_secs = 5
`
	h.write(t, "sidecar.toml", file)
	h.write(t, "keys.json", `["0x10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"]`)
	return h, file
}

func (h *signerHouse) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// do runs another command of the binary in the house.
func (h *signerHouse) do(t *testing.T, code int, says string, args ...string) {
	t.Helper()
	cmd := h.command(t, args...)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), says) {
		t.Errorf("%v: exit %d, want %d and %q:\n%s", args, got, code, says, out)
	}
}

func (h *signerHouse) command(t *testing.T, args ...string) *exec.Cmd {
	cmd := command(t, args...)
	cmd.Dir = h.dir
	cmd.Env = append(cmd.Env, "CB_JWTS=DA_COMMIT="+signerSecret, "CB_SIGNER_ADMIN_JWT="+signerAdmin, "CB_CONFIG=sidecar.toml")
	return cmd
}

func (h *signerHouse) start(t *testing.T) {
	t.Helper()
	h.run = h.command(t, "run")
	h.run.Stdout, h.run.Stderr = &h.out, &h.out
	if err := h.run.Start(); err != nil {
		t.Fatal(err)
	}
	h.exited = make(chan error, 1)
	go func() { h.exited <- h.run.Wait() }()
	for range 3000 {
		if res, err := client.Get(h.url + "/status"); err == nil {
			_ = res.Body.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	_ = h.run.Process.Kill()
	<-h.exited
	t.Fatalf("the Signer API does not answer:\n%s", h.out.String())
}

func (h *signerHouse) stop(t *testing.T) {
	t.Helper()
	_ = h.run.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-h.exited:
		if err != nil {
			t.Errorf("the sidecar ended with %v:\n%s", err, h.out.String())
		}
	case <-time.After(60 * time.Second):
		_ = h.run.Process.Kill()
		t.Errorf("the sidecar does not stop: %v", <-h.exited)
	}
}

// ask makes a request as Commit-Boost's clients do from 0.10 on, as the module
// or, without one, as the administrator.
func (h *signerHouse) ask(t *testing.T, method, path, body, module string) (int, string, string) {
	t.Helper()
	res, err := client.Do(h.request(t, method, path, body, module))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header.Get("X-Reason")
}

// request is a request with a token of its own.
func (h *signerHouse) request(t *testing.T, method, path, body, module string) *http.Request {
	t.Helper()
	claims, secret := map[string]any{"exp": time.Now().Unix() + 300, "route": path, "payload_hash": nil}, signerAdmin
	if module == "" {
		claims["admin"] = true
	} else {
		claims["module"], secret = module, signerSecret
	}
	if body != "" {
		k := sha3.NewLegacyKeccak256()
		k.Write([]byte(body))
		claims["payload_hash"] = fmt.Sprintf("%#x", k.Sum(nil))
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	req, err := http.NewRequest(method, h.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+signed+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil)))
	req.Header.Set("Content-Type", "application/json")
	return req
}

// TestSignerAPI goes the way of an operator who brings a configuration of
// Commit-Boost along: it loads, its module has proxies of its own, and the
// warning says what to add for the validators' keys. A nonce and a revocation
// survive a restart.
func TestSignerAPI(t *testing.T) {
	t.Parallel()
	h, file := newSignerHouse(t)
	h.do(t, 5, "ledger_missing", "run")
	h.do(t, 0, `add below it: [modules.signer] kinds = ["consensus", "proxy"] keys = ["0x<public key of each validator>"]`, "init", "--new-keys")

	h.start(t)
	blind := `{"pubkey":"` + signerKey + `","object_root":"` + signerRoot + `","nonce":101}`
	if status, body, reason := h.ask(t, "POST", "/signer/v1/request_signature/bls", blind, "DA_COMMIT"); status != 403 || reason != "blind_root_forbidden" || !strings.Contains(body, `keys = ["`+signerKey+`"]`) {
		t.Errorf("blind, not granted: %d %s %s", status, reason, body)
	}
	status, body, _ := h.ask(t, "POST", "/signer/v1/generate_proxy_key", `{"pubkey":"`+signerKey+`","scheme":"bls"}`, "DA_COMMIT")
	var made struct{ Message struct{ Proxy string } }
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != 200 {
		t.Fatalf("generate: %d %s", status, body)
	}
	ask := func(root, nonce string) (int, string) {
		t.Helper()
		status, body, _ := h.ask(t, "POST", "/signer/v1/request_signature/proxy-bls", `{"proxy":"`+made.Message.Proxy+`","object_root":"`+root+`","nonce":`+nonce+`}`, "DA_COMMIT")
		return status, body
	}
	other := strings.Replace(signerRoot, "0x01", "0x02", 1)
	_, first := ask(signerRoot, "7")
	if status, _ := ask(other, "7"); status != 409 {
		t.Errorf("another root for a nonce: %d", status)
	}
	h.stop(t)

	// The operator does as told. The published vector is then answered.
	h.write(t, "sidecar.toml", file+"[modules.signer]\nkinds = [\"consensus\", \"proxy\"]\nkeys = [\""+signerKey+"\"]\n")
	h.start(t)
	if status, body, _ := h.ask(t, "POST", "/signer/v1/request_signature/bls", blind, "DA_COMMIT"); status != 200 || !strings.Contains(body, `"signature":"0xb653034a6da0e516cb999d6bbcd5ddd8dde9695322a94aefcd3049e6235e0f4f63b13d81`) {
		t.Errorf("the published vector: %d %s", status, body)
	}
	if status, again := ask(signerRoot, "7"); status != 200 || again != first {
		t.Errorf("after a restart: %d %s, want %s", status, again, first)
	}
	if status, _ := ask(other, "7"); status != 409 {
		t.Errorf("another root after a restart: %d", status)
	}
	// A revoked proxy signs no more, not what it signed before and not after a restart.
	for range 2 {
		if status, body, _ := h.ask(t, "POST", "/revoke_proxy", `{"proxy":"`+made.Message.Proxy+`"}`, ""); status != 200 && status != 404 {
			t.Errorf("revoke the proxy: %d %s", status, body)
		}
		if status, body := ask(signerRoot, "7"); status != 404 {
			t.Errorf("a revoked proxy: %d %s", status, body)
		}
		h.stop(t)
		h.start(t)
	}
	if status, _, _ := h.ask(t, "POST", "/revoke_jwt", `{"module_id":"DA_COMMIT"}`, ""); status != 200 {
		t.Errorf("revoke: %d", status)
	}
	if status, _, _ := h.ask(t, "POST", "/reload", `{}`, ""); status != 200 {
		t.Errorf("reload: %d", status)
	}
	h.stop(t)
	h.start(t)
	if status, _, _ := h.ask(t, "GET", "/signer/v1/get_pubkeys", "", "DA_COMMIT"); status != 401 {
		t.Errorf("a revoked secret after a restart: %d", status)
	}
	const fresh = signerSecret + "-2"
	if status, _, _ := h.ask(t, "POST", "/reload", `{"jwt_secrets":"DA_COMMIT=`+fresh+`"}`, ""); status != 200 {
		t.Errorf("a new secret: %d", status)
	}
	h.stop(t)
	for _, secret := range []string{signerSecret, signerAdmin} {
		if strings.Contains(h.out.String(), secret) {
			t.Error("the log holds a secret")
		}
	}
	h.write(t, "sidecar.toml", strings.Replace(file, "[signer]\n", "[signer]\nhost = \"0.0.0.0\"\n", 1))
	h.do(t, 3, "signer.host: 0.0.0.0 is reached from other machines", "check")
}
