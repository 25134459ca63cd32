package commitments

import "encoding/binary"

// A strict RLP of byte strings and lists, as much as a proof payload needs.
// Every value has one encoding, and no other is read. [Yellow Paper, appendix B]

// rlpBytes appends a byte string.
func rlpBytes(dst, b []byte) []byte {
	if len(b) == 1 && b[0] < 0x80 {
		return append(dst, b[0])
	}
	return append(rlpHead(dst, 0x80, len(b)), b...)
}

// rlpNumber appends an unsigned integer without leading zeros.
func rlpNumber(dst []byte, n uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	i := 0
	for i < 8 && b[i] == 0 {
		i++
	}
	return rlpBytes(dst, b[i:])
}

// rlpList appends a list of the encoded items.
func rlpList(dst, items []byte) []byte {
	return append(rlpHead(dst, 0xc0, len(items)), items...)
}

func rlpHead(dst []byte, kind byte, n int) []byte {
	if n <= 55 {
		return append(dst, kind+byte(n)) // #nosec G115 -- at most 55
	}
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n)) // #nosec G115 -- a length
	i := 0
	for b[i] == 0 {
		i++
	}
	return append(append(dst, kind+55+byte(8-i)), b[i:]...) // #nosec G115 -- at most 8
}

// rlpReader takes items off a buffer. After the first error it yields nothing.
type rlpReader struct {
	rest []byte
	bad  bool
}

// item takes the next item of the given kind (0x80 or 0xc0) and returns its content.
func (r *rlpReader) item(kind byte) []byte {
	if r.bad || len(r.rest) == 0 {
		r.bad = true
		return nil
	}
	first := r.rest[0]
	if kind == 0x80 && first < 0x80 {
		b := r.rest[:1:1]
		r.rest = r.rest[1:]
		return b
	}
	n, head := uint64(first-kind), uint64(1)
	switch {
	case first < kind || n > 63:
		r.bad = true
		return nil
	case n > 55:
		wide := n - 55
		head += wide
		if uint64(len(r.rest)) < head || r.rest[1] == 0 {
			r.bad = true
			return nil
		}
		var b [8]byte
		copy(b[8-wide:], r.rest[1:head])
		if n = binary.BigEndian.Uint64(b[:]); n <= 55 {
			r.bad = true
			return nil
		}
	}
	if n > uint64(len(r.rest))-head || (kind == 0x80 && n == 1 && r.rest[head] < 0x80) {
		r.bad = true
		return nil
	}
	b := r.rest[head : head+n : head+n]
	r.rest = r.rest[head+n:]
	return b
}

func (r *rlpReader) bytes() []byte   { return r.item(0x80) }
func (r *rlpReader) list() rlpReader { b := r.item(0xc0); return rlpReader{b, r.bad} }

func (r *rlpReader) number() uint64 {
	b := r.bytes()
	if len(b) > 8 || (len(b) > 0 && b[0] == 0) {
		r.bad = true
		return 0
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}
