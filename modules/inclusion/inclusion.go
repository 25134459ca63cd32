// Package inclusion promises that a block contains a transaction: commitment
// types 1, payload abi(struct{uint64 slot; bytes signed_tx}), and "incl", payload
// abi(uint64 slot, uint64 proposerIndex, bytes signedTx). Builders are told of
// both by a constraint of type 1.
//
// It promises only what the sender's account can pay for and what stays valid
// while the base fee rises as fast as it may until the slot. It believes a bid
// only with a proof of the transaction under both roots that the bid's header
// has for its transactions. It keeps no state but a cache.
package inclusion

import (
	"context"
	"fmt"
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/modules"
)

// Reasons to refuse a request. [Commitments API: data.reason]
var (
	ErrPayload       = fault.Define("inclusion_payload", fault.Invalid, "The request is of another type, or names slot 0 or no transaction.")
	ErrTxEncoding    = fault.Define("tx_encoding", fault.Invalid, "The transaction is not in canonical EIP-2718 form.")
	ErrTxTooBig      = fault.Define("tx_too_big", fault.Rejected, "The transaction is longer than 131,072 bytes.")
	ErrTxType        = fault.Define("unsupported_tx_type", fault.Rejected, "Promises are made for transactions of type 0, 1 and 2 that call an account; not for blobs, set-code or contract creation.")
	ErrWrongChain    = fault.Define("wrong_chain", fault.Rejected, "The transaction is not signed for this chain, or for no chain in particular.")
	ErrSignature     = fault.Define("invalid_signature", fault.Rejected, "The transaction's signature names no sender, or has a high s.")
	ErrGasAboveCap   = fault.Define("gas_above_cap", fault.Rejected, "The transaction's gas exceeds what one transaction may have here.")
	ErrGasBelow      = fault.Define("gas_below_intrinsic", fault.Rejected, "The transaction's gas does not cover its intrinsic cost.")
	ErrFees          = fault.Define("fee_fields_invalid", fault.Rejected, "The priority fee exceeds the fee cap, or a fee or the value exceeds 256 bits.")
	ErrSlotPassed    = fault.Define("slot_passed", fault.Rejected, "The slot is not after the head of the chain.")
	ErrWorstBaseFee  = fault.Define("fee_cap_below_worst_case", fault.Rejected, "The base fee may exceed the transaction's fee cap by the slot.")
	ErrTipTooLow     = fault.Define("tip_too_low", fault.Rejected, "At the present base fee, or at the worst one of its slot, the transaction tips less than the price; the detail says what is enough.")
	ErrSenderHasCode = fault.Define("sender_has_code", fault.Rejected, "The sender is a contract or delegates to one (EIP-7702): others can move its balance.")
	ErrNonceTooLow   = fault.Define("nonce_too_low", fault.Rejected, "The nonce is spent.")
	ErrNonceGap      = fault.Define("nonce_gap", fault.Rejected, "An earlier nonce of the sender is neither spent nor promised for the same slot.")
	ErrNonceConflict = fault.Define("nonce_conflict", fault.Rejected, "Another transaction with this nonce is promised.")
	ErrPromised      = fault.Define("tx_already_promised", fault.Rejected, "This transaction is promised by another commitment that is still open.")
	ErrBalance       = fault.Define("insufficient_balance", fault.Rejected, "The sender cannot pay for all its promised transactions at their fee caps.")
)

// Reasons to refuse a bid.
var (
	ErrProofMissing = fault.Define("proof_missing", fault.Rejected, "A bid comes without a proof for a promised transaction.")
	ErrProofInvalid = fault.Define("proof_invalid", fault.Rejected, "A bid's proof does not show a promised transaction in its block.")
)

// Limits. [EIP-7825: MAX_TX_GAS; the pools of execution clients: txMaxSize]
const (
	maxTxSize = 131_072
	maxTxGas  = 1 << 24
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
}

// Module promises inclusion. Its methods may be called from any goroutine.
type Module struct {
	info   modules.Info
	state  modules.State
	duties modules.Schedule // nil: no promise of type "incl"
	signer types.Signer
	chain  *big.Int
	price  pricing
	maxGas uint64
	txs    cache
}

var (
	_ modules.Module = (*Module)(nil)
	_ modules.Pricer = (*Module)(nil)
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
		},
		state: host.State, duties: host.Schedule, signer: types.LatestSignerForChainID(id), chain: id,
		price: price, maxGas: gas,
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
	case len(tx) > maxTxSize:
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
	tx, err := m.decode(raw)
	if err != nil {
		return commitments.Draft{}, err
	}
	if req.Type == commitments.TypeProvableInclusion {
		if err := m.provable(view.PageID, req.Payload, raw); err != nil {
			return commitments.Draft{}, err
		}
	}
	usedBelow, err := m.admit(ctx, view, slot, tx)
	if err != nil {
		return commitments.Draft{}, err
	}
	return commitments.Draft{
		Commitment: commitments.Commitment{
			Type: req.Type, Payload: req.Payload, RequestHash: req.Hash(), Slasher: req.Slasher,
		},
		Constraints: []commitments.Constraint{{Type: commitments.TypeInclusion, Payload: constraint(req, slot, raw)}},
		Cost:        commitments.Cost{Gas: tx.gas, Bytes: uint64(len(raw))},
		Touches:     []string{fmt.Sprintf("account/%#x", tx.sender[:])},
		Claims:      []string{fmt.Sprintf("account/%#x/%d", tx.sender[:], tx.nonce)}, // one transaction per nonce
		UsedBelow:   usedBelow,
	}, nil
}

// constraint is what a builder is told: of both types the same, so that every
// relay of constraints understands it.
func constraint(req commitments.Request, slot phase0.Slot, raw []byte) []byte {
	if req.Type == commitments.TypeInclusion {
		return req.Payload
	}
	return commitments.EncodeInclusion(slot, raw)
}
