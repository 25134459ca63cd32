package simnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/holiman/uint256"

	"sidecar/chain"
	"sidecar/internal/bls"
)

// Source says where a slot's block came from.
type Source string

// The sources.
const (
	FromBuilder Source = "builder"
	FromLocal   Source = "local"
	Missed      Source = "missed"
)

// Outcome is what became of one slot.
type Outcome struct {
	Slot       phase0.Slot
	Proposer   phase0.BLSPubKey
	Source     Source
	Relay      string        // whose key signed the bid; empty unless Source is builder or a bid was lost
	ParentHash phase0.Hash32 // the execution block built on
	BlockHash  phase0.Hash32 // of the block on chain
	BidHash    phase0.Hash32 // of the block in the bid, if there was one
	Value      *uint256.Int  // wei, of the bid
	Txs        int           // in the block on chain

	HeaderStatus int // of getHeader; 0: not asked, or no answer
	BlockStatus  int // of blinded_blocks
	HeaderAt     time.Duration
	HeaderTook   time.Duration // HeaderAt is when it was asked, into the slot
	BlockTook    time.Duration

	Err error // why the builder's block was not taken, or the slot missed
}

// Proposer is the builder client of a beacon node and the validator client in
// one. Every validator of the chain is its own.
type Proposer struct {
	beacon *Beacon
	el     *Execution
	opts   Options
	client *http.Client
	relays []*Relay
	log    *slog.Logger

	mu         sync.Mutex
	builderURL string
	kicked     chan struct{} // wakes the registrar; closed and replaced
	outcomes   []Outcome
	changed    chan struct{} // closed at every outcome
	skips      map[phase0.Slot]bool
}

// Skip makes the proposer propose nothing in a slot that is still to come.
func (p *Proposer) Skip(slot phase0.Slot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.skips == nil {
		p.skips = map[phase0.Slot]bool{}
	}
	p.skips[slot] = true
}

func (p *Proposer) skipped(slot phase0.Slot) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.skips[slot]
}

// setBuilderURL makes the proposer ask url from the next slot on, "" nobody,
// and registers there at once.
func (p *Proposer) setBuilderURL(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.builderURL = url
	close(p.kicked)
	p.kicked = make(chan struct{})
}

func (p *Proposer) builder() (string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.builderURL, p.kicked
}

// run proposes in every slot from 1 on.
func (p *Proposer) run(ctx context.Context) {
	clock := p.beacon.clock
	for slot := phase0.Slot(1); ; slot++ {
		for now := clock.Slot(); slot < now; slot++ {
			p.note(Outcome{Slot: slot, Source: Missed, Err: errors.New("the machine was too slow")})
		}
		if d := clock.Until(clock.Start(slot).Add(p.opts.Offset)); d > 0 && !pause(ctx, d) || ctx.Err() != nil {
			return
		}
		slotCtx, cancel := context.WithTimeout(ctx, clock.Until(clock.Start(slot+1)))
		o := p.propose(slotCtx, slot)
		cancel()
		if ctx.Err() != nil {
			return
		}
		p.note(o)
	}
}

