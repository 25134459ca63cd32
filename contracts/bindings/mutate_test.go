package bindings

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// TestMutations changes every byte of the calldata that proves F1, one at a
// time, and lets the contract accept none that says something else. What it
// may accept says the same in other bytes: Solidity does not read the padding
// behind a byte string. The fault's id is then the same too.
func TestMutations(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
	s := guilty()
	s.depth = 4
	e := s.tell(t)
	c := newCourt(t, false)
	want, _, why := c.absent(e)
	if why != "" {
		t.Fatal(why)
	}
	input := pack(t, c.verifier, "absent", manager, e.delegation, e.promise, e.proof)
	method := c.verifier.ABI.Methods["absent"]
	original, err := method.Inputs.Unpack(input[4:])
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- which bit flips
	same, tried := 0, 0
	for i := 4; i < len(input); i += step {
		for _, mask := range []byte{1 << random.IntN(8), 0xff} {
			tried++
			input[i] ^= mask
			out, _, err := c.call(stranger, c.at, input)
			if err == nil {
				got, err := method.Inputs.Unpack(input[4:])
				if err != nil || !reflect.DeepEqual(got, original) || c.fault("absent", out) != want {
					t.Errorf("byte %d xor %#x: accepted, %v", i, mask, err)
				}
				same++
			}
			input[i] ^= mask
		}
	}
	t.Logf("%d mutations of %d bytes: 0 that mean something else accepted, %d in unread padding", tried, len(input), same)
	if tried < 1000 {
		t.Errorf("only %d tried", tried)
	}
}

// TestMutations_double: the same for F2.
func TestMutations_double(t *testing.T) {
	a, b := guilty().tell(t), another().tell(t)
	c := newCourt(t, false)
	input := pack(t, c.verifier, "double", manager, a.delegation, a.promise, b.promise)
	method := c.verifier.ABI.Methods["double"]
	original, err := method.Inputs.Unpack(input[4:])
	if err != nil {
		t.Fatal(err)
	}
	for i := 4; i < len(input); i++ {
		input[i] ^= 0x11
		if _, _, err := c.call(stranger, c.at, input); err == nil {
			if got, err := method.Inputs.Unpack(input[4:]); err != nil || !reflect.DeepEqual(got, original) {
				t.Errorf("byte %d: accepted, %v", i, err)
			}
		}
		input[i] ^= 0x11
	}
}
