package signer

import (
	"errors"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// TestSign_RequestClaims: what an intent claims is taken for the slot of its
// page, whatever the module and the nonce; a claim of another slot is free.
func TestSign_RequestClaims(t *testing.T) {
	r := newRoad(t)
	policy := Grants{}
	for _, m := range []string{"A", "B"} {
		policy = append(policy, Grant{m, ledger.KindRequest, commitments.BLSKey(r.proxy)})
	}
	r.Policy = policy
	intent := func(module string, object, nonce byte, claims ...string) ledger.Entry {
		return r.rooted(t, ledger.Entry{
			Kind: ledger.KindRequest, Module: module, Key: commitments.BLSKey(r.proxy), Nonce: uint64(nonce), SigningID: phase0.Root{module[0]},
			Request: &commitments.ModuleRequest{ObjectRoot: phase0.Root{object}, Type: "t", Object: []byte{object}, Claims: claims},
		})
	}
	steps := []struct {
		name  string
		slot  phase0.Slot
		entry ledger.Entry
		want  error
		seq   uint64
	}{
		{"first", 10, intent("A", 1, 0, "top", "x"), nil, 1},
		{"the same", 10, intent("A", 1, 0, "top", "x"), nil, 1},
		{"another object", 10, intent("A", 2, 0, "top"), ledger.ErrSlashable, 0},
		{"another module", 10, intent("B", 1, 0, "x"), ledger.ErrSlashable, 0},
		{"with a nonce", 10, intent("A", 1, 7, "x"), ledger.ErrSlashable, 0},
		{"another slot", 11, intent("A", 2, 0, "top"), nil, 2},
		{"the nonce is still free", 10, intent("A", 9, 7, "y"), nil, 3},
		{"and then is not", 10, intent("A", 8, 7, "z"), ledger.ErrSlashable, 0},
	}
	for _, s := range steps {
		r.id.Slot = s.slot
		if got, err := r.sign(t, s.entry); !errors.Is(err, s.want) || got.Seq != s.seq {
			t.Errorf("%s: entry %d, %v; want %d, %v", s.name, got.Seq, err, s.seq, s.want)
		}
	}
	r.open(t) // the claims are on disk, and in the body
	r.Policy = policy
	r.id.Slot = 10
	got, err := r.sign(t, intent("A", 1, 0, "top", "x"))
	if err != nil || got.Entry.Request == nil || len(got.Entry.Request.Claims) != 2 || got.Entry.Request.Claims[1] != "x" {
		t.Errorf("after a restart: %+v, %v", got.Entry.Request, err)
	}
}

// TestRevoked: a revocation is found again after a restart, by its name alone.
func TestRevoked(t *testing.T) {
	r := newRoad(t)
	name := commitments.ResourceToken("A", [32]byte{1})
	if r.book.Revoked(func() string { return name }) {
		t.Fatal("revoked before it was")
	}
	note := ledger.Entry{Kind: ledger.KindRevocation, Module: "A", Resources: []string{name}, Note: map[string]string{"token": "x"}}
	for range 2 {
		if err := r.Note(t.Context(), r.id, note); err != nil {
			t.Fatal(err)
		}
	}
	r.open(t)
	if !r.book.Revoked(func() string { return name }) || r.book.Len() != 1 {
		t.Errorf("not revoked after a restart; %d entries", r.book.Len())
	}
	if r.book.Revoked(func() string { return commitments.ResourceToken("A", [32]byte{2}) }) {
		t.Error("another secret is revoked too")
	}
}
