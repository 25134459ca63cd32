package config

import (
	"strings"
	"testing"
	"time"
)

const promisesHead = `chain = "Hoodi"
[[relays]]
url = "https://0xa119589bb33ef52acbb8116832bec2b58fca590fe5c85eac5d3230b44d5bc09fe73ccd21f88eab31d6de16194d17782e@one.example.org"
constraints = true
[[mux]]
id = "m"
validator_pubkeys = ["0x80c7f782b2467c5898c5516a8b6595d75623960b4afc4f71ee07d40985d20e117ba35e7cd352a3e75fb85a8668a3b745"]
[[mux.relays]]
id = "two"
url = "https://0xa1cec75a3f0661e99299274182938151e8433c61a19222347ea1313d839229cb4ce4e3e5aa2bdeb71c8fcf1b084963c2@two.example.org"
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
`

const aKey = "0x80c7f782b2467c5898c5516a8b6595d75623960b4afc4f71ee07d40985d20e117ba35e7cd352a3e75fb85a8668a3b745"

const aBuilder = "[[gateway.builders]]\nid = \"b\"\nurl = \"https://0xa119589bb33ef52acbb8116832bec2b58fca590fe5c85eac5d3230b44d5bc09fe73ccd21f88eab31d6de16194d17782e@b.example.org\"\n"

func TestPromises_Refused(t *testing.T) {
	for name, c := range map[string]struct{ lines, want string }{
		"no acks":                   {"min_acks = 0", "gateway.min_acks"},
		"no fabric lead":            {"fabric_lead_ms = 0", "gateway.fabric_lead_ms"},
		"posts end before they can": {"lead_ms = 400\nposts_end_ms = 500", "gateway.posts_end_ms"},
		"builder without id":        {strings.Replace(aBuilder, `"b"`, `""`, 1), "gateway.builders[0].id: is missing"},
		"builder with a relay's id": {strings.Replace(aBuilder, `"b"`, `"two"`, 1), "is the id of a relay"},
		"two builders of one id":    {aBuilder + aBuilder, "is the id of another builder"},
		"builder without url":       {"[[gateway.builders]]\nid = \"b\"", "gateway.builders[0].url"},
		"builder of no relay":       {aBuilder + `relays = ["three"]`, "is not the id of a relay"},
		"builder of no mux":         {aBuilder + `muxes = ["n"]`, "is not the id of a mux"},
		"committer for nobody":      {"[[gateway.committers]]\ndelegate = \"" + aKey + "\"", "gateway.committers[0].validators: is empty"},
		"committer without a key":   {"[[gateway.committers]]\nvalidators = [\"" + aKey + "\"]", "gateway.committers[0].delegate"},
		"two committers for one":    {strings.Repeat("[[gateway.committers]]\ndelegate = \""+aKey+"\"\nvalidators = [\""+aKey+"\"]\n", 2), "is in gateway.committers[0] too"},
		"no signature form":         {"signature_form = \"compact\"", "gateway.signature_form"},
		"collateral of nobody":      {"[gateway.collateral]\nmanager = \"0x5b38da6a701c568545dcfcb03fcb875f56beddc4\"", "gateway.collateral.operator: is missing"},
		"collateral nowhere":        {"[gateway.collateral]\noperator = \"0x5b38da6a701c568545dcfcb03fcb875f56beddc4\"", "gateway.collateral.manager: is missing"},
		"receivers without keys":    {"[[gateway.receivers]]\nmuxes = [\"m\"]", "gateway.receivers[0].keys"},
		"receivers of no mux":       {"[[gateway.receivers]]\nkeys = [\"" + aKey + "\"]\nmuxes = [\"n\"]", "is not the id of a mux"},
		"receivers that are no key": {"[[gateway.receivers]]\nkeys = [\"0x" + strings.Repeat("00", 48) + "\"]\nmuxes = [\"m\"]", "is not a compressed BLS"},
		"receivers of fabric":       {"[[gateway.receivers]]\nkeys = [\"" + aKey + "\"]", "fabric dialect"},
		"receivers twice":           {strings.Repeat("[[gateway.receivers]]\nkeys = [\""+aKey+"\"]\nmuxes = [\"m\"]\n", 2), "another of gateway.receivers"},
		"receivers, fabric builder": {aBuilder + "constraints_dialect = \"fabric\"\nmuxes = [\"m\"]\n[[gateway.receivers]]\nkeys = [\"" + aKey + "\"]\nmuxes = [\"m\"]", "fabric dialect"},
		"exclusive of no name":      {"[[gateway.exclusive]]\nmuxes = [\"m\"]", "gateway.exclusive[0].protocol"},
		"exclusive of no mux":       {"[[gateway.exclusive]]\nprotocol = \"x\"\nmuxes = [\"n\"]", "is not the id of a mux"},
	} {
		if _, err := Parse("f", []byte(promisesHead+c.lines), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestPromises(t *testing.T) {
	c, err := Parse("f", []byte(promisesHead+"lead_ms = 3000\n"+aBuilder+"relays = [\"one.example.org\"]\nconstraints_dialect = \"fabric\"\n[[gateway.exclusive]]\nprotocol = \"mev-commit\"\nvalidators = [\""+aKey+"\"]\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := c.Gateway
	r := g.Builders[0].Relay()
	if !r.Constraints || r.ID != "b" || r.Pubkey != c.Relays[0].Pubkey || r.AllowPrivate == nil || *r.AllowPrivate {
		t.Errorf("the builder as a relay: %+v", r)
	}
	for want, r := range map[time.Duration]Relay{
		14 * time.Second: r, 3 * time.Second: {ConstraintsDialect: DialectSpec}, 5 * time.Second: {ConstraintsDialect: DialectFabric, ConstraintsLead: 5 * time.Second},
	} {
		if got := g.LeadOf(&r); got != want {
			t.Errorf("lead %s, want %s", got, want)
		}
	}
	if g.Exclusive[0].Protocol != "mev-commit" || g.MinAcks != 1 || g.MaxUnproven != 2 {
		t.Errorf("got %+v", g)
	}
}

// TestSoldBy: a set with a relay of ETHGas sells its slots there.
func TestSoldBy(t *testing.T) {
	text := strings.Replace(promisesHead, "0xa119589bb3", "0x88ef306116", 1)
	c, err := Parse("f", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if SoldBy(c.Relays) != "ethgas" || SoldBy(c.Muxes[0].Relays) != "" {
		t.Errorf("sold by %q and %q", SoldBy(c.Relays), SoldBy(c.Muxes[0].Relays))
	}
	if w := strings.Join(c.Warnings(), "\n"); !strings.Contains(w, "ethgas") {
		t.Errorf("no warning: %s", w)
	}
}
