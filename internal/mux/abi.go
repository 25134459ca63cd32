package mux

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/sha3"
)

// The ABI of the few calls that registries need. [Solidity: contract ABI]

const word = 32

// maxReturn bounds what a call may return, in bytes: 250 validators of Stader
// are about 160 KiB.
const maxReturn = 4 << 20

var errABI = errors.New("return data is malformed")

// calldata encodes a call whose arguments are static.
func calldata(signature string, args ...[word]byte) []byte {
	h := sha3.NewLegacyKeccak256()
	_, _ = h.Write([]byte(signature)) // a hash never fails
	out := h.Sum(nil)[:4]
	for _, a := range args {
		out = append(out, a[:]...)
	}
	return out
}

func argUint(n uint64) (w [word]byte) {
	binary.BigEndian.PutUint64(w[24:], n)
	return w
}

func argAddress(a [20]byte) (w [word]byte) {
	copy(w[12:], a[:])
	return w
}

// uintAt reads the word at a byte offset as a number of 64 bits.
func uintAt(b []byte, at int) (uint64, error) {
	if at < 0 || at > len(b)-word {
		return 0, errABI
	}
	for _, c := range b[at : at+24] {
		if c != 0 {
			return 0, errABI
		}
	}
	return binary.BigEndian.Uint64(b[at+24 : at+word]), nil
}

// addressAt reads the word at a byte offset as an address.
func addressAt(b []byte, at int) (a [20]byte, err error) {
	if at < 0 || at > len(b)-word {
		return a, errABI
	}
	for _, c := range b[at : at+12] {
		if c != 0 {
			return a, errABI
		}
	}
	return [20]byte(b[at+12 : at+word]), nil
}

// tail follows the offset in the word at a byte offset; offsets count from the
// beginning of b.
func tail(b []byte, at int) ([]byte, error) {
	n, err := uintAt(b, at)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(b)) {
		return nil, errABI
	}
	return b[n:], nil
}

// bytesAt reads the dynamic bytes whose offset is in the word at a byte offset.
func bytesAt(b []byte, at int) ([]byte, error) {
	t, err := tail(b, at)
	if err != nil {
		return nil, err
	}
	n, err := uintAt(t, 0)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(t)-word) {
		return nil, errABI
	}
	return t[word : word+n], nil
}

// tuplesAt reads the array of dynamic tuples whose offset is in the word at a
// byte offset, each from its beginning on, at most limit of them.
func tuplesAt(b []byte, at, limit int) ([][]byte, error) {
	t, err := tail(b, at)
	if err != nil {
		return nil, err
	}
	n, err := uintAt(t, 0)
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) { // #nosec G115 -- limit is a positive constant
		return nil, fmt.Errorf("%w: %d elements, where %d were asked for", errABI, n, limit)
	}
	t = t[word:]
	out := make([][]byte, n)
	for i := range out {
		if out[i], err = tail(t, i*word); err != nil {
			return nil, err
		}
	}
	return out, nil
}
