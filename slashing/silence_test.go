package slashing

import (
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/beacon"
)

// Whatever does not answer, or not sensibly, is no verdict; once it answers, the
// promises are judged.
func TestAudit_NeverOnSilence(t *testing.T) {
	for _, tt := range []struct {
		name      string
		sick, fit func(*node)
	}{
		{"beacon down", func(n *node) { n.down = true }, func(n *node) { n.down = false }},
		{"execution down", func(n *node) { n.noEL = true }, func(n *node) { n.noEL = false }},
		{"another block", func(n *node) { n.wrongEL = true }, func(n *node) { n.wrongEL = false }},
		{"another slot", func(n *node) { n.blocks[5] = beacon.BlockInfo{Slot: 4, Missed: true} }, func(n *node) { n.blocks[5] = block5 }},
		{"optimistic", func(n *node) { b := block5; b.Optimistic = true; n.blocks[5] = b }, func(n *node) { n.blocks[5] = block5 }},
		{"missed to one, and not to the other", func(n *node) { n.blocks[5] = beacon.BlockInfo{Slot: 5, Missed: true}; n.wrongEL = true }, func(n *node) { n.blocks[5] = block5; n.wrongEL = false }},
		{"module down", func(n *node) { n.auditErr = errDown }, func(n *node) { n.auditErr = nil }},
		{"module without a verdict", func(n *node) {
			n.verdicts = func(commitments.Page, commitments.Block) []commitments.Verdict { return nil }
		}, func(n *node) { n.verdicts = nil }},
		{"module unsure", func(n *node) {
			n.verdicts = func(commitments.Page, commitments.Block) []commitments.Verdict {
				return []commitments.Verdict{{RequestHash: hashA}, {RequestHash: hashB}}
			}
		}, func(n *node) { n.verdicts = nil }},
		{"module judges another", func(n *node) {
			n.verdicts = func(commitments.Page, commitments.Block) []commitments.Verdict {
				return []commitments.Verdict{{RequestHash: phase0.Hash32{7}, Outcome: commitments.Broken}}
			}
		}, func(n *node) { n.verdicts = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inCourt(t, func(c *court) {
				c.node.edit(tt.sick)
				entries := c.ledger.Len()
				c.until(10)
				if got := c.outcome(hashA); got != "none" || c.ledger.Len() != entries {
					t.Fatalf("got %s and %d entries", got, c.ledger.Len()-entries)
				}
				c.node.edit(tt.fit)
				c.until(50) // the pause between tries has grown to 5 minutes at most
				if a, b := c.outcome(hashA), c.outcome(hashB); a != "kept provisional" || b != "kept provisional" {
					t.Errorf("got %s, %s", a, b)
				}
			})
		})
	}
}

func TestAudit_RetriesGrowApart(t *testing.T) {
	inCourt(t, func(c *court) {
		c.node.edit(func(n *node) { n.down = true })
		c.until(308) // an hour after the first try
		if asked := c.node.questions(); asked < 10 || asked > 30 {
			t.Errorf("asked %d times in an hour", asked)
		}
	})
}

// One verdict that could not be written is written later; the others stand.
func TestAudit_HalfAPage(t *testing.T) {
	inCourt(t, func(c *court) {
		c.node.edit(func(n *node) {
			n.verdicts = func(commitments.Page, commitments.Block) []commitments.Verdict {
				return []commitments.Verdict{{RequestHash: hashB, Outcome: commitments.Broken}}
			}
		})
		c.until(9)
		if a, b := c.outcome(hashA), c.outcome(hashB); a != "none" || b != "broken provisional" {
			t.Fatalf("got %s, %s", a, b)
		}
		c.node.edit(func(n *node) { n.verdicts = nil })
		c.until(20)
		if a, b := c.outcome(hashA), c.outcome(hashB); a != "kept provisional" || b != "kept provisional" {
			t.Errorf("got %s, %s", a, b)
		}
	})
}

func TestLatest_TheLastVerdictCounts(t *testing.T) {
	p := commitments.Page{Verdicts: []commitments.Verdict{
		{RequestHash: hashA, Outcome: commitments.Broken}, {RequestHash: hashB, Outcome: commitments.Kept}, {RequestHash: hashA, Outcome: commitments.Kept},
	}}
	if v, ok := latest(p, hashA); !ok || v.Outcome != commitments.Kept {
		t.Errorf("got %v, %t", v, ok)
	}
}

func TestNew_Refuses(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("got no error")
	}
}
