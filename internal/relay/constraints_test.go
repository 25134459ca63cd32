package relay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/wire"
)

func sampleDelegation() commitments.SignedDelegation {
	return commitments.SignedDelegation{
		Message: commitments.Delegation{
			Proposer: phase0.BLSPubKey{1}, Delegate: phase0.BLSPubKey{2}, Committer: bellatrix.ExecutionAddress{3},
			Slot: 1<<63 + 5, Metadata: []byte("m"),
		},
		Nonce: 9, SigningID: phase0.Root{4}, Signature: phase0.BLSSignature{5},
	}
}

func sampleConstraints() commitments.SignedConstraints {
	return commitments.SignedConstraints{
		Message: commitments.ConstraintsMessage{
			Proposer: phase0.BLSPubKey{1}, Delegate: phase0.BLSPubKey{2}, Slot: 12345,
			Constraints: []commitments.Constraint{{Type: 1, Payload: []byte{0xab, 0xcd}}, {Type: 2, Payload: []byte{}}},
			Receivers:   []phase0.BLSPubKey{{7}},
		},
		Nonce: 9, SigningID: phase0.Root{4}, Signature: phase0.BLSSignature{5},
	}
}

func TestPostConstraints_Spec(t *testing.T) {
	var in inbox
	c := dialTo(t, serve(t, in.handler(func(http.ResponseWriter, post) {})), nil)
	s, d := sampleConstraints(), sampleDelegation()
	if err := c.PostConstraints(budget(t, time.Second), s); err != nil {
		t.Fatal(err)
	}
	if err := c.PostDelegation(budget(t, time.Second), d); err != nil {
		t.Fatal(err)
	}
	if in.posts[0].uri != "/constraints/v0/builder/constraints" || in.posts[1].uri != "/constraints/v0/builder/delegate" || in.posts[0].kind != "application/json" {
		t.Errorf("posted to %s and %s as %s", in.posts[0].uri, in.posts[1].uri, in.posts[0].kind)
	}
	hexOf := func(b []byte) string { return fmt.Sprintf("%#x", b) }
	key := func(b byte) string { return hexOf(append([]byte{b}, make([]byte, 47)...)) }
	id, sig := hexOf(append([]byte{4}, make([]byte, 31)...)), hexOf(append([]byte{5}, make([]byte, 95)...))
	want := `[{"message":{"proposer":"` + key(1) + `","delegate":"` + key(2) + `","slot":"12345","constraints":[` +
		`{"constraintType":"1","payload":"0xabcd"},{"constraintType":"2","payload":"0x"}],"receivers":["` + key(7) + `"]},` +
		`"nonce":"9","signingId":"` + id + `","signature":"` + sig + `"}]`
	if in.posts[0].body != want {
		t.Errorf("got  %s\nwant %s", in.posts[0].body, want)
	}
	want = `{"message":{"proposer":"` + key(1) + `","delegate":"` + key(2) + `","committer":"` + hexOf(append([]byte{3}, make([]byte, 19)...)) +
		`","slot":"9223372036854775813","metadata":"0x6d"},"nonce":"9","signingId":"` + id + `","signature":"` + sig + `"}`
	if in.posts[1].body != want {
		t.Errorf("got  %s\nwant %s", in.posts[1].body, want)
	}
	if got, err := DecodeConstraints([]byte(in.posts[0].body)); err != nil || !reflect.DeepEqual(got, []commitments.SignedConstraints{s}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := DecodeDelegation([]byte(in.posts[1].body)); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// An empty message has empty lists, not nulls.
func TestPostConstraints_Empty(t *testing.T) {
	_, body, err := encodeConstraints(DialectSpec, commitments.SignedConstraints{})
	if err != nil || bytes.Contains(body, []byte("null")) {
		t.Errorf("got %s, %v", body, err)
	}
}

func TestPostConstraints_Fabric(t *testing.T) {
	var in inbox
	c := dialTo(t, serve(t, in.handler(func(http.ResponseWriter, post) {})), func(cfg *Config) { cfg.Dialect = DialectFabric })
	if err := c.PostConstraints(budget(t, time.Second), sampleConstraints()); err != nil {
		t.Fatal(err)
	}
	if err := c.PostDelegation(budget(t, time.Second), sampleDelegation()); err != nil {
		t.Fatal(err)
	}
	if in.posts[0].uri != "/constraints" || in.posts[1].uri != "/delegation" {
		t.Errorf("posted to %s and %s", in.posts[0].uri, in.posts[1].uri)
	}
	for i, parts := range [][]string{
		{`"slot":12345`, `"constraint_type":1`, `"payload":"0xabcd"`, `"nonce":9`, `"signing_id":"0x04`, `"receivers":["0x07`},
		{`"slot":9223372036854775813`, `"committer":"0x03`, `"nonce":9`, `"signing_id":"0x04`, `"signature":"0x05`},
	} {
		for _, part := range parts {
			if !strings.Contains(in.posts[i].body, part) {
				t.Errorf("%s lacks %s", in.posts[i].body, part)
			}
		}
	}
}

func TestPostConstraints_Faults(t *testing.T) {
	for status, want := range map[int]*fault.Fault{200: nil, 202: nil, 400: Err4xx, 408: Err4xx, 429: Err4xx, 404: Err4xx, 500: Err5xx, 307: ErrRedirect} {
		c := dialTo(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }), nil)
		err := c.PostConstraints(budget(t, time.Second), sampleConstraints())
		wantFault(t, err, want)
		if Later(err) != (status == 408 || status == 429) {
			t.Errorf("%d: later %v", status, Later(err))
		}
		wantFault(t, c.PostDelegation(budget(t, time.Second), sampleDelegation()), want)
	}
}

