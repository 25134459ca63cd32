package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// drawn makes an entry of a draft alone out of bytes: flags say which fields are
// zero, the text goes into every name.
func drawn(flags uint32, n uint64, text string, raw []byte) Entry {
	has := func(bit int) bool { return flags>>bit&1 == 1 }
	e := Entry{Kind: KindCommitment, Draft: &commitments.Draft{Commitment: commitments.Commitment{Type: n}}}
	d := e.Draft
	copy(d.Commitment.RequestHash[:], raw)
	set := []func(){
		func() { e.Module = text },
		func() { e.Key = commitments.ECDSAKey([20]byte{1, byte(n)}) },
		func() { e.Key = commitments.BLSKey(phase0.BLSPubKey{2, byte(n)}) },
		func() { e.Root = phase0.Root{3, byte(n)} },
		func() { e.Resources = strings.SplitAfter(text, "/") },
		func() { e.Nonce = n },
		func() { binary.BigEndian.PutUint64(e.SigningID[24:], n) },
		func() { d.Commitment.Payload = raw },
		func() { copy(d.Commitment.Slasher[:], raw) },
		func() { d.Constraints = []commitments.Constraint{{Type: n, Payload: raw}} },
		func() { d.Constraints = append(d.Constraints, commitments.Constraint{Type: n + 1}) },
		func() { d.Cost = commitments.Cost{Gas: n, Blobs: n / 3, Bytes: n / 5} },
		func() { d.Touches = []string{text} },
		func() { d.Claims = []string{"", text, text} },
		func() { e.Resources = []string{} },
		func() { e.Note = map[string]string{} },
		func() { e.Delegate = phase0.BLSPubKey{4, byte(n)} },
	}
	for bit, do := range set {
		if has(bit) {
			do()
		}
	}
	return e
}

// FuzzEncode: what is encoded by hand is what encoding/json makes of the format.
func FuzzEncode(f *testing.F) {
	for bit := range 17 {
		f.Add(uint32(1)<<bit, uint64(bit), "request/0x01/a", []byte{1, 2})
	}
	for _, text := range []string{"", "<a>&\"\\", "\u2028 é", "not \xff text", "\x00\x1f\x7f~ ", strings.Repeat("x", maxResource)} {
		f.Add(uint32(0x1ffff), uint64(1)<<63, text, []byte(text))
		f.Add(uint32(0x13fff), uint64(0), text, []byte{})
	}
	f.Fuzz(func(t *testing.T, flags uint32, n uint64, text string, raw []byte) {
		id := commitments.PageID{Slot: phase0.Slot(n), Proposer: phase0.BLSPubKey{byte(n)}}
		e := drawn(flags, n, text, raw)
		if !e.alone() {
			t.Fatal("not a draft alone")
		}
		compareBodies(t, bodyOf(n, id, e), func() ([]byte, error) { return encodeEntry(n, id, e) })
		compareBodies(t, sealBody{Seq: n, Signature: raw}, func() ([]byte, error) { return encodeSeal(n, Ink{Signature: raw}) })
		proxy := commitments.ProxySignature{Nonce: n, Signature: phase0.BLSSignature{1, byte(n)}}
		body := proxySealBody{Nonce: n, Signature: proxy.Signature[:]}
		for i := range n % 4 {
			proxy.Branch = append(proxy.Branch, phase0.Root{byte(i)})
			body.Branch = append(body.Branch, proxy.Branch[i][:])
		}
		compareBodies(t, sealBody{n, raw, &body}, func() ([]byte, error) { return encodeSeal(n, Ink{raw, proxy}) })
	})
}

func compareBodies(t *testing.T, body any, encode func() ([]byte, error)) {
	t.Helper()
	want, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := encode()
	if len(want) > maxBody {
		if err == nil {
			t.Fatal("a record beyond the limit was encoded")
		}
		return
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got  %s, %v\nwant %s", got, err, want)
	}
}

// TestEncode_KnowsEveryField: a field that the format gains must be encoded too.
func TestEncode_KnowsEveryField(t *testing.T) {
	for _, c := range []struct {
		of   any
		want int
	}{{entryBody{}, 19}, {draftBody{}, 10}, {constraintBody{}, 2}, {sealBody{}, 3}, {proxySealBody{}, 3}} {
		if kind := reflect.TypeOf(c.of); kind.NumField() != c.want {
			t.Errorf("%s has %d fields, encode.go knows %d", kind.Name(), kind.NumField(), c.want)
		}
	}
}

// TestEncode_Limit: a record beyond the limit is refused, as by encodeBody.
func TestEncode_Limit(t *testing.T) {
	e := drawn(1<<7, 1, "", make([]byte, maxBody/2))
	compareBodies(t, bodyOf(1, commitments.PageID{}, e), func() ([]byte, error) { return encodeEntry(1, commitments.PageID{}, e) })
}
