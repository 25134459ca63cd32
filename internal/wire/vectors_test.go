package wire

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"

	builderdeneb "github.com/attestantio/go-builder-client/api/deneb"
	builderelectra "github.com/attestantio/go-builder-client/api/electra"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/electra"
	"github.com/holiman/uint256"

	"sidecar/chain"
)

var forks = []chain.Fork{chain.Deneb, chain.Electra, chain.Fulu}

// vector reads a file of testdata, see its README.
func vector(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func gunzip(tb testing.TB, name string) []byte {
	tb.Helper()
	z, err := gzip.NewReader(bytes.NewReader(vector(tb, name)))
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func unhexed(tb testing.TB, b []byte) []byte {
	tb.Helper()
	out, err := hex.DecodeString(string(bytes.TrimSpace(b)))
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// versioned wraps data as relays answer it.
func versioned(fork chain.Fork, data []byte) []byte {
	return append(append(appendEnvelope(nil, fork), data...), '}')
}

// sameJSON compares values, not bytes, and hex in any case: the spec's types
// write addresses with EIP-55 checksums.
func sameJSON(tb testing.TB, got, want []byte) {
	tb.Helper()
	var g, w any
	if err := json.Unmarshal(bytes.ToLower(got), &g); err != nil {
		tb.Fatalf("%v in %.200s", err, got)
	}
	if err := json.Unmarshal(bytes.ToLower(want), &w); err != nil {
		tb.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		tb.Errorf("got %.400s\nwant %.400s", got, want)
	}
}

// specBid is a SignedBuilderBid of the spec's types.
type specBid interface {
	json.Marshaler
	json.Unmarshaler
	MarshalSSZ() ([]byte, error)
	UnmarshalSSZ([]byte) error
}

func newSpecBid(fork chain.Fork) specBid {
	if fork == chain.Deneb {
		return &builderdeneb.SignedBuilderBid{}
	}
	return &builderelectra.SignedBuilderBid{}
}

func specBidRoot(tb testing.TB, b specBid) [32]byte {
	tb.Helper()
	var root [32]byte
	var err error
	switch v := b.(type) {
	case *builderdeneb.SignedBuilderBid:
		root, err = v.Message.HashTreeRoot()
	case *builderelectra.SignedBuilderBid:
		root, err = v.Message.HashTreeRoot()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// random makes spec values. It is seeded, so failures repeat.
type random struct{ *rand.Rand }

func newRandom() random { return random{rand.New(rand.NewPCG(1, 2))} }

func (r random) fill(b []byte) {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

func (r random) bytes(n int) []byte {
	b := make([]byte, n)
	r.fill(b)
	return b
}

// number favours the edges.
func (r random) number() uint64 {
	switch r.IntN(4) {
	case 0:
		return 0
	case 1:
		return ^uint64(0)
	}
	return r.Uint64() >> r.IntN(64)
}

func (r random) wide() *uint256.Int {
	v := &uint256.Int{r.number(), r.number(), r.number(), r.number()}
	return v.Rsh(v, uint(r.IntN(256)))
}

func (r random) header() *deneb.ExecutionPayloadHeader {
	h := &deneb.ExecutionPayloadHeader{
		BlockNumber: r.number(), GasLimit: r.number(), GasUsed: r.number(), Timestamp: r.number(),
		ExtraData: r.bytes(r.IntN(33)), BaseFeePerGas: r.wide(), BlobGasUsed: r.number(), ExcessBlobGas: r.number(),
	}
	for _, b := range [][]byte{h.ParentHash[:], h.FeeRecipient[:], h.StateRoot[:], h.ReceiptsRoot[:], h.LogsBloom[:],
		h.PrevRandao[:], h.BlockHash[:], h.TransactionsRoot[:], h.WithdrawalsRoot[:]} {
		r.fill(b)
	}
	return h
}

func (r random) commitments(n int) []deneb.KZGCommitment {
	cs := make([]deneb.KZGCommitment, n)
	for i := range cs {
		r.fill(cs[i][:])
	}
	return cs
}

func (r random) requests() *electra.ExecutionRequests {
	q := &electra.ExecutionRequests{
		Deposits: []*electra.DepositRequest{}, Withdrawals: []*electra.WithdrawalRequest{},
		Consolidations: []*electra.ConsolidationRequest{},
	}
	for range r.IntN(4) * r.IntN(4) {
		d := &electra.DepositRequest{WithdrawalCredentials: r.bytes(32), Index: r.number()}
		d.Amount = d.Amount + 1
		r.fill(d.Pubkey[:])
		r.fill(d.Signature[:])
		q.Deposits = append(q.Deposits, d)
	}
	for range r.IntN(17) {
		w := &electra.WithdrawalRequest{}
		r.fill(w.SourceAddress[:])
		r.fill(w.ValidatorPubkey[:])
		q.Withdrawals = append(q.Withdrawals, w)
	}
	for range r.IntN(3) {
		c := &electra.ConsolidationRequest{}
		r.fill(c.SourceAddress[:])
		r.fill(c.SourcePubkey[:])
		r.fill(c.TargetPubkey[:])
		q.Consolidations = append(q.Consolidations, c)
	}
	return q
}

func (r random) bid(fork chain.Fork) specBid {
	if fork == chain.Deneb {
		b := &builderdeneb.SignedBuilderBid{Message: &builderdeneb.BuilderBid{
			Header: r.header(), BlobKZGCommitments: r.commitments(r.IntN(22)), Value: r.wide()}}
		r.fill(b.Message.Pubkey[:])
		r.fill(b.Signature[:])
		return b
	}
	b := &builderelectra.SignedBuilderBid{Message: &builderelectra.BuilderBid{
		Header: r.header(), BlobKZGCommitments: r.commitments(r.IntN(22)), ExecutionRequests: r.requests(), Value: r.wide()}}
	r.fill(b.Message.Pubkey[:])
	r.fill(b.Signature[:])
	return b
}
