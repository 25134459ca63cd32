package evidence

import (
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// fault names what is proven as the contract does: who, which slot, which
// sender and nonce.
func (f File) fault(number uint64, p Promised) (Fault, error) {
	var point bls12381.G1Affine
	if _, err := point.SetBytes(f.Delegation.Message.Proposer[:]); err != nil {
		return Fault{}, ErrMalformed.Wrap(err)
	}
	x, y := point.X.Bytes(), point.Y.Bytes()
	validator := crypto.Keccak256Hash(common.LeftPadBytes(x[:], 64), common.LeftPadBytes(y[:], 64))
	id := crypto.Keccak256Hash(word(number), validator[:], word(p.Slot), common.LeftPadBytes(p.Sender[:], 32), word(p.Nonce))
	return Fault{ID: id, Validator: validator, Slot: phase0.Slot(p.Slot), Promised: p}, nil
}
