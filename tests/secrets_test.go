package tests

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSecrets plants secrets wherever a configuration may hold one, and looks
// for them in everything that the sidecar says.
func TestSecrets(t *testing.T) {
	t.Parallel()
	n := newNetwork(time.Hour, 0)
	r := newRelay(t, n, "good", 1, 1)
	validatorKey := secretKey(t, 77).Bytes()
	canaries := map[string]string{"header": "canary-in-a-header", "parameter": "canary-in-a-parameter", "beacon": "canary-of-the-beacon", "execution": "canary-of-the-execution"}
	admin := freePort(t)
	config := n.toml() + fmt.Sprintf("[pbs]\nport = 0\n[metrics]\nstart_port = %d\n[logs.stdout]\nlevel = \"trace\"\n", admin) +
		r.entry("relays") + fmt.Sprintf("constraints = true\nheaders = { X-Api-Key = %q }\nget_params = { token = %q }\n", canaries["header"], canaries["parameter"]) +
		fmt.Sprintf("[beacon]\nurl = \"http://user:%s@127.0.0.1:1/?key=%s\"\n[execution]\nurl = \"http://user:%s@127.0.0.1:1/%s\"\n", canaries["beacon"], canaries["beacon"], canaries["execution"], canaries["execution"]) +
		`[[modules]]
id = "INCLUSION"
type = "inclusion"
signing_id = "0x6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b"
[signer.local.loader]
key_path = "keys.json"
[signer.local.store]
keys_path = "proxy_keys"
secrets_path = "proxy_secrets"
[gateway]
port = 0
`
	dir := t.TempDir()
	for name, text := range map[string]string{"sidecar.toml": config, "keys.json": fmt.Sprintf("[\"0x%x\"]", validatorKey)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var said strings.Builder
	one := func(args ...string) *exec.Cmd {
		cmd := command(t, args...)
		cmd.Dir = dir
		cmd.Stdout, cmd.Stderr = &said, &said
		return cmd
	}
	if err := one("init", "--config", "sidecar.toml").Run(); err != nil {
		t.Fatalf("init: %v\n%s", err, said.String())
	}
	if err := one("check", "--config", "sidecar.toml").Run(); err == nil {
		t.Errorf("check found no fault in nodes that do not exist:\n%s", said.String())
	}
	run := one("run", "--config", "sidecar.toml")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	surface := scrape(t, admin)
	_ = run.Process.Signal(os.Interrupt)
	kill := time.AfterFunc(20*time.Second, func() { _ = run.Process.Kill() })
	if err := run.Wait(); err != nil {
		t.Errorf("run: %v", err)
	}
	kill.Stop()
	said.WriteString(surface)
	for name, secret := range proxySecrets(t, dir) {
		canaries[name] = secret
	}
	if len(canaries) < 5 {
		t.Error("init made no password of a proxy key")
	}
	canaries["validator"] = string(validatorKey)
	if !strings.Contains(said.String(), "Sidecar is running") || !strings.Contains(surface, "sidecar_info") {
		t.Fatalf("it never ran:\n%s", said.String())
	}
	for name, secret := range canaries {
		for _, form := range []string{secret, hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), fmt.Sprint([]byte(secret))} {
			if i := strings.Index(strings.ToLower(said.String()), strings.ToLower(form)); i >= 0 {
				t.Errorf("the secret of %s is in the output: …%q", name, said.String()[max(0, i-200):i])
				break
			}
		}
	}
}

// scrape reads what the admin listener shows, once it does.
func scrape(t *testing.T, port int) string {
	t.Helper()
	var out strings.Builder
	for _, path := range []string{"/metrics", "/readyz", "/status", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
		for range 500 {
			resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
			if err != nil {
				time.Sleep(20 * time.Millisecond)
				continue
			}
			if resp.StatusCode == http.StatusOK {
				_, _ = io.Copy(&out, resp.Body)
			}
			_ = resp.Body.Close()
			break
		}
	}
	time.Sleep(300 * time.Millisecond) // so that the loops have met the nodes that do not exist
	return out.String()
}

// proxySecrets reads the passwords that init made.
func proxySecrets(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(filepath.Join(dir, "proxy_secrets"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[filepath.Base(path)] = strings.TrimSpace(string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
