package commitments

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

func hexDigits(b string, n int) string { return "0x" + strings.Repeat(b, n) }

// samples are messages with the JSON fabric serves for them.
func samples(t testing.TB) map[string]struct {
	value any
	json  string
} {
	request := Request{Type: 1, Payload: []byte{0xab}}
	request.Slasher[19] = 1
	commitment := Commitment{Type: 1, Payload: []byte{0xab}, RequestHash: phase0.Hash32(repeat(7)), Slasher: request.Slasher}
	slasher := hexDigits("00", 19) + "01"
	commitmentText := `{"commitment_type":1,"payload":"0xab","request_hash":"` + hexDigits("07", 32) + `","slasher":"` + slasher + `"}`
	delegationText := `{"proposer":"` + proposerKey + `","delegate":"` + delegateKey + `","committer":"` + hexDigits("11", 20) +
		`","slot":5,"metadata":"0x736f6d652d6d657461646174612d68657265"}`
	messageText := `{"proposer":"` + proposerKey + `","delegate":"` + delegateKey + `","slot":67890,"constraints":[{"constraint_type":1,"payload":"0x0102"},` +
		`{"constraint_type":2,"payload":"0x0304"}],"receivers":["` + proposerKey + `"]}`
	signature := func(field, object, sig, more string) string {
		return `{"` + field + `":` + object + `,"nonce":18446744073709551615,"signing_id":"` + hexDigits("02", 32) + `","signature":"` + sig + `"` + more + `}`
	}
	sig, blsText := phase0.BLSSignature(bytes.Repeat([]byte{5}, 96)), hexDigits("05", 96)
	ecdsaText, branchText := hexDigits("06", 64)+"1c", `["`+hexDigits("08", 32)+`","`+hexDigits("09", 32)+`"]`
	proxyText := `,"proxy_signature":"` + blsText + `","proxy_nonce":3,"proxy_branch":` + branchText
	ours := SignedCommitment{
		Commitment: commitment, Nonce: 1<<64 - 1, SigningID: repeat(2), Signature: append(bytes.Repeat([]byte{6}, 64), 28),
		Proxy: ProxySignature{sig, 3, []phase0.Root{repeat(8), repeat(9)}},
	}
	alone := ours
	alone.Proxy.Branch = nil
	return map[string]struct {
		value any
		json  string
	}{
		"Request":                          {request, `{"commitment_type":1,"payload":"0xab","slasher":"` + slasher + `"}`},
		"Request, empty":                   {Request{Payload: []byte{}}, `{"commitment_type":0,"payload":"0x","slasher":"` + hexDigits("00", 20) + `"}`},
		"Commitment":                       {commitment, commitmentText},
		"SignedCommitment":                 {ours, signature("commitment", commitmentText, ecdsaText, proxyText)},
		"SignedCommitment, fabric's":       {SignedCommitment{Commitment: commitment, Nonce: 1<<64 - 1, SigningID: repeat(2), Signature: ours.Signature}, signature("commitment", commitmentText, ecdsaText, "")},
		"SignedCommitment, group of one":   {alone, signature("commitment", commitmentText, ecdsaText, strings.Replace(proxyText, branchText, "[]", 1))},
		"SignedCommitment, before proxies": {SignedCommitment{Commitment: commitment, Nonce: 1<<64 - 1, SigningID: repeat(2), Signature: sig[:]}, signature("commitment", commitmentText, hexDigits("05", 96), "")},
		"Constraint":                       {Constraint{1, []byte{1, 2}}, `{"constraint_type":1,"payload":"0x0102"}`},
		"Delegation":                       {delegation(t), delegationText},
		"SignedDelegation":                 {SignedDelegation{delegation(t), 1<<64 - 1, repeat(2), sig}, signature("message", delegationText, blsText, "")},
		"ConstraintsMessage":               {message4(t), messageText},
		"SignedConstraints":                {SignedConstraints{message4(t), 1<<64 - 1, repeat(2), sig}, signature("message", messageText, blsText, "")},
		"SlotInfoResponse":                 {SlotInfoResponse{[]SlotInfo{{9, []Offering{{1, []uint64{1}}}}}}, `{"slots":[{"slot":9,"offerings":[{"chain_id":1,"commitment_types":[1]}]}]}`},
		"SlotInfoResponse, 0":              {SlotInfoResponse{[]SlotInfo{}}, `{"slots":[]}`},
		"FeeInfo":                          {FeeInfo{1, []byte{0xff}}, `{"commitment_type":1,"payload":"0xff","fee_payload":"0xff"}`},
	}
}

func TestJSON(t *testing.T) {
	for name, c := range samples(t) {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(c.value)
			if err != nil || string(got) != c.json {
				t.Errorf("encoded:\n got %s, %v\nwant %s", got, err, c.json)
			}
			into := reflect.New(reflect.TypeOf(c.value))
			if err := json.Unmarshal([]byte(c.json), into.Interface()); err != nil {
				t.Fatal(err)
			}
			if got := into.Elem().Interface(); !reflect.DeepEqual(got, c.value) {
				t.Errorf("decoded:\n got %+v\nwant %+v", got, c.value)
			}
			more := strings.Replace(c.json, "{", `{"unknown":[{}],`, 1)
			if err := json.Unmarshal([]byte(more), into.Interface()); err != nil {
				t.Errorf("an unknown field: %v", err)
			}
		})
	}
}

