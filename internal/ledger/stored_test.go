package ledger

import (
	"reflect"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"pgregory.net/rapid"

	"sidecar/commitments"
)

// TestAsStored: the copy is what the record decodes to, whatever the entry holds.
func TestAsStored(t *testing.T) {
	text := rapid.OneOf(rapid.StringN(0, 8, -1), rapid.Just("not \xff text"))
	payload := rapid.OneOf(rapid.Just[[]byte](nil), rapid.SliceOfN(rapid.Byte(), 0, 8))
	texts := rapid.OneOf(rapid.Just[[]string](nil), rapid.SliceOfN(text, 0, 3))
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{
			Kind: KindCommitment, Module: text.Draw(t, "module"), Key: commitments.ECDSAKey([20]byte{1}), Root: phase0.Root{2},
			Resources: rapid.SliceOfNDistinct(text.Filter(func(s string) bool { return s != "" }), 0, 3, rapid.ID).Draw(t, "resources"), Nonce: rapid.Uint64().Draw(t, "nonce"),
			Delegate:  phase0.BLSPubKey{rapid.Byte().Draw(t, "delegate")},
			SigningID: phase0.Root{rapid.Byte().Draw(t, "signing id")},
			Note:      rapid.OneOf(rapid.Just[map[string]string](nil), rapid.MapOfN(text, text, 0, 2)).Draw(t, "note"),
			Draft: &commitments.Draft{
				Commitment: commitments.Commitment{Type: rapid.Uint64().Draw(t, "type"), Payload: payload.Draw(t, "payload"), RequestHash: phase0.Hash32{3}, Slasher: [20]byte{rapid.Byte().Draw(t, "slasher")}},
				Cost:       commitments.Cost{Gas: rapid.Uint64().Draw(t, "gas"), Blobs: rapid.Uint64().Draw(t, "blobs"), Bytes: rapid.Uint64().Draw(t, "bytes")},
				Touches:    texts.Draw(t, "touches"), Claims: texts.Draw(t, "claims"),
			},
		}
		for range rapid.IntRange(0, 2).Draw(t, "constraints") {
			e.Draft.Constraints = append(e.Draft.Constraints, commitments.Constraint{Type: rapid.Uint64().Draw(t, "type"), Payload: payload.Draw(t, "payload")})
		}
		body, err := encodeEntry(1, page(1), e)
		if err != nil {
			t.Fatal(err)
		}
		_, _, want, err := decodeEntry(body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := asStored(e, body)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v %+v\nwant %+v %+v", got, got.Draft, want, want.Draft)
		}
	})
}

// TestAsStored_EveryField: a field that a noun gains is copied, or this fails.
func TestAsStored_EveryField(t *testing.T) {
	for name, c := range map[string]struct {
		of   any
		want int
	}{"entry": {Entry{}, 16}, "draft": {commitments.Draft{}, 6 /* UsedBelow is not kept */}, "commitment": {commitments.Commitment{}, 4}, "constraint": {commitments.Constraint{}, 2}} {
		if n := reflect.TypeOf(c.of).NumField(); n != c.want {
			t.Errorf("%s has %d fields, asStored knows %d", name, n, c.want)
		}
	}
}
