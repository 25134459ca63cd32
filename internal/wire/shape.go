package wire

import (
	"encoding/binary"
	"strconv"

	"github.com/holiman/uint256"
)

// kind is how a field of a container is written in both encodings.
type kind uint8

const (
	variable kind = iota // of any size: SSZ has a 4-byte offset in its place
	nested               // of fixed size, and read by the caller
	octets               // bytes; hex with 0x in JSON
	number               // uint64; a decimal in a JSON string
	wide                 // uint256; likewise
)

type field struct {
	name     string // in JSON
	kind     kind
	at, size int // in the container's fixed part
	optional bool
}

// shape is a container: its fields in the order of the specification. The
// fixed part of its SSZ is the form in which everything here is held between
// the two encodings.
type shape struct {
	name   string
	fields []field
	size   int // of the fixed part, in bytes
}

func newShape(name string, fields ...field) *shape {
	sh := &shape{name: name, fields: fields}
	for i := range fields {
		fields[i].at = sh.size
		sh.size += fields[i].size
	}
	return sh
}

func varies(name string) field          { return field{name: name, kind: variable, size: 4} }
func nests(name string, size int) field { return field{name: name, kind: nested, size: size} }
func bytesOf(name string, n int) field  { return field{name: name, kind: octets, size: n} }
func uint64Of(name string) field        { return field{name: name, kind: number, size: 8} }
func uint256Of(name string) field       { return field{name: name, kind: wide, size: 32} }

func optional(f field) field {
	f.optional = true
	return f
}

// split cuts b into its variable parts, in order. Only canonical bytes pass:
// the first offset ends the fixed part, none decreases, none is beyond the end.
func (sh *shape) split(b []byte, parts [][]byte) error {
	if len(b) < sh.size {
		return ErrDecode.With("%s: %d bytes, want %d or more", sh.name, len(b), sh.size)
	}
	last, n := sh.size, 0
	for i := range sh.fields {
		f := &sh.fields[i]
		if f.kind != variable {
			continue
		}
		offset := uint64(binary.LittleEndian.Uint32(b[f.at:]))
		if offset < uint64(last) || offset > uint64(len(b)) || n == 0 && offset != uint64(last) {
			return ErrDecode.With("%s: offset of %s is %d", sh.name, f.name, offset)
		}
		if n > 0 {
			parts[n-1] = b[last:offset]
		}
		last = int(offset) // #nosec G115 -- at most len(b)
		n++
	}
	parts[n-1] = b[last:]
	return nil
}

// join appends the container of a fixed part, whose offsets it sets, and of its
// variable parts.
func (sh *shape) join(out, fixed []byte, parts ...[]byte) []byte {
	begin, offset := len(out), sh.size
	out = append(out, fixed[:sh.size]...)
	n := 0
	for i := range sh.fields {
		if sh.fields[i].kind == variable {
			putOffset(out[begin+sh.fields[i].at:], offset)
			offset += len(parts[n])
			n++
		}
	}
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func putOffset(dst []byte, offset int) {
	binary.LittleEndian.PutUint32(dst, uint32(offset)) // #nosec G115 -- bodies are far below 4 GiB
}

// listLen returns how many elements of size bytes b holds, at most limit.
func listLen(name string, b []byte, size, limit int) (int, error) {
	n := len(b) / size
	if n*size != len(b) || n > limit {
		return 0, ErrDecode.With("%s: %d bytes, want a multiple of %d and at most %d elements", name, len(b), size, limit)
	}
	return n, nil
}

// appendObject appends the container as a JSON object, its fixed part from src;
// rest appends the value of each field of kind variable or nested.
func (sh *shape) appendObject(out, src []byte, rest func(out []byte, name string) []byte) []byte {
	for i := range sh.fields {
		f := &sh.fields[i]
		if i == 0 {
			out = append(out, '{', '"')
		} else {
			out = append(out, ',', '"')
		}
		out = append(append(out, f.name...), '"', ':')
		switch v := src[f.at : f.at+f.size]; f.kind {
		case octets:
			out = appendHex(out, v)
		case number:
			out = append(strconv.AppendUint(append(out, '"'), binary.LittleEndian.Uint64(v), 10), '"')
		case wide:
			n := getWide(v)
			out = append(append(append(out, '"'), n.Dec()...), '"')
		default:
			out = rest(out, f.name)
		}
	}
	return append(out, '}')
}

// appendObjects appends the elements in src, which are of fixed size, as a JSON array.
func (sh *shape) appendObjects(out, src []byte) []byte {
	out = append(out, '[')
	for i := 0; i+sh.size <= len(src); i += sh.size {
		if i > 0 {
			out = append(out, ',')
		}
		out = sh.appendObject(out, src[i:i+sh.size], nil)
	}
	return append(out, ']')
}

// appendHexes appends the elements of size bytes in src as a JSON array.
func appendHexes(out, src []byte, size int) []byte {
	out = append(out, '[')
	for i := 0; i+size <= len(src); i += size {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendHex(out, src[i:i+size])
	}
	return append(out, ']')
}

func getWide(b []byte) (v uint256.Int) {
	for i := range v {
		v[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return v
}

func putWide(dst []byte, v *uint256.Int) {
	for i := range v {
		binary.LittleEndian.PutUint64(dst[8*i:], v[i])
	}
}
