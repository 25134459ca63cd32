package keystore

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"sidecar/commitments"
)

// canaries are the forms a secret can show in.
func canaries(secret []byte) []string {
	digits := hex.EncodeToString(secret)
	decimal := strings.Trim(fmt.Sprint(secret), "[]")
	return []string{
		digits[:16], digits[len(digits)-16:], strings.ToUpper(digits[:16]), decimal[:20], strings.ReplaceAll(decimal[:20], " ", ", "),
		base64.StdEncoding.EncodeToString(secret)[:16], string(secret[:8]), strings.Trim(fmt.Sprintf("%#v", secret), "[]byte{}")[:20],
	}
}

// TestSecrets_NeverShow looks for secrets in everything that prints or encodes
// what holds them, in errors, and in every profile.
func TestSecrets_NeverShow(t *testing.T) {
	var out bytes.Buffer
	text, logs := slog.New(slog.NewTextHandler(&out, nil)), slog.New(slog.NewJSONHandler(&out, nil))
	show := func(name string, v any) {
		text.Info("Canary", name, v)
		logs.Info("Canary", name, v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%t", "%p"} {
			fmt.Fprintf(&out, verb, v) //nolint:govet // any verb
		}
		_ = json.NewEncoder(&out).Encode(v)
		_ = gob.NewEncoder(&out).Encode(v)
	}
	var secrets [][]byte
	for _, store := range stores(t) {
		d := newDesk(t, store)
		if _, err := d.Generate(context.Background(), "m", d.consensus, SchemeECDSA, d.now.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		d.make(t, SchemeBLS)
		holders, err := NewHolders(Place{"local", d.local})
		if err != nil {
			t.Fatal(err)
		}
		all, err := holders.With(d.Proxies)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range []*Local{d.local, d.secrets} {
			for _, s := range l.keys {
				secrets = append(secrets, s.Bytes())
				show("secret", s)
				show("stored", stored{Proxy{Module: "m"}, s})
			}
		}
		for name, v := range map[string]any{
			"local": d.local, "proxies": d.Proxies, "list": d.All(), "one": d.All()[0], "config": d.config, "holders": all, "held": all.List(),
			"place": Place{"local", d.local}, "nested": struct{ L *Local }{d.local}, "map": map[string]any{"x": d.Proxies}, "store": store,
		} {
			show(name, v)
		}
	}
	for _, err := range broken(t) {
		show("error", err)
	}
	secrets = append(secrets, unhex(t, secret1), unhex(t, secret2), []byte("the canary of a password"))
	for _, p := range pprof.Profiles() {
		_ = p.WriteTo(&out, 2)
	}
	if out.Len() < 10_000 {
		t.Fatalf("only %d bytes were shown", out.Len())
	}
	for _, secret := range secrets {
		for _, canary := range canaries(secret) {
			if i := strings.Index(out.String(), canary); i >= 0 {
				t.Errorf("%q shows in: …%q…", canary, out.String()[max(0, i-80):i])
			}
		}
	}
}

// broken collects the errors of files that hold secrets where they should not.
func broken(t *testing.T) (errs []error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	password := path + ".password"
	if err := os.WriteFile(password, []byte("the canary of a password"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{secret1, `"` + secret1 + `"`, `["` + secret1 + `", 1]`, `["` + secret1 + `1"]`, `{"secret":"0x` + secret1 + `"}`, `{"pubkey":"` + secret1 + `"}`, `{"version":"` + secret1 + `"}`, `{"crypto":"` + secret1 + `"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, s := range []Source{{FormatFile, path, ""}, {FormatKeystore, path, password}, {FormatPrysm, path, password}} {
			_, err := Load(s)
			errs = append(errs, err)
		}
		_, err := loadPlain(path, SchemeBLS)
		errs = append(errs, err)
		_, err = readMeta(path)
		errs = append(errs, err, readHex(path, make([]byte, 96)))
	}
	_, err := open(edited(t, key2[2:], "pubkey"), []byte("password"))
	if errs = append(errs, err); !errors.Is(err, ErrMismatch) {
		t.Errorf("got %v", err)
	}
	for _, err := range errs {
		if err == nil {
			t.Error("a broken file was read")
		}
	}
	return errs
}

// TestLocal_Locked: keys are in locked memory, gone when dropped, and zero when
// closed.
func TestLocal_Locked(t *testing.T) {
	before := locked(t)
	l := NewLocal(secretOf(t, secret1).SecretKey, secretOf(t, secret2).SecretKey)
	if err := l.Unlocked(); err != nil {
		t.Skipf("this machine lets us lock no memory: %v", err)
	}
	if got := locked(t); got <= before {
		t.Errorf("%d KiB locked, %d before", got, before)
	}
	key := commitments.BLSKey(pubkeyOf(t, key1))
	one, two := l.keys[key], l.keys[commitments.BLSKey(pubkeyOf(t, key2))]
	l.drop(key)
	if got := one.Bytes(); !bytes.Equal(got, make([]byte, 32)) {
		t.Error("a dropped key is still there")
	}
	if _, err := l.Sign(context.Background(), key, commitments.Message{}); !errors.Is(err, ErrNotHeld) {
		t.Errorf("a dropped key signs: %v", err)
	}
	l.Close()
	if got := two.Bytes(); !bytes.Equal(got, make([]byte, 32)) || len(l.Keys()) != 0 {
		t.Error("a closed keystore still has its keys")
	}
}

// locked is how much memory of this process is locked, in KiB.
func locked(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("no /proc/self/status: %v", err)
	}
	_, rest, ok := strings.Cut(string(text), "VmLck:")
	if !ok {
		t.Skip("no VmLck in /proc/self/status")
	}
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
