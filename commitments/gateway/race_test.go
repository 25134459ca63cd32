package gateway

import (
	"context"
	"reflect"
	"testing"

	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// meddling does something between the search for a promise and the view.
type meddling struct {
	*ledger.Ledger
	before func()
}

func (m *meddling) View(id commitments.PageID) commitments.View {
	if f := m.before; f != nil {
		m.before = nil
		f()
	}
	return m.Ledger.View(id)
}

// TestCommit_DoesNotMeetItself: the same request, promised after it was looked
// for and before the page was read, is an answer and not a conflict.
func TestCommit_DoesNotMeetItself(t *testing.T) {
	views := &meddling{}
	h := open(t, func(c *Config) { views.Ledger = c.Views.(*ledger.Ledger); c.Views = views })
	var first commitments.SignedCommitment
	views.before = func() {
		var err error
		if first, err = h.Commit(context.Background(), request('a', 1)); err != nil {
			t.Error(err)
		}
	}
	got, err := h.Commit(context.Background(), request('a', 1))
	if err != nil || len(first.Signature) == 0 || !reflect.DeepEqual(got, first) {
		t.Errorf("got %+v, %v, want %+v", got, err, first)
	}
}
