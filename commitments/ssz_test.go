package commitments

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	utilbellatrix "github.com/attestantio/go-eth2-client/util/bellatrix"
)

func randomTxs(n int) [][]byte {
	r := rand.New(rand.NewPCG(uint64(n), 7))
	txs := make([][]byte, n)
	for i := range txs {
		txs[i] = make([]byte, 1+r.IntN(400))
		for j := range txs[i] {
			txs[i][j] = byte(r.Uint32())
		}
	}
	return txs
}

func TestTransactionsRoot_Vector(t *testing.T) {
	txs := [][]byte{{2, 3, 4}, bytes.Repeat([]byte{1}, 100)}
	for i, want := range []string{
		"10ac52c93dae8c4aad41ae24fd67a611c4469981a0b34e56b4add9715eb5a4d1",
		"6caad6362c5989b8f16b6e023d0aca5a284ed3b39925aafd315bf641398ccf91",
	} {
		if got := TransactionRoot(txs[i]); got != root(t, want) {
			t.Errorf("transaction %d: got %s, want %s", i, got, want)
		}
	}
	// The vector's list begins with a transaction of which only the leaf is published.
	nodes := [][32]byte{
		root(t, "247fe8d988b1fa0a1170945fd01d0c1cd1e3d78c7b3f270a60ed36b196128d30"), TransactionRoot(txs[0]), TransactionRoot(txs[1]), {},
	}
	got := phase0.Root(hash2(merkleize(nodes[:3:4], depthTransactions), length(3)))
	if want := root(t, "745de59bf3d4b5aab65e4ae66cc13832660e1db38589961bc9f1707b8749d219"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTransactionsRoot holds the roots to those of go-eth2-client.
func TestTransactionsRoot(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 4, 5, 16, 17, 64, 65, 200} {
		txs := randomTxs(n)
		if n > 2 {
			txs[2] = []byte{} // legal in the list, if not in a block
		}
		spec := utilbellatrix.ExecutionPayloadTransactions{}
		for _, tx := range txs {
			spec.Transactions = append(spec.Transactions, bellatrix.Transaction(tx))
		}
		want, err := spec.HashTreeRoot()
		if err != nil {
			t.Fatal(err)
		}
		if got := TransactionsRoot(txs); got != want {
			t.Errorf("%d transactions: got %s, want %x", n, got, want)
		}
	}
}

func TestTransactionRoot_KeepsItsInput(t *testing.T) {
	tx := randomTxs(1)[0]
	want := slices.Clone(tx)
	TransactionRoot(tx)
	if !bytes.Equal(tx, want) {
		t.Error("the transaction was overwritten")
	}
}

func TestVerifyTransaction(t *testing.T) {
	for _, n := range []int{1, 2, 3, 31, 32, 33} {
		txs := randomTxs(n)
		r := TransactionsRoot(txs)
		var all []TransactionProof
		for i := range txs {
			p := TransactionProof{uint64(i), TransactionRoot(txs[i]), ProveTransaction(txs, uint64(i))}
			if !VerifyTransaction(r, p.Leaf, p.Index, p.Branch) {
				t.Errorf("%d of %d: refused", i, n)
			}
			all = append(all, p)
		}
		if !VerifyTransactions(r, all) {
			t.Errorf("%d: refused together", n)
		}
		all[n-1].Leaf[0]++
		if VerifyTransactions(r, all) {
			t.Errorf("%d: one false proof passed among true ones", n)
		}
	}
	if !VerifyTransactions(phase0.Root{}, nil) {
		t.Error("nothing to verify: refused")
	}
	if ProveTransaction(randomTxs(3), 3) != nil {
		t.Error("proved a transaction that is not there")
	}
}

func TestVerifyTransaction_Lies(t *testing.T) {
	txs := randomTxs(5)
	r := TransactionsRoot(txs)
	for name, lie := range map[string]func(p *TransactionProof){
		"other leaf":       func(p *TransactionProof) { p.Leaf[31] ^= 1 },
		"other index":      func(p *TransactionProof) { p.Index = 4 },
		"index + 2^20":     func(p *TransactionProof) { p.Index += 1 << 20 },
		"index + 2^21":     func(p *TransactionProof) { p.Index += 1 << 21 },
		"index + 2^63":     func(p *TransactionProof) { p.Index += 1 << 63 },
		"no branch":        func(p *TransactionProof) { p.Branch = nil },
		"short branch":     func(p *TransactionProof) { p.Branch = p.Branch[:20] },
		"long branch":      func(p *TransactionProof) { p.Branch = append(p.Branch, make([]byte, 32)) },
		"sibling of 31":    func(p *TransactionProof) { p.Branch[3] = p.Branch[3][:31] },
		"sibling of 33":    func(p *TransactionProof) { p.Branch[3] = append(p.Branch[3], 0) },
		"other sibling":    func(p *TransactionProof) { p.Branch[19][0]++ },
		"list too short":   func(p *TransactionProof) { binary.LittleEndian.PutUint64(p.Branch[20], 3) },
		"length beyond 64": func(p *TransactionProof) { p.Branch[20][31] = 1 },
	} {
		p := TransactionProof{3, TransactionRoot(txs[3]), ProveTransaction(txs, 3)}
		for i := range p.Branch {
			p.Branch[i] = slices.Clone(p.Branch[i])
		}
		lie(&p)
		if VerifyTransaction(r, p.Leaf, p.Index, p.Branch) {
			t.Errorf("%s: passed", name)
		}
	}
}

// TestVerifyTransaction_ChunkAsLeaf: the generalized index of a chunk inside a
// transaction's bytes must not pass for that of a transaction.
func TestVerifyTransaction_ChunkAsLeaf(t *testing.T) {
	promised := randomTxs(1)[0]
	leaf := TransactionRoot(promised)
	carrier := slices.Concat(leaf[:], make([]byte, 32)) // its first chunk is the promised leaf
	txs := [][]byte{carrier}
	branch := [][]byte{make([]byte, 32)} // the second chunk
	for d := 1; d < depthBytes; d++ {
		branch = append(branch, slices.Clone(zeroHashes[d][:]))
	}
	size := length(len(carrier))
	branch = append(append(branch, size[:]), ProveTransaction(txs, 0)...)
	if VerifyTransaction(TransactionsRoot(txs), leaf, 0, branch) {
		t.Error("a chunk passed for a transaction")
	}
}

func BenchmarkVerifyTransactions(b *testing.B) {
	txs := randomTxs(300)
	r := TransactionsRoot(txs)
	for _, n := range []int{1, 16, 64} {
		var all []TransactionProof
		for i := range n {
			all = append(all, TransactionProof{uint64(i * 4), TransactionRoot(txs[i*4]), ProveTransaction(txs, uint64(i*4))})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if !VerifyTransactions(r, all) {
					b.Fatal("refused")
				}
			}
		})
	}
}
