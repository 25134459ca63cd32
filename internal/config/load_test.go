package config

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/fault"
)

func load(t *testing.T, name string, env map[string]string) *Config {
	t.Helper()
	if filepath.Base(mustGetwd(t)) != "testdata" {
		t.Chdir("testdata")
	}
	c, err := Load(name, lookup(env))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

func TestLoad_CommitBoostMinimal(t *testing.T) {
	c := load(t, "commit-boost-minimal.toml", nil)
	hoodi, _ := chain.Named("hoodi")
	if !reflect.DeepEqual(c.Chain(), hoodi) {
		t.Errorf("chain: got %+v", c.Chain())
	}
	p := c.PBS
	if p.Host != loopback || p.Port != 18550 || !p.RelayCheck || !p.WaitAllRegistrations || p.TimeoutGetHeader != 950*time.Millisecond ||
		p.AnswerWithin != 950*time.Millisecond || p.TimeoutGetPayload != 4*time.Second || p.TimeoutRegisterValidator != 3*time.Second ||
		p.LateInSlot != 2*time.Second || !p.MinBid.IsZero() || !p.MaxValue.Eq(ether(10_000)) || p.SkipSigverify || p.ExtraValidation ||
		p.RegisterRetryLimit != 3 || p.RegistrationBatch != 0 || p.MuxRefresh != 384*time.Second || p.HTTPTimeout != 10*time.Second ||
		p.Penalty != (Penalty{1, 32}) {
		t.Errorf("pbs: got %+v", p)
	}
	r := c.Relays[0]
	if r.ID != "relay.example.org" || r.Pubkey[0] != 0xa1 || r.Pubkey[47] != 0xc2 || *r.AllowPrivate || r.GetHeader != HeaderHTTP || r.Constraints {
		t.Errorf("relay: got %+v", r)
	}
	if m := c.Metrics; m == nil || !m.Enabled || m.Host != loopback || m.StartPort != 10000 {
		t.Errorf("metrics: got %+v", m)
	}
	if c.Gateway != nil || c.Signer != nil || c.Promises() || len(c.Warnings()) != 0 {
		t.Errorf("got gateway %v, signer %v, warnings %q", c.Gateway, c.Signer, c.Warnings())
	}
}

func TestLoad_CommitBoostMux(t *testing.T) {
	c := load(t, "commit-boost-mux.toml", map[string]string{"CB_MUX_PATH_timing-mux": "/cb/keys.json", "CB_MUX_PATH_lido-mux": "unused"})
	if len(c.Muxes) != 3 || c.PBS.RegistrationBatch != 500 || c.PBS.MinBid.Uint64() != 1e16 {
		t.Fatalf("got %d muxes, batch %d, min bid %v", len(c.Muxes), c.PBS.RegistrationBatch, &c.PBS.MinBid)
	}
	m := c.Muxes[0]
	if m.Loader.Path != "/cb/keys.json" || m.TimeoutGetHeader != 900*time.Millisecond || m.LateInSlot != 1500*time.Millisecond ||
		len(m.ValidatorPubkeys) != 1 || m.Relays[0].TargetFirstRequest != 200*time.Millisecond {
		t.Errorf("timing-mux: got %+v, %+v", m, m.Loader)
	}
	m = c.Muxes[1]
	if *m.Loader != (Loader{Registry: RegistryLido, NodeOperatorID: 8, LidoModuleID: 1, HTTPTimeout: 10 * time.Second}) ||
		m.TimeoutGetHeader != 950*time.Millisecond || m.LateInSlot != 2*time.Second {
		t.Errorf("lido-mux: got %+v, %+v", m, m.Loader)
	}
	if got, want := c.Execution.URL, "https://rpc.example.org"; got != want {
		t.Errorf("execution.url: got %q, want %q", got, want)
	}
	if got := c.Relays[0].Headers["X-MyCustomHeader"] + c.Relays[0].GetParams["param2"]; got != "MyCustomValuevalue2" {
		t.Errorf("headers and params: got %q", got)
	}
}

func TestLoad_CommitBoostChains(t *testing.T) {
	c := load(t, "commit-boost-custom-chain.toml", map[string]string{"CB_CHAIN_SPEC": "./hoodi_spec.json"})
	if s := c.Chain(); s.GenesisTime.Unix() != 100 || s.ChainID != 560048 || s.Fork(1622016) != chain.Fulu {
		t.Errorf("spec file: got %+v", s)
	}
	if c.Relays[0].GetHeader != HeaderStream {
		t.Errorf("get_header: got %q", c.Relays[0].GetHeader)
	}
	c = load(t, "commit-boost-signer.toml", nil)
	if s := c.Chain(); s.Name != "custom" || s.ChainID != 560048 || s.Fork(1622015) != chain.Electra || s.Fork(1622016) != chain.Fulu {
		t.Errorf("inline: got %+v", s)
	}
	odd, err := Parse("f", []byte("chain = { genesis_time_secs = 1, slot_time_secs = 12, genesis_fork_version = \"0x00000000\", fulu_fork_slot = 100, chain_id = 1 }\n"+
		"[[relays]]\nurl = \""+c.Relays[0].URL+"\"\n"), nil)
	if err != nil {
		t.Errorf("Fulu amid an epoch: %v", err)
	} else if s := odd.Chain(); s.Fork(99) != chain.Electra || s.Fork(100) != chain.Fulu || s.Fork(101) != chain.Fulu {
		t.Errorf("Fulu from slot 100: got %+v", s.Forks)
	}
	if !*c.Relays[0].AllowPrivate {
		t.Error("a relay in a container network must resolve to a private address")
	}
}

// TestParse_CommitBoostDirk reads the tables and variables of Commit-Boost's
// documentation.
func TestParse_CommitBoostDirk(t *testing.T) {
	text := top + one + `[signer]
port = 20000
[signer.dirk]
cert_path = "/path/to/client.crt"
key_path = "/path/to/client.key"
secrets_path = "/path/to/secrets"
ca_cert_path = "/path/to/ca.crt"
[signer.dirk.store]
proxy_dir = "/path/to/proxies"
[[signer.dirk.hosts]]
server_name = "localhost-1"
url = "https://localhost-1:8081"
wallets = ["wallet1"]
[[signer.dirk.hosts]]
url = "https://localhost-2:8082"
wallets = ["wallet1", "wallet2"]
`
	env := map[string]string{"CB_SIGNER_DIRK_CERT_FILE": "/c", "CB_SIGNER_DIRK_KEY_FILE": "/k", "CB_SIGNER_DIRK_CA_CERT_FILE": "/ca", "CB_SIGNER_DIRK_SECRETS_DIR": "/s", "CB_PROXY_STORE_DIR": "/p"}
	c, err := Parse("f", []byte(text), func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	want := Dirk{CertPath: "/c", KeyPath: "/k", CACertPath: "/ca", SecretsPath: "/s", MaxResponseSize: 4 << 20, Timeout: 2 * time.Second, Store: KeyStore{ProxyDir: "/p"},
		Hosts: []DirkHost{{"https://localhost-1:8081", "localhost-1", []string{"wallet1"}}, {"https://localhost-2:8082", "", []string{"wallet1", "wallet2"}}}}
	if got := *c.Signer.Dirk; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := c.Signer.Store(); got.ProxyDir != "/p" || len(c.Warnings()) == 0 {
		t.Errorf("store %+v, warnings %q", got, c.Warnings())
	}
}

func TestLoad_CommitBoostSigner(t *testing.T) {
	c := load(t, "commit-boost-signer.toml", map[string]string{
		"CB_PBS_ENDPOINT": "0.0.0.0:18551", "CB_SIGNER_ENDPOINT": "[::1]:20001", "CB_METRICS_PORT": "10007",
		"CB_SIGNER_LOADER_KEYS_DIR": "/k", "CB_SIGNER_LOADER_SECRETS_DIR": "/s", "CB_SIGNER_LOADER_FILE": "unused", "CB_PROXY_STORE_DIR": "/p",
		"CB_LOGS_DIR": "/l", "CB_SIGNER_JWT_AUTH_FAIL_LIMIT": "5", "CB_SIGNER_JWT_AUTH_FAIL_TIMEOUT_SECONDS": "7",
	})
	if c.PBS.Host != netip.IPv4Unspecified() || c.PBS.Port != 18551 {
		t.Errorf("pbs: got %v:%d", c.PBS.Host, c.PBS.Port)
	}
	s := c.Signer
	if s.Host != netip.IPv6Loopback() || s.Port != 20001 || s.JWTAuthFailLimit != 5 || s.JWTAuthFailTimeout != 7*time.Second {
		t.Errorf("signer: got %+v", s)
	}
	if want := (KeyLoader{KeysPath: "/k", SecretsPath: "/s", Format: FormatLighthouse}); s.Local.Loader != want {
		t.Errorf("loader: got %+v, want %+v", s.Local.Loader, want)
	}
	if s.Local.Store != (KeyStore{ProxyDir: "/p"}) {
		t.Errorf("store: got %+v", s.Local.Store)
	}
	if m := c.Metrics; m == nil || m.StartPort != 10007 || !m.Enabled || m.Host != loopback {
		t.Errorf("metrics: got %+v", m)
	}
	if l := c.Logs; l.Stdout.Level != slog.LevelDebug || *l.Stdout.UseJSON || l.File.MaxFiles != 30 || l.File.DirPath != "/l" {
		t.Errorf("logs: got %+v", l)
	}
	m := c.Modules[0]
	if m.Type != ModuleCommit || m.Env["SOME_ENV_VAR"] != "some_value" || m.Rest.Empty() || !m.Config.Empty() || m.SigningID[0] != 0x6a {
		t.Errorf("module: got %+v", m)
	}
	want := []string{"pbs.host: 0.0.0.0 is reached", "store.proxy_dir: holds secrets", "DA_COMMIT may sign with proxy keys of its own", "does not write log files"}
	if got := strings.Join(c.Warnings(), "\n"); len(c.Warnings()) != len(want) {
		t.Errorf("warnings: got %s", got)
	} else {
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("no warning %q in %s", w, got)
			}
		}
	}
}

