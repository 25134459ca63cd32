package beacon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

func TestClient_Recorded(t *testing.T) {
	n, ctx := newNode(t), t.Context()
	c := newTestClient(t, n, clockAt(prysmSpec(), 147))
	if err := c.Check(ctx); err != nil {
		t.Fatalf("check: %v", err)
	}
	g, err := c.Genesis(ctx)
	if err != nil || g.Time.Unix() != 1795329861 || g.ForkVersion != (phase0.Version{0x20, 0, 0, 0x89}) ||
		g.ValidatorsRoot.String() != "0x83431ec7fcf92cfc44947fc0418e831c25e1d0806590231c439830db7ad54fda" {
		t.Errorf("genesis: got %+v, %v", g, err)
	}
	raw, err := c.Spec(ctx)
	if err != nil || string(raw) != string(recorded(t, "eth_v1_config_spec.http")) {
		t.Errorf("spec: %d bytes, %v", len(raw), err)
	}
	if got, err := c.Syncing(ctx); err != nil || got != (Sync{HeadSlot: 146}) {
		t.Errorf("syncing: got %+v, %v", got, err)
	}
	h, err := c.Head(ctx)
	if err != nil || h.Slot != 146 || h.ProposerIndex != 47 || h.Root.String() != "0x5eeca19305699613b8ee616bf873ae88a93532aaca750cecc8b0d4f98ac1c211" {
		t.Errorf("head: got %+v, %v", h, err)
	}
	f, err := c.Finality(ctx)
	if err != nil || f.Justified.Epoch != 3 || f.Finalized.Epoch != 2 {
		t.Errorf("finality: got %+v, %v", f, err)
	}
	d, err := c.ProposerDuties(ctx, 4)
	if err != nil || len(d.Proposers) != 32 || d.Proposers[0].Slot != 128 || d.Proposers[0].Index != 47 ||
		d.DependentRoot.String() != "0x9265bd33df94adb7e975d2784bd893af65d6e8a513c8c22e96de75c46714f0e3" {
		t.Errorf("duties: got %+v, %v", d, err)
	}
	b, err := c.Block(ctx, 146)
	if err != nil || b.Missed || b.Root != h.Root || b.ProposerIndex != 47 ||
		b.ExecutionHash.String() != "0xc2e1593da762c274b586fe8b60211fca21461a40670c9fc2e5fe45411b01944f" {
		t.Errorf("block: got %+v, %v", b, err)
	}
}

func TestClient_OtherChain(t *testing.T) {
	for _, tt := range []struct{ name, path, from, to string }{
		{"fork version", "/eth/v1/beacon/genesis", "0x20000089", "0x20000090"},
		{"genesis time", "/eth/v1/beacon/genesis", "1795329861", "1795329862"},
		{"slot duration", "/eth/v1/config/spec", `"SLOT_DURATION_MS":"2000"`, `"SLOT_DURATION_MS":"3000"`},
		{"epoch", "/eth/v1/config/spec", `"SLOTS_PER_EPOCH":"32"`, `"SLOTS_PER_EPOCH":"8"`},
		{"fork schedule", "/eth/v1/config/spec", `"FULU_FORK_EPOCH":"0"`, `"FULU_FORK_EPOCH":"9"`},
		{"chain id", "/eth/v1/config/spec", `"DEPOSIT_CHAIN_ID":"`, `"DEPOSIT_CHAIN_ID":"9`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			n.edit(tt.path, tt.from, tt.to)
			if err := newTestClient(t, n, clockAt(prysmSpec(), 147)).Check(t.Context()); !errors.Is(err, ErrOtherChain) {
				t.Fatalf("got %v, want %v", err, ErrOtherChain)
			}
		})
	}
}

func TestProposerDuties_Refused(t *testing.T) {
	duty := func(slot string) string {
		return `{"pubkey":"0x` + strings.Repeat("ab", 48) + `","validator_index":"1","slot":"` + slot + `"}`
	}
	root := `{"dependent_root":"0x` + strings.Repeat("11", 32) + `","data":`
	many := make([]string, 33)
	for i := range many {
		many[i] = duty(fmt.Sprint(128 + i%32))
	}
	for name, body := range map[string]string{
		"empty":             "",
		"garbage":           "<html>",
		"no data":           root + `null}`,
		"no dependent root": `{"data":[` + duty("128") + `]}`,
		"slot before":       root + `[` + duty("127") + `]}`,
		"slot after":        root + `[` + duty("160") + `]}`,
		"duplicate":         root + `[` + duty("130") + `,` + duty("130") + `]}`,
		"too many":          root + `[` + strings.Join(many, ",") + `]}`,
		"no pubkey":         root + `[{"validator_index":"1","slot":"128"}]}`,
		"short pubkey":      root + `[{"pubkey":"0xab","validator_index":"1","slot":"128"}]}`,
		"null slot":         root + `[{"pubkey":"0x` + strings.Repeat("ab", 48) + `","validator_index":"1","slot":null}]}`,
		"negative slot":     root + `[` + duty("-1") + `]}`,
		"10 MB":             root + `[` + strings.Repeat(" ", 10<<20) + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.set("/eth/v1/validator/duties/proposer/4", answer{status: 200, body: body})
			if d, err := newTestClient(t, n, clockAt(prysmSpec(), 147)).ProposerDuties(t.Context(), 4); !errors.Is(err, ErrBadAnswer) {
				t.Fatalf("got %v, %v, want %v", d, err, ErrBadAnswer)
			}
		})
	}
}

