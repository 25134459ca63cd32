package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/metrics"
	"sidecar/modules"
)

// reviewer is a module that sees risks.
type reviewer struct {
	*module
	mu    sync.Mutex
	risks []modules.Risk
	err   error
	asked int
}

func (r *reviewer) Review(context.Context, []commitments.Page) ([]modules.Risk, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	return r.risks, r.err
}

func openReviewed(t *testing.T) (*house, *reviewer, *metrics.Registry) {
	t.Helper()
	r, registry := &reviewer{}, metrics.NewRegistry()
	h := open(t, func(c *Config) {
		r.module = c.Modules()[0].(*module)
		c.Modules, c.Metrics = func() []modules.Module { return []modules.Module{r} }, NewMetrics(registry)
	})
	return h, r, registry
}

func scraped(t *testing.T, registry *metrics.Registry) string {
	t.Helper()
	rec := httptest.NewRecorder()
	registry.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}

func (h *house) statusOf(hash phase0.Hash32) commitments.Status {
	h.t.Helper()
	s, err := h.Status(hash)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// TestReview: a promise that comes to be at risk says so, and why, to whoever asks and
// to whoever listens; it is as before when the chain is. Its constraints are sent.
func TestReview(t *testing.T) {
	h, r, registry := openReviewed(t)
	req, other := request(1, 1), request(2, 1)
	for _, one := range []commitments.Request{req, other} {
		if _, err := h.Commit(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	listener := &subscriber{seen: map[phase0.Hash32][]commitments.Step{}}
	listener.news(h.statusOf(req.Hash()))
	shown := h.review(t.Context(), nil)
	if s := h.statusOf(req.Hash()); s.State != commitments.StateSigned || r.asked != 1 || len(shown) != 0 {
		t.Fatalf("no risk: %+v, asked %d times, %v", s, r.asked, shown)
	}
	version := h.diary.version()

	r.risks = []modules.Risk{{RequestHash: req.Hash(), Reason: "nonce_too_low"}}
	shown = h.review(t.Context(), shown)
	s := h.statusOf(req.Hash())
	if s.State != commitments.StateAtRisk || s.Reason != "nonce_too_low" || s.Final {
		t.Errorf("at risk: %+v", s)
	}
	if other := h.statusOf(other.Hash()); other.State != commitments.StateSigned {
		t.Errorf("its neighbour: %+v", other)
	}
	if news := listener.news(s); len(news) != 1 || news[0].Step.State != commitments.StateAtRisk || news[0].Step.AtMS == 0 || h.diary.version() == version {
		t.Errorf("told: %+v", news)
	}
	if got := scraped(t, registry); !strings.Contains(got, `sidecar_promises_at_risk{reason="nonce_too_low"} 1`) {
		t.Errorf("metrics: %s", got)
	}
	if n := strings.Count(h.log.String(), "Promises are at risk"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
	shown = h.review(t.Context(), shown) // the same again is no news
	if news := listener.news(h.statusOf(req.Hash())); len(news) != 0 || strings.Count(h.log.String(), "Promises are at risk") != 1 {
		t.Errorf("told twice: %+v", news)
	}

	// The page closes: the promise is told to builders all the same.
	h.setSlot(103, h.Spec.SlotDuration-h.Lead)
	h.enforce(t.Context(), h.id())
	if _, sent := h.relays[0].took(); len(sent) == 0 || len(sent[0].Message.Constraints) != 2 {
		t.Fatalf("constraints: %+v", sent)
	}
	shown = h.review(t.Context(), shown)
	if s := h.statusOf(req.Hash()); s.State != commitments.StateAtRisk {
		t.Errorf("sealed and posted: %+v", s)
	}

	r.err = errors.New("the node is down")
	r.risks = nil
	if shown = h.review(t.Context(), shown); h.statusOf(req.Hash()).State != commitments.StateAtRisk || shown["nonce_too_low"] != 1 {
		t.Error("a review that told nothing cured a promise")
	}
	r.err = nil
	h.review(t.Context(), shown)
	s = h.statusOf(req.Hash())
	if s.State != commitments.StatePosted || s.Reason != "" {
		t.Errorf("cured: %+v", s)
	}
	last := s.Steps[len(s.Steps)-1]
	if last.State != commitments.StateAtRisk || last.Outcome != outcomeCured || last.Reason != "nonce_too_low" {
		t.Errorf("the last step: %+v", last)
	}
	if got := scraped(t, registry); !strings.Contains(got, `sidecar_promises_at_risk{reason="nonce_too_low"} 0`) || !strings.Contains(got, "sidecar_promises_unreviewed_total 1") {
		t.Errorf("metrics: %s", got)
	}
}

// TestReview_Duty: a slot that is another's after a reorganisation puts its promises
// at risk, and is an error in the log; a schedule that does not know says nothing.
func TestReview_Duty(t *testing.T) {
	h, _, _ := openReviewed(t)
	req := request(1, 1)
	if _, err := h.Commit(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	delete(h.schedule.slots, 104)
	h.schedule.err = errNode
	shown := h.review(t.Context(), nil)
	if s := h.statusOf(req.Hash()); s.State == commitments.StateAtRisk {
		t.Errorf("the schedule knows nothing: %+v", s)
	}
	h.schedule.err = nil
	shown = h.review(t.Context(), shown)
	if s := h.statusOf(req.Hash()); s.State != commitments.StateAtRisk || s.Reason != ErrNotOurs.Code || !strings.Contains(h.log.String(), "level=ERROR") {
		t.Errorf("another's slot: %+v", s)
	}
	h.schedule.slots[104] = h.proposer.PublicKey()
	h.review(t.Context(), shown)
	if s := h.statusOf(req.Hash()); s.State != commitments.StateSigned {
		t.Errorf("ours again: %+v", s)
	}
}

// TestReview_Idle: without open promises no module and so no node is asked, and what
// was shown is shown no more.
func TestReview_Idle(t *testing.T) {
	h, r, registry := openReviewed(t)
	req := request(1, 1)
	if _, err := h.Commit(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	r.risks = []modules.Risk{{RequestHash: req.Hash(), Reason: "nonce_gap"}, {RequestHash: phase0.Hash32{9}, Reason: "nonce_gap"}}
	shown := h.review(t.Context(), nil)
	h.setSlot(104, 0)
	if shown = h.review(t.Context(), shown); r.asked != 1 || len(shown) != 0 {
		t.Errorf("asked %d times, shown %v", r.asked, shown)
	}
	if got := scraped(t, registry); !strings.Contains(got, `sidecar_promises_at_risk{reason="nonce_gap"} 0`) {
		t.Errorf("metrics: %s", got)
	}
	if s := h.statusOf(req.Hash()); s.State != commitments.StateAtRisk { // nobody knows better yet
		t.Errorf("in its slot: %+v", s)
	}
}

// TestAssess_Bounded: a sender that comes and goes fills no memory.
func TestAssess_Bounded(t *testing.T) {
	h, r, _ := openReviewed(t)
	req := request(1, 1)
	if _, err := h.Commit(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	for i := range 5 * maxRiskSteps {
		if r.risks = nil; i%2 == 0 {
			r.risks = []modules.Risk{{RequestHash: req.Hash(), Reason: "insufficient_balance"}}
		}
		h.review(t.Context(), nil)
	}
	if n := len(h.diary.risksOf(104, req.Hash())); n != maxRiskSteps {
		t.Errorf("%d steps are kept, want %d", n, maxRiskSteps)
	}
}

// TestLife_AtRisk: what happened since counts more than a risk.
func TestLife_AtRisk(t *testing.T) {
	risk := []commitments.Step{{State: commitments.StateAtRisk, Reason: "nonce_too_low"}}
	for _, tt := range []struct {
		name   string
		story  *story
		want   commitments.State
		reason string
	}{
		{"sealed", newStory(103).sealed(), commitments.StateAtRisk, "nonce_too_low"},
		{"proven by a bid", newStory(104).sealed().served(1), commitments.StateBidVerified, ""},
		{"no bid proves it", newStory(104).sealed().note(commitments.NoteReceipt, "outcome", OutcomeNoSafeBlock), commitments.StateAtRisk, "nonce_too_low"},
		{"proposed", newStory(104).sealed().event(modules.EventBlockSeen, 1, ""), commitments.StateProposed, ""},
		{"judged", newStory(106).sealed().verdict(commitments.Kept, ""), commitments.StateFinal, ""},
	} {
		tt.story.risks = risk
		if s := life(tt.story.facts); s.State != tt.want || s.Reason != tt.reason {
			t.Errorf("%s: %s %q, want %s %q", tt.name, s.State, s.Reason, tt.want, tt.reason)
		}
	}
}
