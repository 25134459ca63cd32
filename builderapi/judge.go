package builderapi

import (
	"context"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/wire"
)

// Reasons to refuse a bid: the label of sidecar_bids_total.
var (
	ErrBidHash         = fault.Define("bid_zero_hash", fault.Rejected, "The bid's block hash is zero.")
	ErrBidParent       = fault.Define("bid_parent", fault.Rejected, "The bid builds on another parent than was asked.")
	ErrBidEmpty        = fault.Define("bid_no_transactions", fault.Rejected, "The bid's block holds no transaction; beacon nodes refuse it.")
	ErrBidValue        = fault.Define("bid_zero_value", fault.Rejected, "The bid pays nothing.")
	ErrBidBelow        = fault.Define("bid_below_minimum", fault.Rejected, "The bid is below min_bid_eth.")
	ErrBidInsane       = fault.Define("bid_value_insane", fault.Rejected, "The bid is above max_value_eth, which no honest block is worth.")
	ErrBidTimestamp    = fault.Define("bid_timestamp", fault.Rejected, "The bid's timestamp is not the start of its slot.")
	ErrBidBlobs        = fault.Define("bid_blobs", fault.Rejected, "The bid holds more blobs than its slot allows, or accounts for another number.")
	ErrBidFeeRecipient = fault.Define("bid_fee_recipient", fault.Rejected, "The bid's header pays another address than the validator registered.")
	ErrBidPubkey       = fault.Define("bid_pubkey", fault.Rejected, "The bid is signed by another key than the relay's.")
	ErrBidSignature    = fault.Define("bid_signature", fault.Rejected, "The bid's signature is not valid.")
	ErrBidNumber       = fault.Define("bid_block_number", fault.Rejected, "The bid's block number is not its parent's plus one.")
	ErrBidGasLimit     = fault.Define("bid_gas_limit", fault.Rejected, "The bid's gas limit is not one step from its parent's toward the registered target.")
	ErrBidPanic        = fault.Define("bid_check_panic", fault.Internal, "Checking the bid failed in the sidecar itself; please report it.")
	ErrBidPromises     = fault.Define("bid_promises", fault.Rejected, "The bid does not prove that it keeps what was promised.")
)

// emptyTransactions is the hash tree root of an empty transactions list.
var emptyTransactions = phase0.Root{
	0x7f, 0xfe, 0x24, 0x1e, 0xa6, 0x01, 0x87, 0xfd, 0xb0, 0x18, 0x7b, 0xfa, 0x22, 0xde, 0x35, 0xd1,
	0xf9, 0xbe, 0xd7, 0xab, 0x06, 0x1d, 0x94, 0x01, 0xfd, 0x47, 0xe3, 0x4a, 0x54, 0xfb, 0xed, 0xe1,
}

const gasPerBlob = 1 << 17 // [EIP-4844]

// judge holds the facts one auction's bids are compared with.
type judge struct {
	service    *Service
	query      query
	page       *commitments.Page
	timestamp  uint64
	maxBlobs   int
	registered registration
	known      bool           // registered is set
	parent     func() *Parent // waits for the node, nil if it did not answer in time
	quick      bool           // the dear checks are a signature and nothing else
}

func (s *Service) judge(ctx context.Context, q query, page *commitments.Page) *judge {
	j := &judge{service: s, query: q, page: page, parent: func() *Parent { return nil }, quick: s.Parents == nil && page.Empty()}
	j.timestamp = uint64(s.Clock.Start(q.slot).Unix()) // #nosec G115 -- slots start after 1970
	j.maxBlobs = s.Spec.MaxBlobs(q.slot)
	j.registered, j.known = s.registrations.of(q.validator)
	if s.Parents != nil {
		j.parent = s.lookUp(ctx, q.parent)
	}
	return j
}

// parentTimeout is how long an execution node may take to know a block. It runs
// beside the relays; a slow node costs the checks, never the bid.
const parentTimeout = 150 * time.Millisecond

// lookUp starts to read the parent and returns a function that waits for it.
func (s *Service) lookUp(ctx context.Context, hash phase0.Hash32) func() *Parent {
	ctx, cancel := context.WithTimeout(ctx, parentTimeout)
	found := make(chan *Parent, 1)
	s.detach(func(context.Context) {
		defer cancel()
		if p, err := s.Parents.Parent(ctx, hash); err == nil {
			found <- &p
			return
		}
		s.Metrics.parentUnknown()
	})
	return sync.OnceValue(func() *Parent {
		select {
		case p := <-found:
			return p
		case <-ctx.Done():
		}
		select { // the answer may have come together with the cancel
		case p := <-found:
			return p
		default:
			return nil
		}
	})
}