func TestBlock_Missed(t *testing.T) {
	block := func(slot string) answer {
		return answer{status: 200, body: strings.ReplaceAll(string(recorded(t, "eth_v2_beacon_blocks_head.http")), `"slot":"146"`, `"slot":"`+slot+`"`)}
	}
	for _, tt := range []struct {
		name   string
		setup  func(*node)
		slot   phase0.Slot
		missed bool
		want   error
	}{
		{"known before and after", func(n *node) { n.set("/eth/v2/beacon/blocks/142", block("142")) }, 145, true, nil},
		{"head is not past it", func(*node) {}, 147, false, ErrUnavailable},
		{"no history", func(*node) {}, 145, false, ErrUnavailable},
		{"node syncs", func(n *node) {
			n.set("/eth/v2/beacon/blocks/144", block("144"))
			n.edit("/eth/v1/node/syncing", `"is_syncing":false`, `"is_syncing":true`)
		}, 145, false, ErrUnavailable},
		{"head unknown", func(n *node) {
			n.set("/eth/v2/beacon/blocks/144", block("144"))
			n.set("/eth/v1/beacon/headers/head", answer{status: 500})
		}, 145, false, ErrUnavailable},
		{"wrong slot in the answer", func(n *node) { n.set("/eth/v2/beacon/blocks/145", block("144")) }, 145, false, ErrBadAnswer},
		{"error is not a miss", func(n *node) { n.set("/eth/v2/beacon/blocks/145", answer{status: 503}) }, 145, false, ErrUnavailable},
		{"silence is not a miss", func(n *node) { n.set("/eth/v2/beacon/blocks/145", answer{hang: true}) }, 145, false, ErrUnavailable},
		{"no payload", func(n *node) {
			n.set("/eth/v2/beacon/blocks/145", answer{status: 200, body: `{"data":{"message":{"slot":"145"}}}`})
		}, 145, false, ErrBadAnswer},
		{"header of another block", func(n *node) { n.edit("/eth/v1/beacon/headers/146", `"proposer_index":"47"`, `"proposer_index":"48"`) }, 146, false, ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t)
			tt.setup(n)
			got, err := newTestClient(t, n, clockAt(prysmSpec(), 147)).Block(t.Context(), tt.slot)
			if !errors.Is(err, tt.want) || got.Missed != tt.missed {
				t.Fatalf("got %+v, %v, want missed %t, %v", got, err, tt.missed, tt.want)
			}
		})
	}
}

func TestBlock_WithoutHeaders(t *testing.T) {
	n := newNode(t)
	n.set("/eth/v1/beacon/headers/146", answer{status: 404})
	b, err := newTestClient(t, n, clockAt(prysmSpec(), 147)).Block(t.Context(), 146)
	if err != nil || b.Missed || !b.Root.IsZero() || b.ExecutionHash == (phase0.Hash32{}) {
		t.Fatalf("got %+v, %v", b, err)
	}
}

func TestClient_NoRedirect(t *testing.T) {
	var hits int
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
	defer canary.Close()
	from := httptest.NewServer(http.RedirectHandler(canary.URL, http.StatusFound))
	defer from.Close()
	c, err := New(Config{URL: from.URL, Spec: prysmSpec(), Clock: clockAt(prysmSpec(), 1)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Head(t.Context()); !errors.Is(err, ErrBadAnswer) || hits != 0 {
		t.Fatalf("got %v and %d hits", err, hits)
	}
}

func TestNew_Refuses(t *testing.T) {
	clock := clockAt(prysmSpec(), 1)
	for _, u := range []string{"", "host:1", "file:///etc/passwd", "http://", "ftp://host", "http://user:secret@%zz"} {
		if _, err := New(Config{URL: u, Clock: clock}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v", u, err)
		}
	}
	if _, err := New(Config{URL: "http://host"}); err == nil {
		t.Error("no clock: got no error")
	}
}

func TestErrors_HideTheURL(t *testing.T) {
	c, err := New(Config{URL: "http://user:secret@127.0.0.1:1/token", Clock: clockAt(prysmSpec(), 1), Spec: prysmSpec()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Head(context.Background()); err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "token") {
		t.Fatalf("got %v", err)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	for i := range 20 {
		d := b.next(errors.New("x"))
		if d < retryFirst/2 || d > retryLast+1 || (i > 6 && d < retryLast/2) {
			t.Fatalf("wait %d: %s", i, d)
		}
	}
	if got, want := b.next(retryAfter{ErrUnavailable, 3 * time.Second}), 3*time.Second; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := b.next(retryAfter{ErrUnavailable, time.Hour}), retryNotice; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, name := range []string{
		"eth_v1_beacon_genesis.http", "eth_v1_config_spec.http", "eth_v1_node_syncing.http", "eth_v1_beacon_headers_head.http",
		"eth_v1_beacon_states_head_finality_checkpoints.http", "eth_v1_validator_duties_proposer_4.http", "eth_v2_beacon_blocks_head.http",
	} {
		f.Add(recorded(f, name))
	}
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	f.Cleanup(srv.Close)
	c, err := New(Config{URL: srv.URL, Spec: prysmSpec(), Clock: clockAt(prysmSpec(), 147)})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		body = b
		ctx := t.Context()
		_ = c.Check(ctx)
		_, _ = c.Syncing(ctx)
		_, _ = c.Finality(ctx)
		if d, err := c.ProposerDuties(ctx, 4); err == nil {
			for _, e := range d.Proposers {
				if e.Slot < 128 || e.Slot >= 160 {
					t.Fatalf("slot %d in epoch 4", e.Slot)
				}
			}
		}
		if b, err := c.Block(ctx, 146); err == nil && b.Slot != 146 {
			t.Fatalf("slot %d", b.Slot)
		}
	})
}
