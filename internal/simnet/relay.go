package simnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/internal/bls"
)

// RelayOptions describes a relay at the start. Its Knobs can be turned later.
type RelayOptions struct {
	Name        string // default relay-0, relay-1, …
	Constraints bool   // serves the Constraints API
	Fabric      bool   // in fabric's dialect alone, with fabric's rules
	Knobs       RelayKnobs
}

// RelayKnobs are the ways a relay lies. For slow, silent and broken ones, see
// Break: it takes the names of Relay's endpoints.
type RelayKnobs struct {
	BadSignature bool         // signs its bids with another key
	Value        *uint256.Int // claims this value (wei) instead of the builder's
	WrongParent  bool         // bids on a parent that is not the one asked for
	NoSSZ        bool         // 406 for SSZ answers and 415 for SSZ bodies
	NoJSON       bool         // the reverse
	Withhold     bool         // takes a blinded block, answers well, publishes nothing
	WrongPayload bool         // v1: answers the payload of another block, publishes nothing
	NoPublish    bool         // v1: answers the payload and leaves publishing to the proposer
	FalseProofs  bool         // header_with_proofs: garbage in place of proofs
	NoProofs     bool         // header_with_proofs: empty lists
	CheckKeys    bool         // refuses registrations with a bad signature
	RefuseLate   bool         // refuses constraints once their slot has begun
	Delegated    bool         // takes constraints only from a delegate it knows of
	NoProofRoute bool         // header_with_proofs: 404, as fabric's relay has it
	Forget       bool         // answers 200 to constraints and keeps none of them
}

// Relay is a relay: Builder API to proposers, the Constraints API if it is
// configured so, and a plain submit endpoint to builders. Endpoint names, for
// Break, Counts and Calls: status, register, header, header_with_proofs,
// submit_v1, submit_v2, capabilities, delegate, constraints, delegations,
// relay_constraints, submit.
type Relay struct {
	server

	Name        string
	Pubkey      phase0.BLSPubKey
	Constraints bool
	Fabric      bool

	key     *bls.SecretKey
	liarKey *bls.SecretKey
	spec    chain.Spec
	fork    chain.Fork
	beacon  *Beacon
	client  *http.Client
	log     *slog.Logger

	mu            sync.Mutex
	knobs         RelayKnobs
	registrations map[phase0.BLSPubKey]registration
	offers        map[offerKey]map[string]submission // by builder
	payloads      map[phase0.Hash32]*deneb.ExecutionPayload
	bundles       map[phase0.Hash32]bundle
	delegations   map[phase0.Slot][]delegation
	constraints   map[phase0.Slot][]signedConstraints
}

type offerKey struct {
	slot   phase0.Slot
	parent phase0.Hash32
	pubkey phase0.BLSPubKey
}

// submission is a builder's block at the relay.
type submission struct {
	Builder  string                  `json:"builder"`
	Slot     phase0.Slot             `json:"slot"`
	Proposer phase0.BLSPubKey        `json:"proposer_pubkey"`
	Value    *uint256.Int            `json:"value"` // wei
	Payload  *deneb.ExecutionPayload `json:"execution_payload"`
	Blobs    bundle                  `json:"blobs_bundle"`
	Proofs   []constraint            `json:"proofs"`

	header *deneb.ExecutionPayloadHeader
}

// keepSlots is for how many slots a relay remembers.
const keepSlots = 32

func newRelay(o RelayOptions, seed string, n int, b *Beacon, log *slog.Logger) *Relay {
	key := blsKey(seed, "relay", uint64(n)) // #nosec G115 -- an index
	if o.Name == "" {
		o.Name = fmt.Sprintf("relay-%d", n)
	}
	return &Relay{
		Name: o.Name, Pubkey: key.PublicKey(), Constraints: o.Constraints || o.Fabric, Fabric: o.Fabric,
		key: key, liarKey: blsKey(seed, "liar", uint64(n)), spec: b.spec, fork: b.fork, beacon: b, // #nosec G115 -- an index
		client: newClient(), log: log.With("relay", o.Name), knobs: o.Knobs,
		registrations: map[phase0.BLSPubKey]registration{}, offers: map[offerKey]map[string]submission{},
		payloads: map[phase0.Hash32]*deneb.ExecutionPayload{}, bundles: map[phase0.Hash32]bundle{},
		delegations: map[phase0.Slot][]delegation{}, constraints: map[phase0.Slot][]signedConstraints{},
	}
}

// ConfigURL is the URL an operator configures: with the relay's key as user.
func (r *Relay) ConfigURL() string {
	return "http://" + hex(r.Pubkey[:]) + "@" + r.URL[len("http://"):]
}

// Set turns the knobs.
func (r *Relay) Set(turn func(*RelayKnobs)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	turn(&r.knobs)
}

// Registered says whether a validator registered here.
func (r *Relay) Registered(pubkey phase0.BLSPubKey) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.registrations[pubkey]
	return ok
}

