package bindings

import (
	"bytes"
	"math/big"
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

// TestMutations_registry: the same for what UrcInclusionSlasher asks the verifier,
// which has no signatures: the registry checks those. So a change of the payload
// may name another promise, and has to fail on what the chain says of it.
func TestMutations_registry(t *testing.T) {
	e := guilty().tell(t)
	c := newCourt(t, false)
	if _, _, why := c.absent(e); why != "" { // the chain knows the child from here on
		t.Fatal(why)
	}
	input := pack(t, c.verifier, "absence", e.promise.Commitment.Payload, e.proof)
	want, _, err := c.call(stranger, c.at, input)
	if err != nil {
		t.Fatal(err)
	}
	method := c.verifier.ABI.Methods["absence"]
	original, err := method.Inputs.Unpack(input[4:])
	if err != nil {
		t.Fatal(err)
	}
	for i := 4; i < len(input); i++ {
		input[i] ^= 0x11
		if out, _, err := c.call(stranger, c.at, input); err == nil {
			if got, err := method.Inputs.Unpack(input[4:]); err != nil || !reflect.DeepEqual(got, original) || !bytes.Equal(out, want) {
				t.Errorf("byte %d: accepted, %v", i, err)
			}
		}
		input[i] ^= 0x11
	}
}

// TestMutations_possession: no byte of a key's proof that it joins an operator,
// nor of whom and where, can be another.
func TestMutations_possession(t *testing.T) {
	s := newService(t, false)
	input := pack(t, s.verifier, "registered", s.home, operator, s.registration(s.key(1), operator))
	yes := func() bool {
		out, _, err := s.call(stranger, s.at, input)
		return err == nil && new(big.Int).SetBytes(out).Sign() != 0
	}
	if !yes() {
		t.Fatal("the proof does not hold")
	}
	for i := 4; i < len(input); i++ {
		for _, mask := range []byte{0x01, 0x80, 0xff} {
			input[i] ^= mask
			if yes() {
				t.Errorf("byte %d xor %#x: accepted", i, mask)
			}
			input[i] ^= mask
		}
	}
	if !yes() {
		t.Error("the proof does not hold any more")
	}
}
