package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"

	builderdeneb "github.com/attestantio/go-builder-client/api/deneb"
	builderelectra "github.com/attestantio/go-builder-client/api/electra"
	builderapi "github.com/attestantio/go-builder-client/api/v1"
	apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"
	"github.com/attestantio/go-eth2-client/spec/altair"
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/capella"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/electra"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
)

// world holds every message of a run, made with the spec's own types.
type world struct {
	spec       chain.Spec
	slot       phase0.Slot
	parent     phase0.Hash32
	validator  phase0.BLSPubKey
	bundle     builderdeneb.ExecutionPayloadAndBlobsBundle
	header     deneb.ExecutionPayloadHeader // of the bundle's payload
	randomness *rand.Rand
}

func newWorld(spec chain.Spec, slot phase0.Slot) *world {
	w := &world{spec: spec, slot: slot, randomness: rand.New(rand.NewPCG(1, 2))}
	w.fill(w.parent[:])
	w.validator = mustKey(77).PublicKey()
	payload := &deneb.ExecutionPayload{
		ParentHash: w.parent, BlockNumber: 100, GasLimit: 36_000_000, GasUsed: 18_000_000,
		Timestamp:     uint64(spec.GenesisTime.Unix()) + uint64(slot)*uint64(spec.SlotDuration.Seconds()),
		BaseFeePerGas: uint256.NewInt(7_000_000_000), BlobGasUsed: 6 << 17, ExtraData: []byte("bench"),
	}
	w.fill(payload.BlockHash[:])
	for range 200 {
		tx := make(bellatrix.Transaction, 655)
		w.fill(tx)
		payload.Transactions = append(payload.Transactions, tx)
	}
	blobs := &builderdeneb.BlobsBundle{}
	for range 6 {
		var c deneb.KZGCommitment
		var p deneb.KZGProof
		var b deneb.Blob
		w.fill(c[:])
		w.fill(p[:])
		w.fill(b[:])
		blobs.Commitments, blobs.Proofs, blobs.Blobs = append(blobs.Commitments, c), append(blobs.Proofs, p), append(blobs.Blobs, b)
	}
	w.bundle = builderdeneb.ExecutionPayloadAndBlobsBundle{ExecutionPayload: payload, BlobsBundle: blobs}
	w.header = deneb.ExecutionPayloadHeader{
		ParentHash: payload.ParentHash, BlockNumber: payload.BlockNumber, GasLimit: payload.GasLimit, GasUsed: payload.GasUsed,
		Timestamp: payload.Timestamp, BaseFeePerGas: payload.BaseFeePerGas, BlobGasUsed: payload.BlobGasUsed,
		ExtraData: payload.ExtraData, BlockHash: payload.BlockHash, TransactionsRoot: phase0.Root{3},
	}
	return w
}

func (w *world) fill(b []byte) {
	for i := range b {
		b[i] = byte(w.randomness.Uint32())
	}
}

func mustKey(n byte) *bls.SecretKey {
	k, err := bls.ParseSecretKey(append(make([]byte, 31), n))
	must(err)
	return k
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// bid returns a relay's signed bid in JSON and SSZ. The best one has the
// payload's block hash; an ordinary one another.
func (w *world) bid(secret *bls.SecretKey, wei uint64, best bool) (out [2][]byte) {
	header := w.header
	if !best {
		header.BlockHash[0] ^= secret.PublicKey()[5] | 1
	}
	message := &builderelectra.BuilderBid{
		Header: &header, BlobKZGCommitments: w.bundle.BlobsBundle.Commitments,
		ExecutionRequests: &electra.ExecutionRequests{
			Deposits:    []*electra.DepositRequest{{WithdrawalCredentials: make([]byte, 32)}},
			Withdrawals: []*electra.WithdrawalRequest{}, Consolidations: []*electra.ConsolidationRequest{},
		},
		Value: uint256.NewInt(wei), Pubkey: secret.PublicKey(),
	}
	root, err := message.HashTreeRoot()
	must(err)
	signed := &builderelectra.SignedBuilderBid{Message: message, Signature: secret.Sign(commitments.SigningData(root, w.spec.Domain(chain.DomainBuilder)))}
	return encode(signed, signed)
}

type marshaler interface{ MarshalSSZ() ([]byte, error) }

func encode(forJSON any, forSSZ marshaler) (out [2][]byte) {
	data, err := json.Marshal(map[string]any{"version": "electra", "data": forJSON})
	must(err)
	ssz, err := forSSZ.MarshalSSZ()
	must(err)
	return [2][]byte{data, ssz}
}

// payload returns what a relay unblinds to, in JSON and SSZ.
func (w *world) payload() [2][]byte { return encode(&w.bundle, &w.bundle) }

// block returns a signed blinded block of the best bid, in JSON and SSZ. Each
// proposer index is another block: a repeated one could be answered from memory.
func (w *world) block(proposer int) (out [2][]byte) {
	body := &apielectra.BlindedBeaconBlockBody{
		ETH1Data:      &phase0.ETH1Data{BlockHash: make([]byte, 32)},
		SyncAggregate: &altair.SyncAggregate{SyncCommitteeBits: make([]byte, 64)}, ExecutionPayloadHeader: &w.header,
		BlobKZGCommitments: w.bundle.BlobsBundle.Commitments,
		ExecutionRequests: &electra.ExecutionRequests{
			Deposits: []*electra.DepositRequest{}, Withdrawals: []*electra.WithdrawalRequest{}, Consolidations: []*electra.ConsolidationRequest{},
		},
		// Lists that are absent would be written as null, which the peer refuses.
		ProposerSlashings: []*phase0.ProposerSlashing{}, AttesterSlashings: []*electra.AttesterSlashing{}, Deposits: []*phase0.Deposit{},
		VoluntaryExits: []*phase0.SignedVoluntaryExit{}, BLSToExecutionChanges: []*capella.SignedBLSToExecutionChange{},
	}
	for range 8 {
		bits := make([]byte, 4096)
		w.fill(bits)
		bits[4095] = 1
		body.Attestations = append(body.Attestations, &electra.Attestation{
			AggregationBits: bits, Data: &phase0.AttestationData{Source: &phase0.Checkpoint{}, Target: &phase0.Checkpoint{}},
			CommitteeBits: make([]byte, 8),
		})
	}
	block := &apielectra.SignedBlindedBeaconBlock{Message: &apielectra.BlindedBeaconBlock{
		Slot: w.slot, ProposerIndex: phase0.ValidatorIndex(proposer), Body: body,
	}}
	w.fill(block.Signature[:])
	data, err := json.Marshal(block)
	must(err)
	ssz, err := block.MarshalSSZ()
	must(err)
	return [2][]byte{data, ssz}
}

// registrations returns a JSON body of n registrations. Neither program checks
// their signatures.
func (w *world) registrations(n int) []byte {
	list := make([]*builderapi.SignedValidatorRegistration, n)
	for i := range list {
		one := &builderapi.SignedValidatorRegistration{Message: &builderapi.ValidatorRegistration{GasLimit: 36_000_000, Timestamp: w.spec.GenesisTime}}
		w.fill(one.Message.Pubkey[:])
		w.fill(one.Message.FeeRecipient[:])
		w.fill(one.Signature[:])
		list[i] = one
	}
	data, err := json.Marshal(list)
	must(err)
	return data
}

func (w *world) headerPath() string {
	return fmt.Sprintf("/eth/v1/builder/header/%d/%s/%s", w.slot, w.parent, w.validator)
}
