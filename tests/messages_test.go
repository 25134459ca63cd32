package tests

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	builderdeneb "github.com/attestantio/go-builder-client/api/deneb"
	builderelectra "github.com/attestantio/go-builder-client/api/electra"
	builderfulu "github.com/attestantio/go-builder-client/api/fulu"
	apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/electra"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/internal/bls"
)

const slotTime = 12 * time.Second

// network is the custom chain of a test: that of the recordings, with a genesis
// of its own.
type network struct {
	genesis time.Time
	fulu    phase0.Slot // Electra below
}

// newNetwork begins at a time relative to now.
func newNetwork(genesis time.Duration, fulu phase0.Slot) *network {
	return &network{genesis: time.Now().Add(genesis).Truncate(time.Second), fulu: fulu}
}

// toml is the chain of the configuration.
func (n *network) toml() string {
	return fmt.Sprintf("chain = { genesis_time_secs = %d, slot_time_secs = %d, genesis_fork_version = \"0x20000089\", fulu_fork_slot = %d, chain_id = 1337 }\n",
		n.genesis.Unix(), int(slotTime.Seconds()), n.fulu)
}

func (n *network) fork(slot phase0.Slot) string {
	if slot < n.fulu {
		return "electra"
	}
	return "fulu"
}

func (n *network) timestamp(slot phase0.Slot) uint64 {
	return uint64(n.genesis.Add(time.Duration(slot) * slotTime).Unix())
}

// signingRoot is computed here and not by the code under test.
// [builder-specs: compute_signing_root over compute_builder_domain]
func signingRoot(object phase0.Root, forkVersion phase0.Version) phase0.Root {
	var data [64]byte
	copy(data[:], forkVersion[:])
	forkData := sha256.Sum256(data[:])
	copy(data[:], object[:])
	copy(data[32:], []byte{0, 0, 0, 1})
	copy(data[36:], forkData[:28])
	return sha256.Sum256(data[:])
}

var forkVersion = phase0.Version{0x20, 0x00, 0x00, 0x89}

type signedBid = builderelectra.SignedBuilderBid

// bid makes a relay's bid for a call; change spoils it before it is signed.
func (c *call) bid(change func(*signedBid)) *signedBid {
	hash := sha256.Sum256(append(c.parent[:], c.relay.name...))
	bid := &signedBid{Message: &builderelectra.BuilderBid{
		Header: &deneb.ExecutionPayloadHeader{
			ParentHash: c.parent, BlockHash: hash, BlockNumber: 7, GasLimit: 60_000_000, GasUsed: 21_000,
			Timestamp: c.relay.network.timestamp(c.slot), BaseFeePerGas: uint256.NewInt(7), TransactionsRoot: phase0.Root{1}, WithdrawalsRoot: phase0.Root{2},
			ExtraData: []byte("test"),
		},
		ExecutionRequests: &electra.ExecutionRequests{},
		Value:             uint256.NewInt(c.relay.value),
		Pubkey:            c.relay.secret.PublicKey(),
	}}
	if change != nil {
		change(bid)
	}
	sign(bid, c.relay.secret, forkVersion)
	return bid
}

// sign signs the bid as it is.
func sign(bid *signedBid, secret *bls.SecretKey, v phase0.Version) {
	root, err := bid.Message.HashTreeRoot()
	if err == nil {
		bid.Signature = secret.Sign(signingRoot(root, v))
	}
}

// verified says whether a bid is signed by a key.
func verified(bid *signedBid, key phase0.BLSPubKey) bool {
	root, err := bid.Message.HashTreeRoot()
	return err == nil && bid.Message.Pubkey == key && bls.Verify(key, signingRoot(root, forkVersion), bid.Signature)
}

