package onchain

import (
	"context"
	"math/big"
)

var (
	gwei    = big.NewInt(1e9)
	maxTip  = big.NewInt(5e9)  // wei per gas, whatever the node suggests
	leastBy = big.NewInt(1125) // per mille: nodes ask for 10 % more of a replacement, and round
	mille   = big.NewInt(1000)
)

// fees are those of one EIP-1559 transaction, in wei per gas.
type fees struct{ tip, cap *big.Int }

// fees returns today's: room for the base fee to double, a tip that the node
// suggests, and no more than the sender's cap. Fault: ErrFee.
func (s *Sender) fees(ctx context.Context, head Block) (fees, error) {
	if head.BaseFee.Cmp(s.MaxFee) >= 0 {
		return fees{}, ErrFee.With("the base fee is %s wei, the cap %s", head.BaseFee, s.MaxFee)
	}
	tip, err := s.Node.tip(ctx)
	if err != nil {
		return fees{}, err
	}
	tip = least(most(tip, big.NewInt(1)), maxTip)
	most := new(big.Int).Add(new(big.Int).Lsh(head.BaseFee, 1), tip)
	most = least(most, s.MaxFee)
	return fees{least(tip, most), most}, nil
}

// over returns f raised so far that nodes take it in place of old; false if that
// is above the cap.
func (f fees) over(old, atMost *big.Int, oldTip *big.Int) (fees, bool) {
	raise := func(n *big.Int) *big.Int {
		n = new(big.Int).Mul(n, leastBy)
		return n.Div(n, mille).Add(n, big.NewInt(1))
	}
	out := fees{most(f.tip, raise(oldTip)), most(f.cap, raise(old))}
	return out, out.cap.Cmp(atMost) <= 0 && out.tip.Cmp(out.cap) <= 0
}

func least(a, b *big.Int) *big.Int {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

func most(a, b *big.Int) *big.Int {
	if a.Cmp(b) > 0 {
		return a
	}
	return b
}

// Cost is what so much gas costs at most, in wei.
func Cost(gas uint64, feeCap *big.Int) *big.Int {
	return new(big.Int).Mul(new(big.Int).SetUint64(gas), feeCap)
}
