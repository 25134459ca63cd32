package simnet

import (
	"encoding/json"
	"errors"
	"fmt"

	builderdeneb "github.com/attestantio/go-builder-client/api/deneb"
	builderelectra "github.com/attestantio/go-builder-client/api/electra"
	builderfulu "github.com/attestantio/go-builder-client/api/fulu"
	apideneb "github.com/attestantio/go-eth2-client/api/v1/deneb"
	apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"
	apifulu "github.com/attestantio/go-eth2-client/api/v1/fulu"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/electra"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
)

// The messages of the chain are the official types of go-eth2-client and
// go-builder-client, never the sidecar's own, so that the two check each other.

// codec is a message of either encoding.
type codec interface {
	MarshalSSZ() ([]byte, error)
	UnmarshalSSZ([]byte) error
	MarshalJSON() ([]byte, error)
	UnmarshalJSON([]byte) error
}

// object is a message with a root.
type object interface {
	codec
	HashTreeRoot() ([32]byte, error)
}

func newBlinded(f chain.Fork) codec {
	if f == chain.Deneb {
		return &apideneb.SignedBlindedBeaconBlock{}
	}
	return &apielectra.SignedBlindedBeaconBlock{}
}

func newSignedBid(f chain.Fork) codec {
	if f == chain.Deneb {
		return &builderdeneb.SignedBuilderBid{}
	}
	return &builderelectra.SignedBuilderBid{}
}

// newDelivery is an ExecutionPayloadAndBlobsBundle.
func newDelivery(f chain.Fork, p *deneb.ExecutionPayload, b bundle) codec {
	if f >= chain.Fulu {
		return &builderfulu.ExecutionPayloadAndBlobsBundle{ExecutionPayload: p, BlobsBundle: &builderfulu.BlobsBundle{
			Commitments: b.Commitments, Proofs: b.Proofs, Blobs: b.Blobs,
		}}
	}
	return &builderdeneb.ExecutionPayloadAndBlobsBundle{ExecutionPayload: p, BlobsBundle: &builderdeneb.BlobsBundle{
		Commitments: b.Commitments, Proofs: b.Proofs, Blobs: b.Blobs,
	}}
}

func delivered(c codec) (*deneb.ExecutionPayload, bundle) {
	switch d := c.(type) {
	case *builderfulu.ExecutionPayloadAndBlobsBundle:
		if d.BlobsBundle != nil {
			return d.ExecutionPayload, bundle{d.BlobsBundle.Commitments, d.BlobsBundle.Proofs, d.BlobsBundle.Blobs}
		}
	case *builderdeneb.ExecutionPayloadAndBlobsBundle:
		if d.BlobsBundle != nil {
			return d.ExecutionPayload, bundle{d.BlobsBundle.Commitments, d.BlobsBundle.Proofs, d.BlobsBundle.Blobs}
		}
	}
	return nil, bundle{}
}

// newContents is a SignedBlockContents around block; a nil block makes one to decode
// into.
func newContents(f chain.Fork, block codec, blobs bundle) codec {
	switch {
	case f == chain.Deneb:
		b, _ := block.(*deneb.SignedBeaconBlock)
		return &apideneb.SignedBlockContents{SignedBlock: b, KZGProofs: blobs.Proofs, Blobs: blobs.Blobs}
	case f == chain.Electra:
		b, _ := block.(*electra.SignedBeaconBlock)
		return &apielectra.SignedBlockContents{SignedBlock: b, KZGProofs: blobs.Proofs, Blobs: blobs.Blobs}
	}
	b, _ := block.(*electra.SignedBeaconBlock)
	return &apifulu.SignedBlockContents{SignedBlock: b, KZGProofs: blobs.Proofs, Blobs: blobs.Blobs}
}

func contained(c codec) (codec, bundle) {
	switch b := c.(type) {
	case *apideneb.SignedBlockContents:
		return b.SignedBlock, bundle{Proofs: b.KZGProofs, Blobs: b.Blobs}
	case *apielectra.SignedBlockContents:
		return b.SignedBlock, bundle{Proofs: b.KZGProofs, Blobs: b.Blobs}
	case *apifulu.SignedBlockContents:
		return b.SignedBlock, bundle{Proofs: b.KZGProofs, Blobs: b.Blobs}
	}
	return nil, bundle{}
}

