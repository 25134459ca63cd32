package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	strongA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	strongB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb=" // as base64 ends
)

// served is a file with two modules that the Signer API serves.
func served(signer, a, b string) string {
	return top + one + "[signer]\n" + signer + "\n[signer.local.loader]\nkey_path = \"k\"\n" + module("A", "commit", 1) + "[modules.signer]\n" + a + "\n" + module("B", "commit", 2) + "[modules.signer]\n" + b + "\n"
}

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%q", path)
	}
	fileA := write("a", strongA+"\n")
	for name, c := range map[string]struct {
		file string
		env  map[string]string
		want string // of the error; "" means it is fine
		warn string
	}{
		"from the environment":   {served("", "", ""), map[string]string{"CB_JWTS": "A=" + strongA + ", B=" + strongB, "CB_SIGNER_ADMIN_JWT": strongA + "x"}, "", ""},
		"from files":             {served("admin_secret_file = "+write("admin", strongA+"y"), "secret_file = "+fileA, ""), map[string]string{"CB_JWTS": "A=other,B=" + strongB}, "", ""},
		"modules of others":      {served("", "", ""), map[string]string{"CB_JWTS": "A=" + strongA + ",B=" + strongB + ",C=x"}, "", ""},
		"weak":                   {served("", "", ""), map[string]string{"CB_JWTS": "A=short,B=" + strongB}, "", "secret of A has fewer"},
		"weak and strict":        {served("", "tokens = \"strict\"", ""), map[string]string{"CB_JWTS": "A=short,B=" + strongB}, "the secret of A has fewer than 32", ""},
		"none":                   {served("", "", ""), nil, "A has no secret: name a secret_file, or set CB_JWTS", ""},
		"none for one":           {served("", "", ""), map[string]string{"CB_JWTS": "A=" + strongA}, "modules[1].signer.secret_file: B has no secret", ""},
		"empty":                  {served("", "", ""), map[string]string{"CB_JWTS": "A=,B=" + strongB}, "CB_JWTS: is not a list", ""},
		"two alike":              {served("", "", ""), map[string]string{"CB_JWTS": "A=" + strongA + ",B=" + strongA}, "B has the secret of A", ""},
		"the administrator's":    {served("", "", ""), map[string]string{"CB_JWTS": "A=" + strongA + ",B=" + strongB, "CB_SIGNER_ADMIN_JWT": strongA}, "A has the secret of the administrator", ""},
		"a module twice":         {served("", "", ""), map[string]string{"CB_JWTS": "A=" + strongA + ",A=" + strongB}, `names module "A" twice`, ""},
		"a file that is missing": {served("", "secret_file = \"none\"", ""), map[string]string{"CB_JWTS": "B=" + strongB}, "open none", ""},
		"a file of two lines":    {served("", "secret_file = "+write("two", "x\ny\n"), ""), map[string]string{"CB_JWTS": "B=" + strongB}, "is not one line", ""},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, err := Parse("f", []byte(c.file), lookup(c.env))
			if err != nil {
				t.Fatal(err)
			}
			got, warnings, err := parsed.Secrets(lookup(c.env))
			if c.want != "" {
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), strongA) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil || len(got.Modules) != 2 || got.Modules["A"] == "" || string(got.Modules["B"]) != strongB {
				t.Errorf("got %v, %v", got, err)
			}
			if text := strings.Join(warnings, "\n"); c.warn == "" && text != "" || !strings.Contains(text, c.warn) {
				t.Errorf("warnings %q, want %q", text, c.warn)
			}
			var log strings.Builder
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "s", got.Modules["A"], "all", got)
			if shown := fmt.Sprintf("%v %+v %#v %s %x", got, got, got, got, got) + log.String(); strings.Contains(shown, string(got.Modules["A"])) {
				t.Errorf("a secret shows: %s", shown)
			}
		})
	}
}

