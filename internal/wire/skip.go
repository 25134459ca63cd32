package wire

import (
	"unicode/utf16"
	"unicode/utf8"
)

// skip passes one value of any kind, which must be well formed.
func (s *scanner) skip() {
	var objects uint64 // bit per open level: it is an object
	depth := 0
	for s.err == nil {
		c := s.next()
		if (c == '{' || c == '[') && s.err == nil {
			if depth == maxDepth {
				s.fail("nested too deep")
				return
			}
			s.pos++
			objects <<= 1
			if c == '{' {
				objects |= 1
			}
			depth++
			if s.next() != c+2 { // } is { + 2, ] is [ + 2
				if c == '{' {
					s.key()
				}
				continue
			}
		} else {
			s.scalar(c)
		}
		depth, objects = s.ascend(depth, objects)
		if depth == 0 {
			return
		}
	}
}

// ascend closes what ends after a value. It returns 0 when nothing is open, and
// otherwise stands before the next value.
func (s *scanner) ascend(depth int, objects uint64) (int, uint64) {
	for depth > 0 && s.err == nil {
		inObject := objects&1 != 0
		switch c := s.next(); {
		case c == ',':
			s.pos++
			if inObject {
				s.key()
			}
			return depth, objects
		case c == '}' && inObject, c == ']' && !inObject:
			s.pos++
			depth--
			objects >>= 1
		default:
			s.fail("want , or an end")
		}
	}
	return depth, objects
}

// scalar passes a value that begins with c and is no object or array.
func (s *scanner) scalar(c byte) {
	switch c {
	case '"':
		s.text()
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.numeral()
	}
}

func (s *scanner) literal(word string) {
	end := s.pos + len(word)
	if end > len(s.in) || string(s.in[s.pos:end]) != word {
		s.fail("want a value")
		return
	}
	s.pos = end
}

// numeral passes a JSON number. [RFC 8259 §6]
func (s *scanner) numeral() {
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++
	} else {
		s.run()
	}
	if s.peek() == '.' {
		s.pos++
		s.run()
	}
	if s.peek()|0x20 == 'e' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		s.run()
	}
}

// run passes one or more decimal digits.
func (s *scanner) run() {
	begin := s.pos
	for s.peek()-'0' <= 9 {
		s.pos++
	}
	if s.pos == begin {
		s.fail("want a value")
	}
}

// escape passes the escape that begins here; a surrogate needs its other half.
func (s *scanner) escape() {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
	case 'u':
		r := s.unit()
		if !utf16.IsSurrogate(r) {
			return
		}
		s.want('\\', "half a surrogate pair before here")
		if s.peek() != 'u' || utf16.DecodeRune(r, s.unit()) == utf8.RuneError {
			s.fail("half a surrogate pair before here")
		}
	default:
		s.fail("an unknown escape")
	}
}

// unit reads the u and four hex digits of an escape.
func (s *scanner) unit() rune {
	var b [2]byte
	if len(s.in)-s.pos < 5 || !unhex(b[:], s.in[s.pos+1:s.pos+5]) {
		s.fail("want four hex digits")
		return 0
	}
	s.pos += 5
	return rune(b[0])<<8 | rune(b[1])
}