// bid is what anyone reads of a SignedBuilderBid.
type bid struct {
	header    *deneb.ExecutionPayloadHeader
	blobs     []deneb.KZGCommitment
	value     *uint256.Int
	pubkey    phase0.BLSPubKey
	signature phase0.BLSSignature
	root      phase0.Root // of the message
}

func readBid(c codec) (b bid, err error) {
	var msg object
	switch s := c.(type) {
	case *builderdeneb.SignedBuilderBid:
		if s.Message == nil || s.Message.Header == nil {
			return b, errors.New("bid without a message")
		}
		msg = s.Message
		b = bid{s.Message.Header, s.Message.BlobKZGCommitments, s.Message.Value, s.Message.Pubkey, s.Signature, phase0.Root{}}
	case *builderelectra.SignedBuilderBid:
		if s.Message == nil || s.Message.Header == nil {
			return b, errors.New("bid without a message")
		}
		msg = s.Message
		b = bid{s.Message.Header, s.Message.BlobKZGCommitments, s.Message.Value, s.Message.Pubkey, s.Signature, phase0.Root{}}
	default:
		return b, fmt.Errorf("%T is no bid", c)
	}
	b.root, err = msg.HashTreeRoot()
	return b, err
}

// signBid makes a SignedBuilderBid; sign gets the root of the message.
func signBid(f chain.Fork, h *deneb.ExecutionPayloadHeader, blobs []deneb.KZGCommitment, value *uint256.Int, pubkey phase0.BLSPubKey, sign func(phase0.Root) phase0.BLSSignature) (codec, error) {
	if f == chain.Deneb {
		m := &builderdeneb.BuilderBid{Header: h, BlobKZGCommitments: blobs, Value: value, Pubkey: pubkey}
		root, err := m.HashTreeRoot()
		return &builderdeneb.SignedBuilderBid{Message: m, Signature: sign(root)}, err
	}
	m := &builderelectra.BuilderBid{Header: h, BlobKZGCommitments: blobs, ExecutionRequests: noRequests(), Value: value, Pubkey: pubkey}
	root, err := m.HashTreeRoot()
	return &builderelectra.SignedBuilderBid{Message: m, Signature: sign(root)}, err
}

func noRequests() *electra.ExecutionRequests {
	return &electra.ExecutionRequests{
		Deposits:       []*electra.DepositRequest{},
		Withdrawals:    []*electra.WithdrawalRequest{},
		Consolidations: []*electra.ConsolidationRequest{},
	}
}

// encode writes c as SSZ, or as JSON of the Builder and Beacon APIs' shape
// {"version", "data"}.
func encode(f chain.Fork, ssz bool, c codec) (contentType string, body []byte, err error) {
	if ssz {
		body, err = c.MarshalSSZ()
		return octets, body, err
	}
	data, err := c.MarshalJSON()
	if err != nil {
		return "", nil, err
	}
	body, err = json.Marshal(struct {
		Version string          `json:"version"`
		Data    json.RawMessage `json:"data"`
	}{f.String(), data})
	return jsonType, body, err
}

// decode reads c from SSZ, or from JSON of shape {"version", "data"} whose
// version must be f's.
func decode(f chain.Fork, ssz bool, body []byte, c codec) error {
	if ssz {
		return c.UnmarshalSSZ(body)
	}
	var v struct {
		Version string          `json:"version"`
		Data    json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return err
	}
	if v.Version != f.String() {
		return fmt.Errorf("version %q, want %q", v.Version, f)
	}
	return c.UnmarshalJSON(v.Data)
}

// decodePlain reads a message that stands alone, as requests do.
func decodePlain(ssz bool, body []byte, c codec) error {
	if ssz {
		return c.UnmarshalSSZ(body)
	}
	return c.UnmarshalJSON(body)
}

// encodePlain is the counterpart of decodePlain.
func encodePlain(ssz bool, c codec) (contentType string, body []byte, err error) {
	if ssz {
		body, err = c.MarshalSSZ()
		return octets, body, err
	}
	body, err = c.MarshalJSON()
	return jsonType, body, err
}
