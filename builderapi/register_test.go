package builderapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/httpd"
	"sidecar/internal/relay"
)

// registrationSSZ is one SignedValidatorRegistration: 180 bytes.
func registrationSSZ(key byte, timestamp uint64) []byte {
	b := make([]byte, 180)
	b[0] = key // fee recipient
	binary.LittleEndian.PutUint64(b[20:], 30_000_000)
	binary.LittleEndian.PutUint64(b[28:], timestamp)
	b[36] = key // public key
	return b
}

func (b *bench) register(body []byte) (time.Duration, error) {
	start := time.Now()
	_, err := b.service.register(b.t.Context(), httpd.Request{
		Body: body, Header: func(n string) string { return map[string]string{"Content-Type": "application/octet-stream"}[n] },
	})
	return time.Since(start), err
}

// TestRegister_FirstSuccess: 200 at the first relay's 200; the slow one goes on
// and gets the very bytes.
func TestRegister_FirstSuccess(t *testing.T) {
	run(t, 2, nil, func(b *bench) {
		b.relays[0].registers = func(ctx context.Context, _ int) error { sleep(ctx, 2*time.Second); return ctx.Err() }
		b.relays[1].registers = func(ctx context.Context, _ int) error { sleep(ctx, 20*time.Millisecond); return nil }
		body := append(registrationSSZ(1, 5), registrationSSZ(2, 6)...)
		if took, err := b.register(body); err != nil || took != 20*time.Millisecond {
			t.Fatalf("got %v after %v", err, took)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		want := append(registrationSSZ(1, 5), registrationSSZ(2, 6)...)
		for _, r := range b.relays {
			if len(r.bodies) != 1 || !bytes.Equal(r.bodies[0], want) {
				t.Errorf("relay %s did not get the bytes as received", r.name)
			}
		}
	})
}

// TestRegister_Retries: within one deadline per relay, and then 502.
func TestRegister_Retries(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		b.relays[0].registers = func(context.Context, int) error { return relay.Err5xx }
		took, err := b.register(registrationSSZ(1, 5))
		if !errors.Is(err, ErrNoRelay) || len(b.relays[0].bodies) != 3 || took > 3*time.Second {
			t.Fatalf("got %v after %d tries and %v", err, len(b.relays[0].bodies), took)
		}
	})
	run(t, 1, nil, func(b *bench) {
		b.relays[0].registers = func(context.Context, int) error { return relay.Err4xx }
		if _, err := b.register(registrationSSZ(1, 5)); err == nil || len(b.relays[0].bodies) != 1 {
			t.Fatalf("a refusal was tried %d times", len(b.relays[0].bodies))
		}
	})
}

// TestRegister_LatestRemembered: by timestamp, not by arrival.
func TestRegister_LatestRemembered(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		for _, at := range []uint64{7, 5, 6} {
			one := registrationSSZ(1, at)
			one[0] = byte(at)
			if _, err := b.register(one); err != nil {
				t.Fatal(err)
			}
		}
		got, ok := b.service.registrations.of(phase0.BLSPubKey{1})
		if !ok || got.timestamp != 7 || got.feeRecipient[0] != 7 {
			t.Fatalf("got %+v", got)
		}
	})
}

// twoSets puts key 1 into a mux of its own.
type twoSets struct{ main, mux *Set }

func (s twoSets) For(k phase0.BLSPubKey) *Set {
	if k[0] == 1 {
		return s.mux
	}
	return s.main
}
func (s twoSets) All() []*Set { return []*Set{s.main, s.mux} }

// TestRegister_MuxIsPrivate: a validator in a mux is unknown to every relay
// outside it; and batches are cut to size.
func TestRegister_MuxIsPrivate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 2, func(c *Config) { c.RegisterBatch = 2 })
		defer b.service.Close()
		b.service.Sets = twoSets{&Set{Relays: []Relay{b.relays[0]}}, &Set{Relays: []Relay{b.relays[1]}}}
		var body []byte
		for _, key := range []byte{2, 1, 3, 4} {
			body = append(body, registrationSSZ(key, 5)...)
		}
		if _, err := b.register(body); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := keysOf(b.relays[1].bodies); !bytes.Equal(got, []byte{1}) {
			t.Errorf("the mux's relay got keys %v", got)
		}
		got := keysOf(b.relays[0].bodies)
		if len(b.relays[0].bodies) != 2 || len(got) != 3 || bytes.Contains(got, []byte{1}) {
			t.Errorf("the default relay got keys %v in %d requests", got, len(b.relays[0].bodies))
		}
	})
}

func keysOf(bodies [][]byte) (keys []byte) {
	for _, body := range bodies {
		for ; len(body) > 0; body = body[180:] {
			keys = append(keys, body[36])
		}
	}
	return keys
}

func TestRegister_Empty(t *testing.T) {
	run(t, 1, nil, func(b *bench) {
		if _, err := b.register(nil); err != nil {
			t.Fatalf("zero registrations: %v", err)
		}
	})
}

// TestRegister_SlowReader: a relay that is still being sent a body has it
// undisturbed, although the request is over and others have come and gone whose
// bodies use the same memory again.
func TestRegister_SlowReader(t *testing.T) {
	b := newBench(t, 3, nil)
	defer b.service.Close()
	server, err := httpd.New(httpd.Config{
		Name: "builder", Addr: "127.0.0.1:0", Routes: b.service.Routes(), Log: b.service.Log, Clock: b.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() { stop(); <-ended }()

	for _, r := range b.relays[1:] {
		r.registers = func(_ context.Context, try int) error {
			r.mu.Lock()
			body := r.bodies[try-1]
			r.mu.Unlock()
			before := sha256.Sum256(body)
			for range 20 {
				time.Sleep(time.Millisecond)
				if sha256.Sum256(body) != before {
					t.Error("the body changed while a relay was sent it")
					break
				}
			}
			return nil
		}
	}
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for key := range byte(60) {
		body := bytes.Repeat(registrationSSZ(key, 5), 400)
		answer, err := client.Post("http://"+server.Addr().String()+"/eth/v1/builder/validators", "application/octet-stream", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("status %d", answer.StatusCode)
		}
	}
}
