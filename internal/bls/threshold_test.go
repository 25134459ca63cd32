package bls

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/harden"
)

// The published 2-of-3 vector of Commit-Boost's Dirk signer: shares of ids 1, 2
// and 3, and the signature of the composite key.
var (
	publishedShares = []string{
		"aa16233b9e65b596caf070122d564ad7a021dad4fc2ed8508fccecfab010da80892fad7336e9fbada607c50e2d0d78e00c9961f26618334ec9f0e7ea225212f3c0c7d66f73ff1c2e555712a3e31f517b8329bd0ad9e15a9aeaa91521ba83502c",
		"b27dd4c088e386edc4d07b6b23c72ba87a34e04cffd4975e8cb679aa4640cec1d34ace3e2bf33ac0dffca023c82422840012bb6c92eab36ca7908a9f9519fa18b1ed2bdbc624a98e01ca217c318a021495cc6cc9c8b982d0afed2cd83dc8fe65",
		"aca4a71373df2f76369e8b242b0e2b1f41fc384feee3abe605ee8d6723f5fb11de1c9bd2408f4a09be981342352c523801e3beea73893a329204dd67fe84cb520220af33f7fa027b6bcc3b7c8e78647f2aa372145e4d3aec7682d2605040a64a",
	}
	publishedWhole = "8e343f074f91d19fd5118d9301768e30cecb21fb96a1ad9539cbdeae8907e2e12a88c91fe1d7e1f6995dcde18fb0272b1512cd68800e14ebd1c7f189e7221ba238a0f196226385737157f4b72d348c1886ce18d0a9609ba0cd5503e41546286f"
)

func published(t *testing.T, ids ...uint64) (shares []Share) {
	t.Helper()
	for _, id := range ids {
		b, err := hex.DecodeString(publishedShares[id-1])
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, Share{id, phase0.BLSSignature(b)})
	}
	return shares
}

func TestRecover_Vector(t *testing.T) {
	for _, ids := range [][]uint64{{1, 2, 3}, {1, 2}, {2, 3}, {1, 3}, {3, 1}} {
		got, err := Recover(published(t, ids...))
		if err != nil || hex.EncodeToString(got[:]) != publishedWhole {
			t.Errorf("shares %v: got %x, %v", ids, got, err)
		}
	}
	if got, err := Recover(published(t, 1)); err != nil || hex.EncodeToString(got[:]) == publishedWhole {
		t.Errorf("one share of two: got %x, %v", got, err)
	}
}

func TestRecover_Refuses(t *testing.T) {
	two := published(t, 1, 2)
	change := func(f func([]Share)) []Share {
		out := slices.Clone(two)
		f(out)
		return out
	}
	for name, shares := range map[string][]Share{
		"none":            nil,
		"id 0":            change(func(s []Share) { s[0].ID = 0 }),
		"the same id":     change(func(s []Share) { s[1].ID = 1 }),
		"not a point":     change(func(s []Share) { s[1].Signature[0] ^= 0x40 }),
		"infinity":        change(func(s []Share) { s[1].Signature = phase0.BLSSignature{0xc0} }),
		"nothing in it":   change(func(s []Share) { s[1].Signature = phase0.BLSSignature{} }),
		"the same, twice": append(slices.Clone(two), two[0]),
	} {
		if _, err := Recover(shares); !errors.Is(err, ErrShares) {
			t.Errorf("%s: got %v, want %v", name, err, ErrShares)
		}
	}
}

func TestMoveTo(t *testing.T) {
	key, err := ParseSecretKey(append(make([]byte, 31), 7))
	if err != nil {
		t.Fatal(err)
	}
	public, root := key.PublicKey(), phase0.Root{1}
	want := key.Sign(root)
	v := harden.NewVault()
	defer v.Close()
	moved := key.MoveTo(v)
	if !key.k.IsZero() {
		t.Error("the key stays where it was")
	}
	if moved.PublicKey() != public || moved.Sign(root) != want {
		t.Error("the moved key is another")
	}
	moved.Wipe()
	if !moved.k.IsZero() || Verify(public, root, moved.Sign(root)) {
		t.Error("the wiped key signs")
	}
}
