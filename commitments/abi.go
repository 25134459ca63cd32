package commitments

import (
	"encoding/binary"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/crypto/sha3"
)

// Numbers that keep the signed messages of the registry apart. [URC: MessageType]
const (
	messageDelegation  = 2
	messageCommitment  = 3
	messageConstraints = 4
)

// Hash returns the request hash: keccak256 of the ABI encoding as one struct
// argument. [fabric: request_hash]
func (r Request) Hash() phase0.Hash32 {
	var w abiWriter
	w.number(32) // a dynamic struct: its offset
	w.number(r.Type)
	w.number(3 * 32)
	w.left(r.Slasher[:])
	w.bytes(r.Payload)
	return keccak(w)
}

// Root returns the object root of a commitment: keccak256(abi(uint256 3, commitment)).
// [URC signing-domain: Commitment]
func (c Commitment) Root() phase0.Root {
	w := message(messageCommitment)
	w.number(c.Type)
	w.number(4 * 32)
	w.right(c.RequestHash[:])
	w.left(c.Slasher[:])
	w.bytes(c.Payload)
	return keccak(w)
}

// Root returns the object root of a delegation: keccak256(abi(uint256 2, delegation)).
// Fault: ErrPubkey. [URC signing-domain: Delegation]
func (d Delegation) Root() (phase0.Root, error) {
	w := message(messageDelegation)
	if err := w.points(d.Proposer, d.Delegate); err != nil {
		return phase0.Root{}, err
	}
	w.left(d.Committer[:])
	w.number(uint64(d.Slot))
	w.number(11 * 32)
	w.bytes(d.Metadata)
	return keccak(w), nil
}

// Root returns the object root of a constraints message:
// keccak256(abi(uint256 4, message)). Fault: ErrPubkey. [fabric: ConstraintsMessage]
func (m ConstraintsMessage) Root() (phase0.Root, error) {
	w := message(messageConstraints)
	if err := w.points(m.Proposer, m.Delegate); err != nil {
		return phase0.Root{}, err
	}
	w.number(uint64(m.Slot))
	w.number(11 * 32)
	var list, tails abiWriter
	heads := uint64(len(m.Constraints)) * 32
	list.number(uint64(len(m.Constraints)))
	for _, c := range m.Constraints {
		list.number(heads + uint64(len(tails)))
		tails.number(c.Type)
		tails.number(2 * 32)
		tails.bytes(c.Payload)
	}
	list = append(list, tails...)
	w.number(11*32 + uint64(len(list)))
	w = append(w, list...)
	w.number(uint64(len(m.Receivers)))
	if err := w.points(m.Receivers...); err != nil {
		return phase0.Root{}, err
	}
	return keccak(w), nil
}

// abiWriter writes words of 32 bytes. [Solidity: contract ABI specification]
type abiWriter []byte

// message begins abi(uint256 kind, tuple): the kind and the offset of the tuple.
func message(kind uint64) abiWriter {
	w := make(abiWriter, 0, 1024)
	w.number(kind)
	w.number(2 * 32)
	return w
}

func (w *abiWriter) number(n uint64) {
	var b [32]byte
	binary.BigEndian.PutUint64(b[24:], n)
	*w = append(*w, b[:]...)
}

// left writes a value padded on the left to a word: numbers and addresses.
func (w *abiWriter) left(b []byte) {
	*w = append(append(*w, make([]byte, 32-len(b))...), b...)
}

// right writes bytes padded on the right to whole words.
func (w *abiWriter) right(b []byte) {
	*w = append(append(*w, b...), make([]byte, padding(len(b)))...)
}

func (w *abiWriter) bytes(b []byte) {
	w.number(uint64(len(b)))
	w.right(b)
}

// points writes keys as decompressed points: four words each, both coordinates
// padded to 64 bytes. [EIP-2537]
func (w *abiWriter) points(keys ...phase0.BLSPubKey) error {
	for _, k := range keys {
		x, y, err := decompress(k)
		if err != nil {
			return err
		}
		for _, c := range [][48]byte{x, y} {
			*w = append(append(*w, make([]byte, 16)...), c[:]...)
		}
	}
	return nil
}

// padding is how many bytes n lacks to whole words.
func padding(n int) int { return -n & 31 }

func keccak(b []byte) (h [32]byte) {
	k := sha3.NewLegacyKeccak256()
	k.Write(b)
	k.Sum(h[:0])
	return h
}
