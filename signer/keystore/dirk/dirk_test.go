package dirk

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/mtls/mtlstest"
)

func message() commitments.Message {
	return commitments.Message{Object: phase0.Root{1, 2, 3}, Domain: spec.Domain(chain.DomainCommitBoost)}
}

func verified(key commitments.Key, sig []byte) bool {
	return len(sig) == 96 && bls.Verify(key.BLS, message().Root(), phase0.BLSSignature(sig))
}

func TestSign_Simple(t *testing.T) {
	c := newCluster(t, 1, 1)
	h := c.open(t)
	if got := h.Keys(); len(got) != 2 || len(h.Silent()) != 0 {
		t.Errorf("keys %v, silent %v", got, h.Silent())
	}
	for _, key := range []commitments.Key{c.alone[0], c.shared} { // the second is shared with nobody
		if got, err := h.Sign(context.Background(), key, message()); err != nil || !verified(key, got) {
			t.Errorf("got %x, %v", got, err)
		}
	}
	if _, err := h.Sign(context.Background(), commitments.BLSKey(phase0.BLSPubKey{1}), message()); !errors.Is(err, ErrNotHeld) {
		t.Errorf("another key: got %v, want %v", err, ErrNotHeld)
	}
}

// TestSign_Threshold: any two of three sign, whatever the third does; with two
// that do not, nobody signs.
func TestSign_Threshold(t *testing.T) {
	wrong := func(w http.ResponseWriter, _ *http.Request, honest []byte) {
		lie := newSecret(t).Sign(phase0.Root{})
		reply(w, bytesField(varintField(nil, 1, 1), 2, lie[:]), 0)
	}
	ways := map[string]func(http.ResponseWriter, *http.Request, []byte){
		"wrong":  wrong,
		"denied": func(w http.ResponseWriter, _ *http.Request, _ []byte) { reply(w, varintField(nil, 1, 2), 0) },
		"silent": func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() },
		"down":   func(http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 3, 2)
			h := c.open(t)
			for i, f := range c.fakes {
				f.set(way)
				if got, err := h.Sign(context.Background(), c.shared, message()); err != nil || !verified(c.shared, got) {
					t.Errorf("without server %d: %x, %v", i, got, err)
				}
				f.set(nil)
			}
			c.fakes[0].set(way)
			c.fakes[2].set(way)
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			if got, err := h.Sign(ctx, c.shared, message()); !errors.Is(err, ErrThreshold) || got != nil {
				t.Errorf("with one share: %x, %v, want %v", got, err, ErrThreshold)
			}
		})
	}
}

// TestOpen_OneServerDown: its shares are used when it is back, though nobody
// knew at the start what they look like; a wrong one is found out all the same.
func TestOpen_OneServerDown(t *testing.T) {
	c := newCluster(t, 3, 2)
	c.fakes[1].list = func(w http.ResponseWriter) { fail(w, codeUnavailable) }
	h := c.open(t)
	if len(h.Silent()) != 1 || !errors.Is(h.Silent()[0], ErrUnreachable) || !strings.Contains(h.Silent()[0].Error(), "dirk-2") {
		t.Errorf("silent: %v", h.Silent())
	}
	if keys := h.Keys(); len(keys) != 3 {
		t.Errorf("keys: %v; want two simple ones and the shared", keys)
	}
	denied := func(w http.ResponseWriter, _ *http.Request, _ []byte) { reply(w, varintField(nil, 1, 2), 0) }
	c.fakes[0].set(denied)
	if got, err := h.Sign(context.Background(), c.shared, message()); err != nil || !verified(c.shared, got) {
		t.Errorf("with the late one: %x, %v", got, err)
	}
	c.fakes[0].set(func(w http.ResponseWriter, _ *http.Request, honest []byte) {
		time.Sleep(100 * time.Millisecond) // after the liar
		reply(w, honest, 0)
	})
	c.fakes[1].set(func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		lie := newSecret(t).Sign(phase0.Root{})
		reply(w, bytesField(varintField(nil, 1, 1), 2, lie[:]), 0)
	})
	if got, err := h.Sign(context.Background(), c.shared, message()); err != nil || !verified(c.shared, got) {
		t.Errorf("beside a liar nobody knows: %x, %v", got, err)
	}
	c.fakes[2].set(denied)
	if _, err := h.Sign(context.Background(), c.shared, message()); !errors.Is(err, ErrThreshold) {
		t.Errorf("a liar for a second: got %v, want %v", err, ErrThreshold)
	}
}

