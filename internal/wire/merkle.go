package wire

import (
	"encoding/binary"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/holiman/uint256"
	"github.com/prysmaticlabs/gohashtree"
)

type chunk = [32]byte

// zeros[i] is the root of a tree of depth i without leaves.
var zeros = makeZeros()

func makeZeros() (z [14]chunk) {
	pair := make([]chunk, 2)
	for i := 1; i < len(z); i++ {
		pair[0], pair[1] = z[i-1], z[i-1]
		gohashtree.HashChunks(pair[:1], pair)
		z[i] = pair[0]
	}
	return z
}

// A hasher is scratch for one root, used as a stack: each function below works
// at the end of it, and its callers keep what they need below. The hash
// function is assembly, so arrays on the Go stack would each escape.
type hasher []chunk

// merkle hashes the leaves in place, level by level, up to a tree of depth.
// There must be room for one more leaf.
func merkle(leaves hasher, depth int) chunk {
	if len(leaves) == 0 {
		return zeros[depth]
	}
	for level := range depth {
		if len(leaves)%2 != 0 {
			leaves = append(leaves, zeros[level])
		}
		gohashtree.HashChunks(leaves, leaves)
		leaves = leaves[:len(leaves)/2]
	}
	return leaves[0]
}

// mix is the root of a list of n elements. [SSZ: mix_in_length]
func (w hasher) mix(root chunk, n int) chunk {
	w = append(w, root, number256(uint64(n))) // #nosec G115 -- a length
	return merkle(w[len(w)-2:], 1)
}

// bytes is the root of a vector of bytes of at most 256.
func (w hasher) bytes(b []byte, depth int) chunk {
	begin := len(w)
	for len(b) > 0 {
		var c chunk
		b = b[copy(c[:], b):]
		w = append(w, c)
	}
	return merkle(w[begin:], depth)
}

func number256(v uint64) (c chunk) {
	binary.LittleEndian.PutUint64(c[:], v)
	return c
}

func wide256(v *uint256.Int) (c chunk) {
	putWide(c[:], v)
	return c
}

func pad256(b []byte) (c chunk) {
	copy(c[:], b)
	return c
}

// root is the root of h, and needs 32 chunks of room.
func (h *Header) root(w hasher) chunk {
	bloom := w.bytes(h.LogsBloom[:], 3)
	extra := w.mix(pad256(h.ExtraData), len(h.ExtraData))
	begin := len(w)
	w = append(w, h.ParentHash, pad256(h.FeeRecipient[:]), h.StateRoot, h.ReceiptsRoot, bloom, h.PrevRandao,
		number256(h.BlockNumber), number256(h.GasLimit), number256(h.GasUsed), number256(h.Timestamp), extra,
		wide256(&h.BaseFeePerGas), h.BlockHash, h.TransactionsRoot, h.WithdrawalsRoot,
		number256(h.BlobGasUsed), number256(h.ExcessBlobGas))
	return merkle(w[begin:], 5)
}

// commitments is the root of List[KZGCommitment, 4096].
func (w hasher) commitments(cs []deneb.KZGCommitment) chunk {
	begin := len(w)
	for i := range cs {
		w = append(w, pad256(cs[i][:32]), pad256(cs[i][32:]))
	}
	leaves := w[begin:]
	if len(leaves) > 0 {
		gohashtree.HashChunks(leaves, leaves)
	}
	return w[:begin].mix(merkle(leaves[:len(cs)], 12), len(cs))
}

// requests is the root of ExecutionRequests, given in SSZ.
func (w hasher) requests(b []byte) chunk {
	lists, err := splitRequests(b)
	if err != nil { // set by hand, not decoded
		lists = [3][]byte{}
	}
	begin := len(w)
	for i, l := range requestLists {
		roots := len(w)
		n := 0
		for e := lists[i]; len(e) > 0; e = e[l.size:] {
			w = append(w, w.container(l.shape, e[:l.size]))
			n++
		}
		w = append(w[:roots], w[:roots].mix(merkle(w[roots:], l.depth), n))
	}
	return merkle(w[begin:], 2)
}

// container is the root of a container of fixed size, given in SSZ, whose
// fields are no longer than 128 bytes.
func (w hasher) container(sh *shape, b []byte) chunk {
	begin := len(w)
	for i := range sh.fields {
		f := &sh.fields[i]
		v := b[f.at : f.at+f.size]
		if f.size <= 32 {
			w = append(w, pad256(v))
		} else {
			w = append(w, w.bytes(v, depthOf((f.size+31)/32)))
		}
	}
	return merkle(w[begin:], depthOf(len(sh.fields)))
}

// depthOf is the depth of the smallest tree of n leaves.
func depthOf(n int) (d int) {
	for 1<<d < n {
		d++
	}
	return d
}

// Root of the message. The scratch holds the most that is in use at once: the
// commitments' chunks, or the roots of all deposits and one container.
func (b *Bid) root() chunk {
	w := make(hasher, 0, 40+max(2*len(b.Commitments), len(b.ExecutionRequests)/depositShape.size+16))
	header := b.Header.root(w)
	commitments := w.commitments(b.Commitments)
	pubkey := w.bytes(b.Pubkey[:], 1)
	value := wide256(&b.Value)
	if !b.hasRequests() {
		w = append(w, header, commitments, value, pubkey)
		return merkle(w, 2)
	}
	requests := w.requests(b.ExecutionRequests)
	w = append(w, header, commitments, requests, value, pubkey)
	return merkle(w, 3)
}
