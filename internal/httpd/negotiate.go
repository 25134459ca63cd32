package httpd

import (
	"strings"

	"sidecar/chain"
	"sidecar/internal/wire"
)

const (
	mediaJSON  = "application/json"
	mediaPlain = "text/plain; charset=utf-8"
	mediaSSZ   = "application/octet-stream"
)

// Encoded answers body, which is written in enc, and names its fork, for JSON
// too. [builder-specs: Eth-Consensus-Version]
func Encoded(enc wire.Encoding, fork chain.Fork, body []byte) Response {
	return Response{
		ContentType: enc.ContentType(),
		Header:      [][2]string{{"Eth-Consensus-Version", fork.String()}},
		Body:        body,
	}
}

// ContentType returns the encoding a request's Content-Type names. An absent
// one and */* mean JSON; parameters are let pass. Fault: ErrUnsupported.
func ContentType(value string) (wire.Encoding, error) {
	essence, _, _ := strings.Cut(value, ";")
	essence = strings.Trim(essence, " \t")
	switch {
	case strings.Trim(value, " \t") == "", essence == "*/*", strings.EqualFold(essence, mediaJSON):
		return wire.JSON, nil
	case strings.EqualFold(essence, mediaSSZ):
		return wire.SSZ, nil
	}
	return 0, ErrUnsupported.With("want %s or %s", mediaJSON, mediaSSZ)
}

// preference is what an Accept value says of one encoding: the quality in
// thousandths, given by the most specific range that names it.
type preference struct {
	rank     int // 0 not named, 1 */*, 2 application/*, 3 the type itself
	quality  int
	position int
}

// take is called for each range that covers the encoding, in order. Of ranges
// as specific as each other the better counts: parameters, which would tell
// them apart, are let pass.
func (p *preference) take(rank, quality, position int) {
	if rank > p.rank || rank == p.rank && quality > p.quality {
		*p = preference{rank, quality, position}
	}
}

// Negotiate returns the encoding an Accept value prefers; join several header
// lines with commas first. An absent one means JSON. As [RFC 9110 §12.5.1] has
// it, the most specific range that covers a type gives the type its quality,
// q=0 refuses it, and the type with the highest quality wins. Of equals the one
// named more specifically wins, then the one named first, then JSON (so that
// */* is JSON). Parameters are let pass; a +suffix is another type. Fault:
// ErrNotAcceptable, also for a value that cannot be read.
func Negotiate(accept string) (wire.Encoding, error) {
	switch accept { // what the beacon nodes send
	case "", "*/*", mediaJSON:
		return wire.JSON, nil
	case mediaSSZ:
		return wire.SSZ, nil
	}
	var json, ssz preference
	s, ranges := scanner{rest: accept}, 0
	for s.more() {
		kind, sub, quality, ok := s.mediaRange()
		if !ok {
			return 0, ErrNotAcceptable.With("Accept cannot be read")
		}
		ranges++
		if rank := covers(kind, sub, "json"); rank > 0 {
			json.take(rank, quality, ranges)
		}
		if rank := covers(kind, sub, "octet-stream"); rank > 0 {
			ssz.take(rank, quality, ranges)
		}
	}
	switch {
	case ranges == 0: // empty list elements only [RFC 9110 §5.6.1.2]
		return wire.JSON, nil
	case json.quality == 0 && ssz.quality == 0:
		return 0, ErrNotAcceptable.With("served are %s and %s", mediaJSON, mediaSSZ)
	case better(ssz, json):
		return wire.SSZ, nil
	}
	return wire.JSON, nil
}

// better says whether a is preferred to b.
func better(a, b preference) bool {
	switch {
	case a.quality != b.quality:
		return a.quality > b.quality
	case a.rank != b.rank:
		return a.rank > b.rank
	}
	return a.position < b.position
}

// covers returns how specifically the range kind/sub covers application/want.
func covers(kind, sub, want string) int {
	switch {
	case kind == "*":
		return 1
	case !strings.EqualFold(kind, "application"):
		return 0
	case sub == "*":
		return 2
	case strings.EqualFold(sub, want):
		return 3
	}
	return 0
}

// scanner reads an Accept value from left to right without allocating.
type scanner struct{ rest string }

// more skips what may stand between list elements and says whether one follows.
func (s *scanner) more() bool {
	s.rest = strings.TrimLeft(s.rest, ", \t")
	return s.rest != ""
}

// mediaRange reads type "/" subtype *( OWS ";" OWS [ parameter ] ) up to the
// end of the list element. [RFC 9110 §5.6.6, §12.5.1]
func (s *scanner) mediaRange() (kind, sub string, quality int, ok bool) {
	kind = s.token()
	if kind == "" || !s.accept('/') {
		return "", "", 0, false
	}
	sub = s.token()
	if sub == "" || kind == "*" && sub != "*" {
		return "", "", 0, false
	}
	quality = 1000
	for {
		s.space()
		if s.rest == "" || s.rest[0] == ',' {
			return kind, sub, quality, true
		}
		if !s.accept(';') {
			return "", "", 0, false
		}
		s.space()
		if s.rest == "" || s.rest[0] == ',' || s.rest[0] == ';' {
			continue // an empty parameter
		}
		name := s.token()
		if name == "" || !s.accept('=') {
			return "", "", 0, false
		}
		value, good := s.value()
		if good && strings.EqualFold(name, "q") {
			quality, good = parseQuality(value)
		}
		if !good {
			return "", "", 0, false
		}
	}
}

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }

func (s *scanner) accept(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) token() string {
	n := 0
	for n < len(s.rest) && tokenByte(s.rest[n]) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

// value reads a token or a quoted string, whose quotes and escapes it keeps:
// nobody looks into one.
func (s *scanner) value() (string, bool) {
	if s.rest == "" || s.rest[0] != '"' {
		t := s.token()
		return t, t != ""
	}
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '\\':
			i++
		case c == '"':
			v := s.rest[:i+1]
			s.rest = s.rest[i+1:]
			return v, true
		case c < ' ' && c != '\t', c == 0x7f:
			return "", false
		}
	}
	return "", false
}

// tokenByte says whether c may stand in a token. [RFC 9110 §5.6.2]
func tokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// parseQuality reads a qvalue in thousandths. A missing zero before the point
// and more than three digits behind it are let pass, as real clients send them;
// what is more than nothing stays more than nothing.
func parseQuality(v string) (int, bool) {
	whole, decimals, point := strings.Cut(v, ".")
	if whole != "0" && whole != "1" && (whole != "" || !point || decimals == "") {
		return 0, false
	}
	q, rest := 0, false
	for i := range len(decimals) {
		d := decimals[i]
		if d < '0' || d > '9' {
			return 0, false
		}
		if i < 3 {
			q = q*10 + int(d-'0')
		} else if d != '0' {
			rest = true
		}
	}
	for i := len(decimals); i < 3; i++ {
		q *= 10
	}
	if whole == "1" {
		return 1000, q == 0 && !rest
	}
	if q == 0 && rest {
		q = 1
	}
	return q, true
}