// TestSign_Answers are the ways of one server to fail.
func TestSign_Answers(t *testing.T) {
	send := func(text string) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = w.Write([]byte(text))
			w.Header().Set("Grpc-Status", "0")
		}
	}
	code := func(n int) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte) { fail(w, n) }
	}
	state := func(n uint64) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte) { reply(w, varintField(nil, 1, n), 0) }
	}
	cases := map[string]struct {
		answer func(http.ResponseWriter, *http.Request, []byte)
		want   error
	}{
		"honest":            {nil, nil},
		"denied":            {state(2), ErrRefused},
		"failed":            {state(3), ErrAnswer},
		"unknown":           {state(0), ErrAnswer},
		"no signature":      {state(1), ErrAnswer},
		"permission denied": {code(7), ErrRefused},
		"unauthenticated":   {code(16), ErrRefused},
		"unavailable":       {code(14), ErrUnreachable},
		"too late":          {code(4), ErrUnreachable},
		"internal":          {code(13), ErrAnswer},
		"status 256":        {code(256), ErrAnswer},
		"ok, and nothing":   {code(0), ErrAnswer},
		"a short prefix":    {send("\x00\x00"), ErrAnswer},
		"a long length":     {send("\x00\x00\x00\x00\x09\x08\x01"), ErrAnswer},
		"compressed":        {send("\x01\x00\x00\x00\x02\x08\x01"), ErrAnswer},
		"two messages":      {send("\x00\x00\x00\x00\x02\x08\x01\x00\x00\x00\x00\x02\x08\x01"), ErrAnswer},
		"not a message":     {send("\x00\x00\x00\x00\x02\xff\xff"), ErrAnswer},
		"text for a number": {send("\x00\x00\x00\x00\x03\x0a\x01\x01"), ErrAnswer},
		"too large":         {send(strings.Repeat("x", 1<<17)), ErrAnswer},
		"no gRPC":           {func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = w.Write([]byte("<html>")) }, ErrAnswer},
		"no trailers": {func(w http.ResponseWriter, _ *http.Request, honest []byte) {
			w.Header().Set("Content-Type", "application/grpc")
			_, _ = w.Write(frame(honest))
		}, ErrAnswer},
		"elsewhere": {func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("Location", "https://example.org")
			w.WriteHeader(307)
		}, ErrUnreachable},
		"hangs up": {func(http.ResponseWriter, *http.Request, []byte) { panic(http.ErrAbortHandler) }, ErrUnreachable},
		"silent":   {func(_ http.ResponseWriter, r *http.Request, _ []byte) { <-r.Context().Done() }, ErrUnreachable},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one := newCluster(t, 1, 1)
			one.config.Timeout = 400 * time.Millisecond
			if name == "honest" {
				one.config.Timeout = 5 * time.Second
			}
			h := one.open(t)
			one.fakes[0].set(c.answer)
			got, err := h.Sign(context.Background(), one.alone[0], message())
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && !verified(one.alone[0], got) {
				t.Errorf("got %x, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestOpen_Refuses(t *testing.T) {
	c := newCluster(t, 1, 1)
	stranger := mtlstest.New(t)
	theirs := stranger.Issue(t, "sidecar")
	change := func(f func(*Config)) Config {
		conf := c.config
		conf.Hosts = append([]Host(nil), conf.Hosts...)
		f(&conf)
		return conf
	}
	for name, conf := range map[string]Config{
		"certificate unknown": change(func(c *Config) { c.CertPath, c.KeyPath = theirs.Cert, theirs.Key }),
		"no certificate":      change(func(c *Config) { c.CertPath, c.KeyPath = "", "" }),
		"server unknown":      change(func(c *Config) { c.CAPath = stranger.CAPath }),
		"another name":        change(func(c *Config) { c.Hosts[0].Name = "dirk-9" }),
		"nobody there":        change(func(c *Config) { c.Hosts[0].URL = "https://127.0.0.1:1" }),
	} {
		if _, err := Open(context.Background(), conf); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: got %v, want %v", name, err, ErrUnreachable)
		}
	}
	for name, conf := range map[string]Config{
		"no hosts": {}, "http": change(func(c *Config) { c.Hosts[0].URL = "http://localhost:1" }), "no host": change(func(c *Config) { c.Hosts[0].URL = "https://:1" }),
		"no timeout": change(func(c *Config) { c.Timeout = 0 }), "no clock": change(func(c *Config) { c.Clock = nil }),
	} {
		if _, err := Open(context.Background(), conf); err == nil {
			t.Errorf("%s: is let pass", name)
		}
	}
	c.fakes[0].list = func(w http.ResponseWriter) { reply(w, varintField(nil, 1, 2), 0) }
	if _, err := Open(context.Background(), c.config); !errors.Is(err, ErrRefused) {
		t.Errorf("the list is refused: got %v, want %v", err, ErrRefused)
	}
}

