package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	builderdeneb "github.com/attestantio/go-builder-client/api/deneb"
	builderfulu "github.com/attestantio/go-builder-client/api/fulu"
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/capella"
	"github.com/attestantio/go-eth2-client/spec/deneb"

	"sidecar/chain"
)

// specPayload is an ExecutionPayloadAndBlobsBundle of the spec's types.
type specPayload interface {
	json.Marshaler
	json.Unmarshaler
	MarshalSSZ() ([]byte, error)
	UnmarshalSSZ([]byte) error
}

// newSpecPayload returns an empty payload: Electra has Deneb's, Fulu's has cell proofs.
func newSpecPayload(fork chain.Fork) specPayload {
	if fork == chain.Fulu {
		return &builderfulu.ExecutionPayloadAndBlobsBundle{}
	}
	return &builderdeneb.ExecutionPayloadAndBlobsBundle{}
}

func mustPayload(tb testing.TB, fork chain.Fork, enc Encoding, body []byte) *Payload {
	tb.Helper()
	p, err := DecodePayload(fork, enc, body)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func mustEncode(tb testing.TB, p *Payload, enc Encoding) []byte {
	tb.Helper()
	b, err := p.Encode(enc)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// same compares long bytes without printing them.
func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes %x, want %d bytes %x", what, len(got), sha256.Sum256(got), len(want), sha256.Sum256(want))
	}
}

func TestPayload_Vectors(t *testing.T) {
	electra, fulu := gunzip(t, "builder-specs/electra_payload.json.gz"), gunzip(t, "builder-specs/fulu_payload.json.gz")
	const first = "6b85c2acf1db6460dd4b70021599cdb2be9780217f0c71a114e6d34258b5d5ff"
	tests := []struct {
		name   string
		fork   chain.Fork
		body   []byte
		sha256 string // of the SSZ
		proofs int
	}{
		{"deneb", chain.Deneb, bytes.Replace(electra, []byte(`"electra"`), []byte(`"deneb"`), 1), first, 1},
		{"electra", chain.Electra, electra, first, 1},
		{"fulu", chain.Fulu, fulu, "51711d8b15d648ac6e1ab632c82916a76e8ed815f8db857491398b6a9ae592cb", 128},
		{"commit-boost", chain.Electra, versioned(chain.Electra, gunzip(t, "commit-boost/electra_payload.json.gz")), "", 1},
		{"prysm", chain.Electra, vector(t, "prysm/electra_payload.json"), "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := mustPayload(t, tt.fork, JSON, tt.body)
			ssz := mustEncode(t, a, SSZ)
			if sum := sha256.Sum256(ssz); tt.sha256 != "" && hex.EncodeToString(sum[:]) != tt.sha256 {
				t.Errorf("SSZ: got %x, want %s", sum, tt.sha256)
			}
			checkPayload(t, tt.fork, ssz, false)
			b := mustPayload(t, tt.fork, SSZ, ssz)
			sameJSON(t, mustEncode(t, b, JSON), tt.body)
			same(t, "received JSON", mustEncode(t, a, JSON), tt.body)
			same(t, "received SSZ", mustEncode(t, b, SSZ), ssz)
			if a.Proofs != tt.proofs || a.Blobs != len(a.Commitments) {
				t.Errorf("got %d proofs, %d blobs, want %d, %d", a.Proofs, a.Blobs, tt.proofs, len(a.Commitments))
			}
			if a.BlockHash != b.BlockHash || a.ParentHash != b.ParentHash || !reflect.DeepEqual(a.Commitments, b.Commitments) ||
				a.Proofs != b.Proofs || a.Blobs != b.Blobs {
				t.Errorf("got %v and %v", a, b)
			}
		})
	}
	p := mustPayload(t, chain.Electra, JSON, tests[3].body)
	same(t, "published SSZ", mustEncode(t, p, SSZ), unhexed(t, gunzip(t, "commit-boost/electra_payload.ssz.gz")))
}

// checkPayload holds the two conversions equal to the spec's types.
func checkPayload(t *testing.T, fork chain.Fork, ssz []byte, text bool) {
	t.Helper()
	spec := newSpecPayload(fork)
	if err := spec.UnmarshalSSZ(ssz); err != nil {
		t.Fatal(err)
	}
	p := mustPayload(t, fork, SSZ, ssz)
	out := mustEncode(t, p, JSON)
	if text { // slow on blobs
		data, err := spec.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, out, versioned(fork, data))
	}
	same(t, "JSON and back", mustEncode(t, mustPayload(t, fork, JSON, out), SSZ), ssz)
}