// BestValue returns the value (wei) of the best block submitted for a slot, nil
// if there is none.
func (r *Relay) BestValue(slot phase0.Slot) *uint256.Int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best *uint256.Int
	for key, of := range r.offers {
		for _, s := range of {
			if key.slot == slot && (best == nil || s.Value.Gt(best)) {
				best = s.Value
			}
		}
	}
	return best
}

// take stores a builder's block; a later one of the same builder replaces it.
func (r *Relay) take(s submission) error {
	if s.Payload == nil || s.Value == nil || s.Payload.BaseFeePerGas == nil {
		return errors.New("submission without payload or value")
	}
	header, err := headerOf(s.Payload)
	if err != nil {
		return err
	}
	s.header = header
	if s.Blobs.Commitments == nil {
		s.Blobs = noBlobs()
	}
	key := offerKey{s.Slot, s.Payload.ParentHash, s.Proposer}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.offers[key] == nil {
		r.offers[key] = map[string]submission{}
	}
	r.offers[key][s.Builder] = s
	r.payloads[s.Payload.BlockHash], r.bundles[s.Payload.BlockHash] = s.Payload, s.Blobs
	r.forget(s.Slot)
	return nil
}

// forget drops what is older than keepSlots. The lock is held.
func (r *Relay) forget(now phase0.Slot) {
	old := func(slot phase0.Slot) bool { return slot+keepSlots < now }
	for key, of := range r.offers {
		if old(key.slot) {
			for _, s := range of {
				delete(r.payloads, s.Payload.BlockHash)
				delete(r.bundles, s.Payload.BlockHash)
			}
			delete(r.offers, key)
		}
	}
	for slot := range r.constraints {
		if old(slot) {
			delete(r.constraints, slot)
		}
	}
	for slot := range r.delegations {
		if old(slot) {
			delete(r.delegations, slot)
		}
	}
}

// best is the highest offer for a getHeader, if the proposer registered.
func (r *Relay) best(key offerKey) (s submission, k RelayKnobs, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, registered := r.registrations[key.pubkey]; !registered {
		return s, r.knobs, false
	}
	for _, of := range r.offers[key] {
		if !ok || of.Value.Gt(s.Value) {
			s, ok = of, true
		}
	}
	return s, r.knobs, ok
}

// bidOf signs the bid of an offer, or what the knobs make of it.
func (r *Relay) bidOf(s submission, k RelayKnobs) (codec, error) {
	header, value, key := s.header, s.Value, r.key
	if k.Value != nil {
		value = k.Value
	}
	if k.WrongParent {
		changed := *header
		changed.ParentHash[0] ^= 1
		header = &changed
	}
	if k.BadSignature {
		key = r.liarKey
	}
	d := domain(chain.DomainBuilder, r.spec.GenesisForkVersion, phase0.Root{})
	return signBid(r.fork, header, s.Blobs.Commitments, value, r.Pubkey, func(root phase0.Root) phase0.BLSSignature {
		return key.Sign(signingRoot(root, d))
	})
}

// publish sends an unblinded block to the beacon node.
func (r *Relay) publish(ctx context.Context, full block) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), importTimeout)
	defer cancel()
	body, err := newContents(r.fork, full.signed, r.bundleOf(full.hash)).MarshalSSZ()
	if err != nil {
		return err
	}
	h := http.Header{"Content-Type": {octets}, "Eth-Consensus-Version": {r.fork.String()}}
	status, _, answer, err := exchange(ctx, r.client, http.MethodPost, r.beacon.URL+"/eth/v2/beacon/blocks", h, body)
	if err != nil {
		return err
	}
	if status != http.StatusOK && status != http.StatusAccepted {
		return fmt.Errorf("publish: %d: %s", status, answer)
	}
	return nil
}

// open checks a signed blinded block and finds its payload.
func (r *Relay) open(in block) (*deneb.ExecutionPayload, error) {
	r.mu.Lock()
	payload, ok := r.payloads[in.hash]
	r.mu.Unlock()
	who := r.beacon.proposer(in.slot())
	switch {
	case !ok:
		return nil, errors.New("no payload of this block hash was offered")
	case r.beacon.clock.Slot() > in.slot():
		return nil, fmt.Errorf("slot %d is over", in.slot())
	case in.header.Message.ProposerIndex != who.Index:
		return nil, errors.New("not the proposer of the slot")
	case !bls.Verify(who.Pubkey, signingRoot(in.root, r.beacon.proposerDomain()), in.header.Signature):
		return nil, errors.New("wrong signature of the block")
	}
	return payload, nil
}

// bundleOf returns the blobs of a block that was offered.
func (r *Relay) bundleOf(hash phase0.Hash32) bundle {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.bundles[hash]; ok {
		return b
	}
	return noBlobs()
}

// another is a payload that is not the one asked for.
func another(p *deneb.ExecutionPayload) *deneb.ExecutionPayload {
	q := *p
	q.GasUsed++
	q.BlockHash[31] ^= 1
	return &q
}

// late says whether a slot has begun.
func (r *Relay) late(slot phase0.Slot) bool { return r.clock.Into(slot) >= 0 }

func (r *Relay) stop() {
	r.close()
	r.client.CloseIdleConnections()
}
