package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	apiv1 "github.com/attestantio/go-eth2-client/api/v1"
)

func mustRegistrations(tb testing.TB, enc Encoding, body []byte) []Registration {
	tb.Helper()
	rs, err := DecodeRegistrations(enc, body, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return rs
}

func TestRegistrations_Vectors(t *testing.T) {
	tests := []struct {
		name string
		enc  Encoding
		want int
	}{
		{"builder-specs/registrations.json", JSON, 1},
		{"builder-specs/registrations.ssz", SSZ, 1},
		{"commit-boost/registrations.json", JSON, 17},
		{"prysm/electra_registrations.json", JSON, 64},
		{"prysm/fulu_registrations.ssz", SSZ, 64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := vector(t, tt.name)
			rs := mustRegistrations(t, tt.enc, body)
			if len(rs) != tt.want {
				t.Fatalf("got %d, want %d", len(rs), tt.want)
			}
			joined := JoinRegistrations(tt.enc, rs)
			if tt.enc == SSZ && !bytes.Equal(joined, body) {
				t.Error("joined SSZ differs")
			}
			if tt.enc == JSON {
				sameJSON(t, joined, body)
			}
			for _, enc := range []Encoding{JSON, SSZ} {
				checkRegistrations(t, rs, enc, ConvertRegistrations(enc, rs))
			}
		})
	}
	a := mustRegistrations(t, JSON, vector(t, "builder-specs/registrations.json"))
	if got, want := ConvertRegistrations(SSZ, a), vector(t, "builder-specs/registrations.ssz"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// checkRegistrations reads body with our decoder and the spec's and compares with rs.
func checkRegistrations(t *testing.T, rs []Registration, enc Encoding, body []byte) {
	t.Helper()
	again := mustRegistrations(t, enc, body)
	if len(again) != len(rs) {
		t.Fatalf("got %d, want %d", len(again), len(rs))
	}
	for i := range rs {
		a, b := rs[i], again[i]
		spec := &apiv1.SignedValidatorRegistration{}
		unmarshal := spec.UnmarshalJSON
		if enc == SSZ {
			unmarshal = spec.UnmarshalSSZ
		}
		if err := unmarshal(b.Raw); err != nil {
			t.Fatal(err)
		}
		root, err := spec.Message.HashTreeRoot()
		if err != nil {
			t.Fatal(err)
		}
		if [32]byte(a.Root()) != root || b.Root() != a.Root() || spec.Signature != a.Signature {
			t.Errorf("%d: got root %s, want %x", i, a.Root(), root)
		}
		if a.Raw, b.Raw = nil, nil; a.fixed() != b.fixed() {
			t.Errorf("%d: got %v, want %v", i, b, a)
		}
	}
}

// The published root of the first registration. [Commit-Boost reference, group H]
func TestRegistration_Root(t *testing.T) {
	rs := mustRegistrations(t, JSON, vector(t, "commit-boost/registrations.json"))
	got, want := rs[0].Root(), "371090f99243e0dd39a9b6476e4e4499d503c2343375176bf53c06b015ce2e4f"
	if hex.EncodeToString(got[:]) != want {
		t.Errorf("got %x, want %s", got, want)
	}
}

func TestRegistrations_Empty(t *testing.T) {
	for _, tt := range []struct {
		enc  Encoding
		body string
	}{{JSON, "[]"}, {JSON, " [ ] "}, {SSZ, ""}} {
		if rs := mustRegistrations(t, tt.enc, []byte(tt.body)); len(rs) != 0 {
			t.Errorf("%q: got %d", tt.body, len(rs))
		}
	}
	if got := string(JoinRegistrations(JSON, nil)); got != "[]" {
		t.Errorf("got %q", got)
	}
}

func TestRegistrations_AppendAndAlias(t *testing.T) {
	body := vector(t, "prysm/electra_registrations.json")
	dst := make([]Registration, 1, 2)
	rs, err := DecodeRegistrations(JSON, body, dst)
	if err != nil || len(rs) != 65 {
		t.Fatalf("got %d, %v", len(rs), err)
	}
	if &rs[1].Raw[0] != &body[1] {
		t.Error("Raw is a copy")
	}
	bad := bytes.Replace(body, []byte(`"signature":"0x`), []byte(`"signature":"0y`), 1)
	if rs, err := DecodeRegistrations(JSON, bad, dst); !errors.Is(err, ErrDecode) || len(rs) != 1 {
		t.Errorf("got %d, %v, want what was there and %v", len(rs), err, ErrDecode)
	}
}

// An unknown field stays in the bytes that go on.
func TestRegistrations_UnknownFields(t *testing.T) {
	body := bytes.Replace(vector(t, "builder-specs/registrations.json"), []byte(`"gas_limit"`), []byte(`"x":[{}],"gas_limit"`), 1)
	rs := mustRegistrations(t, JSON, body)
	if got := JoinRegistrations(JSON, rs); !bytes.Equal(got, body) {
		t.Errorf("got %s, want %s", got, body)
	}
}

func TestRegistrations_Rejects(t *testing.T) {
	body := string(vector(t, "builder-specs/registrations.json"))
	tests := []struct{ name, old, new string }{
		{"empty", body, ""},
		{"null", body, "null"},
		{"object", body, body[1 : len(body)-1]},
		{"open", body, body[:len(body)-1]},
		{"trailing", body, body + "]"},
		{"trailing comma", "}]", "},]"},
		{"null element", body, "[null]"},
		{"number element", body, "[1]"},
		{"gas limit unquoted", `"gas_limit":"100"`, `"gas_limit":100`},
		{"gas limit twice", `"gas_limit":"100"`, `"gas_limit":"100","gas_limit":"100"`},
		{"gas limit missing", `"gas_limit":"100",`, ``},
		{"gas limit over 64 bits", `"gas_limit":"100"`, `"gas_limit":"18446744073709551616"`},
		{"message twice", `[{`, `[{"message":{},`},
		{"short key", `"pubkey":"0x00`, `"pubkey":"0x`},
		{"separator missing", `,"signature"`, `"signature"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(body, tt.old, tt.new, 1)
			if changed == body {
				t.Fatal("nothing changed")
			}
			if _, err := DecodeRegistrations(JSON, []byte(changed), nil); !errors.Is(err, ErrDecode) {
				t.Errorf("got %v, want %v", err, ErrDecode)
			}
		})
	}
	for _, n := range []int{1, 179, 181} {
		if _, err := DecodeRegistrations(SSZ, make([]byte, n), nil); !errors.Is(err, ErrDecode) {
			t.Errorf("%d bytes of SSZ: got %v, want %v", n, err, ErrDecode)
		}
	}
}

func FuzzDecodeRegistrations(f *testing.F) {
	for _, name := range []string{"builder-specs/registrations.json", "commit-boost/registrations.json"} {
		f.Add(false, vector(f, name))
	}
	f.Add(true, vector(f, "builder-specs/registrations.ssz"))
	f.Add(false, []byte(`[{"message":{},"signature":null}]`))
	f.Fuzz(func(t *testing.T, ssz bool, body []byte) {
		enc := JSON
		if ssz {
			enc = SSZ
		}
		rs, err := DecodeRegistrations(enc, body, nil)
		if err != nil {
			if !errors.Is(err, ErrDecode) {
				t.Fatalf("got %v, want %v", err, ErrDecode)
			}
			return
		}
		if ssz {
			if got := ConvertRegistrations(SSZ, rs); !bytes.Equal(got, body) {
				t.Fatalf("got %x, want %x", got, body)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("not JSON, and let pass: %q", body)
		}
		checkRegistrations(t, rs, JSON, JoinRegistrations(JSON, rs))
	})
}
