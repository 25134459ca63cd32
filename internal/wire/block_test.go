package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	apideneb "github.com/attestantio/go-eth2-client/api/v1/deneb"
	apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

type blockVector struct {
	name      string
	fork      chain.Fork
	json, ssz string // files; "" if only published in the other encoding
	slot      phase0.Slot
	blobs     int
}

var blockVectors = []blockVector{
	{"builder-specs deneb", chain.Deneb, "builder-specs/deneb_block.json", "builder-specs/deneb_block.ssz", 1, 1},
	{"builder-specs electra", chain.Electra, "builder-specs/electra_block.json", "builder-specs/electra_block.ssz", 1, 1},
	{"builder-specs fulu", chain.Fulu, "builder-specs/fulu_block.json", "builder-specs/fulu_block.ssz", 1, 1},
	{"commit-boost", chain.Electra, "commit-boost/block.json", "", 252288, 0},
	{"commit-boost 2", chain.Electra, "commit-boost/block2.json", "commit-boost/block2.ssz", 252288, 1},
	{"commit-boost holesky", chain.Electra, "commit-boost/block_holesky.json", "", 1714953, 6},
	{"prysm electra", chain.Electra, "prysm/electra_block.json", "", 2, 0},
	{"prysm fulu", chain.Fulu, "prysm/fulu_block.json", "prysm/fulu_block.ssz", 2, 0},
}

func mustBlock(tb testing.TB, fork chain.Fork, enc Encoding, body []byte) *BlindedBlock {
	tb.Helper()
	b, err := DecodeBlindedBlock(fork, enc, body)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// checkBlock compares what was read of a block with the spec's types.
func checkBlock(t *testing.T, b *BlindedBlock) {
	t.Helper()
	spec, err := b.specBlock()
	if err != nil {
		t.Fatal(err)
	}
	want := BlindedBlock{Fork: b.Fork, Encoding: b.Encoding, Body: b.Body}
	var root phase0.Root
	switch v := spec.(type) {
	case *apideneb.SignedBlindedBeaconBlock:
		h := v.Message.Body.ExecutionPayloadHeader
		want.Slot, want.ProposerIndex, want.Signature = v.Message.Slot, v.Message.ProposerIndex, v.Signature
		want.ParentHash, want.BlockHash, want.Commitments = h.ParentHash, h.BlockHash, v.Message.Body.BlobKZGCommitments
		root, err = v.Message.HashTreeRoot()
	case *apielectra.SignedBlindedBeaconBlock:
		h := v.Message.Body.ExecutionPayloadHeader
		want.Slot, want.ProposerIndex, want.Signature = v.Message.Slot, v.Message.ProposerIndex, v.Signature
		want.ParentHash, want.BlockHash, want.Commitments = h.ParentHash, h.BlockHash, v.Message.Body.BlobKZGCommitments
		root, err = v.Message.HashTreeRoot()
	}
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*b, want) {
		t.Errorf("got %v, want %v", b, want)
	}
	if got, err := b.Root(); err != nil || got != root {
		t.Errorf("root: got %v %v, want %v", got, err, root)
	}
	if slot, err := SlotOf(b.Encoding, b.Body); err != nil || slot != b.Slot {
		t.Errorf("slot: got %d %v, want %d", slot, err, b.Slot)
	}
}

func TestBlindedBlock_Vectors(t *testing.T) {
	for _, v := range blockVectors {
		t.Run(v.name, func(t *testing.T) {
			a := mustBlock(t, v.fork, JSON, vector(t, v.json))
			checkBlock(t, a)
			if a.Slot != v.slot || len(a.Commitments) != v.blobs {
				t.Errorf("got slot %d, %d blobs, want %d, %d", a.Slot, len(a.Commitments), v.slot, v.blobs)
			}
			ssz, err := a.Convert(SSZ)
			if err != nil {
				t.Fatal(err)
			}
			if v.ssz != "" && !bytes.Equal(ssz, vector(t, v.ssz)) {
				t.Errorf("got %x, want %s", ssz, v.ssz)
			}
			b := mustBlock(t, v.fork, SSZ, ssz)
			checkBlock(t, b)
			text, err := b.Convert(JSON)
			if err != nil {
				t.Fatal(err)
			}
			sameJSON(t, text, a.Body)
			if same, err := a.Convert(JSON); err != nil || &same[0] != &a.Body[0] {
				t.Errorf("the received bytes are not handed on: %v", err)
			}
		})
	}
}

// A beacon node may send members that nobody here knows.
func TestBlindedBlock_UnknownMembers(t *testing.T) {
	body := string(vector(t, "builder-specs/fulu_block.json"))
	want := mustBlock(t, chain.Fulu, JSON, []byte(body))
	changed := body
	for _, old := range []string{`{"message":`, `"slot":`, `"randao_reveal":`, `"parent_hash":`} {
		more := `"new_operation":[{"a":[1,-2.5e+3,"\"\\"]},null],`
		if old[0] == '{' {
			more, old = "{"+more, old[1:]
			changed = strings.Replace(changed, "{"+old, more+old, 1)
			continue
		}
		changed = strings.Replace(changed, old, more+old, 1)
	}
	got := mustBlock(t, chain.Fulu, JSON, []byte(changed))
	want.Body, got.Body = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if slot, err := SlotOf(JSON, []byte(changed)); err != nil || slot != 1 {
		t.Errorf("got %d, %v", slot, err)
	}
}

