package app

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/commitments/gateway"
	"sidecar/internal/bls"
	"sidecar/internal/config"
	"sidecar/signer/keystore"
)

const (
	keyA = "0xa119589bb33ef52acbb8116832bec2b58fca590fe5c85eac5d3230b44d5bc09fe73ccd21f88eab31d6de16194d17782e"
	keyB = "0xa1cec75a3f0661e99299274182938151e8433c61a19222347ea1313d839229cb4ce4e3e5aa2bdeb71c8fcf1b084963c2"
	valM = "0x80c7f782b2467c5898c5516a8b6595d75623960b4afc4f71ee07d40985d20e117ba35e7cd352a3e75fb85a8668a3b745"
	valE = "0x88c7f782b2467c5898c5516a8b6595d75623960b4afc4f71ee07d40985d20e117ba35e7cd352a3e75fb85a8668a3b745"
)

const targetsFile = `chain = "Hoodi"
[[relays]]
id = "told"
url = "https://` + keyA + `@told.example.org"
constraints = true
[[relays]]
id = "carrier"
url = "https://` + keyB + `@carrier.example.org"
[[mux]]
id = "m"
validator_pubkeys = ["` + valM + `"]
[[mux.relays]]
id = "spec"
url = "https://` + keyA + `@spec.example.org"
constraints = true
constraints_dialect = "spec"
[signer.local.loader]
key_path = "keys.json"
[signer.local.store]
proxy_dir = "p"
[beacon]
url = "http://127.0.0.1:5052"
[execution]
url = "http://127.0.0.1:8545"
[[modules]]
id = "I"
type = "inclusion"
signing_id = "0x6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b"
[gateway]
lead_ms = 3000
[[gateway.builders]]
id = "through"
url = "https://` + keyB + `@through.example.org"
relays = ["carrier"]
constraints_lead_ms = 5000
[[gateway.builders]]
id = "itself"
url = "https://` + keyB + `@itself.example.org"
muxes = ["m"]
[[gateway.exclusive]]
protocol = "mev-commit"
validators = ["` + valE + `"]
[[gateway.exclusive]]
protocol = "other"
muxes = ["m"]
`

// TestTargets: each set's validators tell their own relays and builders, and no
// others; a builder that serves bids itself is asked like a relay of its sets.
func TestTargets(t *testing.T) {
	c, err := config.Parse("f", []byte(targetsFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	a := bare(c, "test", slog.New(slog.DiscardHandler))
	if a.relays, err = newRelaySets(a); err != nil {
		t.Fatal(err)
	}
	defer a.relays.close()
	key := func(text string) (k phase0.BLSPubKey) {
		if err := k.UnmarshalJSON([]byte(`"` + text + `"`)); err != nil {
			t.Fatal(err)
		}
		return k
	}
	describe := func(list []gateway.Target) (out string) {
		for _, x := range list {
			out += fmt.Sprintf("%s %s %s", x.Name(), x.Strength, x.Lead)
			for _, b := range x.Bids {
				out += " by " + b.Name()
			}
			out += "; "
		}
		return out
	}
	for validator, want := range map[string]string{
		valE: "told  14s; through trusted_builder 5s by carrier; ",
		valM: "spec  3s; itself trusted_builder 3s; ",
	} {
		if got := describe(a.relays.targetsFor(key(validator))); got != want {
			t.Errorf("%.6s: got %q, want %q", validator, got, want)
		}
	}
	if got := len(a.relays.allTargets()); got != 4 {
		t.Errorf("%d targets in all, want 4", got)
	}
	for i, want := range [][]string{{"told", "carrier"}, {"spec", "itself"}} {
		set := a.relays.All()[i]
		for n := range want {
			if len(set.Relays) != len(want) || set.Relays[n].Name() != want[n] || !set.Relays[n].ProvesBids() {
				t.Errorf("set %s: relay %d is not %s, or proves nothing", set.ID, n, want[n])
			}
		}
	}
	exclusive := a.exclusive(c.Gateway)
	for validator, want := range map[string]string{valE: "mev-commit", valM: "other", keyA: ""} {
		if got := exclusive(key(validator)); got != want {
			t.Errorf("%.6s is sold through %q, want %q", validator, got, want)
		}
	}
	if got := c.Gateway.LeadOf(&c.Relays[0]); got != 14*time.Second {
		t.Errorf("fabric's lead: %s", got)
	}
}

// TestParties: who promises for a validator is named by key, then by mux, else it is
// the default; what is named must be a proxy of the store.
func TestParties(t *testing.T) {
	c, err := config.Parse("f", []byte(targetsFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	a := bare(c, "test", slog.New(slog.DiscardHandler))
	if a.relays, err = newRelaySets(a); err != nil {
		t.Fatal(err)
	}
	defer a.relays.close()
	owner, err := bls.ParseSecretKey(append(make([]byte, 31), 9))
	if err != nil {
		t.Fatal(err)
	}
	proxies, err := keystore.OpenProxies(keystore.ProxiesConfig{
		Store: keystore.PlainStore{Folder: t.TempDir()}, Spec: a.spec, Clock: a.clock, Consensus: []phase0.BLSPubKey{owner.PublicKey()},
		Vouch: func(_ context.Context, d commitments.ProxyDelegation, _ string) (phase0.BLSSignature, error) {
			return owner.Sign(commitments.SigningData(d.Root(), a.spec.Domain(chain.DomainCommitBoost))), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer proxies.Close()
	a.signing = &signing{keys: keys{proxies: proxies}}
	made := func(scheme keystore.Scheme) commitments.Key {
		p, err := proxies.Generate(t.Context(), "I", owner.PublicKey(), scheme, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return p.Key
	}
	otherwise := gateway.Party{Delegate: made(keystore.SchemeBLS).BLS, Committer: made(keystore.SchemeECDSA).Address}
	one, two, address := made(keystore.SchemeBLS).BLS, made(keystore.SchemeBLS).BLS, made(keystore.SchemeECDSA).Address
	key := func(text string) (k phase0.BLSPubKey) {
		_ = k.UnmarshalJSON([]byte(`"` + text + `"`))
		return k
	}
	g := *c.Gateway
	g.Committers = []config.Committer{{Delegate: two, Muxes: []string{"m"}}, {Delegate: one, Address: address, Validators: []phase0.BLSPubKey{key(valE)}}}
	of, err := a.parties(&g, otherwise)
	if err != nil {
		t.Fatal(err)
	}
	for validator, want := range map[string]gateway.Party{
		valE: {Delegate: one, Committer: address}, valM: {Delegate: two, Committer: otherwise.Committer}, keyA: otherwise,
	} {
		if got := of(key(validator)); got != want {
			t.Errorf("%.6s: got %+v, want %+v", validator, got, want)
		}
	}
	g.Committers[1].Validators = append(g.Committers[1].Validators, key(valM))
	if of, err = a.parties(&g, otherwise); err != nil || of(key(valM)).Delegate != one {
		t.Errorf("a key that is named comes before its mux: %v", err)
	}
	g.Committers[0].Delegate = key(keyB)
	if _, err := a.parties(&g, otherwise); err == nil {
		t.Error("a delegate that is no proxy: got no error")
	}
	g.Committers[0].Delegate, g.Committers[1].Address = two, [20]byte{1}
	if _, err := a.parties(&g, otherwise); err == nil {
		t.Error("a committer that is no proxy: got no error")
	}
}
