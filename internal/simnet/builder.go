package simnet

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
)

// Lie says how a builder breaks the constraints it was given. A liar leaves the
// promised transactions out and pays twice as much.
type Lie uint8

// The lies.
const (
	Honest           Lie = iota
	NoProofs             // sends no proofs
	OtherTransaction     // proves a transaction of the block that was not promised
	OtherHeader          // proves the promised transactions in a block it does not offer
)

// BuilderOptions describes a builder at the start. Its Knobs can be turned later.
type BuilderOptions struct {
	Name   string // default builder-0, builder-1, …
	Relays []int  // to submit to; nil: all
	Knobs  BuilderKnobs
}

// BuilderKnobs are what a builder does.
type BuilderKnobs struct {
	Off     bool
	Lie     Lie
	Format  commitments.ProofFormat // of its proofs; default EL-MPT v1
	Payment *uint256.Int            // wei to the fee recipient, in the last transaction; nil: 0.01 ETH
	Value   *uint256.Int            // claims this value (wei) instead of what the block pays
}

// Builder builds one block per slot on the head, of the transactions that
// constraints demand, then of the pool's, then of its payment to the proposer.
type Builder struct {
	Name    string
	Account Account

	key    *bls.SecretKey // reads constraints
	relays []*Relay
	beacon *Beacon
	el     *Execution
	lead   time.Duration
	client *http.Client
	log    *slog.Logger

	mu    sync.Mutex
	knobs BuilderKnobs
}

// Set turns the knobs.
func (b *Builder) Set(turn func(*BuilderKnobs)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	turn(&b.knobs)
}

func (b *Builder) turned() BuilderKnobs {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.knobs
}

// job is one payload_attributes event.
type job struct {
	slot     phase0.Slot
	parent   common.Hash
	attrs    engine.PayloadAttributes
	proposer phase0.ValidatorIndex
}

// run builds for every event, lead before its slot begins or at once.
func (b *Builder) run(ctx context.Context) {
	defer b.client.CloseIdleConnections()
	jobs := make(chan job, 8)
	var reader sync.WaitGroup
	reader.Go(func() {
		for ctx.Err() == nil {
			if err := b.listen(ctx, jobs); err != nil && ctx.Err() == nil {
				b.log.Debug("Event stream ended", "error", err)
				pause(ctx, 50*time.Millisecond)
			}
		}
	})
	defer reader.Wait()
	var next job
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case next = <-jobs: // a newer head overtakes
			at := b.beacon.clock.Start(next.slot).Add(-b.lead)
			timer.Reset(max(b.beacon.clock.Until(at), 0))
		case <-timer.C:
			if err := b.work(ctx, next); err != nil && ctx.Err() == nil {
				b.log.Info("Built nothing", "slot", next.slot, "error", err)
			}
		}
	}
}

// listen reads payload_attributes events from the beacon node until it ends.
func (b *Builder) listen(ctx context.Context, jobs chan<- job) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.beacon.URL+"/eth/v1/events?topics=payload_attributes", nil)
	if err != nil {
		return err
	}
	res, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		j, err := readAttributes([]byte(data))
		if err != nil {
			return err
		}
		select {
		case jobs <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.New("closed")
}