func TestCapabilities(t *testing.T) {
	for body, c := range map[string]struct {
		want []uint64
		err  *fault.Fault
	}{
		`{"constraintTypes":["1","0x02",3]}`:           {want: []uint64{1, 2, 3}},
		`{"constraint_types":[1]}`:                     {want: []uint64{1}},
		`{"constraintTypes":[]}`:                       {want: []uint64{}},
		`{}`:                                           {want: []uint64{}},
		`{"constraintTypes":[-1]}`:                     {err: ErrDecode},
		`{"constraintTypes":[1.5]}`:                    {err: ErrDecode},
		`{"constraintTypes":["0x"]}`:                   {err: ErrDecode},
		`{"constraintTypes":["18446744073709551616"]}`: {err: ErrDecode},
		`[]`: {err: ErrDecode},
		``:   {err: ErrDecode},
		`{"constraintTypes":[` + strings.Repeat("1,", 256) + `1]}`: {err: ErrDecode},
	} {
		client := dialTo(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != pathCapabilities {
				t.Errorf("path %s", r.URL.Path)
			}
			_, _ = w.Write([]byte(body))
		}), nil)
		got, err := client.Capabilities(budget(t, time.Second))
		wantFault(t, err, c.err)
		if !slices.Equal(got, c.want) {
			t.Errorf("%.60s: got %v, want %v", body, got, c.want)
		}
	}
	for status, want := range map[int]*fault.Fault{404: nil, 400: Err4xx, 500: Err5xx} {
		client := dialTo(t, serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }), nil)
		got, err := client.Capabilities(budget(t, time.Second))
		wantFault(t, err, want)
		if len(got) != 0 {
			t.Errorf("%d: got %v", status, got)
		}
	}
}

// withProofs is the vector's bid as header_with_proofs serves it.
func withProofs(t testing.TB, proofs string) []byte {
	body := vector(t, "fulu_signed_builder_bid.json")
	i := bytes.LastIndex(body, []byte(`"signature"`))
	return append(append(bytes.Clone(body[:i]), proofs...), body[i:]...)
}

