package httpd

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// vetted is what the raw header lines say beyond fasthttp's reading of them.
type vetted struct {
	origin bool // a web page asks
	close  bool // Connection lists close, in whatever spelling
	wait   bool // Expect: 100-continue, in whatever spelling
}

// vet reads the header lines once more and refuses what two parsers could read
// differently: bare line feeds, folded lines, and any doubt about where the body
// ends. [RFC 9112 §2.2, §5.2, §6.1] Fault: ErrMalformed.
func vet(h *fasthttp.RequestHeader) (v vetted, err error) {
	var length, coding bool
	for raw := h.RawHeaders(); len(raw) > 0; {
		line, rest, _ := bytes.Cut(raw, []byte{'\n'})
		raw = rest
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return v, ErrMalformed.With("a header line ends in a bare line feed")
		}
		line = line[:len(line)-1]
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			return v, ErrMalformed.With("a header line is folded")
		}
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch {
		case is(name, "Content-Length"):
			length = true
		case is(name, "Transfer-Encoding"):
			coding = true
			if !is(bytes.TrimSpace(value), "chunked") {
				return v, ErrMalformed.With("the transfer coding is not chunked")
			}
		case is(name, "Connection"):
			v.close = v.close || lists(value, "close")
		case is(name, "Expect"):
			v.wait = is(bytes.TrimSpace(value), "100-continue")
		case is(name, "Origin"):
			v.origin = true
		case is(name, "Sec-Fetch-Site"):
			v.origin = v.origin || !is(bytes.TrimSpace(value), "none")
		}
	}
	if length && coding {
		return v, ErrMalformed.With("both Content-Length and Transfer-Encoding")
	}
	return v, nil
}

// is compares without regard to case.
func is(b []byte, want string) bool {
	if len(b) != len(want) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(want[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// lists says whether a comma-separated value contains want.
func lists(value []byte, want string) bool {
	for len(value) > 0 {
		item, rest, _ := bytes.Cut(value, []byte{','})
		if is(bytes.TrimSpace(item), want) {
			return true
		}
		value = rest
	}
	return false
}
