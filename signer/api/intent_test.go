package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/ledger"
)

// intentBody is a good intent with changes; a nil value takes a field away.
func (h *house) intentBody(proxy string, object string, changes map[string]any) string {
	m := map[string]any{
		"type": "test/v1", "slot": uint64(h.cfg.Clock.Slot()) + 2, "proxy": proxy, "object": fmt.Sprintf("%#x", object),
		"hash": "keccak256", "object_root": keccakHex(object), "claims": []string{"top-of-block"},
	}
	for k, v := range changes {
		if v == nil {
			delete(m, k)
		} else {
			m[k] = v
		}
	}
	b, _ := json.Marshal(m)
	return string(b)
}

func TestIntent(t *testing.T) {
	h := newHouse(t, func(_ *house, m []Module, _ *Config) { m[1].Grant.Routes = everyRoute; m[1].Grant.Consensus = true })
	proxy := h.proxy(t, "MOD_A", false)
	slot := uint64(h.cfg.Clock.Slot()) + 2
	at := map[string]any{"slot": slot}
	first := h.post(t, "MOD_A", pathIntents, h.intentBody(proxy.String(), "a", at))
	got := first.decode(t)
	if first.status != 200 || got["slot"] != json.Number(fmt.Sprint(slot)) || got["object_root"] != keccakHex("a") || got["nonce"] != json.Number("0") || got["chain_id"] != "0x88bb0" {
		t.Fatalf("%d %s", first.status, first.body)
	}
	// What is signed is Commit-Boost's envelope of the root.
	root := phase0.Root(unhex(t, keccakHex("a")))
	message := commitments.SigningRoot(phase0.Domain(unhex(t, "0x6d6d6f43719103511efa4f1362ff2a50996cccf329cc84cb410c5e5c7d351d03")), 560048, root, phase0.Root{0xa}, 0)
	if !bls.Verify(proxy.BLS, message, phase0.BLSSignature(unhex(t, got["signature"].(string)))) {
		t.Error("the signature does not verify")
	}
	// It stands on the page of its slot and proposer, object and all.
	r, err := h.cfg.Signer.Sign(t.Context(), commitments.PageID{}, func(commitments.View) (ledger.Entry, error) {
		return ledger.Entry{Kind: ledger.KindRequest, Module: "MOD_A", Key: proxy, Root: message, SigningID: phase0.Root{0xa}, Request: &commitments.ModuleRequest{ObjectRoot: root}}, nil
	})
	if err != nil || uint64(r.Page.Slot) != slot || r.Page.Proposer != h.one || string(r.Entry.Request.Object) != "a" || r.Entry.Request.Type != "test/v1" {
		t.Errorf("stands as %+v on %v, %v", r.Entry, r.Page.Slot, err)
	}
	for _, c := range []struct {
		name, body, want string
		status           int
	}{
		{"the same again", h.intentBody(proxy.String(), "a", at), "", 200},
		{"another object, same claim", h.intentBody(proxy.String(), "b", at), "slashable", 409},
		{"another object, one claim of two", h.intentBody(proxy.String(), "b", map[string]any{"slot": slot, "claims": []string{"free", "top-of-block"}}), "slashable", 409},
		{"another slot", h.intentBody(proxy.String(), "b", map[string]any{"slot": slot + 1}), "", 200},
		{"the same object, other claims", h.intentBody(proxy.String(), "a", map[string]any{"slot": slot, "claims": []string{"free"}}), "intent_differs", 409},
		{"the same object, another slot", h.intentBody(proxy.String(), "a", map[string]any{"slot": slot + 5}), "intent_differs", 409},
		{"the same object, another type", h.intentBody(proxy.String(), "a", map[string]any{"slot": slot, "type": "x"}), "intent_differs", 409},
		{"free was not taken by what was refused", h.intentBody(proxy.String(), "c", map[string]any{"slot": slot, "claims": []string{"free"}}), "", 200},
		{"a validator's key, all of them granted by name", h.intentBody("", "d", map[string]any{"proxy": nil, "pubkey": keyTwo}), "", 200},
	} {
		if got := h.post(t, "MOD_A", pathIntents, c.body); got.status != c.status || got.reason() != c.want {
			t.Errorf("%s: %d %s %s", c.name, got.status, got.reason(), got.body)
		}
	}
	// With keys = "all" a module may have intents of validators' keys, and no blind roots.
	if got := h.post(t, "MOD_B", pathIntents, h.intentBody("", "e", map[string]any{"proxy": nil, "pubkey": keyOne})); got.status != 200 {
		t.Errorf("intent: %d %s", got.status, got.reason())
	}
	if got := h.post(t, "MOD_B", blsPath, signBody("pubkey", keyOne, 1, 0)); got.reason() != "blind_root_forbidden" {
		t.Errorf("blind: %d %s", got.status, got.reason())
	}
}

