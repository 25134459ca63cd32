package tests

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"
)

// mode is one way of a relay to answer getHeader. What it claims is worth more
// than the healthy relay's bid.
type mode struct {
	id, name string // of the row in the table of relay faults
	answer   script
	reason   string // why its bid was refused, alternatives with |; "" if nobody says
	bid      outcome
}

type outcome int

const (
	refused   outcome = iota // the healthy relay's bid wins; without it, 204
	wins                     // it is no fault, or one that costs nothing
	onlyAlone                // a good bid, and the lesser one
)

// modes are the faults of relays that show after the connection is made.
func modes(t *testing.T) []mode {
	return append(append(append(append(transportModes(t), statusModes()...), jsonModes()...), sszModes()...), bidModes(t)...)
}

const (
	ok200     = "HTTP/1.1 200 OK\r\n"
	plainJSON = "Content-Type: application/json\r\n"
)

// good is the relay's honest bid in JSON, as text.
func good(c *call) string { return string(envelope("fulu", c.bid(nil))) }

// goodAnswer is the whole honest answer.
func goodAnswer(c *call) string { return message(200, plainJSON, []byte(good(c))) }

// silence never answers.
func silence(c *call) bool { <-c.relay.stop; return false }

// drip writes the answer byte by byte, the first n at once.
func drip(n int, every time.Duration) script {
	return func(c *call) bool {
		text, n := goodAnswer(c), n
		if n < 0 { // up to the body
			n = strings.Index(text, "\r\n\r\n") + 4
		}
		for alive := c.write(text[:n]); alive && n < len(text); n++ {
			alive = c.write(text[n:n+1]) && c.wait(every)
		}
		return false
	}
}

// reset writes a part of what the answer gives and resets the connection.
func reset(part func(text string) string) script {
	return func(c *call) bool {
		if text := part(goodAnswer(c)); text != "" {
			c.write(text)
			c.wait(20 * time.Millisecond) // so that it is read before the reset overtakes it
		}
		_ = c.conn.SetLinger(0)
		return false
	}
}

// endless writes a head and then the same again and again.
func endless(head, body string) script {
	return func(c *call) bool {
		for alive := c.write(head); alive; alive = c.write(body) {
		}
		return false
	}
}

// wrapped answers with the honest bid in other clothes; %d is its length, %s itself.
func wrapped(format string) script {
	return func(c *call) bool {
		text := good(c)
		format := strings.ReplaceAll(format, "LENGTH", fmt.Sprint(len(text)))
		c.write(strings.ReplaceAll(format, "BODY", text))
		return false
	}
}