func (r random) payload(fork chain.Fork, blobs int) specPayload {
	h := r.header()
	p := &deneb.ExecutionPayload{
		ParentHash: h.ParentHash, FeeRecipient: h.FeeRecipient, StateRoot: h.StateRoot, ReceiptsRoot: h.ReceiptsRoot,
		LogsBloom: h.LogsBloom, PrevRandao: h.PrevRandao, BlockNumber: h.BlockNumber, GasLimit: h.GasLimit,
		GasUsed: h.GasUsed, Timestamp: h.Timestamp, ExtraData: h.ExtraData, BaseFeePerGas: h.BaseFeePerGas,
		BlockHash: h.BlockHash, Transactions: []bellatrix.Transaction{}, Withdrawals: []*capella.Withdrawal{},
		BlobGasUsed: h.BlobGasUsed, ExcessBlobGas: h.ExcessBlobGas,
	}
	for range r.IntN(6) {
		p.Transactions = append(p.Transactions, r.bytes(1+r.IntN(200))) // the types write an empty one as ""
	}
	for range r.IntN(17) {
		w := &capella.Withdrawal{Index: capella.WithdrawalIndex(r.number())}
		r.fill(w.Address[:])
		p.Withdrawals = append(p.Withdrawals, w)
	}
	full := make([]deneb.Blob, blobs)
	for i := range full {
		r.fill(full[i][:])
	}
	n := blobs
	if fork == chain.Fulu {
		n *= cellsPerBlob
	}
	proofs := make([]deneb.KZGProof, n)
	for i := range proofs {
		r.fill(proofs[i][:])
	}
	if fork == chain.Fulu {
		return &builderfulu.ExecutionPayloadAndBlobsBundle{ExecutionPayload: p,
			BlobsBundle: &builderfulu.BlobsBundle{Commitments: r.commitments(blobs), Proofs: proofs, Blobs: full}}
	}
	return &builderdeneb.ExecutionPayloadAndBlobsBundle{ExecutionPayload: p,
		BlobsBundle: &builderdeneb.BlobsBundle{Commitments: r.commitments(blobs), Proofs: proofs, Blobs: full}}
}

func TestPayload_RandomAgainstSpecTypes(t *testing.T) {
	r := newRandom()
	for i := range 20 {
		for _, fork := range forks {
			ssz, err := r.payload(fork, i%10/9).MarshalSSZ()
			if err != nil {
				t.Fatal(err)
			}
			checkPayload(t, fork, ssz, i%10 != 9)
		}
	}
}

func TestPayload_NullLists(t *testing.T) {
	body := strings.Replace(string(vector(t, "prysm/electra_payload.json")), `"blobs":[]`, `"blobs":null`, 1)
	p := mustPayload(t, chain.Electra, JSON, []byte(body))
	sameJSON(t, mustEncode(t, p, JSON), vector(t, "prysm/electra_payload.json"))
}