func TestOffers_WithProofs(t *testing.T) {
	many := func(n int) string {
		return `"proofs":{"constraintTypes":[` + strings.TrimSuffix(strings.Repeat("1,", n), ",") + `],"payloads":[` + strings.TrimSuffix(strings.Repeat(`"0x",`, n), ",") + `]},`
	}
	text, err := commitments.BoltProofs{Hashes: []phase0.Hash32{{1}, {2}}, Indices: []uint64{3, 4}, Helpers: [][32]byte{{5}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	bolt := string(text)
	two := []commitments.Constraint{{Type: 1, Payload: []byte{0xab}}, {Type: 16, Payload: []byte{}}}
	for name, c := range map[string]struct {
		proofs string
		want   []commitments.Constraint
		err    *fault.Fault
	}{
		"camel":        {proofs: `"proofs":{"constraintTypes":["1","0x10"],"payloads":["0xab","0x"]},`, want: two},
		"snake":        {proofs: `"proofs":{"constraint_types":[1,16],"payloads":["0xAB","0x"]},`, want: two},
		"Bolt":         {proofs: `"proofs":` + bolt + `,`, want: []commitments.Constraint{{Type: 1, Payload: []byte(bolt)}, {Type: 1, Payload: []byte(bolt)}}},
		"Bolt, junk":   {proofs: `"proofs":{"transaction_hashes":["0x"]},`, err: ErrDecode},
		"none":         {proofs: ``},
		"empty":        {proofs: `"proofs":{"constraintTypes":[],"payloads":[]},`},
		"null":         {proofs: `"proofs":null,`},
		"256":          {proofs: many(256), want: slices.Repeat([]commitments.Constraint{{Type: 1, Payload: []byte{}}}, 256)},
		"257":          {proofs: many(257), err: ErrDecode},
		"unequal":      {proofs: `"proofs":{"constraintTypes":["1"],"payloads":[]},`, err: ErrDecode},
		"no 0x":        {proofs: `"proofs":{"constraintTypes":["1"],"payloads":["ab"]},`, err: ErrDecode},
		"odd":          {proofs: `"proofs":{"constraintTypes":["1"],"payloads":["0xa"]},`, err: ErrDecode},
		"no hex":       {proofs: `"proofs":{"constraintTypes":["1"],"payloads":["0xzz"]},`, err: ErrDecode},
		"type is text": {proofs: `"proofs":{"constraintTypes":["one"],"payloads":["0x"]},`, err: ErrDecode},
		"not a list":   {proofs: `"proofs":[],`, err: ErrDecode},
	} {
		t.Run(name, func(t *testing.T) {
			var accept, path string
			body := withProofs(t, c.proofs)
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				accept, path = r.Header.Get("Accept"), r.URL.Path
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write(body)
			})
			r := request()
			r.WithProofs = true
			offers, err := collect(t, dialTo(t, url, nil), budget(t, time.Second), r)
			wantFault(t, err, c.err)
			if accept != "application/json" || !strings.HasPrefix(path, "/constraints/v0/builder/header_with_proofs/7/0x01") {
				t.Errorf("asked for %s in %s", path, accept)
			}
			if c.err != nil {
				return
			}
			if !reflect.DeepEqual(offers[0].Proofs, c.want) {
				t.Errorf("got %v, want %v", offers[0].Proofs, c.want)
			}
			var plain map[string]map[string]json.RawMessage
			if _ = json.Unmarshal(offers[0].Bid.Encode(wire.JSON), &plain); plain["data"]["proofs"] != nil || plain["data"]["message"] == nil {
				t.Error("the bid still carries the proofs")
			}
		})
	}
}

func FuzzDecodeConstraints(f *testing.F) {
	_, body, err := encodeConstraints(DialectSpec, sampleConstraints())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`[{}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := DecodeConstraints(body)
		if err != nil {
			return
		}
		for _, s := range list {
			_, again, err := encodeConstraints(DialectSpec, s)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := DecodeConstraints(again); err != nil || len(got) != 1 || got[0].Signature != s.Signature || len(got[0].Message.Constraints) != len(s.Message.Constraints) {
				t.Errorf("does not survive: %v", err)
			}
		}
	})
}

func FuzzDecodeDelegation(f *testing.F) {
	_, body, err := encodeDelegation(DialectSpec, sampleDelegation())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := DecodeDelegation(body)
		if err != nil {
			return
		}
		_, again, err := encodeDelegation(DialectSpec, d)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeDelegation(again); err != nil || !bytes.Equal(got.Message.Metadata, d.Message.Metadata) || got.Message.Slot != d.Message.Slot {
			t.Errorf("does not survive: %v", err)
		}
	})
}

func FuzzReadProofs(f *testing.F) {
	f.Add(withProofs(f, `"proofs":{"constraintTypes":["1","0x10"],"payloads":["0xab","0x"]},`))
	f.Add([]byte(`{"version":"fulu","data":null}`))
	r := request()
	f.Fuzz(func(t *testing.T, body []byte) {
		var o Offer
		if err := o.readProofs(&r, wire.JSON, body); (err == nil) != (o.Bid != nil) {
			t.Errorf("bid %v, %v", o.Bid != nil, err)
		}
	})
}
