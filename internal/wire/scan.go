package wire

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/holiman/uint256"
)

// maxDepth bounds the nesting of JSON that nobody here reads.
const maxDepth = 64

// scanner reads JSON once from front to back into the fixed parts of shapes. The
// first error sticks: it moves to the end of the input, where everything else
// finds nothing to read.
type scanner struct {
	in    []byte
	pos   int
	field string // being read
	nulls bool   // a list was null, as encoders in Go write an empty one
	err   error
}

func (s *scanner) fail(what string) {
	if s.err == nil {
		seen := s.in[min(s.pos, len(s.in)):min(s.pos+16, len(s.in))]
		s.err = ErrDecode.With("%s: %s at byte %d, found %q", s.field, what, s.pos, seen)
	}
	s.pos = len(s.in)
}

// peek returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.in) {
		return s.in[s.pos]
	}
	return 0
}

// next is peek after white space.
func (s *scanner) next() byte {
	for s.pos < len(s.in) {
		c := s.in[s.pos]
		if c > ' ' || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c
		}
		s.pos++
	}
	return 0
}

func (s *scanner) want(c byte, what string) {
	if s.next() != c {
		s.fail(what)
		return
	}
	s.pos++
}

// end wants nothing more but white space.
func (s *scanner) end() {
	if s.next(); s.pos < len(s.in) {
		s.fail("trailing bytes")
	}
}

// object is an object being read: for s.more(&o) { read the value of s.field }.
type object struct {
	*shape
	dst  []byte // takes the fields of fixed kinds
	seen uint64 // bit per field
	hint int    // the field that comes next if the sender keeps the order
	some bool
}

func (s *scanner) object(sh *shape, dst []byte) object {
	s.field = sh.name
	s.want('{', "want an object")
	return object{shape: sh, dst: dst}
}

// more reads on to the next field that only the caller can read, and past it
// to the end of the object, where every field must have been seen.
func (s *scanner) more(o *object) bool {
	for s.err == nil {
		if s.next() == '}' {
			s.pos++
			s.complete(o)
			return false
		}
		if o.some {
			s.want(',', "want , or }")
		}
		o.some = true
		key, plain := s.key()
		i := o.find(key)
		if i < 0 {
			s.stranger(o, key, plain)
			continue
		}
		f := &o.fields[i]
		s.field = f.name
		if o.seen&(1<<i) != 0 {
			s.fail("twice")
		}
		o.seen |= 1 << i
		if s.err != nil {
			return false
		}
		switch f.kind {
		case octets:
			s.hex(o.dst[f.at : f.at+f.size])
		case number:
			binary.LittleEndian.PutUint64(o.dst[f.at:], s.uint64())
		case wide:
			v := s.uint256()
			putWide(o.dst[f.at:], &v)
		default:
			return true
		}
	}
	return false
}

func (s *scanner) complete(o *object) {
	if bits.OnesCount64(o.seen) == len(o.fields) {
		return
	}
	for i := range o.fields {
		if o.seen&(1<<i) == 0 && !o.fields[i].optional {
			s.field = o.name
			s.fail(o.fields[i].name + " is missing")
		}
	}
}

// key reads a member's name and colon; plain if it holds no escape.
func (s *scanner) key() (key []byte, plain bool) {
	if s.next() != '"' {
		s.fail("want a key")
		return nil, false
	}
	key, plain = s.text()
	s.want(':', "want :")
	return key, plain
}

func (o *object) find(key []byte) int {
	if o.hint < len(o.fields) && string(key) == o.fields[o.hint].name {
		o.hint++
		return o.hint - 1
	}
	for i := range o.fields {
		if string(key) == o.fields[i].name {
			o.hint = i + 1
			return i
		}
	}
	return -1
}

// stranger skips an unknown member. It refuses a key that another decoder may
// take for one of ours, with an escape or in another case: the bytes go on as
// they are, and their reader must not see another message than we checked.
func (s *scanner) stranger(o *object, key []byte, plain bool) {
	if s.err != nil {
		return
	}
	s.field = o.name
	if !plain {
		s.fail("an escape in a key before here")
		return
	}
	for i := range o.fields {
		// Folding changes a letter's length at most threefold; no long key is copied.
		if name := o.fields[i].name; len(key) <= 3*len(name) && strings.EqualFold(string(key), name) {
			s.fail("another spelling of " + name + " before here")
			return
		}
	}
	s.skip()
}

// item steps to the next of at most limit elements: for s.item(&n, limit) { read one }.
// A null is a list of none.
func (s *scanner) item(n *int, limit int) bool {
	c := s.next()
	switch {
	case *n == 0 && c == 'n':
		s.literal("null")
		s.nulls = true
		return false
	case *n == 0:
		if s.want('[', "want an array"); s.next() == ']' {
			s.pos++
			return false
		}
	case c == ']':
		s.pos++
		return false
	default:
		s.want(',', "want , or ]")
	}
	if *n == limit {
		s.fail("too many elements")
	}
	*n++
	return s.err == nil
}

