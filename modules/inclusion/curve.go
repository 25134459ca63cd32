package inclusion

import "math/big"

// curve prices gas by how full the slot is. The gas at fullness x = used/limit
// costs start·ratio / (1 + (ratio−1)·(1−x)) wei: start at the first gas of an
// empty slot, ratio times as much at the last of a full one. That is the curve of
// Bolt v0.4, but for what it is fitted to: Bolt's steepness and scale are of a
// block of 30M gas, this one's are of the limit of the slot, whatever it is.
//
// A promise pays the mean over the gas it reserves, an integral:
// start·ratio/(ratio−1) · limit/gas · ln[(k·(limit−used)+limit) / (k·(limit−used−gas)+limit)], k = ratio−1.
type curve struct {
	start *big.Int // wei per gas
	ratio int64    // in thousandths, at least 1000
}

// mean returns wei per gas, rounded up, for gas on top of what is used. It never
// falls as used or gas rise; beyond the limit it stays what it is at the limit.
func (c curve) mean(used, gas, limit uint64) *big.Int {
	k := c.ratio - 1000
	if k <= 0 || limit == 0 || gas == 0 || c.start.Sign() == 0 {
		return new(big.Int).Set(c.start)
	}
	gas = min(gas, limit)
	used = min(used, limit-gas)
	flat := new(big.Int).Mul(bigOf(limit), big.NewInt(1000))
	at := func(free uint64) *big.Int { // thousandths of k·free + limit
		n := new(big.Int).Mul(bigOf(free), big.NewInt(k))
		return n.Add(n, flat)
	}
	wei := logarithm(at(limit-used), at(limit-used-gas))
	wei.Mul(wei, c.start).Mul(wei, big.NewInt(c.ratio)).Mul(wei, bigOf(limit))
	by := new(big.Int).Mul(bigOf(gas), big.NewInt(k))
	return divideUp(wei, by.Lsh(by, lnBits))
}

// Fixed point: ln 2 · 2^96, rounded up.
const lnBits = 96

var ln2, _ = new(big.Int).SetString("b17217f7d1cf79abc9e3b399", 16)

// logarithm is ln(n/d)·2^96 of n ≥ d > 0, to within 2^-90 of it and never falling
// as n/d rises: n/d is 2^k·r, ln r is 2·artanh((r−1)/(r+1)) by its series, every
// term rounded down, and ln 2 is rounded up.
func logarithm(n, d *big.Int) *big.Int {
	sum, d := new(big.Int), new(big.Int).Set(d)
	for twice := new(big.Int).Lsh(d, 1); n.Cmp(twice) >= 0; twice.Lsh(d, 1) {
		d.Lsh(d, 1)
		sum.Add(sum, ln2)
	}
	z := new(big.Int).Sub(n, d)
	z.Lsh(z, lnBits).Quo(z, new(big.Int).Add(n, d))
	square := new(big.Int).Mul(z, z)
	square.Rsh(square, lnBits)
	term, part := new(big.Int).Lsh(z, 1), new(big.Int)
	for odd := int64(1); term.Sign() > 0; odd += 2 {
		sum.Add(sum, part.Quo(term, big.NewInt(odd)))
		term.Mul(term, square).Rsh(term, lnBits)
	}
	return sum
}

func bigOf(n uint64) *big.Int { return new(big.Int).SetUint64(n) }

// divideUp is n/d, rounded up.
func divideUp(n, d *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(n, d, new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}