func transportModes(t *testing.T) []mode {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 64<<20)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	filler := strings.Repeat("a", 1000)
	half := func(s string) string { return s[:len(s)/2] }
	return []mode{
		{"R-03", "accepts and never answers", silence, "relay_timeout", refused},
		{"R-05", "drips headers", drip(0, 100*time.Millisecond), "relay_timeout", refused},
		{"R-06", "drips the body", drip(-1, 50*time.Millisecond), "relay_timeout", refused},
		{"R-07", "answers right after the cut", func(c *call) bool { return c.wait(960*time.Millisecond) && c.write(goodAnswer(c)) }, "relay_timeout", refused},
		{"R-08", "resets before headers", reset(func(string) string { return "" }), "relay_reset", refused},
		{"R-08", "resets in the headers", reset(func(s string) string { return s[:20] }), "relay_reset", refused},
		{"R-08", "resets in the body", reset(half), "relay_reset|relay_short_body", refused},
		{"R-08", "resets an unbounded body", reset(func(s string) string { return strings.Replace(s, "Content-Length", "X-Length", 1) }), "relay_reset|relay_short_body", refused},
		{"R-09", "body shorter than announced", wrapped(ok200 + plainJSON + "Content-Length: 99999\r\n\r\nBODY"), "relay_short_body", refused},
		{"R-10", "body longer than announced", wrapped(ok200 + plainJSON + "Content-Length: LENGTH\r\n\r\nBODYBODY"), "relay_protocol", refused},
		{"R-11", "two lengths", wrapped(ok200 + plainJSON + "Content-Length: LENGTH\r\nContent-Length: 3\r\n\r\nBODY"), "relay_protocol|relay_decode|relay_short_body", refused},
		{"R-11", "length and chunks", wrapped(ok200 + plainJSON + "Content-Length: LENGTH\r\nTransfer-Encoding: chunked\r\n\r\nBODY"), "relay_protocol", refused},
		{"R-12", "huge chunk", wrapped(ok200 + plainJSON + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nBODY"), "relay_protocol|relay_body_too_large|relay_short_body", refused},
		{"R-12", "chunk over the limit", wrapped(ok200 + plainJSON + "Transfer-Encoding: chunked\r\n\r\n7fffffff\r\nBODY"), "relay_protocol|relay_body_too_large|relay_short_body", refused},
		{"R-12", "bad chunk size", wrapped(ok200 + plainJSON + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nBODY\r\n0\r\n\r\n"), "relay_protocol", refused},
		{"R-13", "ten thousand interim answers", raw(strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </"+filler+">\r\n\r\n", 10_000)), "relay_protocol", refused},
		{"R-17", "ten megabytes of headers", raw(ok200 + strings.Repeat("X-Filler: "+filler+"\r\n", 10_000)), "relay_protocol", refused},
		{"R-17", "a header line without an end", endless(ok200+"X-Filler: ", filler), "relay_protocol", refused},
		{"R-18", "endless body", endless(ok200+plainJSON+"\r\n{\"version\":\"", filler), "relay_body_too_large", refused},
		{"R-18", "endless chunks", endless(ok200+plainJSON+"Transfer-Encoding: chunked\r\n\r\n", "3e8\r\n"+filler+"\r\n"), "relay_body_too_large", refused},
		{"R-18", "a terabyte announced", endless(ok200+plainJSON+"Content-Length: 1099511627776\r\n\r\n", filler), "relay_body_too_large", refused},
		{"R-19", "gzip bomb", raw(message(200, plainJSON+"Content-Encoding: gzip\r\n", bomb.Bytes())), "relay_encoding", refused},
		{"R-19", "brotli", wrapped(ok200 + plainJSON + "Content-Encoding: br\r\nContent-Length: LENGTH\r\n\r\nBODY"), "relay_encoding", refused},
		{"R-19", "zstd", wrapped(ok200 + plainJSON + "Content-Encoding: zstd\r\nContent-Length: LENGTH\r\n\r\nBODY"), "relay_encoding", refused},
		{"R-20", "gzip that is not said", raw(message(200, plainJSON, bomb.Bytes())), "relay_decode", refused},
		{"R-21", "200 without a body", raw(message(200, plainJSON, nil)), "relay_empty", refused},
		{"R-22", "204 with a body", wrapped("HTTP/1.1 204 No Content\r\n" + plainJSON + "Content-Length: LENGTH\r\n\r\nBODY"), "", refused},
		{"R-23", "HTML", wrapped(ok200 + "Content-Type: text/html\r\nContent-Length: LENGTH\r\n\r\nBODY"), "relay_content_type", refused},
		{"R-23", "no type, JSON", wrapped(ok200 + "Content-Length: LENGTH\r\n\r\nBODY"), "", wins},
		{"R-23", "no type, no JSON", raw(message(200, "", []byte("hello"))), "relay_content_type", refused},
		{"R-52", "a clock of its own", wrapped(ok200 + plainJSON + "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: LENGTH\r\n\r\nBODY"), "", wins},
		{"R-54", "HTTP/2 preface", raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "relay_protocol", refused},
		{"R-54", "another protocol", raw("SSH-2.0-OpenSSH_9.6\r\n"), "relay_protocol|relay_reset|relay_short_body", refused},
	}
}

func statusModes() (out []mode) {
	html := []byte("<html><body>" + strings.Repeat("gateway ", 300) + "</body></html>")
	for _, code := range []int{400, 401, 403, 404, 405, 406, 409, 410, 415, 418, 429, 451} {
		out = append(out, mode{"R-15", fmt.Sprint(code), status(code), "relay_http_4xx", refused})
	}
	for _, code := range []int{500, 502, 503, 504} {
		out = append(out, mode{"R-16", fmt.Sprint(code), raw(message(code, "Content-Type: text/html\r\n", html)), "relay_http_5xx", refused})
	}
	return out
}

// edited answers with the honest bid in JSON, edited.
func edited(edit func(string) string) script {
	return func(c *call) bool {
		before := good(c)
		after := edit(before)
		if before == after {
			after = "this edit does nothing"
		}
		return c.write(message(200, plainJSON, []byte(after)))
	}
}

func replaced(old, by string) script {
	return edited(func(s string) string { return strings.Replace(s, old, by, 1) })
}

func jsonModes() []mode {
	bad := func(id, name string, s script) mode { return mode{id, name, s, "relay_decode", refused} }
	return []mode{
		bad("R-24", "truncated", edited(func(s string) string { return s[:len(s)-2] })),
		bad("R-24", "garbage behind it", edited(func(s string) string { return s + "x" })),
		bad("R-24", "twice", edited(func(s string) string { return s + s })),
		bad("R-24", "a key twice", replaced(`"gas_used":"21000"`, `"gas_used":"21000","gas_used":"21001"`)),
		bad("R-24", "byte order mark", edited(func(s string) string { return "\ufeff" + s })),
		bad("R-24", "NaN", replaced(`"21000"`, `NaN`)),
		bad("R-24", "1e400", replaced(`"21000"`, `1e400`)),
		bad("R-24", "depth 10,000", edited(func(s string) string {
			return `{"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "," + s[1:]
		})),
		{"R-24", "lone surrogate", replaced(`"version":"fulu"`, `"version":"ful\ud800"`), "relay_fork|relay_decode", refused},
		bad("R-24", "object for a number", replaced(`"21000"`, `{}`)),
		bad("R-24", "null data", edited(func(string) string { return `{"version":"fulu","data":null}` })),
		bad("R-24", "no data", edited(func(string) string { return `{"version":"fulu"}` })),
		bad("R-24", "array", edited(func(s string) string { return "[" + s + "]" })),
		bad("R-24", "five megabytes of digits", replaced(`"21000"`, `"`+strings.Repeat("1", 4<<20)+`"`)),
		bad("R-25", "number as number", replaced(`"21000"`, `21000`)),
		bad("R-25", "negative number", replaced(`"21000"`, `"-1"`)),
		bad("R-25", "beyond 64 bits", replaced(`"21000"`, `"18446744073709551616"`)),
		bad("R-26", "hex without 0x", replaced(`"signature":"0x`, `"signature":"`)),
		bad("R-26", "odd hex", replaced(`"signature":"0x`, `"signature":"0x0`)),
		bad("R-26", "97 bytes", replaced(`"signature":"0x`, `"signature":"0x00`)),
		{"R-26", "upper case", edited(func(s string) string {
			at := strings.Index(s, `"signature":"0x`) + 15
			return s[:at] + strings.ToUpper(s[at:at+192]) + s[at+192:]
		}), "", wins},
		{"R-29", "JSON labelled SSZ", func(c *call) bool { return c.write(message(200, c.typed(mediaSSZ), []byte(good(c)))) }, "relay_decode", refused},
		{"R-34", "of another fork", replaced(`"version":"fulu"`, `"version":"electra"`), "relay_fork", refused},
		{"R-34", "of no fork", replaced(`"version":"fulu",`, ``), "relay_fork|relay_decode", refused},
		bad("R-45", "extra data of 33 bytes", replaced(`"extra_data":"0x`, `"extra_data":"0x`+strings.Repeat("00", 29))),
		bad("R-45", "4,097 commitments", replaced(`"blob_kzg_commitments":[]`, `"blob_kzg_commitments":[`+strings.Repeat(`"0x`+strings.Repeat("c0", 48)+`",`, 4096)+`"0x`+strings.Repeat("c0", 48)+`"]`)),
		bad("R-46", "malformed execution requests", replaced(`"deposits":[]`, `"deposits":[{}]`)),
		bad("R-46", "execution requests that are none", replaced(`"deposits":[]`, `"deposits":"0x"`)),
	}
}

// inSSZ answers with the honest bid in SSZ, edited.
func inSSZ(headers string, edit func([]byte) []byte) script {
	return func(c *call) bool {
		return c.write(message(200, "Content-Type: application/octet-stream\r\n"+headers, edit(encoded(mediaSSZ, "fulu", c.bid(nil)))))
	}
}

func sszModes() []mode {
	const fulu = version + ": fulu\r\n"
	same := func(b []byte) []byte { return b }
	offset := func(at int, to uint32) script {
		return inSSZ(fulu, func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], to); return b })
	}
	bad := func(name string, s script) mode { return mode{"R-27", name, s, "relay_decode", refused} }
	return []mode{
		{"R-27", "empty", inSSZ(fulu, func([]byte) []byte { return nil }), "relay_empty", refused},
		bad("one byte", inSSZ(fulu, func(b []byte) []byte { return b[:1] })),
		bad("one byte less", inSSZ(fulu, func(b []byte) []byte { return b[:len(b)-1] })),
		bad("one byte more", inSSZ(fulu, func(b []byte) []byte { return append(b, 0) })),
		bad("offset into the fixed part", offset(0, 4)),
		bad("offset beyond the end", offset(0, 1<<31)),
		bad("inner offset beyond the end", offset(100, 1<<30)),
		bad("decreasing offsets", offset(104, 10)),
		bad("ghost bytes", offset(100, 93)),
		{"R-28", "SSZ without a version", inSSZ("", same), "relay_fork", refused},
		{"R-28", "SSZ of an unknown version", inSSZ(version+": osaka\r\n", same), "relay_fork", refused},
		{"R-28", "SSZ of another fork", inSSZ(version+": electra\r\n", same), "relay_fork", refused},
		{"R-29", "SSZ labelled JSON", func(c *call) bool {
			return c.write(message(200, plainJSON, encoded(mediaSSZ, "fulu", c.bid(nil))))
		}, "relay_decode", refused},
	}
}

// spoiled changes the bid before the relay signs it.
func spoiled(change func(*signedBid)) script {
	return func(c *call) bool { return c.offer(c.bid(change)) }
}

// forged changes it afterwards.
func forged(change func(*call, *signedBid)) script {
	return func(c *call) bool {
		b := c.bid(nil)
		change(c, b)
		return c.offer(b)
	}
}

func bidModes(t *testing.T) []mode {
	other := secretKey(t, 99)
	commitments := func(n int, gas uint64) script {
		return spoiled(func(b *signedBid) {
			b.Message.BlobKZGCommitments, b.Message.Header.BlobGasUsed = make([]deneb.KZGCommitment, n), gas
		})
	}
	worth := func(v *uint256.Int) script { return spoiled(func(b *signedBid) { b.Message.Value = v }) }
	signature := func(s phase0.BLSSignature) script {
		return forged(func(_ *call, b *signedBid) { b.Signature = s })
	}
	return []mode{
		{"R-00", "no fault at all", honest, "", wins},
		{"R-30", "wrong parent", spoiled(func(b *signedBid) { b.Message.Header.ParentHash[0] ^= 1 }), "bid_parent", refused},
		{"R-31", "timestamp of the slot before", spoiled(func(b *signedBid) { b.Message.Header.Timestamp -= 12 }), "bid_timestamp", refused},
		{"R-31", "timestamp a second late", spoiled(func(b *signedBid) { b.Message.Header.Timestamp++ }), "bid_timestamp", refused},
		{"R-32", "block hash zero", spoiled(func(b *signedBid) { b.Message.Header.BlockHash = phase0.Hash32{} }), "bid_zero_hash", refused},
		{"R-33", "no transactions", spoiled(func(b *signedBid) {
			b.Message.Header.TransactionsRoot = phase0.Root(mustHex(t, emptyTransactions))
		}), "bid_no_transactions", refused},
		{"R-35", "key of another", forged(func(_ *call, b *signedBid) {
			b.Message.Pubkey = other.PublicKey()
			sign(b, other, forkVersion)
		}), "bid_pubkey", refused},
		{"R-36", "signature of another message", forged(func(_ *call, b *signedBid) { b.Message.Header.GasUsed++ }), "bid_signature", refused},
		{"R-36", "signature for another chain", forged(func(c *call, b *signedBid) { sign(b, c.relay.secret, phase0.Version{}) }), "bid_signature", refused},
		{"R-36", "signature of another key", forged(func(_ *call, b *signedBid) { sign(b, other, forkVersion) }), "bid_signature", refused},
		{"R-37", "signature at infinity", signature(phase0.BLSSignature{0xc0}), "bid_signature", refused},
		{"R-37", "signature of zeros", signature(phase0.BLSSignature{}), "bid_signature", refused},
		{"R-37", "signature not on the curve", signature(phase0.BLSSignature{0x80, 1, 2, 3}), "bid_signature", refused},
		{"R-37", "signature with all flags", forged(func(_ *call, b *signedBid) { b.Signature[0] |= 0xe0 }), "bid_signature", refused},
		{"R-39", "worth nothing", worth(new(uint256.Int)), "bid_zero_value", refused},
		{"R-39", "below the minimum", worth(uint256.NewInt(minBid - 1)), "bid_below_minimum", refused},
		{"R-39", "the minimum", worth(uint256.NewInt(minBid)), "", onlyAlone},
		{"R-39", "worth all there is", worth(new(uint256.Int).Not(new(uint256.Int))), "bid_value_insane", refused},
		{"R-42", "more blobs than allowed", commitments(22, 22<<17), "bid_blobs", refused},
		{"R-42", "blob gas of other blobs", commitments(2, 1<<17), "bid_blobs", refused},
		{"R-42", "as many blobs as allowed", commitments(21, 21<<17), "", wins},
		{"R-44", "fee recipient of the builder", spoiled(func(b *signedBid) { b.Message.Header.FeeRecipient[0] = 9 }), "", wins},
	}
}