func readAttributes(data []byte) (j job, err error) {
	var v struct {
		Data struct {
			Proposer   number      `json:"proposer_index"`
			Slot       number      `json:"proposal_slot"`
			ParentHash common.Hash `json:"parent_block_hash"`
			Attributes struct {
				Timestamp    number         `json:"timestamp"`
				Randao       common.Hash    `json:"prev_randao"`
				FeeRecipient common.Address `json:"suggested_fee_recipient"`
				BeaconRoot   common.Hash    `json:"parent_beacon_block_root"`
			} `json:"payload_attributes"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return j, err
	}
	a := v.Data.Attributes
	return job{phase0.Slot(v.Data.Slot), v.Data.ParentHash, engine.PayloadAttributes{
		Timestamp: uint64(a.Timestamp), Random: a.Randao, SuggestedFeeRecipient: a.FeeRecipient,
		Withdrawals: []*types.Withdrawal{}, BeaconRoot: &a.BeaconRoot,
	}, phase0.ValidatorIndex(v.Data.Proposer)}, nil
}

// work builds a slot's block and submits it to every relay.
func (b *Builder) work(ctx context.Context, j job) error {
	knobs := b.turned()
	if knobs.Off {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.beacon.spec.SlotDuration)
	defer cancel()
	demands := b.demands(ctx, j.slot)
	honest, blobs, value, err := b.build(ctx, j, demands, knobs, false)
	if err != nil {
		return err
	}
	offer, proven := honest, honest
	if knobs.Lie != Honest && len(demands) > 0 {
		if offer, blobs, value, err = b.build(ctx, j, demands, knobs, true); err != nil {
			return err
		}
		if knobs.Lie == OtherTransaction {
			proven = offer
		}
	}
	proofs, err := b.prove(j, demands, proven, knobs)
	if err != nil {
		return err
	}
	if knobs.Value != nil {
		value = knobs.Value
	}
	return b.submit(ctx, submission{
		Builder: b.Name, Slot: j.slot, Proposer: b.beacon.validators[j.proposer].Pubkey,
		Value: value, Payload: offer, Blobs: blobs, Proofs: proofs,
	})
}

// demands asks every relay of constraints what a slot's block must contain.
func (b *Builder) demands(ctx context.Context, slot phase0.Slot) (all []constraint) {
	for _, r := range b.relays {
		if !r.Constraints {
			continue
		}
		url := fmt.Sprintf("%s/constraints/v0/relay/constraints/%d", r.URL, slot)
		status, _, body, err := exchange(ctx, b.client, http.MethodGet, url, receiverHeader(b.key, b.beacon.spec, slot), nil)
		var messages []signedConstraints
		if err == nil && status == http.StatusOK {
			messages, err = readConstraints(body)
		}
		if err != nil || status != http.StatusOK {
			b.log.Debug("Cannot read constraints", "relay", r.Name, "status", status, "error", err)
		}
		for _, m := range messages {
			for _, c := range m.Message.Constraints {
				if !slices.ContainsFunc(all, func(o constraint) bool { return o.Type == c.Type && bytes.Equal(o.Payload, c.Payload) }) {
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// build makes the block, with the demanded transactions or wilfully without,
// and says what it pays (wei).
func (b *Builder) build(ctx context.Context, j job, demands []constraint, k BuilderKnobs, without bool) (*deneb.ExecutionPayload, bundle, *uint256.Int, error) {
	var promised [][]byte
	for _, c := range demands {
		if _, tx, err := commitments.DecodeInclusion(c.Payload); err == nil && c.Type == commitments.TypeInclusion {
			promised = append(promised, tx)
		}
	}
	pool, err := b.el.Build(ctx, j.parent, j.attrs, nil, b.Name)
	if err != nil {
		return nil, bundle{}, nil, err
	}
	rest := slices.DeleteFunc(pool.ExecutionPayload.Transactions, func(tx []byte) bool {
		return slices.ContainsFunc(promised, func(p []byte) bool { return bytes.Equal(canonical(p), tx) })
	})
	pays := k.Payment
	if pays == nil {
		pays = uint256.NewInt(1e16)
	}
	if without {
		promised, pays = nil, new(uint256.Int).Mul(pays, uint256.NewInt(2))
	}
	payment, err := b.payment(j, pays)
	if err != nil {
		return nil, bundle{}, nil, err
	}
	env, err := b.fit(ctx, j, promised, rest, payment)
	if err != nil {
		return nil, bundle{}, nil, err
	}
	if len(env.Requests) != 0 {
		return nil, bundle{}, nil, errors.New("block with execution requests")
	}
	payload, err := payloadOf(env.ExecutionPayload)
	if err != nil {
		return nil, bundle{}, nil, err
	}
	blobs, err := bundleOf(env.BlobsBundle)
	value, _ := uint256.FromBig(env.BlockValue)
	return payload, blobs, value.Add(value, pays), err
}

// fit builds of as many transactions as are valid together: geth refuses the
// whole list for one that is not.
func (b *Builder) fit(ctx context.Context, j job, promised, pool [][]byte, payment []byte) (*engine.ExecutionPayloadEnvelope, error) {
	lists := [][][]byte{slices.Concat(promised, pool, [][]byte{payment}), slices.Concat(pool, promised, [][]byte{payment})}
	var valid [][]byte
	for _, list := range lists {
		if env, err := b.el.Build(ctx, j.parent, j.attrs, list, b.Name); err == nil {
			return env, nil
		}
	}
	for _, tx := range slices.Concat(promised, pool) {
		if _, err := b.el.Build(ctx, j.parent, j.attrs, append(slices.Clone(valid), tx), b.Name); err == nil {
			valid = append(valid, tx)
		}
	}
	return b.el.Build(ctx, j.parent, j.attrs, append(valid, payment), b.Name)
}

// payment is the transaction that pays the proposer.
func (b *Builder) payment(j job, wei *uint256.Int) ([]byte, error) {
	at := b.el.Block(j.parent)
	if at == nil {
		return nil, errors.New("parent is unknown")
	}
	nonce, _, err := b.el.Account(b.Account.Address, at.Header())
	if err != nil {
		return nil, err
	}
	id := new(big.Int).SetUint64(b.beacon.spec.ChainID)
	tx, err := types.SignNewTx(b.Account.Key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
		ChainID: id, Nonce: nonce, GasTipCap: new(big.Int), GasFeeCap: new(big.Int).Lsh(at.BaseFee(), 1),
		Gas: 21_000, To: &j.attrs.SuggestedFeeRecipient, Value: wei.ToBig(),
	})
	if err != nil {
		return nil, err
	}
	return tx.MarshalBinary()
}

// prove makes the proofs of a builder of this honesty, against a block.
func (b *Builder) prove(j job, demands []constraint, of *deneb.ExecutionPayload, k BuilderKnobs) ([]constraint, error) {
	lie := k.Lie
	if lie == NoProofs || len(demands) == 0 {
		return []constraint{}, nil
	}
	p, err := newProver(b.beacon.fork, of, *j.attrs.BeaconRoot)
	if err != nil {
		return nil, err
	}
	proofs, indices := []constraint{}, []uint64{}
	for _, c := range demands {
		_, tx, err := commitments.DecodeInclusion(c.Payload)
		i := p.index(canonical(tx)) // constraints have blobs beside it, blocks do not
		if lie == OtherTransaction {
			i = 0
		}
		if err != nil || i < 0 {
			b.log.Info("A demanded transaction does not fit", "slot", j.slot)
			continue
		}
		indices = append(indices, uint64(i)) // #nosec G115 -- an index
		proof, err := p.prove(i, k.Format)
		if err != nil {
			return nil, err
		}
		proofs = append(proofs, constraint{c.Type, proof})
	}
	if k.Format == commitments.ProofBolt && len(proofs) > 0 {
		one, err := p.proveAll(indices)
		return []constraint{{commitments.TypeInclusion, one}}, err
	}
	return proofs, nil
}

// submit posts a block to every relay.
func (b *Builder) submit(ctx context.Context, s submission) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range b.relays {
		status, _, answer, err := exchange(ctx, b.client, http.MethodPost, r.URL+"/simnet/v1/submit", http.Header{"Content-Type": {jsonType}}, body)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d: %s", status, answer)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("submit to %s: %w", r.Name, err))
		}
	}
	return errors.Join(errs...)
}

// receiverHeader proves to a relay which builder asks. [Constraints API:
// X-Receiver-Signature: the slot, under the builder domain]
func receiverHeader(key *bls.SecretKey, spec chain.Spec, slot phase0.Slot) http.Header {
	sig, pub := key.Sign(receiverRoot(spec, slot)), key.PublicKey()
	return http.Header{"X-Receiver-Signature": {hex(sig[:])}, "X-Receiver-Publickey": {hex(pub[:])}}
}

func receiverRoot(spec chain.Spec, slot phase0.Slot) phase0.Root {
	var root phase0.Root
	for i := range 8 {
		root[i] = byte(slot >> (8 * i)) // #nosec G115 -- a byte at a time
	}
	return signingRoot(root, domain(chain.DomainBuilder, spec.GenesisForkVersion, phase0.Root{}))
}

// isReader says whether a request is signed by reader for slot.
func (r *Relay) isReader(req *http.Request, reader phase0.BLSPubKey, slot phase0.Slot) bool {
	var sig phase0.BLSSignature
	err := sig.UnmarshalJSON([]byte(strconv.Quote(req.Header.Get("X-Receiver-Signature"))))
	return err == nil && bls.Verify(reader, receiverRoot(r.spec, slot), sig)
}
