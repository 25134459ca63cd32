package wallet

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/fault"
	"sidecar/internal/ecdsa"
)

// Faults of Bolt's requests.
var (
	ErrBoltNoSignature = fault.Define("bolt_signature_missing", fault.Unauthorized, "A Bolt request has the header X-Bolt-Signature: address:signature.")
	ErrBoltHeader      = fault.Define("bolt_header_invalid", fault.Invalid, "X-Bolt-Signature is not address:signature.")
	ErrBoltSignature   = fault.Define("bolt_signature_invalid", fault.Unauthorized, "X-Bolt-Signature is not the address's signature of the transactions and the slot.")
)

// Bolt is what bolt_requestInclusion takes beside the wallet's. [Bolt v0.4]
type Bolt struct {
	// Sign signs a digest with the operator's key, which signs nothing else: what
	// it says is said by the commitments, too, and only after them.
	Sign    func(digest [32]byte) ([65]byte, error)
	MaxGas  uint64 // that may be promised per slot
	Version string
}

// Bolt's error codes. [Bolt v0.4]
const (
	boltDuplicate   = -32001
	boltNoSignature = -32002
	boltSignature   = -32003
	boltConsensus   = -32005
	boltValidation  = -32006
	boltMalformed   = -32007
)

// maxBolt bounds the transactions of one request.
const maxBolt = 16

// boltRequest is what bolt_requestInclusion takes and, with a signature, returns.
type boltRequest struct {
	Slot      uint64   `json:"slot"`
	Txs       []string `json:"txs"`
	Signature string   `json:"signature,omitempty"`
}

// boltRequestInclusion promises every transaction for the slot, in their order.
// Bolt's documents say all or nothing; its code, and this, promise one by one:
// when one is refused, data.promised names those that stand.
func (w *Wallet) boltRequestInclusion(ctx context.Context, c *caller, params json.RawMessage) (any, error) {
	// 1. The whole request is read, and who sent it is known, before anything is promised.
	var list []boltRequest
	if json.Unmarshal(params, &list) != nil || len(list) != 1 || len(list[0].Txs) < 1 || len(list[0].Txs) > maxBolt {
		return nil, boltError(ErrParams.With("one object {slot, txs} with 1 to %d transactions is wanted", maxBolt), nil)
	}
	r := list[0]
	txs := make([]transaction, len(r.Txs))
	for i, text := range r.Txs {
		var err error
		if txs[i], err = w.transaction(text); err != nil {
			return nil, boltError(err, nil)
		}
	}
	digest := boltDigest(txs, phase0.Slot(r.Slot))
	if _, err := boltSigner(c.bolt, digest); err != nil {
		return nil, boltError(err, nil)
	}
	if err := w.allow(w.sends, w.Sends, c, float64(len(txs))); err != nil {
		return nil, err
	}
	// 2. One promise each. The same request again gets the same promises.
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	var promised []string
	for _, t := range txs {
		err := w.ask(ctx, phase0.Slot(r.Slot), t.raw)
		w.Metrics.send("promised", err)
		if err != nil {
			return nil, boltError(err, promised)
		}
		promised = append(promised, t.hash.String())
	}
	// 3. Bolt's own signature says no more than the commitments do.
	sig, err := w.Bolt.Sign(digest)
	if err != nil {
		return nil, boltError(err, promised)
	}
	sig[64] -= 27 // as Bolt writes it
	r.Signature = "0x" + hex.EncodeToString(sig[:])
	return r, nil
}

// boltDigest is what both sides sign: keccak256 of the transactions' hashes and
// the slot in eight little-endian bytes, without a prefix. [Bolt: InclusionRequest]
func boltDigest(txs []transaction, slot phase0.Slot) [32]byte {
	var text []byte
	for i := range txs {
		text = append(text, txs[i].hash[:]...)
	}
	return crypto.Keccak256Hash(binary.LittleEndian.AppendUint64(text, uint64(slot)))
}

// boltSigner checks X-Bolt-Signature and returns whose it is: anybody's, who need
// not be the sender. v may be 0, 1, 27 or 28. Faults: ErrBoltNoSignature,
// ErrBoltHeader, ErrBoltSignature.
func boltSigner(header string, digest [32]byte) (who bellatrix.ExecutionAddress, err error) {
	if header == "" {
		return who, ErrBoltNoSignature
	}
	address, signature, ok := strings.Cut(header, ":")
	if who, err = parseAddress(address); !ok || err != nil {
		return who, ErrBoltHeader
	}
	digits, ok := strings.CutPrefix(signature, "0x")
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) != 65 {
		return who, ErrBoltHeader.With("a signature is 0x and 130 hexadecimal digits")
	}
	if b[64] < 2 {
		b[64] += 27
	}
	signer, err := ecdsa.Recover(phase0.Root(digest), [65]byte(b))
	if err != nil {
		return who, ErrBoltSignature.With("nobody's signature")
	}
	if signer != who {
		return who, ErrBoltSignature.With("it is of another address")
	}
	return who, nil
}

// boltError gives a refusal Bolt's code. What is about the slot and who proposes
// in it is consensus to Bolt, what is about the transaction is validation.
func boltError(err error, promised []string) error {
	out := toRPC(err)
	if data, ok := out.Data.(errorData); ok {
		data.Promised = promised
		out.Data = data
	}
	f := fault.Of(err)
	switch {
	case f == nil:
		return out
	case errors.Is(err, ErrBoltNoSignature):
		out.Code = boltNoSignature
	case errors.Is(err, ErrBoltSignature):
		out.Code = boltSignature
	case errors.Is(err, ErrBoltHeader), f.Kind == fault.Invalid:
		out.Code = boltMalformed
	case f.Code == "tx_already_promised":
		out.Code = boltDuplicate
	case boltConsensusReasons[f.Code], f.Kind == fault.Unavailable:
		out.Code = boltConsensus
	case f.Kind == fault.Rejected, f.Kind == fault.Conflict:
		out.Code = boltValidation
	}
	return out
}

// boltConsensusReasons are those that are about the slot's proposer and the time.
var boltConsensusReasons = map[string]bool{
	"not_our_slot": true, "too_late": true, "too_early": true, "slot_passed": true, "no_path": true, "sold_elsewhere": true, "foreign_delegation": true,
}

// boltGetVersion is bolt_getVersion.
func (w *Wallet) boltGetVersion(context.Context, *caller, json.RawMessage) (any, error) {
	return "sidecar/" + w.Bolt.Version, nil
}

// boltMetadata is bolt_metadata: the least tip is that for our next slot, in wei
// per gas; account states have no bound to themselves.
func (w *Wallet) boltMetadata(ctx context.Context, _ *caller, _ json.RawMessage) (any, error) {
	profit := uint64(0)
	if slots, err := w.open(ctx); err == nil && len(slots) > 0 {
		if head, err := w.Node.Head(ctx); err == nil {
			if tip, _, err := w.price(ctx, phase0.Slot(slots[0].Slot), head); err == nil && tip.IsUint64() {
				profit = tip.Uint64()
			}
		}
	}
	return struct {
		MaxGas  uint64 `json:"max_committed_gas_per_slot"`
		Profit  uint64 `json:"min_inclusion_profit"`
		States  uint64 `json:"max_account_states_size"`
		Version string `json:"version"`
	}{w.Bolt.MaxGas, profit, 0, fmt.Sprintf("sidecar/%s", w.Bolt.Version)}, nil
}
