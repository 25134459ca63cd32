package app

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidecar/internal/config"
)

const childFile = `chain = "Hoodi"
[[relays]]
url = "http://0xac6e77dfe25ecd6110b8e780608cce0dab71fdd5ebea22a16c0205200f2f8e2e3ad3b71d3499c54ad14d6c21b41a37ae@relay.example"
[metrics]
start_port = 11000
[[modules]]
id = "DA"
type = "commit"
signing_id = "0x61fe00135d7b4912a8c63ada215ac2e62326e6e7b30f49a29fcf9779d7ad800d"
command = ["da"]
env = { COLOUR = "blue", HOME = "/elsewhere" }
[[modules]]
id = "WORDS"
type = "remote"
signing_id = "0x0be3a7c4c0e6f1a9d1a1a5b8ac7a2d3ff3b4f0a86a5ea4f2c3c0b0e2b1d7c9e4"
command = ["words"]
[modules.remote]
url = "http://127.0.0.1:18600"
secret_file = "words.secret"
commitment_types = [5]
[signer.local.loader]
key_path = "keys.json"
[signer.local.store]
keys_path = "pk"
secrets_path = "ps"
[beacon]
url = "http://127.0.0.1:1"
[execution]
url = "http://127.0.0.1:1"
`

// TestChildEnv: a module gets what is its own, and nothing of anybody else's.
func TestChildEnv(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "sidecar.toml")
	if err := os.WriteFile(file, []byte(childFile), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]string{
		"PATH": "/bin", "HOME": "/root", "CB_JWTS": "DA=" + strings.Repeat("d", 32) + ",OTHER=" + strings.Repeat("o", 32),
		"CB_SIGNER_ADMIN_JWT": strings.Repeat("a", 32), "AWS_SECRET": "x",
	}
	a := bare(c, "test", slog.New(slog.DiscardHandler))
	for i, want := range [][]string{
		{"CB_CONFIG=" + file, "CB_METRICS_PORT=11001", "CB_MODULE_ID=DA", "COLOUR=blue", "HOME=/elsewhere", "PATH=/bin"},
		{"CB_CONFIG=" + file, "CB_METRICS_PORT=11002", "CB_MODULE_ID=WORDS", "CB_MODULE_LISTEN=127.0.0.1:18600", "CB_MODULE_SECRET_FILE=*/words.secret", "HOME=/root", "PATH=/bin"},
	} {
		got, err := a.childEnv(i, func(name string) (string, bool) { v, ok := ours[name]; return v, ok })
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if strings.HasSuffix(got[i], "/words.secret") {
				got[i] = "CB_MODULE_SECRET_FILE=*/words.secret"
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestReachable(t *testing.T) {
	for in, want := range map[string]string{"0.0.0.0": "127.0.0.1:7", "::": "127.0.0.1:7", "10.0.0.1": "10.0.0.1:7", "::1": "[::1]:7"} {
		if got := reachable(&net.TCPAddr{IP: net.ParseIP(in), Port: 7}); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
