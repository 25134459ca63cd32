package httpd

import (
	"errors"
	"strings"
	"testing"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/wire"
)

func TestNegotiate(t *testing.T) {
	const none = wire.Encoding(99)
	for _, c := range []struct {
		accept string
		want   wire.Encoding
	}{
		// What beacon nodes and tools send.
		{"", wire.JSON},
		{"*/*", wire.JSON},
		{"application/json", wire.JSON},
		{"application/octet-stream", wire.SSZ},
		{"application/octet-stream;q=1.0,application/json;q=0.9", wire.SSZ},
		{"application/octet-stream; q=1, application/json; q=0.9", wire.SSZ},
		{"application/json;q=0.9,application/octet-stream;q=1.0", wire.SSZ},
		{"application/json,application/octet-stream;q=0.9", wire.JSON},
		// Quality, then position.
		{"application/octet-stream,application/json", wire.SSZ},
		{"application/json,application/octet-stream", wire.JSON},
		{"application/octet-stream;q=0.5,application/json;q=0.5", wire.SSZ},
		{"application/octet-stream;q=0.501,application/json;q=0.5", wire.SSZ},
		{"application/json;q=0.0001", wire.JSON},
		{"application/octet-stream;q=.2, */*;q=.1", wire.SSZ},
		// Ranges. The most specific one gives a type its quality.
		{"application/*", wire.JSON},
		{"application/octet-stream, */*", wire.SSZ},
		{"*/*, application/octet-stream", wire.SSZ},
		{"text/html, */*;q=0.1", wire.JSON},
		{"application/json;q=0.5, */*;q=0.8", wire.SSZ},
		{"application/*;q=0.9, */*;q=1", wire.JSON},
		{"application/octet-stream;q=0.5, */*", wire.JSON},
		// Refusals.
		{"application/json;q=0, */*", wire.SSZ},
		{"application/octet-stream;q=0, */*", wire.JSON},
		{"application/octet-stream;q=0.0, application/json;q=0.1", wire.JSON},
		{"application/json;q=0", none},
		{"*/*;q=0", none},
		{"*/*;q=0.000, application/octet-stream;q=0", none},
		{"text/html", none},
		{"text/html, application/xml;q=0.9", none},
		{"application/ssz+json", none},
		{"application/vnd.api+json, application/problem+json", none},
		{"text/*", none},
		// Parameters and spelling.
		{"Application/JSON", wire.JSON},
		{"APPLICATION/OCTET-STREAM;Q=1", wire.SSZ},
		{"application/json; charset=utf-8", wire.JSON},
		{`application/octet-stream; a="x,y;q=0\""; q=1, application/json;q=0.5`, wire.SSZ},
		{"application/octet-stream ; q=0.8 , application/json ; q=0.7", wire.SSZ},
		{"application/octet-stream;;q=0.8;,application/json;q=0.7", wire.SSZ},
		{", ,application/octet-stream,,", wire.SSZ},
		{" , ,", wire.JSON},
		{"\tapplication/octet-stream\t", wire.SSZ},
		// Broken.
		{"application", none},
		{"application/", none},
		{"/json", none},
		{"*", none},
		{"*/json", none},
		{"application/json;q", none},
		{"application/json;q=", none},
		{"application/json;q=2", none},
		{"application/json;q=1.001", none},
		{"application/json;q=-1", none},
		{"application/json;q=.", none},
		{"application/json;q=0,5", none},
		{"application/json;q=\"1\"", none},
		{"application/json application/octet-stream", none},
		{"application/json;a=\"", none},
		{"application/json, \x00", none},
		{"application/json, text/html;=1", none},
	} {
		got, err := Negotiate(c.accept)
		if c.want == none {
			if !errors.Is(err, ErrNotAcceptable) || fault.Of(err).Kind != fault.NotAcceptable {
				t.Errorf("Negotiate(%q) = %v, %v, want ErrNotAcceptable", c.accept, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("Negotiate(%q) = %v, %v, want %v", c.accept, got, err, c.want)
		}
	}
}

func TestNegotiate_Allocations(t *testing.T) {
	accept := "application/octet-stream;q=1.0,application/json;q=0.9"
	if n := testing.AllocsPerRun(100, func() { _, _ = Negotiate(accept) }); n != 0 {
		t.Errorf("Negotiate allocates %v times, want 0", n)
	}
}

func FuzzNegotiate(f *testing.F) {
	for _, s := range []string{"", "*/*", "application/octet-stream;q=1.0,application/json;q=0.9", `a/b;c="\"`, "application/*;q=.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Negotiate(s)
		if err != nil && !errors.Is(err, ErrNotAcceptable) {
			t.Fatalf("error without its name: %v", err)
		}
		// What is accepted stays accepted, and the same, with a foreign type before it.
		if strings.Trim(s, ", \t") == "" {
			return
		}
		if more, err2 := Negotiate("text/html," + s); (err == nil) != (err2 == nil) || more != got {
			t.Fatalf("%q: %v, %v; behind text/html: %v, %v", s, got, err, more, err2)
		}
	})
}

func TestContentType(t *testing.T) {
	for _, c := range []struct {
		value string
		want  wire.Encoding
		ok    bool
	}{
		{"", wire.JSON, true},
		{" ", wire.JSON, true},
		{"application/json", wire.JSON, true},
		{"Application/Json; charset=utf-8", wire.JSON, true},
		{"*/*", wire.JSON, true},
		{"application/octet-stream", wire.SSZ, true},
		{"application/octet-stream ;v=1", wire.SSZ, true},
		{"text/plain", 0, false},
		{"application/json, application/json", 0, false},
		{";application/json", 0, false},
		{"application/problem+json", 0, false},
	} {
		got, err := ContentType(c.value)
		if (err == nil) != c.ok || got != c.want || !c.ok && !errors.Is(err, ErrUnsupported) {
			t.Errorf("ContentType(%q) = %v, %v", c.value, got, err)
		}
	}
}

func TestEncoded(t *testing.T) {
	r := Encoded(wire.SSZ, chain.Fulu, []byte("x"))
	if r.ContentType != "application/octet-stream" || r.Header[0] != [2]string{"Eth-Consensus-Version", "fulu"} || string(r.Body) != "x" {
		t.Errorf("Encoded = %+v", r)
	}
}
