package commitments

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// TestWritten: every form is the same commitment when it is read, and looks as its
// readers want it; a BLS signature is the same in all.
func TestWritten(t *testing.T) {
	sig := append(append([]byte{0, 1}, make([]byte, 62)...), 28) // r begins with a zero byte, s is 0
	sig[63] = 0x0a
	s := SignedCommitment{
		Commitment: Commitment{Type: 1, Payload: []byte{7}}, Nonce: 9, SigningID: phase0.Root{2}, Signature: sig,
		Proxy: ProxySignature{Signature: phase0.BLSSignature{1}, Nonce: 3, Branch: []phase0.Root{{4}}},
	}
	plain, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for form, want := range map[SignatureForm]string{
		"": string(plain), FormV27: string(plain), FormV0: strings.Replace(string(plain), `1c","proxy`, `01","proxy`, 1),
		FormObject: `"signature":{"r":"0x1` + strings.Repeat("0", 60) + `","s":"0xa","yParity":"0x1","v":"0x1"}`,
	} {
		text, err := json.Marshal(Written{s, form})
		if err != nil || !strings.Contains(string(text), want) || strings.Count(string(text), `"signature"`) != 1 {
			t.Errorf("%s: %s, %v, want %s", form, text, err, want)
		}
		var got SignedCommitment
		if err := json.Unmarshal(text, &got); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%s: read %+v, %v", form, got, err)
		}
	}
	if s.Signature[64] != 28 {
		t.Error("writing changed the signature")
	}
	s.Signature = make([]byte, lenBLS)
	plain, _ = json.Marshal(s)
	for _, form := range []SignatureForm{FormV0, FormObject} {
		if text, err := json.Marshal(Written{s, form}); err != nil || string(text) != string(plain) {
			t.Errorf("BLS, %s: %s, %v", form, text, err)
		}
	}
}
