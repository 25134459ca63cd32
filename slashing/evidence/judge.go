package evidence

import (
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"

	"sidecar/commitments"
	"sidecar/internal/bls"
)

// Numbers of the kinds in a fault's id.
const (
	numberAbsent = 1
	numberDouble = 2
)

// Fault is a proven fault.
type Fault struct {
	ID        common.Hash // the contract's, the same for every proof of the fault
	Validator common.Hash // keccak256 of the decompressed public key
	Slot      phase0.Slot
	Promised  Promised // of the first promise
}

// ChildHash is the hash of the child's header: F1 holds if the block of number
// ChildNumber has it, which only a chain can say. It is zero for F2.
func (f File) ChildHash() common.Hash {
	if f.Absence == nil {
		return common.Hash{}
	}
	return crypto.Keccak256Hash(f.Absence.Headers.Child)
}

// Judge says what the contract with these rules and this address would say of
// f, if the block of number ChildNumber has the hash childHash. The error is an
// Excuse, or ErrMalformed for keys and headers that cannot be handed to it.
func Judge(f File, rules Rules, slasher common.Address, childHash common.Hash) (Fault, error) {
	if err := f.shape(); err != nil {
		return Fault{}, err
	}
	if _, err := f.Delegation.Message.Root(); err != nil {
		return Fault{}, ErrMalformed.Wrap(err)
	}
	// 1. What was promised.
	p, err := promise(f, 0, rules, slasher)
	if err != nil {
		return Fault{}, err
	}
	// 2. That it was broken.
	number := uint64(numberAbsent)
	if f.Kind == Double {
		number = numberDouble
		err = f.contradiction(p, rules, slasher)
	} else {
		err = f.Absence.check(p, rules, childHash)
	}
	if err != nil {
		return Fault{}, err
	}
	// 3. Who promised it.
	if err := f.Signatures(rules); err != nil {
		return Fault{}, err
	}
	return f.fault(number, p)
}

// Signatures says whether the proposer signed the delegation, and the delegate
// the promises: what is known before the slot. The error is an Excuse, or
// ErrMalformed.
func (f File) Signatures(rules Rules) error {
	delegation, err := f.Delegation.Message.Root()
	if err != nil {
		return ErrMalformed.Wrap(err)
	}
	if common.Hash(f.Delegation.SigningID) != rules.SigningID {
		return OtherSigningID
	}
	if !rules.signed(f.Delegation.Message.Proposer, delegation, f.Delegation.Nonce, f.Delegation.Signature) {
		return DelegationSignature
	}
	for _, s := range f.Promises {
		if !rules.signed(f.Delegation.Message.Delegate, s.root(), s.Nonce, s.Signature) {
			return PromiseSignature
		}
	}
	return nil
}

// promise reads the promise i, if it is one for this slasher under the delegation.
func promise(f File, i int, rules Rules, slasher common.Address) (Promised, error) {
	s := f.Promises[i]
	switch {
	case s.Commitment.Type != commitments.TypeProvableInclusion:
		return Promised{}, CommitmentType
	case common.Address(s.Commitment.Slasher) != slasher:
		return Promised{}, OtherSlasher
	case common.Hash(s.SigningID) != rules.SigningID:
		return Promised{}, OtherSigningID
	}
	p, err := ReadPayload(s.Commitment.Payload, rules.ChainID)
	switch {
	case err != nil:
		return Promised{}, err
	case p.Slot < rules.FirstSlot || p.Slot >= rules.EndSlot:
		return Promised{}, SlotOutOfRange
	case uint64(f.Delegation.Message.Slot) != p.Slot:
		return Promised{}, DelegationSlot
	}
	return p, nil
}

// contradiction says that the second promise cannot be kept beside p.
func (f File) contradiction(p Promised, rules Rules, slasher common.Address) error {
	q, err := promise(f, 1, rules, slasher)
	switch {
	case err != nil:
		return err
	case p.Sender != q.Sender:
		return SendersDiffer
	case p.Nonce != q.Nonce:
		return NoncesDiffer
	case p.TxHash == q.TxHash:
		return SamePromise
	}
	return nil
}

