package simnet

import (
	"errors"
	"fmt"

	apideneb "github.com/attestantio/go-eth2-client/api/v1/deneb"
	apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"
	"github.com/attestantio/go-eth2-client/spec/altair"
	"github.com/attestantio/go-eth2-client/spec/capella"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/electra"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// proposal is what the consensus gives a block, whoever built its payload.
type proposal struct {
	fork     chain.Fork
	slot     phase0.Slot
	proposer phase0.ValidatorIndex
	parent   phase0.Root
	state    phase0.Root
	randao   phase0.BLSSignature
	graffiti [32]byte
}

func emptyETH1() *phase0.ETH1Data { return &phase0.ETH1Data{BlockHash: make([]byte, 32)} }

// noSync is a sync aggregate nobody took part in: no bits, and infinity.
func noSync() *altair.SyncAggregate {
	return &altair.SyncAggregate{SyncCommitteeBits: make([]byte, 64), SyncCommitteeSignature: phase0.BLSSignature{0xc0}}
}

// full makes an unsigned SignedBeaconBlock.
func (p proposal) full(payload *deneb.ExecutionPayload, blobs []deneb.KZGCommitment) codec {
	if p.fork == chain.Deneb {
		return &deneb.SignedBeaconBlock{Message: &deneb.BeaconBlock{
			Slot: p.slot, ProposerIndex: p.proposer, ParentRoot: p.parent, StateRoot: p.state,
			Body: &deneb.BeaconBlockBody{
				RANDAOReveal: p.randao, ETH1Data: emptyETH1(), Graffiti: p.graffiti,
				ProposerSlashings: []*phase0.ProposerSlashing{}, AttesterSlashings: []*phase0.AttesterSlashing{},
				Attestations: []*phase0.Attestation{}, Deposits: []*phase0.Deposit{},
				VoluntaryExits: []*phase0.SignedVoluntaryExit{}, SyncAggregate: noSync(), ExecutionPayload: payload,
				BLSToExecutionChanges: []*capella.SignedBLSToExecutionChange{}, BlobKZGCommitments: blobs,
			},
		}}
	}
	return &electra.SignedBeaconBlock{Message: &electra.BeaconBlock{
		Slot: p.slot, ProposerIndex: p.proposer, ParentRoot: p.parent, StateRoot: p.state,
		Body: &electra.BeaconBlockBody{
			RANDAOReveal: p.randao, ETH1Data: emptyETH1(), Graffiti: p.graffiti,
			ProposerSlashings: []*phase0.ProposerSlashing{}, AttesterSlashings: []*electra.AttesterSlashing{},
			Attestations: []*electra.Attestation{}, Deposits: []*phase0.Deposit{},
			VoluntaryExits: []*phase0.SignedVoluntaryExit{}, SyncAggregate: noSync(), ExecutionPayload: payload,
			BLSToExecutionChanges: []*capella.SignedBLSToExecutionChange{}, BlobKZGCommitments: blobs,
			ExecutionRequests: noRequests(),
		},
	}}
}

// blinded makes an unsigned SignedBlindedBeaconBlock.
func (p proposal) blinded(h *deneb.ExecutionPayloadHeader, blobs []deneb.KZGCommitment) codec {
	if p.fork == chain.Deneb {
		return &apideneb.SignedBlindedBeaconBlock{Message: &apideneb.BlindedBeaconBlock{
			Slot: p.slot, ProposerIndex: p.proposer, ParentRoot: p.parent, StateRoot: p.state,
			Body: &apideneb.BlindedBeaconBlockBody{
				RANDAOReveal: p.randao, ETH1Data: emptyETH1(), Graffiti: p.graffiti,
				ProposerSlashings: []*phase0.ProposerSlashing{}, AttesterSlashings: []*phase0.AttesterSlashing{},
				Attestations: []*phase0.Attestation{}, Deposits: []*phase0.Deposit{},
				VoluntaryExits: []*phase0.SignedVoluntaryExit{}, SyncAggregate: noSync(), ExecutionPayloadHeader: h,
				BLSToExecutionChanges: []*capella.SignedBLSToExecutionChange{}, BlobKZGCommitments: blobs,
			},
		}}
	}
	return &apielectra.SignedBlindedBeaconBlock{Message: &apielectra.BlindedBeaconBlock{
		Slot: p.slot, ProposerIndex: p.proposer, ParentRoot: p.parent, StateRoot: p.state,
		Body: &apielectra.BlindedBeaconBlockBody{
			RANDAOReveal: p.randao, ETH1Data: emptyETH1(), Graffiti: p.graffiti,
			ProposerSlashings: []*phase0.ProposerSlashing{}, AttesterSlashings: []*electra.AttesterSlashing{},
			Attestations: []*electra.Attestation{}, Deposits: []*phase0.Deposit{},
			VoluntaryExits: []*phase0.SignedVoluntaryExit{}, SyncAggregate: noSync(), ExecutionPayloadHeader: h,
			BLSToExecutionChanges: []*capella.SignedBLSToExecutionChange{}, BlobKZGCommitments: blobs,
			ExecutionRequests: noRequests(),
		},
	}}
}

// unblind puts a payload back into a SignedBlindedBeaconBlock. The result has
// the same root, or the payload is another one.
func unblind(c codec, payload *deneb.ExecutionPayload) (codec, error) {
	var full codec
	switch s := c.(type) {
	case *apideneb.SignedBlindedBeaconBlock:
		m, b := s.Message, s.Message.Body
		full = &deneb.SignedBeaconBlock{Signature: s.Signature, Message: &deneb.BeaconBlock{
			Slot: m.Slot, ProposerIndex: m.ProposerIndex, ParentRoot: m.ParentRoot, StateRoot: m.StateRoot,
			Body: &deneb.BeaconBlockBody{
				RANDAOReveal: b.RANDAOReveal, ETH1Data: b.ETH1Data, Graffiti: b.Graffiti, ProposerSlashings: b.ProposerSlashings,
				AttesterSlashings: b.AttesterSlashings, Attestations: b.Attestations, Deposits: b.Deposits,
				VoluntaryExits: b.VoluntaryExits, SyncAggregate: b.SyncAggregate, ExecutionPayload: payload,
				BLSToExecutionChanges: b.BLSToExecutionChanges, BlobKZGCommitments: b.BlobKZGCommitments,
			},
		}}
	case *apielectra.SignedBlindedBeaconBlock:
		m, b := s.Message, s.Message.Body
		full = &electra.SignedBeaconBlock{Signature: s.Signature, Message: &electra.BeaconBlock{
			Slot: m.Slot, ProposerIndex: m.ProposerIndex, ParentRoot: m.ParentRoot, StateRoot: m.StateRoot,
			Body: &electra.BeaconBlockBody{
				RANDAOReveal: b.RANDAOReveal, ETH1Data: b.ETH1Data, Graffiti: b.Graffiti, ProposerSlashings: b.ProposerSlashings,
				AttesterSlashings: b.AttesterSlashings, Attestations: b.Attestations, Deposits: b.Deposits,
				VoluntaryExits: b.VoluntaryExits, SyncAggregate: b.SyncAggregate, ExecutionPayload: payload,
				BLSToExecutionChanges: b.BLSToExecutionChanges, BlobKZGCommitments: b.BlobKZGCommitments,
				ExecutionRequests: b.ExecutionRequests,
			},
		}}
	default:
		return nil, fmt.Errorf("%T is no blinded block", c)
	}
	was, err := readBlock(c)
	if err != nil {
		return nil, err
	}
	is, err := readBlock(full)
	if err != nil {
		return nil, err
	}
	if is.root != was.root {
		return nil, errors.New("the payload is not the one that was signed")
	}
	return full, nil
}

// block is what anyone reads of a signed block, blinded or not.
type block struct {
	signed  codec
	header  *phase0.SignedBeaconBlockHeader
	root    phase0.Root
	hash    phase0.Hash32                 // of the execution block
	payload *deneb.ExecutionPayload       // nil if blinded
	blinded *deneb.ExecutionPayloadHeader // nil unless blinded
	blobs   []deneb.KZGCommitment
}

func (b block) slot() phase0.Slot { return b.header.Message.Slot }

// readBlock reads a signed block of any kind. It refuses one with nil parts.
func readBlock(c codec) (b block, err error) {
	b.signed = c
	var body object
	h := &phase0.BeaconBlockHeader{}
	b.header = &phase0.SignedBeaconBlockHeader{Message: h}
	missing := fmt.Errorf("%T without a message, body or payload", c)
	switch s := c.(type) {
	case *deneb.SignedBeaconBlock:
		if s == nil || s.Message == nil || s.Message.Body == nil || s.Message.Body.ExecutionPayload == nil {
			return b, missing
		}
		body, b.payload, b.header.Signature = s.Message.Body, s.Message.Body.ExecutionPayload, s.Signature
		b.blobs = s.Message.Body.BlobKZGCommitments
		h.Slot, h.ProposerIndex, h.ParentRoot, h.StateRoot = s.Message.Slot, s.Message.ProposerIndex, s.Message.ParentRoot, s.Message.StateRoot
	case *electra.SignedBeaconBlock:
		if s == nil || s.Message == nil || s.Message.Body == nil || s.Message.Body.ExecutionPayload == nil {
			return b, missing
		}
		body, b.payload, b.header.Signature = s.Message.Body, s.Message.Body.ExecutionPayload, s.Signature
		b.blobs = s.Message.Body.BlobKZGCommitments
		h.Slot, h.ProposerIndex, h.ParentRoot, h.StateRoot = s.Message.Slot, s.Message.ProposerIndex, s.Message.ParentRoot, s.Message.StateRoot
	case *apideneb.SignedBlindedBeaconBlock:
		if s == nil || s.Message == nil || s.Message.Body == nil || s.Message.Body.ExecutionPayloadHeader == nil {
			return b, missing
		}
		body, b.blinded, b.header.Signature = s.Message.Body, s.Message.Body.ExecutionPayloadHeader, s.Signature
		b.blobs = s.Message.Body.BlobKZGCommitments
		h.Slot, h.ProposerIndex, h.ParentRoot, h.StateRoot = s.Message.Slot, s.Message.ProposerIndex, s.Message.ParentRoot, s.Message.StateRoot
	case *apielectra.SignedBlindedBeaconBlock:
		if s == nil || s.Message == nil || s.Message.Body == nil || s.Message.Body.ExecutionPayloadHeader == nil {
			return b, missing
		}
		body, b.blinded, b.header.Signature = s.Message.Body, s.Message.Body.ExecutionPayloadHeader, s.Signature
		b.blobs = s.Message.Body.BlobKZGCommitments
		h.Slot, h.ProposerIndex, h.ParentRoot, h.StateRoot = s.Message.Slot, s.Message.ProposerIndex, s.Message.ParentRoot, s.Message.StateRoot
	default:
		return b, fmt.Errorf("%T is no signed block", c)
	}
	if b.payload != nil {
		b.hash = b.payload.BlockHash
	} else {
		b.hash = b.blinded.BlockHash
	}
	if h.BodyRoot, err = body.HashTreeRoot(); err != nil {
		return b, err
	}
	b.root, err = h.HashTreeRoot()
	return b, err
}

// sign signs a block of any kind.
func sign(c codec, signature phase0.BLSSignature) {
	switch s := c.(type) {
	case *deneb.SignedBeaconBlock:
		s.Signature = signature
	case *electra.SignedBeaconBlock:
		s.Signature = signature
	case *apideneb.SignedBlindedBeaconBlock:
		s.Signature = signature
	case *apielectra.SignedBlindedBeaconBlock:
		s.Signature = signature
	}
}