// TestGather_Refuses are lists that contradict themselves or each other.
func TestGather_Refuses(t *testing.T) {
	whole, parts := split(t, 2, 1, 2)
	a, b := &server{name: "a"}, &server{name: "b"}
	dist := func(n int, threshold uint64, who ...endpoint) listing {
		public := parts[n].PublicKey()
		return listing{distributed: []distributed{{name: "W/S", share: public[:], participants: who, threshold: threshold, composite: whole[:]}}}
	}
	lone := listing{simple: []simple{{"W/S", whole[:]}}}
	ok := []endpoint{{1, "a"}, {2, "b"}}
	cases := map[string]struct {
		a, b listing
		fine bool
	}{
		"sound":                  {dist(0, 2, ok...), dist(1, 2, ok...), true},
		"an outsider has none":   {dist(0, 2, append(ok, endpoint{3, "c"})...), dist(1, 2, append(ok, endpoint{3, "c"})...), true},
		"id 0":                   {dist(0, 2, endpoint{0, "a"}, ok[1]), listing{}, false},
		"an id twice":            {dist(0, 2, endpoint{2, "a"}, ok[1]), listing{}, false},
		"a name twice":           {dist(0, 2, ok[0], ok[1], endpoint{3, "a"}), listing{}, false},
		"ids swapped elsewhere":  {dist(0, 2, ok...), dist(1, 2, endpoint{2, "a"}, endpoint{1, "b"}), false},
		"another threshold":      {dist(0, 2, ok...), dist(1, 1, ok...), false},
		"threshold 0":            {dist(0, 0, ok...), listing{}, false},
		"threshold huge":         {dist(0, 1<<40, ok...), listing{}, false},
		"too few configured":     {dist(0, 3, append(ok, endpoint{3, "c"})...), listing{}, false},
		"not a participant":      {dist(0, 1, ok[1]), listing{}, false},
		"simple in two places":   {lone, lone, false},
		"simple and distributed": {lone, dist(1, 2, ok...), false},
		"the other way round":    {dist(0, 2, ok...), lone, false},
		"a short key":            {listing{simple: []simple{{"W/S", whole[:47]}}}, listing{}, false},
		"not a key":              {listing{simple: []simple{{"W/S", make([]byte, 48)}}}, listing{}, false},
	}
	for name, c := range cases {
		_, err := gather([]*server{a, b}, []listing{c.a, c.b})
		if (err == nil) != c.fine || err != nil && !errors.Is(err, ErrAccount) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestIsProxy(t *testing.T) {
	const uuid = "8c6e2f0a-1b7d-4a53-9e62-0f6f7b1c2d3e"
	for name, want := range map[string]bool{
		"W/A": false, "W/A/M/" + uuid: true, "W/A/" + uuid: false, "W/A/x/M/" + uuid: true, "W/A/M/" + uuid + "0": false, "W/A/M/" + strings.ReplaceAll(uuid, "-", "0"): false, "": false,
	} {
		if got := isProxy(name); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
}

// FuzzParse: no answer panics, or becomes more than its bytes.
func FuzzParse(f *testing.F) {
	f.Add(bytesField(varintField(nil, 1, 1), 2, make([]byte, 96)))
	f.Add(bytesField(varintField(nil, 1, 1), 3, distributedAccount("W/S", make([]byte, 48), []share{{1, "a"}}, 2, make([]byte, 48))))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseSigned(b); err == nil && len(s.signature) > len(b) {
			t.Error("a signature out of nothing")
		}
		l, err := parseListing(b)
		if err == nil && len(l.simple)+len(l.distributed) > len(b) {
			t.Error("accounts out of nothing")
		}
		if _, err := gather([]*server{{name: "a"}}, []listing{l}); err != nil && !errors.Is(err, ErrAccount) {
			t.Error(err)
		}
	})
}
