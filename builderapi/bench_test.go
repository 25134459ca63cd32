package builderapi

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/httpd"
	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// BenchmarkHeader is journey b without the network: three relays whose bids are
// decoded from bytes, judged, the best verified, and the answer encoded. The
// limit it is measured against is one verification with a cached key.
func BenchmarkHeader(b *testing.B) {
	b.Run("limit_verify", func(b *testing.B) {
		secret, err := bls.NewSecretKey(nil)
		if err != nil {
			b.Fatal(err)
		}
		key, err := bls.ParsePublicKey(secret.PublicKey())
		if err != nil {
			b.Fatal(err)
		}
		root := phase0.Root{1}
		sig := secret.Sign(root)
		for b.Loop() {
			key.Verify(root, sig)
		}
	})
	for _, enc := range []wire.Encoding{wire.JSON, wire.SSZ} {
		b.Run(enc.String(), func(b *testing.B) {
			rig := newBench(&testing.T{}, 3, func(c *Config) { c.Sets.(oneSet).set.Late = time.Hour })
			defer rig.service.Close()
			for i, r := range rig.relays {
				body := rig.bid(r, 0, uint64(1000+i), nil).Encode(enc)
				r.offers = func(_ context.Context, q relay.HeaderRequest, emit func(relay.Offer)) error {
					bid, err := wire.DecodeBid(q.Fork, enc, body)
					if err != nil {
						return err
					}
					emit(relay.Offer{Bid: bid, Started: rig.clock.Now()})
					return nil
				}
			}
			params := map[string]string{"slot": "0", "parent_hash": rig.parent.String(), "pubkey": rig.key.String()}
			ask := httpd.Request{
				Param: func(n string) string { return params[n] }, Query: func(string) string { return "" },
				Header: func(n string) string { return map[string]string{"Accept": enc.ContentType()}[n] },
			}
			b.ReportAllocs()
			for b.Loop() {
				ask.Received = rig.clock.Now()
				resp, err := rig.service.header(b.Context(), ask)
				if err != nil || len(resp.Body) == 0 {
					b.Fatalf("got status %d, %v", resp.Status, err)
				}
			}
		})
	}
}

// BenchmarkRegister is journey a without the network; the limit is the scan.
func BenchmarkRegister(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		body := registrationsJSON(b, n)
		b.Run(fmt.Sprintf("%d/limit_scan", n), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			var rs []wire.Registration
			for b.Loop() {
				rs, _ = wire.ScanRegistrations(wire.JSON, body, rs[:0])
			}
		})
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rig := newBench(&testing.T{}, 3, nil)
			defer rig.service.Close()
			ask := httpd.Request{Body: body, Header: func(string) string { return "" }}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				for _, r := range rig.relays {
					r.forget()
				}
				if _, err := rig.service.register(b.Context(), ask); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func registrationsJSON(b *testing.B, n int) []byte {
	b.Helper()
	type message struct {
		FeeRecipient string `json:"fee_recipient"`
		GasLimit     string `json:"gas_limit"`
		Timestamp    string `json:"timestamp"`
		Pubkey       string `json:"pubkey"`
	}
	type signed struct {
		Message   message `json:"message"`
		Signature string  `json:"signature"`
	}
	list := make([]signed, n)
	for i := range list {
		list[i] = signed{message{
			fmt.Sprintf("0x%040x", i), "36000000", "1700000000", fmt.Sprintf("0x%096x", i),
		}, fmt.Sprintf("0x%0192x", i)}
	}
	text, err := json.Marshal(list)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// BenchmarkJudge splits the dear checks: the message's root, and all of them.
func BenchmarkJudge(b *testing.B) {
	rig := newBench(&testing.T{}, 1, nil)
	defer rig.service.Close()
	bid := rig.bid(rig.relays[0], 0, 7, nil)
	b.Run("root", func(b *testing.B) {
		for b.Loop() {
			bid.Root()
		}
	})
	page := commitments.Page{}
	j := rig.service.judge(b.Context(), query{parent: rig.parent, fork: chain.Fulu}, &page)
	l := &lot{relay: rig.relays[0], bid: bid}
	b.Run("cheap", func(b *testing.B) {
		for b.Loop() {
			if err := j.cheap(l); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("dear", func(b *testing.B) {
		for b.Loop() {
			if err := j.dear(b.Context(), l); err != nil {
				b.Fatal(err)
			}
		}
	})
}
