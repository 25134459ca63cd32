package keystore

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
)

// elsewhere holds keys it may not sign with.
type elsewhere struct {
	*Local
	fail error
}

func (e elsewhere) Sign(ctx context.Context, k commitments.Key, m commitments.Message) ([]byte, error) {
	if e.fail != nil {
		return nil, e.fail
	}
	return e.Local.Sign(ctx, k, m)
}

func TestHolders(t *testing.T) {
	here, there := NewLocal(secretOf(t, secret1).SecretKey), NewLocal(secretOf(t, secret2).SecretKey)
	d := newDesk(t, EncryptedStore{Keys: t.TempDir(), Secrets: t.TempDir(), LogN: 1})
	proxy := d.make(t, SchemeECDSA)
	notThere := fault.Define("test_not_there", fault.NotFound, "")
	remote := &elsewhere{Local: there}
	h, err := NewHolders(Place{"local", here}, Place{"dirk", remote})
	if err != nil {
		t.Fatal(err)
	}
	if got := h.Consensus(); len(got) != 2 || got[0].String() != key1 || got[1].String() != key2 {
		t.Errorf("holds %v", got)
	}
	if got := h.List(); got[0].Place != "local" || got[1].Place != "dirk" {
		t.Errorf("lists %v", got)
	}
	ctx := context.Background()
	if _, err := h.Sign(ctx, proxy.Key, commitments.Message{}); !errors.Is(err, ErrNotHeld) {
		t.Errorf("without proxies: got %v, want %v", err, ErrNotHeld)
	}
	if h, err = h.With(d.Proxies); err != nil {
		t.Fatal(err)
	}
	for _, k := range []commitments.Key{commitments.BLSKey(pubkeyOf(t, key1)), commitments.BLSKey(pubkeyOf(t, key2)), proxy.Key} {
		if sig, err := h.Sign(ctx, k, commitments.Message{}); err != nil || len(sig) != k.SignatureLength() {
			t.Errorf("%s: %x, %v", k, sig, err)
		}
	}
	if _, err := h.Sign(ctx, commitments.Key{}, commitments.Message{}); !errors.Is(err, ErrNotHeld) {
		t.Errorf("nobody: got %v, want %v", err, ErrNotHeld)
	}
	// Whatever a remote holder says, it is unavailable: it listed the key.
	for _, fail := range []error{errors.New("refused"), notThere.With("x"), context.DeadlineExceeded} {
		remote.fail = fail
		_, err := h.Sign(ctx, commitments.BLSKey(pubkeyOf(t, key2)), commitments.Message{})
		if f := fault.Of(err); f != ErrUnavailable || !errors.Is(err, fail) || !strings.Contains(err.Error(), "dirk") {
			t.Errorf("%v: got %v", fail, err)
		}
	}
	if h.Close(); len(here.Keys())+len(there.Keys()) != 0 {
		t.Error("closing leaves keys")
	}
}

func TestNewHolders_Refuses(t *testing.T) {
	one := func() *Local { return NewLocal(secretOf(t, secret1).SecretKey) }
	if _, err := NewHolders(Place{"local", one()}, Place{"dirk", one()}); !errors.Is(err, ErrTwice) || !strings.Contains(err.Error(), "local and dirk") {
		t.Errorf("a key in two places: got %v, want %v", err, ErrTwice)
	}
	if _, err := NewHolders(Place{"local", one()}, Place{"dirk", NewLocal()}); !errors.Is(err, ErrEmpty) {
		t.Errorf("a place without keys: got %v, want %v", err, ErrEmpty)
	}
	d := newDesk(t, EncryptedStore{Keys: t.TempDir(), Secrets: t.TempDir(), LogN: 1})
	proxy := d.make(t, SchemeBLS)
	again := NewLocal()
	again.add(blsSecret{d.secrets.keys[proxy.Key].(blsSecret).SecretKey})
	h, err := NewHolders(Place{"local", again})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.With(d.Proxies); !errors.Is(err, ErrTwice) {
		t.Errorf("a validator's key for a proxy: got %v, want %v", err, ErrTwice)
	}
}

// faulty is a key whose library panics.
type faulty struct{ secretKey }

func (faulty) sign(phase0.Root) ([]byte, error) { panic("no signature") }

// TestSignTwice: the copies of a key share nothing, and only keys in our memory have
// two.
func TestSignTwice(t *testing.T) {
	here, there := NewLocal(secretOf(t, secret1).SecretKey), NewLocal(secretOf(t, secret2).SecretKey)
	d := newDesk(t, EncryptedStore{Keys: t.TempDir(), Secrets: t.TempDir(), LogN: 1})
	proxy, committer := d.make(t, SchemeBLS), d.make(t, SchemeECDSA)
	held, err := NewHolders(Place{"local", here}, Place{"dirk", &elsewhere{Local: there}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := held.With(d.Proxies)
	if err != nil {
		t.Fatal(err)
	}
	ctx, m := context.Background(), commitments.Message{}
	for _, key := range []commitments.Key{here.Keys()[0], proxy.Key} {
		want, err := h.Sign(ctx, key, m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := h.SignTwice(ctx, key, m); err != nil || !bytes.Equal(got[0], want) || !bytes.Equal(got[1], want) {
			t.Errorf("%s: got %x, %v, want %x twice", key, got, err, want)
		}
	}
	for _, key := range []commitments.Key{there.Keys()[0], committer.Key, {}} {
		if got, err := h.SignTwice(ctx, key, m); !errors.Is(err, ErrNotHeld) {
			t.Errorf("%s: got %x, %v, want %v", key, got, err, ErrNotHeld)
		}
	}
	name := here.Keys()[0]
	here.twins[name].Wipe() // as bad as any flipped bit
	if got, err := h.SignTwice(ctx, name, m); err == nil && bytes.Equal(got[0], got[1]) {
		t.Error("the copies are one")
	}
	here.twins[name] = faulty{here.twins[name]}
	if got, err := h.SignTwice(ctx, name, m); err == nil {
		t.Errorf("a copy that panics: got %x", got)
	}
	here.drop(name)
	d.Proxies.Close()
	for _, key := range []commitments.Key{name, proxy.Key} {
		if got, err := h.SignTwice(ctx, key, m); !errors.Is(err, ErrNotHeld) {
			t.Errorf("dropped %s: got %x, %v, want %v", key, got, err, ErrNotHeld)
		}
	}
}