func TestParse_Environment(t *testing.T) {
	t.Chdir("testdata")
	_, err := Load("commit-boost-minimal.toml", lookup(map[string]string{"CB_PBS_ENDPOINT": "here", "CB_METRICS_PORT": "70000"}))
	want := "environment: CB_PBS_ENDPOINT: is not address:port\nenvironment: CB_METRICS_PORT: is not a number from 0 to 65535"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLoad_Files(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "missing.toml"), big, dir} {
		_, err := Load(path, nil)
		var errs Errors
		if !errors.Is(err, ErrInvalid) || !errors.As(err, &errs) || fault.Code(err) != "config_invalid" {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

const moduleFile = `
[[modules]]
id = "A"
type = "inclusion"
signing_id = "0x6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b"
[modules.config]
window_ms = 250
fee_gwei = "1.5"
names = ["a", "b"]
[modules.config.inner]
on = true
`

type moduleConfig struct {
	Window time.Duration `toml:"window_ms"`
	Fee    uint256.Int   `toml:"fee_gwei"`
	Names  []string      `toml:"names"`
	Kept   int           `toml:"kept"`
	Inner  struct {
		On bool `toml:"on"`
	} `toml:"inner"`
}

func TestDecodeModule(t *testing.T) {
	c, err := Parse("f.toml", []byte(complete+moduleFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := moduleConfig{Kept: 7}
	if err := c.DecodeModule(0, &got); err != nil {
		t.Fatal(err)
	}
	if got.Window != 250*time.Millisecond || got.Fee.Uint64() != 15e8 || len(got.Names) != 2 || got.Kept != 7 || !got.Inner.On {
		t.Errorf("got %+v", got)
	}
	var other struct {
		Window int `toml:"windows_ms"`
		Inner  struct {
			On string `toml:"on"`
		} `toml:"inner"`
	}
	err = c.DecodeModule(0, &other)
	for _, want := range []string{
		"modules[0].config.window_ms: is not a key here; did you mean windows_ms?",
		"modules[0].config.inner.on: is a boolean, want a string",
		"f.toml:28: modules[0].config.names",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := c.DecodeModule(0, other); !errors.Is(err, ErrInvalid) {
		t.Errorf("not a pointer: got %v", err)
	}
}