func TestPayload_RejectsJSON(t *testing.T) {
	body := string(versioned(chain.Electra, gunzip(t, "commit-boost/electra_payload.json.gz")))
	blob := strings.Index(body, `"blobs"`)
	zeros := strings.Index(body[blob:], "000000") + blob
	tests := []struct {
		name, changed string
		want          error
	}{
		{"empty", "", ErrDecode},
		{"truncated", body[:len(body)-1], ErrDecode},
		{"trailing", body + "x", ErrDecode},
		{"no version", strings.Replace(body, `"version":"electra",`, ``, 1), ErrFork},
		{"other version", strings.Replace(body, `"electra"`, `"fulu"`, 1), ErrFork},
		{"blob not hex", body[:zeros] + "z" + body[zeros+1:], ErrDecode},
		{"quote in a blob", body[:zeros] + `"` + body[zeros+1:], ErrDecode},
		{"blob short", body[:zeros] + body[zeros+2:], ErrDecode},
		{"blob long", body[:zeros] + "00" + body[zeros:], ErrDecode},
		{"blob odd", body[:zeros] + body[zeros+1:], ErrDecode},
		{"no blobs", strings.Replace(body, `"blobs"`, `"more"`, 1), ErrDecode},
		{"blobs twice", strings.Replace(body, `"blobs"`, `"blobs":[],"blobs"`, 1), ErrDecode},
		{"gas limit a number", strings.Replace(body, `"30000000"`, `30000000`, 1), ErrDecode},
		{"odd transaction", strings.Replace(body, `"0x010203"`, `"0x10203"`, 1), ErrDecode},
		{"transaction without 0x", strings.Replace(body, `"0x010203"`, `"010203"`, 1), ErrDecode},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.changed == body {
				t.Fatal("nothing changed")
			}
			if _, err := DecodePayload(chain.Electra, JSON, []byte(tt.changed)); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestPayload_RejectsSSZ(t *testing.T) {
	body := unhexed(t, gunzip(t, "commit-boost/electra_payload.ssz.gz"))
	table := 8 + 528 + 4 // payload, extra data
	for _, at := range []int{0, 4, 8 + 436, 8 + 504, 8 + 508, table, table + 4} {
		good := binary.LittleEndian.Uint32(body[at:])
		for _, bad := range []uint32{0, good - 1, good + 1, good + 4, good - 4, uint32(len(body)) + 1, ^uint32(0)} {
			changed := bytes.Clone(body)
			binary.LittleEndian.PutUint32(changed[at:], bad)
			p, err := DecodePayload(chain.Electra, SSZ, changed)
			if err != nil {
				continue
			}
			text := mustEncode(t, p, JSON) // moved a border between two transactions, say
			same(t, "let pass", mustEncode(t, mustPayload(t, chain.Electra, JSON, text), SSZ), changed)
		}
	}
	for _, n := range []int{0, 1, 7, 8, 535, 540, 600, len(body) - 1} {
		if _, err := DecodePayload(chain.Electra, SSZ, body[:n]); !errors.Is(err, ErrDecode) {
			t.Errorf("%d bytes: got %v, want %v", n, err, ErrDecode)
		}
	}
	if _, err := DecodePayload(chain.Gloas, SSZ, body); !errors.Is(err, ErrFork) {
		t.Errorf("got %v, want %v", err, ErrFork)
	}
}

func TestPayload_Matches(t *testing.T) {
	r := newRandom()
	cs := r.commitments(3)
	other := append([]deneb.KZGCommitment{}, cs...)
	other[2][47]++
	tests := []struct {
		name string
		fork chain.Fork
		edit func(*Payload)
		want error
	}{
		{"electra", chain.Electra, func(p *Payload) { p.Proofs = 3 }, nil},
		{"fulu", chain.Fulu, func(p *Payload) { p.Proofs = 3 * 128 }, nil},
		{"fulu with a proof a blob", chain.Fulu, func(p *Payload) { p.Proofs = 3 }, ErrPayload},
		{"electra with cell proofs", chain.Electra, func(p *Payload) { p.Proofs = 3 * 128 }, ErrPayload},
		{"block hash", chain.Electra, func(p *Payload) { p.Proofs, p.BlockHash[31] = 3, 1 }, ErrPayload},
		{"a blob less", chain.Electra, func(p *Payload) { p.Proofs, p.Blobs = 3, 2 }, ErrPayload},
		{"a commitment less", chain.Electra, func(p *Payload) { p.Proofs, p.Commitments = 3, cs[:2] }, ErrPayload},
		{"another commitment", chain.Electra, func(p *Payload) { p.Proofs, p.Commitments = 3, other }, ErrPayload},
		{"another fork", chain.Electra, func(p *Payload) { p.Proofs, p.Fork = 3, chain.Deneb }, ErrPayload},
		{"empty", chain.Electra, func(p *Payload) { p.Commitments, p.Blobs = nil, 0 }, ErrPayload},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &Payload{Fork: tt.fork, Commitments: cs, Blobs: 3}
			tt.edit(p)
			if got := p.Matches(&BlindedBlock{Fork: tt.fork, Commitments: cs}); !errors.Is(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func FuzzDecodePayload(f *testing.F) {
	r := newRandom()
	for _, fork := range forks {
		spec := r.payload(fork, 0)
		ssz, err := spec.MarshalSSZ()
		if err != nil {
			f.Fatal(err)
		}
		data, err := spec.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(fork), true, ssz)
		f.Add(uint8(fork), false, versioned(fork, data))
	}
	f.Add(uint8(chain.Electra), false, vector(f, "prysm/electra_payload.json"))
	f.Add(uint8(chain.Electra), true, unhexed(f, gunzip(f, "commit-boost/electra_payload.ssz.gz")))
	f.Fuzz(func(t *testing.T, fork uint8, ssz bool, body []byte) {
		enc := JSON
		if ssz {
			enc = SSZ
		}
		p, err := DecodePayload(chain.Fork(fork), enc, body)
		if err != nil {
			if !errors.Is(err, ErrDecode) && !errors.Is(err, ErrFork) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if ssz {
			checkPayload(t, p.Fork, body, false)
			return
		}
		var env struct{ Data json.RawMessage }
		spec := newSpecPayload(p.Fork)
		if err := json.Unmarshal(body, &env); err != nil {
			t.Fatal(err)
		}
		if err := spec.UnmarshalJSON(env.Data); err != nil {
			if p.nulls || bytes.Contains(body, []byte(`"0x"`)) {
				return // the spec's types refuse a null or empty value in places
			}
			t.Fatalf("the spec's types refuse %q: %v", body, err)
		}
		want, err := spec.MarshalSSZ()
		if err != nil {
			t.Fatal(err)
		}
		same(t, "SSZ", mustEncode(t, p, SSZ), want)
	})
}