// check says that the promised transaction fitted into the block and was not in it.
func (a *Absence) check(p Promised, rules Rules, childHash common.Hash) error {
	// 1. Three headers in a row. None is read before its hash is known to be right.
	child, err := header(a.Headers.Child, childHash, ChildUnknown)
	if err != nil {
		return err
	}
	if child.Number == nil || !child.Number.IsUint64() || child.Number.Uint64() != a.ChildNumber {
		return ChildUnknown // no chain has it at that number
	}
	target, err := header(a.Headers.Target, child.ParentHash, TargetNotParent)
	if err != nil {
		return err
	}
	parent, err := header(a.Headers.Parent, target.ParentHash, ParentNotParent)
	if err != nil {
		return err
	}
	if child.ParentBeaconRoot == nil || target.BaseFee == nil {
		return ErrMalformed.With("headers from before Cancun")
	}
	// 2. The block of the slot, by the promised proposer.
	if target.Time != rules.GenesisTime+p.Slot*rules.SlotMillis/1000 {
		return OtherSlot
	}
	beacon, err := (&phase0.BeaconBlockHeader{
		Slot: phase0.Slot(p.Slot), ProposerIndex: phase0.ValidatorIndex(p.ProposerIndex), ParentRoot: phase0.Root(a.BeaconHeader.ParentRoot),
		StateRoot: phase0.Root(a.BeaconHeader.StateRoot), BodyRoot: phase0.Root(a.BeaconHeader.BodyRoot),
	}).HashTreeRoot()
	if err != nil {
		return ErrMalformed.Wrap(err)
	}
	if *child.ParentBeaconRoot != common.Hash(beacon) {
		return OtherProposer
	}
	return a.AccountProofs.excuse(p, &parent, &target)
}

// Excuse says why the block of the target header did not have to hold the
// transaction: an excuse of what the chain says, in the contract's order; nil if
// none does, and the transaction was in it neither. It is what a judge knows
// before the block has a child: that the target is the block of the slot, and
// who proposed it, its caller has to know. Faults: an Excuse, ErrMalformed.
func (p Promised) Excuse(h Headers, proofs AccountProofs) error {
	var target types.Header
	if err := rlp.DecodeBytes(h.Target, &target); err != nil {
		return ErrMalformed.Wrap(err)
	}
	parent, err := header(h.Parent, target.ParentHash, ParentNotParent)
	if err != nil {
		return err
	}
	if target.BaseFee == nil {
		return ErrMalformed.With("headers from before London")
	}
	return proofs.excuse(p, &parent, &target)
}

// excuse compares the promise with the room in the block, and with what the
// sender could before it, and has not done after it.
func (a AccountProofs) excuse(p Promised, parent, target *types.Header) error {
	switch {
	case target.BaseFee.Cmp(p.MaxFee) > 0:
		return BaseFeeAboveCap
	case target.GasLimit < p.Gas:
		return GasAboveBlock
	}
	return a.accounts(p, parent.Root, target.Root)
}

// header reads a header that has this hash.
func header(text []byte, hash common.Hash, otherwise Excuse) (h types.Header, err error) {
	if crypto.Keccak256Hash(text) != hash {
		return h, otherwise
	}
	if err := rlp.DecodeBytes(text, &h); err != nil {
		return h, ErrMalformed.Wrap(err)
	}
	return h, nil
}

// accounts says that the sender could send the transaction before the block,
// and has not after it.
func (a AccountProofs) accounts(p Promised, before, after common.Hash) error {
	pre, ok := account(p.Sender, before, a.Pre)
	need := new(big.Int).SetUint64(p.Gas)
	need.Mul(need, p.MaxFee).Add(need, p.Value)
	switch {
	case !ok:
		return PreStateProof
	case pre.Nonce > p.Nonce:
		return NonceUsed
	case pre.Nonce < p.Nonce:
		return NonceGap
	case common.BytesToHash(pre.CodeHash) != types.EmptyCodeHash:
		return SenderHasCode
	case pre.Balance.ToBig().Cmp(need) < 0:
		return FundsTooLow
	}
	post, ok := account(p.Sender, after, a.Post)
	switch {
	case !ok:
		return PostStateProof
	case post.Nonce != p.Nonce:
		return NonceSpentInBlock
	}
	return nil
}

// account is what a state holds of an address.
func account(address common.Address, root common.Hash, proof []hexutil.Bytes) (a types.StateAccount, ok bool) {
	value, ok := walk(root, crypto.Keccak256(address[:]), proof)
	return a, ok && rlp.DecodeBytes(value, &a) == nil
}

// root is what the delegate's signature is over.
func (p Promise) root() phase0.Root {
	branch := make([]phase0.Root, len(p.Branch))
	for i := range p.Branch {
		branch[i] = phase0.Root(p.Branch[i])
	}
	return commitments.GroupRoot(p.Commitment.Root(), branch)
}

// signed says whether key signed the object as a module's.
func (r Rules) signed(key phase0.BLSPubKey, object phase0.Root, nonce uint64, sig phase0.BLSSignature) bool {
	root := commitments.SigningRoot(phase0.Domain(r.SigningDomain), r.ChainID, object, phase0.Root(r.SigningID), nonce)
	return bls.Verify(key, root, sig)
}

// word is a number as a word of the ABI.
func word(n uint64) []byte { return common.BigToHash(new(big.Int).SetUint64(n)).Bytes() }
