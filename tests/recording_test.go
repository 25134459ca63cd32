package tests

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// recorded is one exchange of testdata/prysm.
type recorded struct {
	file         string
	method, path string
	headers      string // the lines of the request, each with CRLF
	header       http.Header
	body         []byte
	status       int
	answer       []byte // of a JSON or SSZ body; recordings of the relay side hold others compressed
}

var (
	requestLine = regexp.MustCompile(`(?s)\n> (GET|POST) (\S+) HTTP/1\.1\n> Host: \S+ [^\n]*\n(.*?)\n\n(.*?)\n*\n< (\d{3})\n(.*)$`)
	inHex       = regexp.MustCompile(`^<\d+ bytes SSZ> hex=([0-9a-f]*)$`)
)

// recordings reads a directory of testdata/prysm, in order.
func recordings(t testing.TB, dir string) (out []recorded) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata/prysm", dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings in %s: %v", dir, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseRecording(text)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		r.file = filepath.Base(file)
		out = append(out, r)
	}
	return out
}

func parseRecording(text []byte) (r recorded, err error) {
	m := requestLine.FindSubmatch(text)
	if m == nil {
		return r, fmt.Errorf("not an exchange")
	}
	r.method, r.path, r.header = string(m[1]), string(m[2]), http.Header{}
	for line := range strings.Lines(string(m[3]) + "\n") {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		r.headers += name + ": " + value + "\r\n"
		r.header.Set(name, value)
	}
	if r.body, err = plain(m[4]); err != nil {
		return r, err
	}
	if want := r.header.Get("Content-Length"); want != "" && want != strconv.Itoa(len(r.body)) {
		return r, fmt.Errorf("body of %d bytes, Content-Length says %s", len(r.body), want)
	}
	if r.status, err = strconv.Atoi(string(m[5])); err != nil {
		return r, err
	}
	_, body, _ := bytes.Cut(m[6], []byte("\n\n"))
	r.answer, err = plain(body)
	return r, err
}

// plain turns a body of a recording back into what was on the wire. One that
// was compressed there is left out.
func plain(b []byte) ([]byte, error) {
	b = bytes.TrimSpace(b)
	if m := inHex.FindSubmatch(b); m != nil {
		return hex.DecodeString(string(m[1]))
	}
	if len(b) == 0 || b[0] != '{' && b[0] != '[' {
		return nil, nil
	}
	var out bytes.Buffer
	err := json.Compact(&out, b)
	return out.Bytes(), err
}

// recordedBlock is a blinded block in SSZ.
func recordedBlock(t testing.TB) []byte {
	t.Helper()
	for _, r := range recordings(t, "fulu-ssz/1-bn-to-boost") {
		if strings.HasSuffix(r.path, "blinded_blocks") {
			return r.body
		}
	}
	t.Fatal("no block in the recordings")
	return nil
}

// parentIn is the parent hash in the path of getHeader.
func parentIn(t testing.TB, path string) phase0.Hash32 {
	t.Helper()
	c := &call{Request: &http.Request{Header: http.Header{}}}
	c.URL = mustURL(t, path)
	c.understand()
	return c.parent
}

func mustURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
