package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/holiman/uint256"
)

// skips says whether body is one value that skip passes.
func skips(body []byte) bool {
	s := scanner{in: body}
	s.skip()
	s.end()
	if s.err != nil && !errors.Is(s.err, ErrDecode) {
		panic(s.err)
	}
	return s.err == nil
}

// What skip lets pass is JSON; and it refuses no JSON but what is too deep, not
// UTF-8, or half a surrogate pair.
func FuzzSkip(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-0,0.5,1e9,1E-9,true,false,null,"",{},[]]}`, `"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`, `"é"`, "[\n1 ,\t2\r]",
		`01`, `-`, `1.`, `.5`, `1e`, `+1`, `tru`, `"\u12"`, `"\ud800"`, `"\ud800\u0041"`, "\"\x01\"", `[1,]`, `{"a":1,}`, `{"a"}`,
		`{a:1}`, `[}`, `{]`, `]`, ``, ` `, `1 2`, "\ufeff1", "\x00", `"abcdefgh\"ijklmnop"`, "\"abcdefg\x80\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, want := skips(body), json.Valid(body)
		if got && !want {
			t.Fatalf("%q is let pass", body)
		}
		deep := strings.Count(string(body), "[")+strings.Count(string(body), "{") > maxDepth
		surrogate := strings.Contains(strings.ToLower(string(body)), `\ud`)
		if !got && want && !deep && !surrogate && utf8.Valid(body) {
			t.Fatalf("%q is refused", body)
		}
	})
}

func TestScanner_Numbers(t *testing.T) {
	for _, text := range []string{"0", "1", "9", "18446744073709551615", "18446744073709551616", "9999999999999999999",
		"10000000000000000000", "340282366920938463463374607431768211456",
		"115792089237316195423570985008687907853269984665640564039457584007913129639935"} {
		want, _ := new(big.Int).SetString(text, 10)
		s := scanner{in: []byte(`"` + text + `"`)}
		if got := s.uint256(); s.err != nil || got.ToBig().Cmp(want) != 0 {
			t.Errorf("%s: got %s, %v", text, got.Dec(), s.err)
		}
		s = scanner{in: []byte(`"` + text + `"`)}
		if got := s.uint64(); (s.err == nil) != want.IsUint64() || s.err == nil && got != want.Uint64() {
			t.Errorf("%s as uint64: got %d, %v", text, got, s.err)
		}
	}
	r := newRandom()
	for range 2000 {
		want := r.wide()
		s := scanner{in: []byte(`"` + want.Dec() + `"`)}
		if got := s.uint256(); s.err != nil || got != *want {
			t.Fatalf("got %s, want %s, %v", got.Dec(), want.Dec(), s.err)
		}
		var b [32]byte
		putWide(b[:], want)
		if got := getWide(b[:]); got != *want {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if got := getWide(make([]byte, 32)); got != (uint256.Int{}) {
		t.Errorf("got %v", got)
	}
}

// Where a special byte stands among eight must not matter.
func TestOrdinary(t *testing.T) {
	for _, special := range []byte{'"', '\\', 0, 0x1f, 0x80, 0xff} {
		for at := range 40 {
			for _, around := range []byte{' ', 'a', 0x7f, '!', '#', '[', ']'} {
				b := []byte(strings.Repeat(string(rune(around)), 40))
				b[at] = special
				if got := ordinary(b); got != at {
					t.Fatalf("%#x at %d among %q: got %d", special, at, around, got)
				}
			}
		}
	}
	if got := ordinary([]byte(strings.Repeat("a", 17))); got != 17 {
		t.Errorf("got %d, want 17", got)
	}
}

func TestHex(t *testing.T) {
	for c := range 256 {
		want := strings.ContainsRune("0123456789abcdefABCDEF", rune(c)) && c < 128
		for at := range 11 {
			b := []byte("0123456789a")
			b[at] = byte(c)
			if got := isHex(b); got != want {
				t.Fatalf("%#x at %d: got %t, want %t", c, at, got, want)
			}
			b = append(b, "bcdefABCDEF"...)
			var dst [11]byte
			if got := unhex(dst[:], b); got != want {
				t.Fatalf("%#x at %d: got %t, want %t", c, at, got, want)
			}
			if whole, err := hex.DecodeString(string(b)); want && (err != nil || !bytes.Equal(whole, dst[:])) {
				t.Fatalf("%s: got %x, want %x", b, dst, whole)
			}
		}
		var dst [1]byte
		if got := unhex(dst[:], []byte{'0', byte(c)}); got != want {
			t.Fatalf("%#x: got %t, want %t", c, got, want)
		}
	}
	if got := string(appendHex(nil, []byte{0x00, 0xab, 0xff})); got != `"0x00abff"` {
		t.Errorf("got %s", got)
	}
}