func (p *Proposer) note(o Outcome) {
	p.log.Info("Slot", "slot", o.Slot, "source", o.Source, "relay", o.Relay, "txs", o.Txs, "error", o.Err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outcomes = append(p.outcomes, o)
	close(p.changed)
	p.changed = make(chan struct{})
}

// propose makes a slot's block: the builder's, or else its own.
func (p *Proposer) propose(ctx context.Context, slot phase0.Slot) (o Outcome) {
	head, who := p.beacon.headBlock(), p.beacon.proposer(slot)
	o = Outcome{Slot: slot, Proposer: who.Pubkey, Source: Missed, ParentHash: head.hash}
	if p.skipped(slot) {
		o.Err = errors.New("told to skip the slot")
		return o
	}
	local, localValue, err := p.buildLocal(ctx, slot, head)
	if err != nil {
		o.Err = err
		return o
	}
	plan := p.plan(slot, who, head)
	if url, _ := p.builder(); url != "" {
		bid, err := p.getHeader(ctx, url, &o, who, head)
		if err == nil && bid != nil {
			err = p.judge(*bid, slot, head, local, localValue)
		}
		switch {
		case err != nil:
			o.Err = err
		case bid != nil:
			// From here on the validator has signed: no other block of this
			// slot may follow, whatever becomes of this one.
			o.Source, o.Err = p.proposeBlinded(ctx, url, &o, plan, *bid, who)
			return o
		}
	}
	full := plan.full(local, []deneb.KZGCommitment{})
	p.sign(full, who)
	if err := p.beacon.importBlock(ctx, full); err != nil {
		o.Err = errors.Join(o.Err, err)
		return o
	}
	o.Source, o.BlockHash, o.Txs = FromLocal, local.BlockHash, len(local.Transactions)
	return o
}

func (p *Proposer) buildLocal(ctx context.Context, slot phase0.Slot, head block) (*deneb.ExecutionPayload, *uint256.Int, error) {
	env, err := p.el.Build(ctx, common.Hash(head.hash), p.beacon.attributes(slot, head.root), nil, "simnet local")
	if err != nil {
		return nil, nil, err
	}
	payload, err := payloadOf(env.ExecutionPayload)
	value, _ := uint256.FromBig(env.BlockValue)
	return payload, value, err
}

// plan is the consensus part of the block.
func (p *Proposer) plan(slot phase0.Slot, who Validator, head block) proposal {
	epoch := uint64(p.beacon.spec.Epoch(slot))
	var epochRoot phase0.Root
	for i := range 8 {
		epochRoot[i] = byte(epoch >> (8 * i)) // #nosec G115 -- a byte at a time
	}
	d := domain(phase0.DomainType{2, 0, 0, 0}, forkVersion(p.beacon.fork), p.beacon.validatorsRoot)
	return proposal{
		fork: p.beacon.fork, slot: slot, proposer: who.Index, parent: head.root, state: p.beacon.stateRoot(slot, head.root),
		randao: who.Key.Sign(signingRoot(epochRoot, d)), graffiti: [32]byte([]byte(fmt.Sprintf("%-32s", "simnet"))),
	}
}

// sign signs a block under the proposer domain of the chain.
func (p *Proposer) sign(c codec, who Validator) {
	b := must(readBlock(c))
	sign(c, who.Key.Sign(signingRoot(b.root, p.beacon.proposerDomain())))
}

// header is what every request carries: one accepted type, as Prysm sends it.
func (p *Proposer) header() http.Header {
	h := http.Header{"Accept": {jsonType}, "User-Agent": {"simnet/v1"}, "Accept-Encoding": {"gzip"}}
	if p.opts.SSZ {
		h.Set("Accept", octets)
	}
	return h
}

// getHeader asks for a bid; nil without an error is the answer 204. The status
// must be exactly 200, and the answer in the encoding asked for.
func (p *Proposer) getHeader(ctx context.Context, url string, o *Outcome, who Validator, head block) (*bid, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.HeaderTimeout)
	defer cancel()
	path := fmt.Sprintf("%s/eth/v1/builder/header/%d/%#x/%#x", url, o.Slot, head.hash[:], who.Pubkey[:])
	begun := p.beacon.clock.Now()
	o.HeaderAt = begun.Sub(p.beacon.clock.Start(o.Slot))
	status, h, body, err := exchange(ctx, p.client, http.MethodGet, path, p.header(), nil)
	o.HeaderStatus, o.HeaderTook = status, p.beacon.clock.Now().Sub(begun)
	switch {
	case err != nil:
		return nil, fmt.Errorf("get header: %w", err)
	case status == http.StatusNoContent:
		return nil, nil
	case status != http.StatusOK:
		return nil, fmt.Errorf("get header: %d: %.200s", status, body)
	}
	ssz, err := isSSZ(h)
	if err == nil && ssz != p.opts.SSZ {
		err = errors.New("answer is not in the encoding asked for")
	}
	if v := h.Get("Eth-Consensus-Version"); err == nil && v != p.beacon.fork.String() {
		err = fmt.Errorf("answer of consensus version %q", v)
	}
	if err != nil {
		return nil, fmt.Errorf("get header: %w", err)
	}
	signed := newSignedBid(p.beacon.fork)
	if err := decode(p.beacon.fork, ssz, body, signed); err != nil {
		return nil, fmt.Errorf("decode bid: %w", err)
	}
	b, err := readBid(signed)
	if err != nil {
		return nil, err
	}
	o.Value, o.BidHash = b.value, b.header.BlockHash
	for _, r := range p.relays {
		if r.Pubkey == b.pubkey {
			o.Relay = r.Name
		}
	}
	return &b, nil
}