func TestIntent_Refuses(t *testing.T) {
	h := newHouse(t, nil)
	proxy := h.proxy(t, "MOD_A", false).String()
	entries := h.book.Len()
	now := uint64(h.cfg.Clock.Slot())
	many := make([]string, maxClaims+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for name, c := range map[string]struct {
		changes map[string]any
		reason  string
	}{
		"past slot":         {map[string]any{"slot": now - 1}, "intent_slot"},
		"far slot":          {map[string]any{"slot": now + 70}, "intent_slot"},
		"farthest slot":     {map[string]any{"slot": uint64(1<<64 - 1)}, "intent_slot"},
		"slot as text":      {map[string]any{"slot": fmt.Sprint(now)}, "body_shape"},
		"wrong root":        {map[string]any{"object_root": keccakHex("b")}, "intent_root"},
		"wrong hash":        {map[string]any{"hash": "sha256"}, "intent_root"},
		"unknown hash":      {map[string]any{"hash": "md5"}, "body_shape"},
		"no hash":           {map[string]any{"hash": nil}, "body_shape"},
		"no object":         {map[string]any{"object": "0x"}, "body_shape"},
		"large object":      {map[string]any{"object": fmt.Sprintf("%#x", make([]byte, maxObject+1))}, "body_shape"},
		"no type":           {map[string]any{"type": ""}, "body_shape"},
		"type with a space": {map[string]any{"type": "a b"}, "body_shape"},
		"long type":         {map[string]any{"type": strings.Repeat("x", 65)}, "body_shape"},
		"no claims":         {map[string]any{"claims": []string{}}, "body_shape"},
		"claims missing":    {map[string]any{"claims": nil}, "body_shape"},
		"a claim twice":     {map[string]any{"claims": []string{"a", "a"}}, "body_shape"},
		"an empty claim":    {map[string]any{"claims": []string{""}}, "body_shape"},
		"null among claims": {map[string]any{"claims": []any{nil}}, "body_shape"},
		"a long claim":      {map[string]any{"claims": []string{strings.Repeat("x", maxClaim+1)}}, "body_shape"},
		"a claim's newline": {map[string]any{"claims": []string{"a\nb"}}, "body_shape"},
		"many claims":       {map[string]any{"claims": many}, "body_shape"},
		"pubkey and proxy":  {map[string]any{"pubkey": keyOne}, "body_shape"},
		"neither":           {map[string]any{"proxy": nil}, "body_shape"},
		"unknown field":     {map[string]any{"touches": []string{}}, "body_shape"},
		"fractional nonce":  {map[string]any{"nonce": 1.5}, "body_shape"},
		"ssz with half":     {map[string]any{"hash": "ssz_container"}, "body_shape"},
	} {
		if got := h.post(t, "MOD_A", pathIntents, h.intentBody(proxy, "a", c.changes)); got.reason() != c.reason {
			t.Errorf("%s: %d %s %.200s, want %s", name, got.status, got.reason(), got.body, c.reason)
		}
	}
	if h.book.Len() != entries {
		t.Error("something stands in the ledger")
	}
	longest := map[string]any{"claims": []string{strings.Repeat("x", maxClaim)}, "object": fmt.Sprintf("%#x", make([]byte, maxObject)), "object_root": keccakHex(string(make([]byte, maxObject)))}
	if got := h.post(t, "MOD_A", pathIntents, h.intentBody(proxy, "a", longest)); got.status != 200 {
		t.Errorf("the longest of everything: %d %s %.200s", got.status, got.reason(), got.body)
	}
}

// TestIntent_Race: a thousand intents at once for ten claims: ten are signed,
// and the union of what was answered has one object per claim.
func TestIntent_Race(t *testing.T) {
	h := newHouse(t, func(_ *house, m []Module, _ *Config) { m[0].Grant.PerSlot = 1 << 20 })
	proxy := h.proxy(t, "MOD_A", false).String()
	slot := uint64(h.cfg.Clock.Slot()) + 10
	var mu sync.Mutex
	answered := map[int]map[string]bool{}
	var conflicts atomic.Int64
	var wg sync.WaitGroup
	work := make(chan int)
	for range 32 {
		wg.Go(func() {
			for i := range work {
				claim, object := i%10, fmt.Sprint("object ", i)
				got := h.post(t, "MOD_A", pathIntents, h.intentBody(proxy, object, map[string]any{"slot": slot, "claims": []string{fmt.Sprint("claim/", claim)}}))
				switch got.status {
				case 200:
					mu.Lock()
					if answered[claim] == nil {
						answered[claim] = map[string]bool{}
					}
					answered[claim][got.decode(t)["object_root"].(string)] = true
					mu.Unlock()
				case 409:
					conflicts.Add(1)
				default:
					t.Errorf("%d %s", got.status, got.body)
				}
			}
		})
	}
	for i := range 1000 {
		work <- i
	}
	close(work)
	wg.Wait()
	if len(answered) != 10 || conflicts.Load() != 990 {
		t.Errorf("%d claims, %d conflicts", len(answered), conflicts.Load())
	}
	for claim, objects := range answered {
		if len(objects) != 1 {
			t.Errorf("claim %d was signed for %d objects", claim, len(objects))
		}
	}
}

// TestObjectRoot: against containers whose roots others have published.
func TestObjectRoot(t *testing.T) {
	// PropCommitSigningInfo{root, id, nonce, chain id} of the end-to-end vector:
	// its four fields' roots are the values themselves, in little endian.
	// [Commit-Boost: test vectors B, info root]
	word := func(n uint64) []byte {
		return append([]byte{byte(n), byte(n >> 8), byte(n >> 16)}, make([]byte, 29)...)
	}
	info := bytes.Join([][]byte{unhex(t, vectorRoot), unhex(t, idOne), word(101), word(560048)}, nil)
	for _, c := range []struct {
		hash   string
		object []byte
		want   string
	}{
		{"ssz_container", info, "0x90238cf982769195c032b2ed2f51403265605818e9847ddbe45fc6e52661f8a6"},
		{"ssz_container", unhex(t, vectorRoot), vectorRoot}, // one field: its root
		{"keccak256", []byte(`{"data":"test"}`), "0xaf89626435351fc2000dba03bb59ab72ea482b9a000fed36cd20e054b1666ff1"},
		{"sha256", []byte("abc"), "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	} {
		if got, ok := objectRoot(c.hash, c.object); !ok || got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.hash, got, c.want)
		}
	}
	// Three fields are four with a zero leaf.
	three, _ := objectRoot("ssz_container", info[:96])
	four, _ := objectRoot("ssz_container", append(bytes.Clone(info[:96]), make([]byte, 32)...))
	if three != four {
		t.Error("three fields are not padded to four")
	}
	for _, n := range []int{0, 31, 33, 32 * (maxFields + 1)} {
		if _, ok := objectRoot("ssz_container", make([]byte, n)); ok {
			t.Errorf("a container of %d bytes", n)
		}
	}
}
