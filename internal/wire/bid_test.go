package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"sidecar/chain"
)

// bidVectors are bids in both encodings; a nil one is only published in the other.
func bidVectors(tb testing.TB) map[string]struct {
	fork      chain.Fork
	json, ssz []byte
} {
	type pair = struct {
		fork      chain.Fork
		json, ssz []byte
	}
	out := map[string]pair{
		"commit-boost electra": {chain.Electra, versioned(chain.Electra, vector(tb, "commit-boost/electra_message.json")),
			vector(tb, "commit-boost/electra_message.ssz")},
		"commit-boost fulu": {chain.Fulu, vector(tb, "commit-boost/fulu_bid.json"), nil},
		"prysm fulu":        {chain.Fulu, nil, vector(tb, "prysm/fulu_bid.ssz")},
	}
	for _, f := range forks {
		name := "builder-specs/" + f.String() + "_bid"
		out[name] = pair{f, vector(tb, name+".json"), vector(tb, name+".ssz")}
	}
	return out
}

func mustBid(tb testing.TB, fork chain.Fork, enc Encoding, body []byte) *Bid {
	tb.Helper()
	b, err := DecodeBid(fork, enc, body)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// checkBid holds both encodings of one bid equal to the spec's types.
func checkBid(t *testing.T, fork chain.Fork, text, ssz []byte) {
	t.Helper()
	spec := newSpecBid(fork)
	if ssz != nil {
		if err := spec.UnmarshalSSZ(ssz); err != nil {
			t.Fatal(err)
		}
		if text == nil {
			data, err := spec.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			text = versioned(fork, data)
		}
	} else {
		var env struct{ Data json.RawMessage }
		if err := errors.Join(json.Unmarshal(text, &env), spec.UnmarshalJSON(env.Data)); err != nil {
			t.Fatal(err)
		}
		ssz, _ = spec.MarshalSSZ()
	}
	a, b := mustBid(t, fork, JSON, text), mustBid(t, fork, SSZ, ssz)
	for name, bid := range map[string]*Bid{"json": a, "ssz": b} {
		if got, want := bid.Root(), specBidRoot(t, spec); [32]byte(got) != want {
			t.Errorf("%s root: got %x, want %x", name, got, want)
		}
		if got := bid.Encode(SSZ); !bytes.Equal(got, ssz) {
			t.Errorf("%s to ssz: got %x, want %x", name, got, ssz)
		}
		sameJSON(t, bid.Encode(JSON), text)
		again := NewBid(fork, bid.Header, bid.Commitments, bid.ExecutionRequests, bid.Value, bid.Pubkey)
		again.Signature = bid.Signature
		if got := again.Encode(SSZ); !bytes.Equal(got, ssz) {
			t.Errorf("%s from fields: got %x, want %x", name, got, ssz)
		}
		if got, want := HeaderOf(bid.Header.Deneb()), bid.Header; !reflect.DeepEqual(got, want) {
			t.Errorf("%s header: got %v, want %v", name, got, want)
		}
	}
	if !bytes.Equal(a.Encode(JSON), text) {
		t.Error("the received JSON is not handed on")
	}
	if got := b.Encode(JSON); !bytes.Equal(mustBid(t, fork, JSON, got).Encode(SSZ), ssz) {
		t.Error("SSZ to JSON to SSZ changed the bid")
	}
}

func TestBid_Vectors(t *testing.T) {
	for name, v := range bidVectors(t) {
		t.Run(name, func(t *testing.T) { checkBid(t, v.fork, v.json, v.ssz) })
	}
}

func TestBid_RandomAgainstSpecTypes(t *testing.T) {
	r := newRandom()
	for range 60 {
		for _, fork := range forks {
			ssz, err := r.bid(fork).MarshalSSZ()
			if err != nil {
				t.Fatal(err)
			}
			checkBid(t, fork, nil, ssz)
		}
	}
}

// A recorded relay writes null for lists of no elements; they go on as [].
func TestBid_NullLists(t *testing.T) {
	body := vector(t, "prysm/electra_bid.json")
	if !bytes.Contains(body, []byte(`"deposits":null`)) {
		t.Fatal("the vector holds no null")
	}
	b := mustBid(t, chain.Electra, JSON, body)
	got := b.Encode(JSON)
	sameJSON(t, got, bytes.ReplaceAll(body, []byte("null"), []byte("[]")))
	if mustBid(t, chain.Electra, JSON, got).Root() != b.Root() {
		t.Error("another root")
	}
	var env struct{ Data json.RawMessage }
	spec := newSpecBid(chain.Electra)
	if err := errors.Join(json.Unmarshal(body, &env), spec.UnmarshalJSON(env.Data)); err != nil {
		t.Fatal(err)
	}
	if got, want := b.Root(), specBidRoot(t, spec); [32]byte(got) != want {
		t.Errorf("root: got %x, want %x", got, want)
	}
}

func TestBid_FieldOrderAndUnknownMembers(t *testing.T) {
	body := vector(t, "builder-specs/fulu_bid.json")
	want := mustBid(t, chain.Fulu, JSON, body).Encode(SSZ)
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	data := v["data"].(map[string]any)
	data["proofs"] = map[string]any{"a\"\\\u2028": []any{1.5e-7, nil, true, []any{}, map[string]any{}}}
	data["message"].(map[string]any)["more"] = "é\n\U0001F600"
	v["zzz"] = false
	sorted, _ := json.MarshalIndent(v, " ", "\t") // maps come out sorted, so in another order
	b := mustBid(t, chain.Fulu, JSON, sorted)
	if !bytes.Equal(b.Encode(SSZ), want) || !bytes.Equal(b.Encode(JSON), sorted) {
		t.Error("another bid")
	}
	upper := bytes.ReplaceAll(body, []byte("abcf8e0d"), []byte("ABCF8E0D"))
	if got := mustBid(t, chain.Fulu, JSON, upper).Encode(SSZ); !bytes.Equal(got, want) {
		t.Error("upper-case hex gives another bid")
	}
}

// old → new in a valid bid, and the fault that must come of it.
func TestBid_RejectsJSON(t *testing.T) {
	body := string(vector(t, "commit-boost/fulu_bid.json"))
	deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
	tests := []struct {
		name, old, new string
		want           error
	}{
		{"empty", body, "", ErrDecode},
		{"null", body, "null", ErrDecode},
		{"array", body, "[" + body + "]", ErrDecode},
		{"bom", body, "\ufeff" + body, ErrDecode},
		{"truncated", body, body[:len(body)-2], ErrDecode},
		{"trailing", body, body + "{}", ErrDecode},
		{"trailing comma", `"version": "fulu",`, `"version": "fulu",,`, ErrDecode},
		{"no version", `"version": "fulu",`, ``, ErrFork},
		{"other version", `"fulu"`, `"electra"`, ErrFork},
		{"version in capitals", `"fulu"`, `"Fulu"`, ErrFork},
		{"escaped version", `"fulu"`, `"\u0066ulu"`, ErrDecode},
		{"version is a number", `"fulu"`, `5`, ErrDecode},
		{"version twice", `"version": "fulu",`, `"version": "fulu", "version": "fulu",`, ErrDecode},
		{"value twice", `"value": "1234567890"`, `"value": "1234567890", "value": "1"`, ErrDecode},
		{"key with an escape", `"value": "1234567890"`, `"value": "1234567890", "\u0076alue": "1"`, ErrDecode},
		{"key in another case", `"value": "1234567890"`, `"value": "1234567890", "Value": "1"`, ErrDecode},
		{"key with a Kelvin sign", `"value": "1234567890"`, "\"value\": \"1234567890\", \"pub\u212aey\": \"1\"", ErrDecode},
		{"value missing", `"value": "1234567890",`, ``, ErrDecode},
		{"value unquoted", `"1234567890"`, `1234567890`, ErrDecode},
		{"value null", `"1234567890"`, `null`, ErrDecode},
		{"value empty", `"1234567890"`, `""`, ErrDecode},
		{"value negative", `"1234567890"`, `"-1"`, ErrDecode},
		{"value signed", `"1234567890"`, `"+1"`, ErrDecode},
		{"value with zeros", `"1234567890"`, `"01"`, ErrDecode},
		{"value in hex", `"1234567890"`, `"0x1"`, ErrDecode},
		{"value exponent", `"1234567890"`, `"1e400"`, ErrDecode},
		{"value 2^256", `"1234567890"`, `"115792089237316195423570985008687907853269984665640564039457584007913129639936"`, ErrDecode},
		{"value of 79 digits", `"1234567890"`, `"1` + strings.Repeat("0", 78) + `"`, ErrDecode},
		{"uint64 2^64", `"1598034"`, `"18446744073709551616"`, ErrDecode},
		{"uint64 of 20 nines", `"1598034"`, `"99999999999999999999"`, ErrDecode},
		{"hex without 0x", `"0x477cc10a5b`, `"00477cc10a5b`, ErrDecode},
		{"hex with 0X", `"0x477cc10a5b`, `"0X477cc10a5b`, ErrDecode},
		{"hex short", `"0x477cc10a5b`, `"0x7cc10a5b`, ErrDecode},
		{"hex long", `"0x477cc10a5b`, `"0x00477cc10a5b`, ErrDecode},
		{"hex odd", `"0x477cc10a5b`, `"0x77cc10a5b`, ErrDecode},
		{"not hex", `"0x477cc10a5b`, `"0x477cc10a5g`, ErrDecode},
		{"extra data of 33 bytes", `"extra_data": "0x`, `"extra_data": "0x` + strings.Repeat("00", 33), ErrDecode},
		{"NaN", `{`, `{"x": NaN,`, ErrDecode},
		{"leading zero skipped", `{`, `{"x": 01,`, ErrDecode},
		{"lone dot skipped", `{`, `{"x": 1.,`, ErrDecode},
		{"lone surrogate", `{`, `{"x": "\ud800",`, ErrDecode},
		{"surrogate without a backslash", `{`, `{"x": "\ud800udc00",`, ErrDecode},
		{"low surrogate", `{`, `{"x": "\udc00",`, ErrDecode},
		{"unknown escape", `{`, `{"x": "\x",`, ErrDecode},
		{"control character", `{`, "{\"x\": \"\n\",", ErrDecode},
		{"not UTF-8", `{`, "{\"x\": \"\xff\",", ErrDecode},
		{"too deep", `{`, `{"x": ` + deep + `,`, ErrDecode},
		{"crossed brackets", `{`, `{"x": [{]},`, ErrDecode},
		{"bare word", `{`, `{"x": nul,`, ErrDecode},
		{"data null", `"data": {`, `"data": null, "more": {`, ErrDecode},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(body, tt.old, tt.new, 1)
			if changed == body {
				t.Fatal("nothing changed")
			}
			_, err := DecodeBid(chain.Fulu, JSON, []byte(changed))
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if len(err.Error()) > 300 {
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := DecodeBid(chain.Fulu, JSON, []byte(strings.Replace(body, `{`, `{"x": `+deep[1:129]+`,`, 1))); err != nil {
		t.Errorf("64 levels: %v", err)
	}
	if _, err := DecodeBid(chain.Capella, JSON, []byte(body)); !errors.Is(err, ErrFork) {
		t.Errorf("capella: got %v, want %v", err, ErrFork)
	}
}

func TestBid_NamesTheField(t *testing.T) {
	body := strings.Replace(string(vector(t, "commit-boost/fulu_bid.json")), `"30000000"`, `30000000`, 1)
	_, err := DecodeBid(chain.Fulu, JSON, []byte(body))
	if err == nil || !strings.Contains(err.Error(), "gas_limit") {
		t.Errorf("got %v, want gas_limit in it", err)
	}
}

func TestEncoding(t *testing.T) {
	for enc, want := range map[Encoding][2]string{
		JSON: {"json", "application/json"}, SSZ: {"ssz", "application/octet-stream"},
	} {
		if got := [2]string{enc.String(), enc.ContentType()}; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestBid_TooManyCommitments(t *testing.T) {
	list := `["0x` + strings.Repeat("00", 48) + `"` + strings.Repeat(`,"0x`+strings.Repeat("00", 48)+`"`, 4096) + `]`
	body := strings.Replace(string(vector(t, "prysm/electra_bid.json")), `"blob_kzg_commitments":[]`, `"blob_kzg_commitments":`+list, 1)
	if _, err := DecodeBid(chain.Electra, JSON, []byte(body)); !errors.Is(err, ErrDecode) {
		t.Errorf("4,097 commitments: got %v, want %v", err, ErrDecode)
	}
	b := NewBid(chain.Fulu, Header{}, newRandom().commitments(4097), nil, *newRandom().wide(), [48]byte{})
	if _, err := DecodeBid(chain.Fulu, SSZ, b.Encode(SSZ)); !errors.Is(err, ErrDecode) {
		t.Errorf("4,097 commitments in SSZ: got %v, want %v", err, ErrDecode)
	}
	b.Commitments = b.Commitments[1:]
	if _, err := DecodeBid(chain.Fulu, SSZ, b.Encode(SSZ)); err != nil {
		t.Errorf("4,096 commitments: %v", err)
	}
}

func TestBid_RejectsSSZ(t *testing.T) {
	body := vector(t, "builder-specs/fulu_bid.ssz")
	for n := range body {
		if n == len(body)-consolidationShape.size {
			continue // the same bid without its last request
		}
		if _, err := DecodeBid(chain.Fulu, SSZ, body[:n]); !errors.Is(err, ErrDecode) {
			t.Fatalf("%d bytes: got %v, want %v", n, err, ErrDecode)
		}
	}
	if _, err := DecodeBid(chain.Fulu, SSZ, append(bytes.Clone(body), 0)); !errors.Is(err, ErrDecode) {
		t.Errorf("a byte more: got %v, want %v", err, ErrDecode)
	}
	// Every offset: the message; header, commitments, requests; extra data; the three lists.
	requests := 100 + int(binary.LittleEndian.Uint32(body[108:]))
	for _, at := range []int{0, 100, 104, 108, 192 + 436, requests, requests + 4, requests + 8} {
		good := binary.LittleEndian.Uint32(body[at:])
		for _, bad := range []uint32{0, good - 1, good + 1, good + 48, good - 48, uint32(len(body)), 1 << 31, ^uint32(0)} {
			changed := bytes.Clone(body)
			binary.LittleEndian.PutUint32(changed[at:], bad)
			if b, err := DecodeBid(chain.Fulu, SSZ, changed); err == nil && !bytes.Equal(b.marshal(), changed) {
				t.Errorf("offset at %d set to %d is let pass", at, bad)
			}
		}
	}
	if _, err := DecodeBid(chain.Deneb, SSZ, body); !errors.Is(err, ErrDecode) {
		t.Errorf("as deneb: got %v, want %v", err, ErrDecode)
	}
}

// Fields set by hand may be wrong; nothing may panic.
func TestBid_HandMadeRubbish(t *testing.T) {
	b := NewBid(chain.Fulu, Header{ExtraData: make([]byte, 40)}, nil, []byte{1, 2, 3}, *newRandom().wide(), [48]byte{})
	_, _, _ = b.Root(), b.Encode(JSON), b.Encode(SSZ)
}

func FuzzDecodeBid(f *testing.F) {
	for _, v := range bidVectors(f) {
		if v.json != nil {
			f.Add(uint8(v.fork), false, v.json)
		}
		if v.ssz != nil {
			f.Add(uint8(v.fork), true, v.ssz)
		}
	}
	f.Add(uint8(chain.Electra), false, vector(f, "prysm/electra_bid.json"))
	f.Fuzz(func(t *testing.T, fork uint8, ssz bool, body []byte) {
		enc := JSON
		if ssz {
			enc = SSZ
		}
		b, err := DecodeBid(chain.Fork(fork), enc, body)
		if err != nil {
			if !errors.Is(err, ErrDecode) && !errors.Is(err, ErrFork) {
				t.Fatalf("got %v", err)
			}
			return
		}
		spec := newSpecBid(b.Fork)
		if ssz {
			if got := b.marshal(); !bytes.Equal(got, body) {
				t.Fatalf("got %x, want %x", got, body)
			}
			err = spec.UnmarshalSSZ(body)
		} else {
			var env struct{ Data json.RawMessage }
			if err = json.Unmarshal(body, &env); err == nil {
				err = spec.UnmarshalJSON(env.Data)
			}
			if err != nil && bytes.Contains(body, []byte("null")) {
				return // the spec's types take a null list in fewer places
			}
		}
		if err != nil {
			t.Fatalf("the spec's types refuse %q: %v", body, err)
		}
		if got, want := b.Root(), specBidRoot(t, spec); [32]byte(got) != want {
			t.Fatalf("root: got %x, want %x", got, want)
		}
		if want, err := spec.MarshalSSZ(); err != nil || !bytes.Equal(b.marshal(), want) {
			t.Fatalf("got %x, want %x, %v", b.marshal(), want, err)
		}
		if got := mustBid(t, b.Fork, JSON, b.marshalJSON()); !bytes.Equal(got.marshal(), b.marshal()) {
			t.Fatalf("JSON and back: got %x, want %x", got.marshal(), b.marshal())
		}
	})
}
