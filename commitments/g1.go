package commitments

import (
	"math/big"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Flags of a compressed point, in its first byte. [zkcrypto: BLS12-381 serialization]
const (
	flagCompressed = 0x80
	flagInfinity   = 0x40
	flagSign       = 0x20
	flags          = flagCompressed | flagInfinity | flagSign
)

// fieldModulus is the prime p of BLS12-381, which is 3 modulo 4.
const fieldModulus = "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"

// decompress returns the affine coordinates of a public key, big-endian. It
// checks the encoding and the curve equation, not the subgroup: the registry
// hashes points, and whoever verifies a signature checks the rest.
// Fault: ErrPubkey.
func decompress(k phase0.BLSPubKey) (x, y [48]byte, err error) {
	switch {
	case k[0]&flagCompressed == 0:
		return x, y, ErrPubkey.With("not compressed")
	case k[0]&flagInfinity != 0:
		return x, y, ErrPubkey.With("point at infinity")
	}
	p, _ := new(big.Int).SetString(fieldModulus, 16)
	x = k
	x[0] &^= flags
	bx := new(big.Int).SetBytes(x[:])
	if bx.Cmp(p) >= 0 {
		return x, y, ErrPubkey.With("coordinate is not below the modulus")
	}
	// y² = x³ + 4; with p = 3 mod 4 the root is the (p+1)/4th power.
	square := new(big.Int).Exp(bx, big.NewInt(3), p)
	square.Add(square, big.NewInt(4)).Mod(square, p)
	quarter := new(big.Int).Add(p, big.NewInt(1))
	quarter.Rsh(quarter, 2)
	by := new(big.Int).Exp(square, quarter, p)
	if check := new(big.Int).Exp(by, big.NewInt(2), p); check.Cmp(square) != 0 {
		return x, y, ErrPubkey.With("not on the curve")
	}
	// The sign flag says that y is the larger of y and p-y. y is never zero: the
	// order of the curve is odd.
	other := new(big.Int).Sub(p, by)
	if larger := by.Cmp(other) > 0; larger != (k[0]&flagSign != 0) {
		by = other
	}
	by.FillBytes(y[:])
	return x, y, nil
}