// hex reads a string of exactly len(dst) bytes in hex.
func (s *scanner) hex(dst []byte) {
	s.next()
	n := 2*len(dst) + 4 // with quotes and 0x
	if len(s.in)-s.pos < n {
		s.fail("want hex of a fixed length")
		return
	}
	v := s.in[s.pos : s.pos+n]
	if v[0] != '"' || v[1] != '0' || v[2] != 'x' || v[n-1] != '"' || !unhex(dst, v[3:n-1]) {
		s.fail("want hex of a fixed length")
		return
	}
	s.pos += n
}

// digits reads a string of hex and returns its digits, an even number. It finds
// the end first, for blobs are long.
func (s *scanner) digits() []byte {
	s.next()
	rest := s.in[s.pos:]
	if len(rest) < 4 || rest[0] != '"' || rest[1] != '0' || rest[2] != 'x' {
		s.fail("want hex with 0x")
		return nil
	}
	n := bytes.IndexByte(rest[3:], '"')
	if n < 0 || n%2 != 0 || !isHex(rest[3:3+n]) {
		s.fail("want whole bytes of hex")
		return nil
	}
	s.pos += n + 4
	return rest[3 : 3+n]
}

// shortHex reads a string of at most len(dst) bytes in hex and returns how many.
func (s *scanner) shortHex(dst []byte) int {
	d := s.digits()
	if len(d) > 2*len(dst) {
		s.fail("too long")
		return 0
	}
	unhex(dst[:len(d)/2], d)
	return len(d) / 2
}

// decimal reads a string of at most most digits without sign or leading zero.
func (s *scanner) decimal(most int) []byte {
	if s.next() != '"' {
		s.fail("want a decimal in a string")
		return nil
	}
	b := s.in[s.pos+1:]
	n := 0
	for n < len(b) && b[n]-'0' <= 9 {
		n++
	}
	if n == len(b) || b[n] != '"' || n == 0 || n > 1 && b[0] == '0' || n > most {
		s.fail("want a decimal in a string")
		return nil
	}
	s.pos += n + 2
	return b[:n]
}

func (s *scanner) uint64() uint64 {
	d := s.decimal(20)
	v := parse19(d[:min(19, len(d))])
	if len(d) == 20 {
		hi, lo := bits.Mul64(v, 10)
		lo, carry := bits.Add64(lo, uint64(d[19]-'0'), 0)
		if hi+carry != 0 {
			s.fail("over 64 bits")
		}
		v = lo
	}
	return v
}

func (s *scanner) uint256() (v uint256.Int) {
	d := s.decimal(78)
	for len(d) > 0 {
		n := min(19, len(d))
		scale := uint64(1)
		for range n {
			scale *= 10
		}
		if _, over := v.MulOverflow(&v, uint256.NewInt(scale)); over {
			s.fail("over 256 bits")
		}
		if _, over := v.AddOverflow(&v, uint256.NewInt(parse19(d[:n]))); over {
			s.fail("over 256 bits")
		}
		d = d[n:]
	}
	return v
}

// parse19 reads at most 19 digits, which never overflow.
func parse19(d []byte) (v uint64) {
	for _, c := range d {
		v = v*10 + uint64(c-'0')
	}
	return v
}

// word reads a string without escapes.
func (s *scanner) word() []byte {
	if s.next() != '"' {
		s.fail("want a string")
		return nil
	}
	w, plain := s.text()
	if !plain {
		s.fail("an escape before here")
		return nil
	}
	return w
}

// text reads the string that begins here and returns what is between the
// quotes; plain if it holds no escape.
func (s *scanner) text() (raw []byte, plain bool) {
	s.pos++
	begin, ascii := s.pos, true
	plain = true
	for {
		s.pos += ordinary(s.in[s.pos:])
		switch c := s.peek(); {
		case c == '"':
			raw = s.in[begin:s.pos]
			s.pos++
			if !ascii && !utf8.Valid(raw) {
				s.fail("not UTF-8 before here")
			}
			return raw, plain
		case c == '\\':
			plain = false
			s.escape()
		case c >= utf8.RuneSelf:
			ascii = false
			s.pos++
		default:
			s.fail("an open string")
			return nil, false
		}
	}
}

// ordinary counts the bytes of b up to the first quote, backslash, control
// character or byte that is not ASCII, eight at a time.
func ordinary(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	n := 0
	for len(b)-n >= 8 {
		x := binary.LittleEndian.Uint64(b[n:])
		quote, slash := x^ones*'"', x^ones*'\\'
		// A borrow only spoils bytes above the first hit, so the first is exact.
		hit := (x | (x-ones*' ')&^x | (quote-ones)&^quote | (slash-ones)&^slash) & highs
		if hit != 0 {
			return n + bits.TrailingZeros64(hit)/8
		}
		n += 8
	}
	for n < len(b) && b[n] >= ' ' && b[n] != '"' && b[n] != '\\' && b[n] < utf8.RuneSelf {
		n++
	}
	return n
}
