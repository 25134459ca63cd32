package slashingtest

import (
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rlp"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/contracts/bindings"
	"sidecar/internal/bls"
	"sidecar/slashing/evidence"
)

// rules are those of the scene's verifier.
func (s *Scene) rules() evidence.Rules {
	return evidence.Rules{
		ChainID: ChainID, GenesisTime: uint64(s.Spec.GenesisTime.Unix()), SlotMillis: uint64(slotDuration.Milliseconds()),
		FirstSlot: 1, EndSlot: 1 << 39, SigningDomain: common.Hash(s.Spec.Domain(chain.DomainCommitBoost)), SigningID: common.Hash(SigningID),
	}
}

// signed is a key's signature over an object, as the module's.
func (s *Scene) signed(k *bls.SecretKey, object phase0.Root, nonce uint64) phase0.BLSSignature {
	return k.Sign(commitments.SigningRoot(s.Spec.Domain(chain.DomainCommitBoost), ChainID, object, SigningID, nonce))
}

// Registration is a validator's proof that it joins an operator at the manager,
// as the manager's registrar takes it.
func (s *Scene) Registration(operator common.Address) []byte {
	s.t.Helper()
	kind := common.LeftPadBytes([]byte("operator"), 32)
	object := crypto.Keccak256Hash(kind, common.LeftPadBytes(s.Manager[:], 32), common.LeftPadBytes(operator[:], 32))
	signature, err := bindings.NewG2(s.signed(s.Validator, phase0.Root(object), 1))
	if err != nil {
		s.t.Fatal(err)
	}
	pubkey, err := bindings.NewG1(s.Validator.PublicKey())
	if err != nil {
		s.t.Fatal(err)
	}
	manager := Load(s.t, bindings.PreconfServiceManager)
	list := abi.Arguments{manager.ABI.Methods["registerKeys"].Inputs[0]}
	b, err := list.Pack([]bindings.Registration{{Pubkey: pubkey, Nonce: 1, Signature: signature}})
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// delegation lets the delegate act in one slot.
func (s *Scene) delegation(slot phase0.Slot) commitments.SignedDelegation {
	s.t.Helper()
	d := commitments.Delegation{Proposer: s.Validator.PublicKey(), Delegate: s.Delegate.PublicKey(), Slot: slot, Committer: bellatrix.ExecutionAddress(s.Committer), Metadata: []byte{}}
	root, err := d.Root()
	if err != nil {
		s.t.Fatal(err)
	}
	return commitments.SignedDelegation{Message: d, Nonce: 3, SigningID: SigningID, Signature: s.signed(s.Validator, root, 3)}
}

// Transfer is what the searcher is promised: so many wei to nobody, at its next
// nonce. It is signed and not sent.
func (s *Scene) Transfer(wei int64) *types.Transaction {
	s.t.Helper()
	nonce, _, err := s.Account(s.Searcher.Address, s.Head())
	if err != nil {
		s.t.Fatal(err)
	}
	to, id := common.HexToAddress("0x00000000000000000000000000000000deadbeef"), big.NewInt(ChainID)
	tx, err := types.SignNewTx(s.Searcher.Key, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
		ChainID: id, Nonce: nonce, GasTipCap: big.NewInt(1), GasFeeCap: big.NewInt(100 * params.GWei), Gas: 21_000, To: &to, Value: big.NewInt(wei),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return tx
}

// Promise is the delegate's word that a slot's block holds tx.
func (s *Scene) Promise(slot phase0.Slot, tx *types.Transaction) evidence.Promise {
	s.t.Helper()
	raw, err := tx.MarshalBinary()
	if err != nil {
		s.t.Fatal(err)
	}
	var payload []byte
	for _, n := range []uint64{uint64(slot), uint64(proposer), 96, uint64(len(raw))} {
		payload = append(payload, common.BigToHash(new(big.Int).SetUint64(n)).Bytes()...)
	}
	payload = append(append(payload, raw...), make([]byte, -len(raw)&31)...)
	c := commitments.Commitment{Type: bindings.TypeInclusion, Payload: payload, Slasher: bellatrix.ExecutionAddress(s.Manager)}
	return evidence.Promise{
		Commitment: c, Nonce: 4, SigningID: SigningID, Signature: s.signed(s.Delegate, c.Root(), 4), Branch: []common.Hash{},
	}
}

// file begins an evidence file about a slot.
func (s *Scene) file(kind evidence.Kind, slot phase0.Slot, promises ...evidence.Promise) evidence.File {
	return evidence.File{
		Format: evidence.Format, Kind: kind, Rules: s.rules(), Slasher: s.Manager, Delegation: s.delegation(slot), Promises: promises,
	}
}

// Break promises a transaction in the next slot, leaves it out, and returns the
// evidence after the child's block.
func (s *Scene) Break() evidence.File {
	s.t.Helper()
	slot := s.slot + 1
	return s.Told(slot, s.Transfer(1e15), func() { s.MineAt(slot) })
}

// Told promises tx for a slot, lets happen what happens in it, mines the child,
// and files what the chain then shows, guilty or not.
func (s *Scene) Told(slot phase0.Slot, tx *types.Transaction, happens func()) evidence.File {
	s.t.Helper()
	f := s.file(evidence.Absent, slot, s.Promise(slot, tx))
	happens()
	target := s.Block(s.Head().Hash())
	child := s.Mine()
	a := s.absence(target, child)
	f.Absence = &a
	return f
}

// absence files three blocks and the searcher's account before and after.
func (s *Scene) absence(target, child *types.Block) evidence.Absence {
	s.t.Helper()
	parent := s.Block(target.ParentHash())
	text := func(b *types.Block) []byte {
		raw, err := rlp.EncodeToBytes(b.Header())
		if err != nil {
			s.t.Fatal(err)
		}
		return raw
	}
	slot := phase0.Slot((target.Time() - uint64(s.Spec.GenesisTime.Unix())) / uint64(slotDuration.Seconds()))
	body := s.bodies[slot]
	return evidence.Absence{
		ChildNumber:   child.NumberU64(),
		Headers:       evidence.Headers{Parent: text(parent), Target: text(target), Child: text(child)},
		BeaconHeader:  evidence.BeaconHeader{ParentRoot: common.Hash(body.ParentRoot), StateRoot: common.Hash(body.StateRoot), BodyRoot: common.Hash(body.BodyRoot)},
		AccountProofs: evidence.AccountProofs{Pre: s.proof(parent), Post: s.proof(target)},
	}
}

// proof is eth_getProof of the searcher's account after a block.
func (s *Scene) proof(at *types.Block) []hexutil.Bytes {
	s.t.Helper()
	var answer struct{ AccountProof []hexutil.Bytes }
	if err := s.RPC.CallContext(s.t.Context(), &answer, "eth_getProof", s.Searcher.Address, []string{}, hexutil.EncodeBig(at.Number())); err != nil {
		s.t.Fatal(err)
	}
	return answer.AccountProof
}

// Contradict promises two transactions with one nonce for the next slot, which
// it then mines.
func (s *Scene) Contradict() evidence.File {
	s.t.Helper()
	slot := s.slot + 1
	f := s.file(evidence.Double, slot, s.Promise(slot, s.Transfer(1)), s.Promise(slot, s.Transfer(2)))
	s.MineAt(slot)
	return f
}
