package bindings

import (
	"bytes"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
)

// promised is what the contract reads in a payload. [contracts/src/Types.sol]
type promised struct {
	Slot, ProposerIndex uint64
	Sender              common.Address
	Nonce, Gas          uint64
	MaxFee, Value       *big.Int
	TxHash              [32]byte
}

// read asks the contract what a transaction says; the excuse is "" if it is one
// that can be promised.
func (c court) read(signedTx []byte) (promised, string) {
	c.t.Helper()
	out, _, err := c.call(stranger, c.at, pack(c.t, c.verifier, "promised", payload(c.t, storySlot, storyIndex, signedTx)))
	if err != nil {
		return promised{}, excuse(c.t, err)
	}
	values, err := c.verifier.ABI.Unpack("promised", out)
	if err != nil {
		c.t.Fatal(err)
	}
	return *abi.ConvertType(values[0], new(promised)).(*promised), ""
}

// agree holds the contract to geth: what it reads as a transaction geth reads
// too, the same, from the same sender, and encodes to the same bytes. What geth
// takes for a plain transfer of this chain the contract refuses by name only.
func (c court) agree(signedTx []byte) {
	c.t.Helper()
	got, why := c.read(signedTx)
	var tx types.Transaction
	err := tx.UnmarshalBinary(signedTx)
	if why != "" {
		named := why != "unnamed revert" && c.verifier.ABI.Errors[why].Name == why
		if !named {
			c.t.Errorf("%x: %q is no excuse", signedTx, why)
		}
		if err == nil && why == "TransactionEncoding" {
			c.t.Errorf("%x: geth reads what the contract calls malformed", signedTx)
		}
		return
	}
	if err != nil {
		c.t.Fatalf("%x: the contract reads what geth refuses: %v", signedTx, err)
	}
	sender, err := types.Sender(types.LatestSignerForChainID(big.NewInt(testChainID)), &tx)
	again, _ := tx.MarshalBinary()
	want := promised{
		Slot: storySlot, ProposerIndex: storyIndex, Sender: sender, Nonce: tx.Nonce(), Gas: tx.Gas(),
		MaxFee: tx.GasFeeCap(), Value: tx.Value(), TxHash: tx.Hash(),
	}
	same := want.Sender == got.Sender && want.Nonce == got.Nonce && want.Gas == got.Gas && want.TxHash == got.TxHash &&
		want.MaxFee.Cmp(got.MaxFee) == 0 && want.Value.Cmp(got.Value) == 0
	if err != nil || !same || !bytes.Equal(again, signedTx) || tx.Type() != types.DynamicFeeTxType {
		c.t.Fatalf("%x: the contract reads %+v, geth %+v, %v", signedTx, got, want, err)
	}
}

// TestReader mutates signed transactions as an encoder with a fault would:
// flips, cuts, insertions, doubled and zeroed bytes.
func TestReader(t *testing.T) {
	rounds := 2000
	if testing.Short() {
		rounds = 400
	}
	c := newCourt(t, false)
	random := rand.New(rand.NewPCG(3, 4)) // #nosec G404 -- a repeatable test
	var seeds [][]byte
	for _, n := range []int{0, 1, 5, 55, 56, 255, 256, 700} {
		s := guilty()
		s.tx.Data, s.tx.Gas = bytes.Repeat([]byte{0x7f}, n), 100_000
		seeds = append(seeds, s.signedTx(t))
	}
	for _, seed := range seeds {
		if _, why := c.read(seed); why != "" {
			t.Fatalf("seed: %s", why)
		}
		c.agree(seed)
	}
	for range rounds {
		b := bytes.Clone(seeds[random.IntN(len(seeds))])
		for range 1 + random.IntN(2) {
			i := random.IntN(min(len(b), 80)) // the head and the numbers
			if random.IntN(2) == 0 {
				i = random.IntN(len(b))
			}
			switch random.IntN(5) {
			case 0:
				b[i] ^= 1 << random.IntN(8)
			case 1:
				b = append(b[:i:i], b[i+1:]...)
			case 2:
				b = append(b[:i:i], append([]byte{byte(random.IntN(256))}, b[i:]...)...)
			case 3:
				b[i] = 0
			case 4:
				b = b[:1+i]
			}
		}
		c.agree(b)
	}
}

// FuzzReader is the same with bytes of a fuzzer's choice.
func FuzzReader(f *testing.F) {
	f.Add(guilty().signedTx(f))
	f.Add([]byte{2, 0xc0})
	c := newCourt(f, false)
	f.Fuzz(func(t *testing.T, b []byte) {
		mine := c
		m := *c.machine
		mine.machine, m.t = &m, t
		mine.agree(b)
	})
}