// envelope is what JSON answers are wrapped in.
func envelope(fork string, v any) []byte {
	b, err := json.Marshal(map[string]any{"version": fork, "data": v})
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

// encoded is an object in one of the encodings.
func encoded(media, fork string, v interface{ MarshalSSZ() ([]byte, error) }) []byte {
	if media != mediaSSZ {
		return envelope(fork, v)
	}
	b, err := v.MarshalSSZ()
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

func (c *call) media() string {
	if c.prefersSSZ() {
		return mediaSSZ
	}
	return mediaJSON
}

// offer answers with a bid, in the encoding asked for.
func (c *call) offer(bid *signedBid) bool {
	m := c.media()
	return c.write(message(200, c.typed(m), encoded(m, c.relay.network.fork(c.slot), bid)))
}

// bundle is the answer to a v1 block: the payload and its blobs.
type bundle struct {
	*deneb.ExecutionPayload
	commitments []deneb.KZGCommitment
	blobs       int
}

// payload makes the one that answers the call's block.
func (c *call) payload() *bundle {
	h := c.block.Message.Body.ExecutionPayloadHeader
	return &bundle{
		ExecutionPayload: &deneb.ExecutionPayload{
			ParentHash: h.ParentHash, BlockHash: h.BlockHash, BlockNumber: h.BlockNumber, GasLimit: h.GasLimit, GasUsed: h.GasUsed,
			Timestamp: h.Timestamp, ExtraData: h.ExtraData, BaseFeePerGas: h.BaseFeePerGas,
		},
		commitments: slices.Clone(c.block.Message.Body.BlobKZGCommitments), blobs: len(c.block.Message.Body.BlobKZGCommitments),
	}
}

// deliver answers with a payload, in the encoding asked for.
func (c *call) deliver(b *bundle) bool {
	m, fork := c.media(), c.relay.network.fork(c.slot)
	return c.write(message(200, c.typed(m), b.encoded(m, fork)))
}

func (b *bundle) encoded(media, fork string) []byte {
	if fork == "fulu" {
		return encoded(media, fork, &builderfulu.ExecutionPayloadAndBlobsBundle{ExecutionPayload: b.ExecutionPayload, BlobsBundle: &builderfulu.BlobsBundle{
			Commitments: b.commitments, Proofs: make([]deneb.KZGProof, 128*b.blobs), Blobs: make([]deneb.Blob, b.blobs)}})
	}
	return encoded(media, fork, &builderdeneb.ExecutionPayloadAndBlobsBundle{ExecutionPayload: b.ExecutionPayload, BlobsBundle: &builderdeneb.BlobsBundle{
		Commitments: b.commitments, Proofs: make([]deneb.KZGProof, b.blobs), Blobs: make([]deneb.Blob, b.blobs)}})
}

// decodeBid reads the sidecar's answer to getHeader as a client would.
func decodeBid(t testing.TB, a *answer, media, fork string) *signedBid {
	t.Helper()
	if a.status != 200 || a.header.Get("Content-Type") != media || a.header.Get(version) != fork || a.header.Get("Content-Encoding") != "" {
		t.Fatalf("answer %d with %v and body %.200q, want 200 of type %s and fork %s", a.status, a.header, a.body, media, fork)
	}
	bid := new(signedBid)
	if media == mediaSSZ {
		if err := bid.UnmarshalSSZ(a.body); err != nil {
			t.Fatalf("bid in SSZ: %v", err)
		}
		return bid
	}
	var e struct {
		Version string     `json:"version"`
		Data    *signedBid `json:"data"`
	}
	e.Data = bid
	if err := json.Unmarshal(a.body, &e); err != nil || e.Version != fork {
		t.Fatalf("bid in JSON of %q: %v", e.Version, err)
	}
	return bid
}

// headerPath is that of getHeader.
func headerPath(slot phase0.Slot, parent phase0.Hash32, validator phase0.BLSPubKey) string {
	return fmt.Sprintf("/eth/v1/builder/header/%d/%s/%s", slot, parent, validator)
}

// validator makes a key that looks like one: the sidecar never signs with it.
func validator(number byte) (key phase0.BLSPubKey) {
	key[0], key[47] = 0x80, number
	return key
}

// blockOf makes the signed blinded block that proposes a bid: a recorded block
// with another header. Nobody but a relay could check its signature.
func blockOf(t testing.TB, slot phase0.Slot, proposer phase0.ValidatorIndex, bid *signedBid) *apielectra.SignedBlindedBeaconBlock {
	t.Helper()
	b := new(apielectra.SignedBlindedBeaconBlock)
	if err := b.UnmarshalSSZ(recordedBlock(t)); err != nil {
		t.Fatal(err)
	}
	b.Message.Slot, b.Message.ProposerIndex = slot, proposer
	b.Message.Body.ExecutionPayloadHeader = bid.Message.Header
	b.Message.Body.BlobKZGCommitments = bid.Message.BlobKZGCommitments
	b.Signature[95] = byte(proposer)
	return b
}

// inEncoding is a block as a beacon node sends it.
func inEncoding(t testing.TB, media string, b *apielectra.SignedBlindedBeaconBlock) []byte {
	t.Helper()
	marshal := b.MarshalJSON
	if media == mediaSSZ {
		marshal = b.MarshalSSZ
	}
	body, err := marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// bidOf is the bid in a proposal, with a header of its own.
func (s *submitBench) bidOf(p *proposal) *builderelectra.BuilderBid {
	header := *p.block.Message.Body.ExecutionPayloadHeader
	return &builderelectra.BuilderBid{Header: &header, BlobKZGCommitments: p.block.Message.Body.BlobKZGCommitments}
}
