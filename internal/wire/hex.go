package wire

import (
	"encoding/binary"
	"slices"
)

const notHex = 0xff

// hexValue maps a character to its hex value, either case, or to notHex.
var hexValue = makeHexValue()

// hexPair maps a byte to its two lower-case hex digits, first digit low.
var hexPair = makeHexPair()

func makeHexValue() (t [256]byte) {
	for i := range t {
		t[i] = notHex
	}
	for i := range byte(10) {
		t['0'+i] = i
	}
	for i := range byte(6) {
		t['a'+i], t['A'+i] = 10+i, 10+i
	}
	return t
}

func makeHexPair() (t [256]uint16) {
	const digits = "0123456789abcdef"
	for i := range t {
		t[i] = uint16(digits[i>>4]) | uint16(digits[i&15])<<8
	}
	return t
}

// unhex fills dst from twice as many hex digits; false if one is not a digit.
func unhex(dst, src []byte) bool {
	if len(src) != 2*len(dst) {
		return false
	}
	var bad byte
	for i := range dst {
		pair := src[2*i : 2*i+2 : 2*i+2]
		hi, lo := hexValue[pair[0]], hexValue[pair[1]]
		bad |= hi | lo
		dst[i] = hi<<4 | lo
	}
	return bad < 16
}

// isHex says whether src is hex digits only.
func isHex(src []byte) bool {
	var bad byte
	for len(src) >= 8 {
		c := src[:8:8]
		bad |= hexValue[c[0]] | hexValue[c[1]] | hexValue[c[2]] | hexValue[c[3]] |
			hexValue[c[4]] | hexValue[c[5]] | hexValue[c[6]] | hexValue[c[7]]
		src = src[8:]
	}
	for _, c := range src {
		bad |= hexValue[c]
	}
	return bad < 16
}

// appendUnhex appends what src says, which isHex has seen.
func appendUnhex(out, src []byte) []byte {
	n := len(out)
	out = slices.Grow(out, len(src)/2)[:n+len(src)/2]
	unhex(out[n:], src)
	return out
}

// appendHex appends src as a JSON string with 0x.
func appendHex(out, src []byte) []byte {
	out = append(out, `"0x`...)
	n := len(out)
	out = slices.Grow(out, 2*len(src)+1)[:n+2*len(src)]
	dst := out[n:]
	for i, c := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], hexPair[c])
	}
	return append(out, '"')
}
