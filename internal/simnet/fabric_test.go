package simnet

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
)

// TestFabric holds the double to fabric's rules: its paths and forms, one message a
// slot that is never changed nor taken twice, and 500 with text for all that is wrong.
func TestFabric(t *testing.T) {
	t.Parallel()
	n, ctx := start(t, Options{Builders: []BuilderOptions{}, Relays: []RelayOptions{{Fabric: true}}})
	r, slot := n.Relays[0], n.Clock.Slot()+5
	who := n.ProposerOf(slot)
	good, err := n.Delegate(slot, who.Pubkey, bellatrix.ExecutionAddress{1}, false)
	if err != nil {
		t.Fatal(err)
	}
	post := func(path string, body any) string {
		t.Helper()
		status, answer := call(t, ctx, http.MethodPost, r.URL+path, body)
		if status != http.StatusOK && status != http.StatusInternalServerError {
			t.Errorf("%s: status %d", path, status)
		}
		if status == http.StatusOK {
			return "ok"
		}
		return strings.TrimSpace(string(answer))
	}
	noCommitter, _ := n.Delegate(slot, who.Pubkey, bellatrix.ExecutionAddress{}, false)
	forged, _ := n.Delegate(slot, who.Pubkey, bellatrix.ExecutionAddress{1}, true)
	past, _ := n.Delegate(0, who.Pubkey, bellatrix.ExecutionAddress{1}, false)
	camel := json.RawMessage(strings.Replace(string(must(json.Marshal(good))), "signing_id", "signingId", 1))
	text := json.RawMessage(strings.Replace(string(must(json.Marshal(good))), fmt.Sprintf(`"slot":%d`, slot), fmt.Sprintf(`"slot":"%d"`, slot), 1))
	for _, c := range []struct {
		name, want string
		body       any
	}{
		{"an array", "cannot unmarshal array", []any{good}}, {"camelCase", "unknown field", camel}, {"a number as text", "cannot unmarshal string", text},
		{"no committer", "the committer is zero", noCommitter}, {"a slot that has begun", "has begun", past}, {"a forged one", "wrong signature", forged},
		{"the first", "ok", good}, {"the same again", "has a delegation", good},
	} {
		if got := post("/delegation", c.body); !strings.Contains(got, c.want) {
			t.Errorf("delegation, %s: got %q, want %q", c.name, got, c.want)
		}
	}
	if status, body := call(t, ctx, http.MethodGet, fmt.Sprintf("%s/delegations/%d", r.URL, slot), nil); status != http.StatusOK || !strings.HasPrefix(string(body), `{"delegations":[{`) {
		t.Errorf("delegations: %d %s", status, body)
	}
	signed := fabricMessage(t, n, slot)
	stranger := signed
	stranger.Message.Delegate = n.Relays[0].Pubkey
	for _, c := range []struct {
		name, want string
		body       any
	}{
		{"an array", "cannot unmarshal array", []any{signed}}, {"another delegate", "no delegation to this delegate", stranger}, {"the first", "ok", signed}, {"the same again", "has its constraints", signed},
	} {
		if got := post("/constraints", c.body); !strings.Contains(got, c.want) {
			t.Errorf("constraints, %s: got %q, want %q", c.name, got, c.want)
		}
	}
	if status, body := call(t, ctx, http.MethodGet, fmt.Sprintf("%s/constraints/v0/relay/constraints/%d", r.URL, slot), nil); status != http.StatusOK || !strings.HasPrefix(string(body), `{"constraints":[{`) {
		t.Errorf("constraints: %d %s", status, body)
	}
	for path, want := range map[string]int{"/constraints/v0/builder/capabilities": 200, "/health": 200, "/constraints/v0/relay/delegations/7": 404} {
		if status, _ := call(t, ctx, http.MethodGet, r.URL+path, nil); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
}

// fabricMessage is an empty constraints message of a slot's proposer to itself.
func fabricMessage(t *testing.T, n *Net, slot phase0.Slot) commitments.SignedConstraints {
	t.Helper()
	who := n.ProposerOf(slot)
	s := commitments.SignedConstraints{Message: commitments.ConstraintsMessage{Proposer: who.Pubkey, Delegate: who.Pubkey, Slot: slot}, Nonce: 1, SigningID: phase0.Root{7}}
	root, err := s.Message.Root()
	if err != nil {
		t.Fatal(err)
	}
	d := domain(chain.DomainCommitBoost, n.Spec.GenesisForkVersion, phase0.Root{})
	s.Signature = who.Key.Sign(commitments.SigningRoot(d, n.Spec.ChainID, root, s.SigningID, s.Nonce))
	return s
}
