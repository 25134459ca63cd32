package moduletest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"sidecar/modules"
	"sidecar/modules/echo"
	"sidecar/modules/remote"
)

// TestWire_Events: a module whose events come by remote.Serve holds what the
// suite wants, and hears each event in order.
func TestWire_Events(t *testing.T) {
	m, err := echo.New(modules.Host{ID: "echo"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	inbox, heard := new(remote.Inbox), make(chan []uint64, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		var all []uint64
		for seq := uint64(0); ; {
			list, err := inbox.After(ctx, seq)
			switch {
			case errors.Is(err, modules.ErrCursor):
				all, seq = append(all, 0), 0
			case err != nil:
				heard <- all
				return
			}
			for _, e := range list {
				all, seq = append(all, e.Seq), e.Seq
			}
		}
	}()
	err = Served(t.Context(), m, inbox, func(url string, secret remote.Secret) error {
		return wire{url, secret}.events(t.Context())
	})
	cancel()
	if got := <-heard; err != nil || !slices.Equal(got, []uint64{1, 2, 4, 5, 0}) && !slices.Equal(got, []uint64{1, 2, 4, 5}) {
		t.Errorf("heard %v, %v", got, err)
	}
}

// TestWire_EventsBad: the suite finds what would lose events.
func TestWire_EventsBad(t *testing.T) {
	for name, answer := range map[string]func(last *uint64, after uint64, seqs []uint64, anew bool){
		"deals with none": func(*uint64, uint64, []uint64, bool) {},
		"skips what is left out": func(last *uint64, _ uint64, seqs []uint64, anew bool) {
			if anew {
				*last = 0
			}
			for _, n := range seqs {
				*last = n
			}
		},
		"never begins anew": func(last *uint64, after uint64, seqs []uint64, _ bool) {
			for _, n := range seqs {
				if after <= *last {
					*last = max(*last, n)
				}
			}
		},
	} {
		var last uint64
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var ask struct {
				After   uint64
				Events  []struct{ Seq uint64 }
				Unknown bool
			}
			_ = json.NewDecoder(r.Body).Decode(&ask)
			var seqs []uint64
			for _, e := range ask.Events {
				seqs = append(seqs, e.Seq)
			}
			answer(&last, ask.After, seqs, ask.Unknown)
			_ = json.NewEncoder(w).Encode(map[string]uint64{"after": last})
		}))
		if err := (wire{s.URL, "a secret of a test"}).events(t.Context()); err == nil {
			t.Errorf("%s: nothing found", name)
		}
		s.Close()
	}
}
