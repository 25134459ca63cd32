package evidence

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Limits of a promised transaction, as the contract has them.
const (
	gasBase    = 21_000
	gasPerByte = 64
	gasCap     = 5_000_000
)

// Promised is what a payload promises, read strictly.
type Promised struct {
	Slot, ProposerIndex uint64
	Sender              common.Address
	Nonce, Gas          uint64
	MaxFee, Value       *big.Int // wei
	TxHash              common.Hash
}

// ReadPayload reads abi(uint64 slot, uint64 proposerIndex, bytes signedTx) and
// the transaction in it. The error is an Excuse.
func ReadPayload(payload []byte, chainID uint64) (Promised, error) {
	p, signedTx, err := readPayload(payload)
	if err != nil {
		return Promised{}, err
	}
	return p, p.transaction(signedTx, chainID)
}

// SignedTx is the transaction in a payload, in EIP-2718 form; nil if the payload
// is none.
func SignedTx(payload []byte) []byte {
	_, signedTx, _ := readPayload(payload)
	return signedTx
}

// readPayload reads slot, proposer and what they are followed by.
func readPayload(payload []byte) (p Promised, signedTx []byte, err error) {
	const head = 4 * 32
	if len(payload) < head {
		return p, nil, PayloadEncoding
	}
	var words [4]uint64
	for i := range words {
		w := payload[32*i : 32*i+32]
		if len(bytes.Trim(w[:24], "\x00")) != 0 {
			return p, nil, PayloadEncoding
		}
		words[i] = binary.BigEndian.Uint64(w[24:])
	}
	rest, size := payload[head:], words[3]
	if words[2] != 3*32 || size > uint64(len(rest)) || uint64(len(rest)) != (size+31)/32*32 || len(bytes.Trim(rest[size:], "\x00")) != 0 {
		return p, nil, PayloadEncoding
	}
	return Promised{Slot: words[0], ProposerIndex: words[1]}, rest[:size], nil
}

// Positions of the fields of the transaction in its list. [EIP-1559]
const (
	fieldChainID = iota
	fieldNonce
	fieldTip
	fieldFeeCap
	fieldGas
	fieldTo
	fieldValue
	fieldInput
	fieldAccessList
	fieldYParity
	fieldR
	fieldS
	fields
)

// transaction fills in what the transaction says, in the contract's order of checks.
func (p *Promised) transaction(signedTx []byte, chainID uint64) error {
	f, unsigned, err := split(signedTx)
	if err != nil {
		return err
	}
	var n [fields]*big.Int
	for _, i := range []int{fieldNonce, fieldGas, fieldFeeCap, fieldValue, fieldTip, fieldChainID} {
		if n[i], err = number(f[i]); err != nil {
			return err
		}
	}
	to := len(f[fieldTo])
	switch {
	case to != 0 && to != common.AddressLength:
		return TransactionInvalid
	case !n[fieldChainID].IsUint64() || n[fieldChainID].Uint64() != chainID:
		return OtherChain
	case to == 0:
		return ContractCreation
	case len(f[fieldAccessList]) != 0:
		return AccessListNotEmpty
	case n[fieldTip].Cmp(n[fieldFeeCap]) > 0:
		return TipAboveFeeCap
	case !n[fieldNonce].IsUint64() || n[fieldNonce].Uint64() == math.MaxUint64:
		return NonceTooHigh
	case !n[fieldGas].IsUint64() || n[fieldGas].Uint64() > gasCap:
		return GasAboveCap
	case n[fieldGas].Uint64() < gasBase+gasPerByte*uint64(len(f[fieldInput])):
		return GasBelowFloor
	}
	p.Nonce, p.Gas, p.MaxFee, p.Value = n[fieldNonce].Uint64(), n[fieldGas].Uint64(), n[fieldFeeCap], n[fieldValue]
	p.TxHash = crypto.Keccak256Hash(signedTx)
	p.Sender, err = sender(f, unsigned)
	return err
}

// split returns the contents of the twelve fields and the bytes of those that
// are signed.
func split(signedTx []byte) (f [fields][]byte, unsigned []byte, err error) {
	if len(signedTx) == 0 || signedTx[0] != 2 {
		return f, nil, TransactionType
	}
	content, rest, err := rlp.SplitList(signedTx[1:])
	if err != nil || len(rest) != 0 {
		return f, nil, TransactionInvalid
	}
	at := content
	for i := range f {
		if i == fieldYParity {
			unsigned = content[:len(content)-len(at)]
		}
		kind, field, next, err := rlp.Split(at)
		if err != nil || (kind == rlp.List) != (i == fieldAccessList) {
			return f, nil, TransactionInvalid
		}
		f[i], at = field, next
	}
	if len(at) != 0 {
		return f, nil, TransactionInvalid
	}
	return f, unsigned, nil
}

// number reads at most 32 bytes, the first of them not zero.
func number(b []byte) (*big.Int, error) {
	if len(b) > 32 || len(b) > 0 && b[0] == 0 {
		return nil, TransactionInvalid
	}
	return new(big.Int).SetBytes(b), nil
}

func sender(f [fields][]byte, unsigned []byte) (common.Address, error) {
	var n [fields]*big.Int
	for i := fieldYParity; i <= fieldS; i++ {
		var err error
		if n[i], err = number(f[i]); err != nil {
			return common.Address{}, err
		}
	}
	half := new(big.Int).Rsh(crypto.S256().Params().N, 1)
	switch {
	case n[fieldS].Cmp(half) > 0:
		return common.Address{}, SignatureHighS
	case n[fieldYParity].Cmp(big.NewInt(1)) > 0:
		return common.Address{}, SignatureInvalid
	}
	y := byte(n[fieldYParity].Uint64()) // #nosec G115 -- 0 or 1
	if !crypto.ValidateSignatureValues(y, n[fieldR], n[fieldS], true) {
		return common.Address{}, SignatureInvalid
	}
	digest := crypto.Keccak256([]byte{2}, listHead(len(unsigned)), unsigned)
	var sig [65]byte
	n[fieldR].FillBytes(sig[:32])
	n[fieldS].FillBytes(sig[32:64])
	sig[64] = y
	key, err := crypto.SigToPub(digest, sig[:])
	if err != nil {
		return common.Address{}, SignatureInvalid
	}
	return crypto.PubkeyToAddress(*key), nil
}

// listHead is the head of a list of n bytes. [Yellow Paper, appendix B]
func listHead(n int) []byte {
	if n <= 55 {
		return []byte{0xc0 + byte(n)} // #nosec G115 -- at most 55
	}
	size := new(big.Int).SetInt64(int64(n)).Bytes()
	return append([]byte{0xf7 + byte(len(size))}, size...) // #nosec G115 -- at most 8
}
