// Package inclusion promises that a block contains a transaction: commitment
// types 1, payload abi(struct{uint64 slot; bytes signed_tx}), and "incl", payload
// abi(uint64 slot, uint64 proposerIndex, bytes signedTx). Builders are told of
// both by a constraint of type 1.
//
// It promises only what the sender's account can pay for and what stays valid
// while the base fee and the blob base fee rise as fast as they may until the
// slot. A blob transaction is asked for in its network form, with its blobs; what
// is promised is the transaction as a block has it, and what builders are told is
// the network form, which is kept with the promise. It believes a bid only with a
// proof of every transaction, each at an index of its own, under a root that the
// bid binds (see Verify). It keeps no state but a cache.
package inclusion

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/modules"
)

// Config is the [modules.config] table.
type Config struct {
	// MinTipGwei is the floor of the price: the least effective tip per gas. All of
	// the price is paid by the tip of the promised transaction, and so to whoever
	// the block pays tips to. Default 1.
	MinTipGwei *float64 `toml:"min_tip_gwei" json:"min_tip_gwei"`

	// CurveStartGwei and CurveRatio price congestion, on top of the floor: per gas,
	// what the first promise of an empty slot pays, and how many times as much the
	// last gas of a full one. Default 0.4, and 31.6 as Bolt has it.
	CurveStartGwei *float64 `toml:"curve_start_gwei" json:"curve_start_gwei"`
	CurveRatio     *float64 `toml:"curve_ratio" json:"curve_ratio"`

	// HorizonTipGwei is added per gas and slot beyond the one after the head, for
	// what nobody knows yet about a slot far ahead. Default 0.005.
	HorizonTipGwei *float64 `toml:"horizon_tip_gwei" json:"horizon_tip_gwei"`

	// BlobPriceGwei is added per blob: gwei, not gwei per gas. Default 20,000.
	BlobPriceGwei *float64 `toml:"blob_price_gwei" json:"blob_price_gwei"`

	// ReservedGasPercent is the share of the reserved gas that is paid for even if
	// the transaction does not use it; the gas that it uses for sure pays for that.
	// Otherwise the tips of 21,000 gas could reserve a whole slot. Default 10.
	ReservedGasPercent *uint64 `toml:"reserved_gas_percent" json:"reserved_gas_percent"`

	// MaxGasPerTx is the most gas one promised transaction may have. Default and
	// upper limit 16,777,216 (EIP-7825).
	MaxGasPerTx *uint64 `toml:"max_gas_per_tx" json:"max_gas_per_tx"`

	// AllowSenders are the only addresses whose transactions are promised; DenySenders
	// never are. Optional: without the first, anyone.
	AllowSenders []string `toml:"allow_senders" json:"allow_senders"`
	DenySenders  []string `toml:"deny_senders" json:"deny_senders"`

	// MaxOpenPerSender is how many promises of one sender may be open at a time: a
	// sender can excuse all of them with one transaction. Default 64.
	MaxOpenPerSender *uint64 `toml:"max_open_per_sender" json:"max_open_per_sender"`

	// AcceptDelegatedSenders promises transactions of accounts that delegate to a
	// contract (EIP-7702). Others can then move a sender's balance, so that a promise
	// cannot be kept, and whether that excuses it is the slasher's word. Default false.
	AcceptDelegatedSenders bool `toml:"accept_delegated_senders" json:"accept_delegated_senders"`
}

// Module promises inclusion. Its methods may be called from any goroutine.
type Module struct {
	info   modules.Info
	state  modules.State
	duties modules.Schedule // nil: no promise of type "incl"
	signer types.Signer
	chain  *big.Int
	spec   chain.Spec
	price  pricing
	policy policy
	maxGas uint64
	txs    cache
	book   book
	leaves leaves
	proofs *proofs
}

var (
	_ modules.Module = (*Module)(nil)
	_ modules.Pricer = (*Module)(nil)
	_ modules.Runner = (*Module)(nil)
	_ modules.New    = New
)