// judge makes the checks of a real beacon node on a bid.
func (p *Proposer) judge(b bid, slot phase0.Slot, head block, local *deneb.ExecutionPayload, localValue *uint256.Int) error {
	own, err := headerOf(local)
	if err != nil {
		return err
	}
	empty, err := headerOf(&deneb.ExecutionPayload{BaseFeePerGas: new(uint256.Int)})
	if err != nil {
		return err
	}
	d := domain(chain.DomainBuilder, p.beacon.spec.GenesisForkVersion, phase0.Root{})
	switch h := b.header; {
	case b.value == nil || b.value.IsZero():
		return errors.New("bid of value 0")
	case h.TransactionsRoot == empty.TransactionsRoot:
		return errors.New("bid without transactions")
	case h.ParentHash != head.hash:
		return errors.New("bid on another parent")
	case h.BlockHash == phase0.Hash32{}:
		return errors.New("bid without a block hash")
	case h.GasLimit != own.GasLimit:
		return fmt.Errorf("bid of gas limit %d, want %d", h.GasLimit, own.GasLimit)
	case h.Timestamp != p.beacon.timestamp(slot):
		return errors.New("bid of another timestamp")
	case h.PrevRandao != own.PrevRandao || h.WithdrawalsRoot != own.WithdrawalsRoot:
		return errors.New("bid of another randao or withdrawals")
	case !bls.Verify(b.pubkey, signingRoot(b.root, d), b.signature):
		return errors.New("bid with a wrong signature")
	case !b.value.Gt(localValue):
		return fmt.Errorf("bid of %s wei, the local block pays %s", b.value, localValue)
	}
	return nil
}

// proposeBlinded signs the bid's block and hands it in: v1 until Electra, where
// the payload comes back, v2 from Fulu on, where the relay publishes. A block may
// be on chain in spite of an error.
func (p *Proposer) proposeBlinded(ctx context.Context, url string, o *Outcome, plan proposal, b bid, who Validator) (Source, error) {
	signed := plan.blinded(b.header, b.blobs)
	p.sign(signed, who)
	contentType, body, err := encodePlain(p.opts.SSZ, signed)
	if err != nil {
		return Missed, err
	}
	h := p.header()
	h.Set("Content-Type", contentType)
	h.Set("Eth-Consensus-Version", p.beacon.fork.String())
	path, want := "/eth/v1/builder/blinded_blocks", http.StatusOK
	if p.beacon.fork >= chain.Fulu {
		path, want = "/eth/v2/builder/blinded_blocks", http.StatusAccepted
	}
	begun := p.beacon.clock.Now()
	status, rh, answer, err := exchange(ctx, p.client, http.MethodPost, url+path, h, body)
	o.BlockStatus, o.BlockTook = status, p.beacon.clock.Now().Sub(begun)
	if err == nil && status != want {
		err = fmt.Errorf("%d, want %d: %.200s", status, want, answer)
	}
	if err == nil && want == http.StatusOK {
		err = p.importDelivered(ctx, rh, answer, signed)
	}
	if err != nil {
		err = fmt.Errorf("submit blinded block: %w", err)
	}
	at, missed := p.beacon.awaitBlock(ctx, o.Slot)
	if missed != nil {
		return Missed, errors.Join(err, errors.New("no block appeared"))
	}
	o.BlockHash, o.Txs = at.hash, len(at.payload.Transactions)
	return FromBuilder, err
}

// importDelivered unblinds with the payload that v1 answered.
func (p *Proposer) importDelivered(ctx context.Context, h http.Header, body []byte, signed codec) error {
	ssz, err := isSSZ(h)
	if err != nil {
		return err
	}
	if ssz != p.opts.SSZ {
		return errors.New("payload is not in the encoding asked for")
	}
	d := newDelivery(p.beacon.fork, nil, bundle{})
	if err := decode(p.beacon.fork, ssz, body, d); err != nil {
		return fmt.Errorf("decode payload: %w", err)
	}
	payload, blobs := delivered(d)
	if payload == nil {
		return errors.New("no payload")
	}
	full, err := unblind(signed, payload)
	if err != nil {
		return err
	}
	if err := blobs.check(p.beacon.fork, must(readBlock(full)).blobs); err != nil {
		return err
	}
	return p.beacon.importBlock(ctx, full)
}
