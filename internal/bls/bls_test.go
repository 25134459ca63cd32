package bls_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/bls"
)

func unhex[T ~[]byte](t *testing.T, s string) T {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSign_Published holds the end-to-end signer vector that Commit-Boost
// publishes (its key 1 on Hoodi, signing id 0x6a33…, nonce 101).
func TestSign_Published(t *testing.T) {
	sk, err := bls.ParseSecretKey(unhex[[]byte](t, "0x10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"))
	if err != nil {
		t.Fatal(err)
	}
	wantKey := phase0.BLSPubKey(unhex[[]byte](t, "0x883827193f7627cd04e621e1e8d56498362a52b2a30c9a1c72036eb935c4278dee23d38a24d2f7dda62689886f0c39f4"))
	if got := sk.PublicKey(); got != wantKey {
		t.Fatalf("public key: got %s, want %s", got, wantKey)
	}
	root := phase0.Root(unhex[[]byte](t, "0x29c825f53ef5a7096533f3f8f0fe9f0396ce152a57c1d3debe14b387d775e4b2"))
	want := phase0.BLSSignature(unhex[[]byte](t, "0xb653034a6da0e516cb999d6bbcd5ddd8dde9695322a94aefcd3049e6235e0f4f63b13d81ddcd80d4e1e698c3f88c3b440ae696650ccef2f22329afb4ffecec85a34523e25920ceced54c5bc31168174a3b352977750c222c1c25f72672467e5c"))
	if got := sk.Sign(root); got != want {
		t.Fatalf("signature: got %s, want %s", got, want)
	}
	if !bls.Verify(wantKey, root, want) {
		t.Fatal("the published signature does not verify")
	}
	root[0] ^= 1
	if bls.Verify(wantKey, root, want) {
		t.Fatal("a signature of another root verifies")
	}
}

// TestParsePublicKey_Refuses: infinity, a point off the curve, and points on the
// curve but outside the subgroup must never become a key. The last is x = 4:
// y² = 68 has a root in the field, and the cofactor is not 1.
func TestParsePublicKey_Refuses(t *testing.T) {
	small := make([]byte, 48)
	small[0], small[47] = 0x80, 4
	for name, key := range map[string][]byte{
		"infinity":         append([]byte{0xc0}, make([]byte, 47)...),
		"zero":             make([]byte, 48),
		"x not below p":    bytes.Repeat([]byte{0x9f}, 48),
		"outside subgroup": small,
		"no curve point":   append([]byte{0x80}, append(make([]byte, 46), 1)...),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bls.ParsePublicKey(phase0.BLSPubKey(key))
			if !errors.Is(err, bls.ErrPublicKey) {
				t.Fatalf("got %v, want %v", err, bls.ErrPublicKey)
			}
		})
	}
}

func TestVerify_BadSignatures(t *testing.T) {
	sk, err := bls.NewSecretKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	root := phase0.Root{1}
	good := sk.Sign(root)
	flipped := good
	flipped[95] ^= 1
	var off phase0.BLSSignature
	off[0], off[95] = 0x80, 2
	for name, sig := range map[string]phase0.BLSSignature{
		"infinity": {0xc0}, "zero": {}, "flipped bit": flipped, "outside subgroup": off,
	} {
		if bls.Verify(sk.PublicKey(), root, sig) {
			t.Errorf("%s verifies", name)
		}
	}
	if !bls.Verify(sk.PublicKey(), root, good) {
		t.Error("the good signature does not verify")
	}
}

func TestParseSecretKey_Refuses(t *testing.T) {
	order := unhex[[]byte](t, "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001")
	for name, b := range map[string][]byte{
		"zero": make([]byte, 32), "short": make([]byte, 31), "the order": order, "all ones": bytes.Repeat([]byte{0xff}, 32),
	} {
		if _, err := bls.ParseSecretKey(b); !errors.Is(err, bls.ErrSecretKey) {
			t.Errorf("%s: got %v, want %v", name, err, bls.ErrSecretKey)
		}
	}
}

// TestSecretKey_NeverPrints: no verb shows the key.
func TestSecretKey_NeverPrints(t *testing.T) {
	raw := unhex[[]byte](t, "0x10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1")
	sk, err := bls.ParseSecretKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
		for _, got := range []string{fmt.Sprintf(verb, sk), fmt.Sprintf(verb, struct{ K *bls.SecretKey }{sk})} {
			if strings.Contains(strings.ToLower(got), "10942624") || strings.Contains(got, "16 148 38") {
				t.Errorf("%s shows the key: %s", verb, got)
			}
		}
	}
}

// TestVerify_Parallel: herumi keeps global state; verification must not share it.
func TestVerify_Parallel(t *testing.T) {
	sk, err := bls.NewSecretKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := bls.ParsePublicKey(sk.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			root := phase0.Root{byte(i)}
			sig := sk.Sign(root)
			if !key.Verify(root, sig) || key.Verify(phase0.Root{byte(i + 1)}, sig) {
				t.Error("wrong verdict under concurrency")
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerify(b *testing.B) {
	sk, err := bls.NewSecretKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	key, err := bls.ParsePublicKey(sk.PublicKey())
	if err != nil {
		b.Fatal(err)
	}
	root := phase0.Root{7}
	sig := sk.Sign(root)
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			key.Verify(root, sig)
		}
	})
	b.Run("from_bytes", func(b *testing.B) {
		for b.Loop() {
			bls.Verify(sk.PublicKey(), root, sig)
		}
	})
}
