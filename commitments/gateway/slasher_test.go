package gateway

import (
	"context"
	"errors"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
)

// TestCommit_Slashers: a promise names one of the operator's contracts, or none,
// and a quote is for no other; what is promised already stays.
func TestCommit_Slashers(t *testing.T) {
	h := open(t)
	ctx := context.Background()
	before := request('a', 1)
	if _, err := h.Commit(ctx, before); err != nil {
		t.Fatal(err)
	}
	ours := bellatrix.ExecutionAddress{0x77}
	h.Slashers = []bellatrix.ExecutionAddress{{0x78}, ours}
	for i, c := range []struct {
		slasher bellatrix.ExecutionAddress
		want    error
	}{{slasher, ErrSlasher}, {ours, nil}, {bellatrix.ExecutionAddress{}, nil}} {
		r := request('b'+byte(i), 1)
		r.Slasher = c.slasher
		s, err := h.Commit(ctx, r)
		if !errors.Is(err, c.want) || err == nil && s.Commitment.Slasher != c.slasher {
			t.Errorf("%s: got %v, want %v", c.slasher, err, c.want)
		}
	}
	if s, err := h.Commit(ctx, before); err != nil || s.Commitment.Slasher != slasher {
		t.Errorf("promised before: %v", err)
	}
}