// New makes the module. host.State is needed.
func New(host modules.Host, decode func(into any) error) (modules.Module, error) {
	gas := uint64(maxTxGas)
	cfg := Config{MaxGasPerTx: &gas}
	if decode != nil {
		if err := decode(&cfg); err != nil {
			return nil, fmt.Errorf("module %s: %w", host.ID, err)
		}
	}
	gas = *cfg.MaxGasPerTx
	price, err := cfg.pricing()
	policy, wrong := cfg.policy()
	err = errors.Join(err, wrong)
	switch {
	case host.State == nil:
		return nil, fmt.Errorf("module %s: inclusion needs an execution node", host.ID)
	case err != nil:
		return nil, fmt.Errorf("module %s: %w", host.ID, err)
	case gas < txGas || gas > maxTxGas:
		return nil, fmt.Errorf("module %s: max_gas_per_tx must be from %d to %d", host.ID, txGas, maxTxGas)
	}
	id := new(big.Int).SetUint64(host.Spec.ChainID)
	return &Module{
		info: modules.Info{
			ID: host.ID, SigningID: host.SigningID,
			CommitmentTypes: []uint64{commitments.TypeInclusion, commitments.TypeProvableInclusion}, ConstraintTypes: []uint64{commitments.TypeInclusion},
			Excuses: excuses,
		},
		state: host.State, duties: host.Schedule, signer: types.LatestSignerForChainID(id), chain: id,
		spec: host.Spec, price: price, policy: policy, maxGas: gas, proofs: newProofs(proposing(host)),
	}, nil
}

// Info names the module and its one type.
func (m *Module) Info() modules.Info { return m.info }

// Slot returns the slot in the payload. Faults: ErrPayload,
// commitments.ErrEncoding, commitments.ErrJSONPayload.
func (m *Module) Slot(_ context.Context, req commitments.Request) (phase0.Slot, error) {
	slot, _, err := payload(req)
	return slot, err
}

func payload(req commitments.Request) (slot phase0.Slot, tx []byte, err error) {
	if len(req.Payload) > commitments.MaxPayload {
		return 0, nil, ErrTxTooBig.With("a payload of %d bytes", len(req.Payload))
	}
	switch req.Type {
	case commitments.TypeInclusion:
		slot, tx, err = commitments.DecodeInclusion(req.Payload)
	case commitments.TypeProvableInclusion:
		slot, _, tx, err = commitments.DecodeProvableInclusion(req.Payload)
	default:
		return 0, nil, ErrPayload.With("commitment type %d", req.Type)
	}
	switch {
	case err != nil:
		return 0, nil, err
	case slot == 0:
		return 0, nil, ErrPayload.With("slot 0")
	case len(tx) == 0:
		return 0, nil, ErrPayload.With("no transaction")
	case len(tx) > maxTxSize && tx[0] != types.BlobTxType: // that may be in its network form, as long as a payload may be
		return 0, nil, ErrTxTooBig.With("%d bytes", len(tx))
	}
	return slot, tx, nil
}

// serves says whether a promise of a type is one of inclusion.
func serves(t uint64) bool {
	return t == commitments.TypeInclusion || t == commitments.TypeProvableInclusion
}

// Commit drafts the promise that the block of req's slot contains its
// transaction. Faults: those of Slot, the reasons above, the state's.
func (m *Module) Commit(ctx context.Context, view commitments.View, req commitments.Request) (commitments.Draft, error) {
	slot, raw, err := payload(req)
	if err != nil {
		return commitments.Draft{}, err
	}
	if slot != view.Slot {
		return commitments.Draft{}, ErrPayload.With("slot %d is not the page's, %d", slot, view.Slot)
	}
	if err := ctx.Err(); err != nil {
		return commitments.Draft{}, err
	}
	asked, err := m.read(raw)
	if err != nil {
		return commitments.Draft{}, err
	}
	if req.Type == commitments.TypeProvableInclusion {
		if err := m.provable(view.PageID, req.Payload, asked.raw); err != nil {
			return commitments.Draft{}, err
		}
	}
	usedBelow, err := m.admit(ctx, view, slot, asked)
	if err != nil {
		return commitments.Draft{}, err
	}
	tx, promised := asked.tx, req.Payload
	if asked.blobs != nil {
		promised = commitments.EncodeInclusion(slot, asked.raw) // no blob transaction is of type "incl"
	}
	m.leaves.learn(req.Hash(), slot, asked.raw)
	return commitments.Draft{
		Commitment: commitments.Commitment{
			Type: req.Type, Payload: promised, RequestHash: req.Hash(), Slasher: req.Slasher,
		},
		Constraints: []commitments.Constraint{{Type: commitments.TypeInclusion, Payload: constraint(req, slot, raw)}},
		Cost:        commitments.Cost{Gas: tx.gas, Blobs: tx.blobs(), Bytes: uint64(len(asked.raw))},
		Touches:     tx.touches(),
		Claims:      []string{fmt.Sprintf("account/%#x/%d", tx.sender[:], tx.nonce)}, // one transaction per nonce
		UsedBelow:   usedBelow,
	}, nil
}

// constraint is what a builder is told: of both types the same, so that every
// relay of constraints understands it. A blob transaction is in its network form,
// for nobody else may have its blobs.
func constraint(req commitments.Request, slot phase0.Slot, raw []byte) []byte {
	if req.Type == commitments.TypeInclusion {
		return req.Payload
	}
	return commitments.EncodeInclusion(slot, raw)
}
