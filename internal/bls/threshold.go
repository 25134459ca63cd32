package bls

import (
	"encoding/binary"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/herumi/bls-eth-go-binary/bls"

	"sidecar/fault"
)

// ErrShares is why shares make no signature.
var ErrShares = fault.Define("bls_shares_invalid", fault.Invalid, "Shares of a threshold signature are missing, malformed, or two have the same id.")

// Share is one participant's part of a threshold signature.
type Share struct {
	ID        uint64 // where the participant's polynomial was evaluated; never 0, where the secret is
	Signature phase0.BLSSignature
}

// Recover interpolates the signature of a shared key from as many shares as its
// threshold. With fewer, or a wrong one, the result is a signature of nobody:
// verify it. Fault: ErrShares.
func Recover(shares []Share) (sig phase0.BLSSignature, err error) {
	setUp()
	if len(shares) == 0 {
		return sig, ErrShares.With("none")
	}
	parts, ids, seen := make([]bls.Sign, len(shares)), make([]bls.ID, len(shares)), map[uint64]bool{}
	for i, s := range shares {
		if s.ID == 0 || seen[s.ID] {
			return sig, ErrShares.With("id %d is 0, or twice", s.ID)
		}
		seen[s.ID] = true
		var id [8]byte
		binary.LittleEndian.PutUint64(id[:], s.ID)
		if err := ids[i].SetLittleEndian(id[:]); err != nil {
			return sig, ErrShares.With("id %d", s.ID)
		}
		if err := parts[i].Deserialize(s.Signature[:]); err != nil || parts[i].IsZero() {
			return sig, ErrShares.With("the share of id %d is not a signature", s.ID)
		}
	}
	var whole bls.Sign
	if err := whole.Recover(parts, ids); err != nil {
		return sig, ErrShares.With("not to be interpolated")
	}
	copy(sig[:], whole.Serialize())
	return sig, nil
}