// cheap checks everything that costs next to nothing, in the order of the
// dossier. The fork was compared with the slot's when the bid was decoded.
func (j *judge) cheap(l *lot) error {
	b, h, s := l.bid, &l.bid.Header, j.service
	switch {
	case h.BlockHash == phase0.Hash32{}:
		return ErrBidHash
	case h.ParentHash != j.query.parent:
		return ErrBidParent.With("%s", h.ParentHash.String())
	case h.TransactionsRoot == emptyTransactions:
		return ErrBidEmpty
	case b.Value.IsZero():
		return ErrBidValue
	case b.Value.Lt(&s.MinBid):
		return ErrBidBelow.With("%s ETH", ether(&b.Value))
	case b.Value.Gt(&s.MaxBid):
		return ErrBidInsane.With("%s ETH", ether(&b.Value))
	case h.Timestamp != j.timestamp:
		return ErrBidTimestamp.With("%d, want %d", h.Timestamp, j.timestamp)
	case len(b.Commitments) > j.maxBlobs || h.BlobGasUsed != uint64(len(b.Commitments))*gasPerBlob:
		return ErrBidBlobs.With("%d commitments of %d, %d blob gas", len(b.Commitments), j.maxBlobs, h.BlobGasUsed)
	case !s.SkipSignature && b.Pubkey != l.relay.Pubkey():
		return ErrBidPubkey.With("%s", b.Pubkey.String())
	}
	if j.known && h.FeeRecipient != j.registered.feeRecipient {
		// Builders often name themselves and pay in the last transaction.
		s.Metrics.feeRecipientDiffers(l.name())
		if s.RequireFeeRecipient {
			return ErrBidFeeRecipient.With("%s", h.FeeRecipient.String())
		}
	}
	return nil
}

// dear checks what costs: the parent (awaited), the signature, the promises.
func (j *judge) dear(ctx context.Context, l *lot) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = ErrBidPanic.With("%v", p)
		}
	}()
	if !j.service.SkipSignature {
		key, err := j.service.keys.get(l.relay.Pubkey())
		if err != nil {
			return err
		}
		root := commitments.SigningData(l.bid.Root(), j.service.keys.domain(j.service.Spec))
		if !key.Verify(root, l.bid.Signature) {
			return ErrBidSignature
		}
	}
	if p := j.parent(); p != nil {
		if err := j.follows(&l.bid.Header, p); err != nil {
			return err
		}
	}
	if j.page.Empty() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, j.service.VerifyTimeout)
	defer cancel()
	h := &l.bid.Header
	err = j.service.Modules.Verify(ctx, *j.page, commitments.Candidate{
		Slot: j.query.slot, ParentHash: h.ParentHash, BlockHash: h.BlockHash, Source: l.name(),
		Header: h.Deneb(), Proofs: l.offer.Proofs,
	})
	if j.service.Proven != nil {
		j.service.Proven(j.query.page(), l.name(), err)
	}
	if err != nil {
		return ErrBidPromises.Wrap(err)
	}
	return nil
}

// follows compares a header with its parent. With a registration the limit must
// be the very one the protocol's step toward the target gives.
func (j *judge) follows(h *wire.Header, p *Parent) error {
	if h.BlockNumber != p.Number+1 {
		return ErrBidNumber.With("%d after %d", h.BlockNumber, p.Number)
	}
	step := p.GasLimit / 1024
	if h.GasLimit < 5000 || h.GasLimit >= p.GasLimit+step || h.GasLimit+step <= p.GasLimit {
		return ErrBidGasLimit.With("%d after %d", h.GasLimit, p.GasLimit)
	}
	if want := expectedGasLimit(p.GasLimit, j.registered.gasLimit); j.known && h.GasLimit != want {
		return ErrBidGasLimit.With("%d, the registration leads to %d", h.GasLimit, want)
	}
	return nil
}

// expectedGasLimit is the gas limit of a block whose proposer registered target.
// [builder-specs: expected_gas_limit]
func expectedGasLimit(parent, target uint64) uint64 {
	most := max(parent/1024, 1) - 1
	switch {
	case target > parent:
		return parent + min(target-parent, most)
	default:
		return parent - min(parent-target, most)
	}
}

// keyring keeps the relays' keys decompressed, and the builder domain.
type keyring struct {
	keys sync.Map // phase0.BLSPubKey → *bls.PublicKey
	once sync.Once
	d    phase0.Domain
}

func (k *keyring) get(p phase0.BLSPubKey) (*bls.PublicKey, error) {
	if v, ok := k.keys.Load(p); ok {
		return v.(*bls.PublicKey), nil
	}
	key, err := bls.ParsePublicKey(p)
	if err == nil {
		k.keys.Store(p, key)
	}
	return key, err
}

func (k *keyring) domain(spec chain.Spec) phase0.Domain {
	k.once.Do(func() { k.d = spec.Domain(chain.DomainBuilder) })
	return k.d
}
