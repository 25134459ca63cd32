package commitments

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"reflect"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// TestSignedCommitment_SignatureForms: hex with any v, and the object alloy writes
// for fabric, are one signature.
func TestSignedCommitment_SignatureForms(t *testing.T) {
	r, s := strings.Repeat("0a", 31)+"ff", "0"+strings.Repeat("b", 63)
	short := strings.TrimLeft(s, "0")
	for name, c := range map[string]struct{ text, want string }{
		"hex, v 27":         {`"0x` + r + s + `1b"`, r + s + "1b"},
		"hex, v 28":         {`"0x` + r + s + `1c"`, r + s + "1c"},
		"hex, v 0":          {`"0x` + r + s + `00"`, r + s + "1b"},
		"hex, v 1":          {`"0x` + r + s + `01"`, r + s + "1c"},
		"alloy, odd":        {`{"r":"0x` + r + `","s":"0x` + short + `","yParity":"0x0","v":"0x0"}`, r + s + "1b"},
		"alloy, even":       {`{"r":"0x` + r + `","s":"0x` + s + `","yParity":"0x1","v":"0x1"}`, r + s + "1c"},
		"alloy, parity":     {`{"r":"0x` + r + `","s":"0x` + s + `","yParity":"0x1"}`, r + s + "1c"},
		"alloy, legacy v":   {`{"r":"0x` + r + `","s":"0x` + s + `","v":"0x1c"}`, r + s + "1c"},
		"alloy, both":       {`{"r":"0x` + r + `","s":"0x` + s + `","yParity":"0x1","v":"0x1c"}`, r + s + "1c"},
		"refused v":         {`"0x` + r + s + `02"`, ""},
		"refused length":    {`"0x` + r + s + `"`, ""},
		"refused number":    {`5`, ""},
		"refused list":      {`[]`, ""},
		"alloy, no r":       {`{"s":"0x` + s + `","yParity":"0x1"}`, ""},
		"alloy, no v":       {`{"r":"0x` + r + `","s":"0x` + s + `"}`, ""},
		"alloy, v differs":  {`{"r":"0x` + r + `","s":"0x` + s + `","yParity":"0x1","v":"0x1b"}`, ""},
		"alloy, v 2":        {`{"r":"0x` + r + `","s":"0x` + s + `","v":"0x2"}`, ""},
		"alloy, parity 27":  {`{"r":"0x` + r + `","s":"0x` + s + `","yParity":"0x1b"}`, ""},
		"alloy, r too long": {`{"r":"0x01` + r + `","s":"0x` + s + `","yParity":"0x1"}`, ""},
		"alloy, r no hex":   {`{"r":"0xzz","s":"0x` + s + `","yParity":"0x1"}`, ""},
		"alloy, r decimal":  {`{"r":"12","s":"0x` + s + `","yParity":"0x1"}`, ""},
	} {
		text := fmt.Sprintf(`{"commitment":{"commitment_type":1,"payload":"0x","request_hash":"%s","slasher":"%s"},"nonce":1,"signing_id":"%s","signature":%s}`,
			hexDigits("00", 32), hexDigits("00", 20), hexDigits("02", 32), c.text)
		var got SignedCommitment
		err := json.Unmarshal([]byte(text), &got)
		if c.want == "" {
			if !errors.Is(err, ErrEncoding) {
				t.Errorf("%s: got %v", name, err)
			}
			continue
		}
		if want := unhex(t, c.want); err != nil || !reflect.DeepEqual(got.Signature, want) {
			t.Errorf("%s: got %x, %v", name, got.Signature, err)
		}
	}
}

func TestSignedCommitment_RefusesProxies(t *testing.T) {
	good := string(samplesText(t, "SignedCommitment"))
	for name, c := range map[string][2]string{
		"short signature": {hexDigits("05", 96), hexDigits("05", 95)},
		"zero signature":  {hexDigits("05", 96), hexDigits("00", 96)},
		"short sibling":   {hexDigits("08", 32), hexDigits("08", 31)},
		"negative nonce":  {`"proxy_nonce":3`, `"proxy_nonce":-3`},
		"long branch":     {`"proxy_branch":[`, `"proxy_branch":[` + strings.Repeat(`"`+hexDigits("07", 32)+`",`, MaxBranch-1)},
	} {
		text := strings.Replace(good, c[0], c[1], 1)
		if text == good {
			t.Fatalf("%s: nothing was replaced", name)
		}
		if err := json.Unmarshal([]byte(text), new(SignedCommitment)); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func samplesText(t *testing.T, name string) []byte {
	t.Helper()
	text, err := json.Marshal(samples(t)[name].value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestGroup: every branch leads its leaf to the root, is no longer than the tree
// is high, and leads no other leaf there.
func TestGroup(t *testing.T) {
	for n := 1; n <= 70; n++ {
		leaves := make([]phase0.Root, n)
		for i := range leaves {
			leaves[i] = keccak([]byte{byte(n), byte(i)})
		}
		root, branches := Group(leaves)
		for i, branch := range branches {
			if got := GroupRoot(leaves[i], branch); got != root {
				t.Fatalf("%d leaves: leaf %d comes to %s, want %s", n, i, got, root)
			}
			if len(branch) > bits.Len(uint(n-1)) {
				t.Errorf("%d leaves: leaf %d has a branch of %d", n, i, len(branch))
			}
			if other := leaves[(i+1)%n]; n > 2 && GroupRoot(other, branch) == root {
				t.Errorf("%d leaves: leaf %d's branch fits another", n, i)
			}
		}
		if n == 1 && (root != leaves[0] || len(branches[0]) != 0) {
			t.Error("a group of one is not its leaf")
		}
	}
}

// TestGroup_Shape pins the tree of five: ((0 1) (2 3)) 4.
func TestGroup_Shape(t *testing.T) {
	l := []phase0.Root{repeat(5), repeat(4), repeat(3), repeat(2), repeat(1)}
	root, branches := Group(l)
	left, right := groupPair(l[0], l[1]), groupPair(l[2], l[3])
	four := groupPair(left, right)
	if want := groupPair(four, l[4]); root != want {
		t.Errorf("root: got %s, want %s", root, want)
	}
	want := [][]phase0.Root{{l[1], right, l[4]}, {l[0], right, l[4]}, {l[3], left, l[4]}, {l[2], left, l[4]}, {four}}
	if !reflect.DeepEqual(branches, want) {
		t.Errorf("branches: got %s, want %s", branches, want)
	}
}
