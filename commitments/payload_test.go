package commitments

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestInclusion(t *testing.T) {
	got := keccak(EncodeInclusion(12345, nil))
	if want := root(t, "0ccee42883ae08bce4f8725891b2e9cc65a260876b55b23d4b7d94d60fad8211"); got != want {
		t.Errorf("vector: got %x, want %s", got, want)
	}
	for _, n := range []int{0, 1, 31, 32, 33, 109, 131072} {
		tx := bytes.Repeat([]byte{0xfe}, n)
		payload := EncodeInclusion(1<<64-1, tx)
		slot, got, err := DecodeInclusion(payload)
		if err != nil || slot != 1<<64-1 || !bytes.Equal(got, tx) {
			t.Errorf("%d bytes: got slot %d, %d bytes, %v", n, slot, len(got), err)
		}
	}
}

func TestDecodeInclusion_Refuses(t *testing.T) {
	good := EncodeInclusion(7, []byte{1, 2, 3})
	at := func(i int, b byte) []byte {
		p := slices.Clone(good)
		p[i] = b
		return p
	}
	for name, c := range map[string]struct {
		payload []byte
		want    error
	}{
		"empty":             {nil, ErrEncoding},
		"JSON":              {[]byte(`{"tx_data":"0x","slot":1}`), ErrJSONPayload},
		"half a word less":  {good[:len(good)-16], ErrEncoding},
		"a word less":       {good[:len(good)-32], ErrEncoding},
		"a word more":       {append(slices.Clone(good), make([]byte, 32)...), ErrEncoding},
		"other head":        {at(31, 0x40), ErrEncoding},
		"other offset":      {at(95, 0x60), ErrEncoding},
		"slot of 65 bits":   {at(32+23, 1), ErrEncoding},
		"length of 65 bits": {at(96+23, 1), ErrEncoding},
		"length too large":  {at(127, 33), ErrEncoding},
		"length 2^63":       {at(96+24, 0x80), ErrEncoding},
		"length too small":  {at(127, 0), ErrEncoding},
		"dirty padding":     {at(len(good)-1, 1), ErrEncoding},
		"too long":          {EncodeInclusion(1, make([]byte, MaxPayload)), ErrEncoding},
	} {
		if _, _, err := DecodeInclusion(c.payload); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

// TestProvableInclusion: the words are those of Solidity's abi.encode of three
// values, without the offset that a struct would have in front.
func TestProvableInclusion(t *testing.T) {
	word := func(digits string) string { return strings.Repeat("0", 64-len(digits)) + digits }
	want := unhex(t, word("3039")+word("11d7")+word("60")+word("3")+"02c0ff"+strings.Repeat("00", 29))
	if got := EncodeProvableInclusion(12345, 4567, []byte{2, 0xc0, 0xff}); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	for _, n := range []int{0, 1, 31, 32, 33, 109, 131072} {
		tx := bytes.Repeat([]byte{0xfe}, n)
		slot, proposer, got, err := DecodeProvableInclusion(EncodeProvableInclusion(1<<64-1, 1<<64-2, tx))
		if err != nil || slot != 1<<64-1 || proposer != 1<<64-2 || !bytes.Equal(got, tx) {
			t.Errorf("%d bytes: got slot %d of %d, %d bytes, %v", n, slot, proposer, len(got), err)
		}
	}
	good := EncodeProvableInclusion(7, 9, []byte{1, 2, 3})
	at := func(i int, b byte) []byte {
		p := slices.Clone(good)
		p[i] = b
		return p
	}
	for name, payload := range map[string][]byte{
		"a struct":            append(slices.Clone(EncodeInclusion(7, nil)[:32]), good...),
		"fabric's":            EncodeInclusion(7, []byte{1, 2, 3}),
		"a word less":         good[:len(good)-32],
		"a word more":         append(slices.Clone(good), make([]byte, 32)...),
		"other offset":        at(95, 0x40),
		"proposer of 65 bits": at(32+23, 1),
		"dirty padding":       at(len(good)-1, 1),
	} {
		if _, _, _, err := DecodeProvableInclusion(payload); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, _, err := DecodeInclusion(payload); err == nil && name != "fabric's" {
			t.Errorf("%s: it is a payload of type 1", name)
		}
	}
}

func FuzzDecodeInclusion(f *testing.F) {
	f.Add(EncodeInclusion(12345, nil))
	f.Add(EncodeInclusion(1, bytes.Repeat([]byte{2}, 109)))
	f.Add([]byte(`{"slot":1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		slot, tx, err := DecodeInclusion(payload)
		if err == nil && !bytes.Equal(EncodeInclusion(slot, tx), payload) {
			t.Fatalf("%x is not canonical", payload)
		}
	})
}

func proof(t testing.TB) InclusionProof {
	txs := randomTxs(130)
	return InclusionProof{
		HeaderRLP: bytes.Repeat([]byte{0xf9}, 640), Index: 129,
		Nodes:  [][]byte{bytes.Repeat([]byte{1}, 532), bytes.Repeat([]byte{2}, 56), {3}},
		Branch: ProveTransaction(txs, 129),
	}
}

func TestInclusionProof(t *testing.T) {
	for _, index := range []uint64{0, 1, 127, 128, 255, 256, 1<<20 - 1} {
		want := proof(t)
		want.Index = index
		payload, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeInclusionProof(payload)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("index %d: got %+v, %v", index, got, err)
		}
		for n := range payload {
			if _, err := DecodeInclusionProof(payload[:n]); !errors.Is(err, ErrProof) {
				t.Fatalf("%d of %d bytes: got %v", n, len(payload), err)
			}
		}
		if _, err := DecodeInclusionProof(append(payload, 0)); !errors.Is(err, ErrProof) {
			t.Errorf("a byte too many: got %v", err)
		}
	}
}

func TestInclusionProof_Limits(t *testing.T) {
	for name, spoil := range map[string]func(*InclusionProof){
		"no header":        func(p *InclusionProof) { p.HeaderRLP = nil },
		"long header":      func(p *InclusionProof) { p.HeaderRLP = make([]byte, maxHeaderRLP+1) },
		"index":            func(p *InclusionProof) { p.Index = 1 << 20 },
		"no nodes":         func(p *InclusionProof) { p.Nodes = nil },
		"many nodes":       func(p *InclusionProof) { p.Nodes = make([][]byte, maxNodes+1) },
		"branch of 20":     func(p *InclusionProof) { p.Branch = p.Branch[:20] },
		"branch of 22":     func(p *InclusionProof) { p.Branch = append(p.Branch, make([]byte, 32)) },
		"sibling of 31":    func(p *InclusionProof) { p.Branch[0] = p.Branch[0][:31] },
		"more than a MaxP": func(p *InclusionProof) { p.Nodes[0] = make([]byte, MaxProof) },
	} {
		p := proof(t)
		spoil(&p)
		if _, err := p.Encode(); !errors.Is(err, ErrProof) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestDecodeInclusionProof_OneEncoding spoils the RLP of a good payload.
func TestDecodeInclusionProof_OneEncoding(t *testing.T) {
	p := proof(t)
	var nodes, branch []byte
	for _, n := range p.Nodes {
		nodes = rlpBytes(nodes, n)
	}
	for _, s := range p.Branch {
		branch = rlpBytes(branch, s)
	}
	build := func(version byte, index, nodes, tail []byte) []byte {
		items := append(rlpBytes(nil, p.HeaderRLP), index...)
		items = rlpList(append(rlpList(items, nodes), tail...), branch)
		return rlpList([]byte{version}, items)
	}
	if _, err := DecodeInclusionProof(build(1, []byte{5}, nodes, nil)); err != nil {
		t.Fatal(err)
	}
	for name, payload := range map[string][]byte{
		"version 0":             build(0, []byte{5}, nodes, nil),
		"version 2":             build(2, []byte{5}, nodes, nil),
		"index zero as a byte":  build(1, []byte{0}, nodes, nil),
		"index with zeros":      build(1, []byte{0x82, 0, 5}, nodes, nil),
		"index as long string":  build(1, []byte{0x81, 5}, nodes, nil),
		"index of 9 bytes":      build(1, []byte{0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1}, nodes, nil),
		"index is a list":       build(1, []byte{0xc0}, nodes, nil),
		"node with long length": build(1, []byte{5}, []byte{0xb8, 1, 0x80}, nil),
		"node, zero in length":  build(1, []byte{5}, append([]byte{0xb9, 0, 60}, make([]byte, 60)...), nil),
		"node of 2^64 bytes":    build(1, []byte{5}, []byte{0xbf, 255, 255, 255, 255, 255, 255, 255, 255}, nil),
		"node is a list":        build(1, []byte{5}, []byte{0xc1, 1}, nil),
		"another item":          build(1, []byte{5}, nodes, []byte{0x80}),
		"nothing":               {1},
		"a string":              {1, 0x80},
	} {
		if _, err := DecodeInclusionProof(payload); !errors.Is(err, ErrProof) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzDecodeInclusionProof(f *testing.F) {
	payload, err := proof(f).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(payload)
	f.Fuzz(func(t *testing.T, payload []byte) {
		p, err := DecodeInclusionProof(payload)
		if err != nil {
			return
		}
		if again, err := p.Encode(); err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("%x became %x, %v", payload, again, err)
		}
	})
}