// TestModuleSigner: what may be said of a module, and what must not.
func TestModuleSigner(t *testing.T) {
	c, err := Parse("f", []byte(served("", `keys = ["`+key1+`"]
kinds = ["consensus"]
routes = ["intents"]
per_slot = 3
tokens = "strict"`, "")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Modules[0].SignerGrant(); !c.SignerAPI() || s.Keys.All || len(s.Keys.Keys) != 1 || s.Kinds[0] != KindConsensus || s.Routes[0] != RouteIntents || s.PerSlot != 3 {
		t.Errorf("%+v", s)
	}
	if s := c.Modules[1].SignerGrant(); !s.Keys.All || len(s.Kinds) != 1 || s.Kinds[0] != KindProxy || len(s.Routes) != 3 || s.Tokens != TokensCompatible {
		t.Errorf("%+v", s)
	}
	for name, c := range map[string]struct{ signer, table, want string }{
		"kind":                 {"", `kinds = ["all"]`, `modules[0].signer.kinds[0]: "all" is not consensus or proxy`},
		"kind twice":           {"", `kinds = ["proxy", "proxy"]`, `"proxy" is there twice`},
		"route":                {"", `routes = ["sign"]`, `modules[0].signer.routes[0]: "sign" is not get_pubkeys`},
		"generation":           {"", `generation = "v2"`, "modules[0].signer.generation: is not v1 or legacy"},
		"tokens":               {"", `tokens = "x"`, "modules[0].signer.tokens: is not compatible or strict"},
		"strict legacy":        {"", "tokens = \"strict\"\ngeneration = \"legacy\"", "modules[0].signer.tokens: cannot be strict"},
		"per slot":             {"", "per_slot = 0", "modules[0].signer.per_slot: is not within"},
		"keys":                 {"", `keys = "some"`, `modules[0].signer.keys: is not "all" or a list`},
		"short key":            {"", `keys = ["0x11"]`, "modules[0].signer.keys: has no compressed BLS public key at 0"},
		"unknown key":          {"", `allow = 1`, "modules[0].signer.allow: is not a key here"},
		"client without TLS":   {"", `client_name = "A"`, "modules[0].signer.client_name: needs signer.tls_mode"},
		"clear and public":     {"host = \"0.0.0.0\"", "", "signer.host: 0.0.0.0 is reached from other machines"},
		"certificates, nopath": {"tls_mode = { type = \"certificate\" }", "", "signer.tls_mode.path: is missing"},
	} {
		if _, err := Parse("f", []byte(served(c.signer, c.table, "")), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := Parse("f", []byte(served("host = \"0.0.0.0\"\ntls_mode = { insecure_public = true }", "", "")), nil); err != nil {
		t.Errorf("public by choice: %v", err)
	}
	builtin := strings.Replace(served("", "", ""), `type = "commit"`, `type = "inclusion"`, 1)
	if _, err := Parse("f", []byte(builtin), nil); err == nil || !strings.Contains(err.Error(), "modules[0].signer: is for modules of the type commit") {
		t.Errorf("built in: %v", err)
	}
	weak, err := Parse("f", []byte(served("", "generation = \"legacy\"\nkinds = [\"consensus\"]", "")), nil)
	if err != nil || !strings.Contains(strings.Join(weak.Warnings(), "\n"), "is legacy, and weak") || !strings.Contains(strings.Join(weak.Warnings(), "\n"), "for those, name the keys") {
		t.Errorf("legacy: %v, %q", err, weak.Warnings())
	}
	env := lookup(map[string]string{"CB_SIGNER_TLS_CERTIFICATES": "elsewhere", "CB_SIGNER_ENDPOINT": "127.0.0.1:1"})
	c, err = Parse("f", []byte(served("tls_mode = { type = \"certificate\", path = \"x\" }", "client_name = \"A\"", "")), env)
	if err != nil || c.Signer.TLS.Path != "elsewhere" || c.Signer.Port != 1 {
		t.Errorf("environment: %v", err)
	}
}