func TestBlindedBlock_RejectsJSON(t *testing.T) {
	body := string(vector(t, "builder-specs/electra_block.json"))
	tests := []struct{ name, old, new string }{
		{"empty", body, ""},
		{"truncated", body, body[:len(body)-1]},
		{"trailing", body, body + " 1"},
		{"slot unquoted", `"slot":"1"`, `"slot":1`},
		{"slot twice", `"slot":"1"`, `"slot":"1","slot":"1"`},
		{"no proposer", `"proposer_index":"1",`, ``},
		{"block hash short", `"block_hash":"0xcf8e0d4e9587369b2301d0790347320302cc0943d5a1884560367e8208d920f2","transactions_root"`,
			`"block_hash":"0x","transactions_root"`},
		{"malformed where nobody reads", `"attestations":[`, `"attestations":[,`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(body, tt.old, tt.new, 1)
			if changed == body {
				t.Fatal("nothing changed")
			}
			if _, err := DecodeBlindedBlock(chain.Electra, JSON, []byte(changed)); !errors.Is(err, ErrDecode) {
				t.Errorf("got %v, want %v", err, ErrDecode)
			}
		})
	}
	for _, bad := range []string{``, `{}`, `[]`, `{"message":{}}`, `{"message":{"slot":1}}`, `{"message":{"slot":"1`} {
		if _, err := SlotOf(JSON, []byte(bad)); !errors.Is(err, ErrDecode) {
			t.Errorf("%q: got %v, want %v", bad, err, ErrDecode)
		}
	}
}

func TestBlindedBlock_RejectsSSZ(t *testing.T) {
	body := vector(t, "builder-specs/electra_block.ssz")
	for n := range 100 + 84 + 396 + 584 {
		if _, err := DecodeBlindedBlock(chain.Electra, SSZ, body[:n]); !errors.Is(err, ErrDecode) {
			t.Fatalf("%d bytes: got %v, want %v", n, err, ErrDecode)
		}
	}
	inner := 184 // where the body begins
	for _, at := range []int{0, 180, inner + 200, inner + 216, inner + 380, inner + 388, inner + 392} {
		good := binary.LittleEndian.Uint32(body[at:])
		for _, bad := range []uint32{0, good - 1, good + 1, uint32(len(body)) + 1, ^uint32(0)} {
			changed := bytes.Clone(body)
			binary.LittleEndian.PutUint32(changed[at:], bad)
			b, err := DecodeBlindedBlock(chain.Electra, SSZ, changed)
			if err != nil {
				continue
			}
			if _, err := b.Convert(JSON); !errors.Is(err, ErrDecode) {
				t.Errorf("offset at %d set to %d is converted: %v", at, bad, err)
			}
		}
	}
	if _, err := SlotOf(SSZ, body[:180]); !errors.Is(err, ErrDecode) {
		t.Errorf("got %v, want %v", err, ErrDecode)
	}
	if _, err := DecodeBlindedBlock(chain.Bellatrix, SSZ, body); !errors.Is(err, ErrFork) {
		t.Errorf("got %v, want %v", err, ErrFork)
	}
}

func FuzzDecodeBlindedBlock(f *testing.F) {
	for _, v := range blockVectors {
		f.Add(uint8(v.fork), false, vector(f, v.json))
		if v.ssz != "" {
			f.Add(uint8(v.fork), true, vector(f, v.ssz))
		}
	}
	f.Fuzz(func(t *testing.T, fork uint8, ssz bool, body []byte) {
		enc, other := JSON, SSZ
		if ssz {
			enc, other = SSZ, JSON
		}
		slot, slotErr := SlotOf(enc, body)
		b, err := DecodeBlindedBlock(chain.Fork(fork), enc, body)
		if err != nil {
			if !errors.Is(err, ErrDecode) && !errors.Is(err, ErrFork) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if slotErr != nil || slot != b.Slot {
			t.Fatalf("slot: got %d %v, want %d", slot, slotErr, b.Slot)
		}
		if enc == JSON && !json.Valid(body) {
			t.Fatalf("not JSON, and let pass: %q", body)
		}
		converted, err := b.Convert(other)
		if err != nil {
			return // the spec's types read all of it, and are stricter where we do not look
		}
		c := mustBlock(t, b.Fork, other, converted)
		if c.Slot != b.Slot || c.BlockHash != b.BlockHash || c.ParentHash != b.ParentHash || c.Signature != b.Signature ||
			!reflect.DeepEqual(c.Commitments, b.Commitments) {
			t.Fatalf("got %v, want %v", c, b)
		}
		if again, err := c.Convert(enc); ssz && (err != nil || !bytes.Equal(again, body)) {
			t.Fatalf("SSZ to JSON to SSZ: %v, got %x, want %x", err, again, body)
		}
	})
}