// TestJSON_FieldsAreNeeded takes every field out in turn.
func TestJSON_FieldsAreNeeded(t *testing.T) {
	for name, c := range samples(t) {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(c.json), &fields); err != nil {
			t.Fatal(err)
		}
		for field, text := range fields {
			for _, without := range []func(){func() { delete(fields, field) }, func() { fields[field] = json.RawMessage("null") }} {
				without()
				text, _ := json.Marshal(fields)
				err := json.Unmarshal(text, reflect.New(reflect.TypeOf(c.value)).Interface())
				if ok := strings.HasSuffix(field, "payload") && name == "FeeInfo"; (err == nil) != ok {
					t.Errorf("%s without %s: got %v", name, field, err)
				}
				if err != nil && !errors.Is(err, ErrEncoding) {
					t.Errorf("%s without %s: %v has no name", name, field, err)
				}
			}
			fields[field] = text
		}
		if err := json.Unmarshal([]byte(`null`), reflect.New(reflect.TypeOf(c.value)).Interface()); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: null: got %v", name, err)
		}
	}
}

func TestJSON_Refuses(t *testing.T) {
	zero20 := hexDigits("00", 20)
	for name, c := range map[string]struct {
		into any
		text string
	}{
		"number as string":   {&Request{}, `{"commitment_type":"1","payload":"0x","slasher":"` + zero20 + `"}`},
		"negative number":    {&Request{}, `{"commitment_type":-1,"payload":"0x","slasher":"` + zero20 + `"}`},
		"fraction":           {&Request{}, `{"commitment_type":1.5,"payload":"0x","slasher":"` + zero20 + `"}`},
		"exponent":           {&Request{}, `{"commitment_type":1e3,"payload":"0x","slasher":"` + zero20 + `"}`},
		"beyond 64 bits":     {&Request{}, `{"commitment_type":18446744073709551616,"payload":"0x","slasher":"` + zero20 + `"}`},
		"payload without 0x": {&Request{}, `{"commitment_type":1,"payload":"ab","slasher":"` + zero20 + `"}`},
		"payload empty text": {&Request{}, `{"commitment_type":1,"payload":"","slasher":"` + zero20 + `"}`},
		"payload odd":        {&Request{}, `{"commitment_type":1,"payload":"0xabc","slasher":"` + zero20 + `"}`},
		"payload not hex":    {&Request{}, `{"commitment_type":1,"payload":"0xzz","slasher":"` + zero20 + `"}`},
		"payload bytes":      {&Request{}, `{"commitment_type":1,"payload":[1],"slasher":"` + zero20 + `"}`},
		"payload too long":   {&Request{}, `{"commitment_type":1,"payload":"` + hexDigits("00", MaxPayload+1) + `","slasher":"` + zero20 + `"}`},
		"slasher short":      {&Request{}, `{"commitment_type":1,"payload":"0x","slasher":"` + zero20[:40] + `"}`},
		"slasher long":       {&Request{}, `{"commitment_type":1,"payload":"0x","slasher":"` + zero20 + `00"}`},
		"array":              {&Request{}, `[]`},
		"number":             {&Request{}, `7`},
		"signature of 64": {&SignedCommitment{}, `{"commitment":{"commitment_type":1,"payload":"0x","request_hash":"` + hexDigits("00", 32) + `","slasher":"` + zero20 +
			`"},"nonce":1,"signing_id":"` + hexDigits("00", 32) + `","signature":"` + hexDigits("00", 64) + `"}`},
		"too many constraints": {&ConstraintsMessage{}, `{"proposer":"` + proposerKey + `","delegate":"` + proposerKey + `","slot":1,"receivers":[],"constraints":[` +
			strings.Repeat(`{"constraint_type":1,"payload":"0x"},`, MaxConstraints) + `{"constraint_type":1,"payload":"0x"}]}`},
		"two fees": {&FeeInfo{}, `{"commitment_type":1,"payload":"0x01","fee_payload":"0x02"}`},
	} {
		if err := json.Unmarshal([]byte(c.text), c.into); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: got %v", name, err)
		}
		if v := reflect.ValueOf(c.into).Elem(); !v.IsZero() {
			t.Errorf("%s: a refused message left %+v", name, v)
		}
	}
}

// FuzzJSON: what any decoder takes, its encoder writes in a form that decodes to the same.
func FuzzJSON(f *testing.F) {
	for _, c := range samples(f) {
		f.Add([]byte(c.json))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, into := range []any{
			&Request{}, &SignedCommitment{}, &SignedDelegation{}, &SignedConstraints{}, &SlotInfoResponse{}, &FeeInfo{},
			&Commitment{}, &Constraint{}, &Delegation{}, &ConstraintsMessage{},
		} {
			if json.Unmarshal(text, into) != nil {
				continue
			}
			again, err := json.Marshal(into)
			if err != nil {
				t.Fatal(err)
			}
			second := reflect.New(reflect.TypeOf(into).Elem()).Interface()
			if err := json.Unmarshal(again, second); err != nil {
				t.Fatalf("%T: %v: %s", into, err, again)
			}
			if third, _ := json.Marshal(second); !bytes.Equal(again, third) {
				t.Fatalf("%T: %s became %s", into, again, third)
			}
		}
	})
}
