package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"sidecar/commitments"
	"sidecar/internal/ledger"
	"sidecar/signer"
)

// slowDisk takes a while to write what was decided. The page does not show it
// before it is written.
type slowDisk struct {
	*ledger.Ledger
	takes time.Duration
}

func (s *slowDisk) Append(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error) {
	return s.Ledger.Append(ctx, id, func(v commitments.View) (ledger.Entry, error) {
		e, err := decide(v)
		if e.Kind == ledger.KindCommitment && err == nil {
			time.Sleep(s.takes)
		}
		return e, err
	})
}

// TestCommit_SlowDisk: a promise that was decided in time and is on disk only
// after its slot began may meet a header that was served from an empty page. It
// is not signed, not then and not for one who asks again.
func TestCommit_SlowDisk(t *testing.T) {
	disk := &slowDisk{}
	h := open(t, func(c *Config) {
		c.Lead = 200 * time.Millisecond
		road := c.Signer.(*signer.Signer)
		disk.Ledger = c.Views.(*ledger.Ledger)
		road.Ledger = disk
	})
	began, from := time.Now(), testSpec().GenesisTime.Add(104*12*time.Second-300*time.Millisecond)
	h.now = func() time.Time { return from.Add(time.Since(began)) } // 100 ms before the cut-off
	if _, err := h.Gateway.delegate(t.Context(), h.id()); err != nil {
		t.Fatal(err)
	}
	disk.takes = 400 * time.Millisecond
	if s, err := h.Commit(t.Context(), request('a', 1)); err == nil || len(s.Signature) > 0 {
		t.Errorf("got a promise for a slot that has begun: %+v", s)
	}
	for range 100 {
		if _, _, ok := h.ledger.Find(request('a', 1).Hash()); ok {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s, err := h.Commit(t.Context(), request('a', 1)); !errors.Is(err, ErrTooLate) || len(s.Signature) > 0 {
		t.Errorf("asked again: got %+v, %v, want %v", s, err, ErrTooLate)
	}
	if s, err := h.Result(t.Context(), request('a', 1).Hash()); !errors.Is(err, ErrTooLate) || len(s.Signature) > 0 {
		t.Errorf("result: got %+v, %v, want %v", s, err, ErrTooLate)
	}
	if p, _, ok := h.ledger.Find(request('a', 1).Hash()); !ok || len(p.Signature) > 0 {
		t.Errorf("on disk: %v, with %d bytes of signature; want the entry without ink", ok, len(p.Signature))
	}
}
