package ledger

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"pgregory.net/rapid"

	"sidecar/commitments"
	"sidecar/fault"
)

// hoodi is the chain of the vectors.
func hoodi(path string) Config {
	c := config(path)
	c.Network, c.GenesisForkVersion = "hoodi", phase0.Version{0x10, 0x00, 0x09, 0x10}
	return c
}

func hoodiLedger(t testing.TB) *Ledger {
	t.Helper()
	c := hoodi(filepath.Join(t.TempDir(), "ledger.db"))
	if err := Create(c); err != nil {
		t.Fatal(err)
	}
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// holdings is who holds what: resource → key, digest and signature.
func holdings(t interface{ Fatal(...any) }, l *Ledger) map[string]string {
	held := map[string]string{}
	names := map[uint64][]string{}
	err := l.Records(func(r Record) error {
		if r.Entry == nil {
			for _, name := range names[r.Seq] {
				held[name] += fmt.Sprintf(" %x", r.Seal)
			}
			return nil
		}
		names[r.Seq] = r.Entry.Resources
		for _, name := range r.Entry.Resources {
			held[name] = fmt.Sprintf("%s %x", r.Entry.Key, r.Entry.Root[:])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// TestInterchange_Vectors: the folder of a file is what becomes of it.
func TestInterchange_Vectors(t *testing.T) {
	files, err := filepath.Glob("testdata/interchange/*/*.json")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		want := strings.TrimSuffix(filepath.Base(filepath.Dir(path)), "valid")
		if filepath.Base(filepath.Dir(path)) == "interchange_invalid" {
			want = "interchange_invalid"
		}
		t.Run(strings.TrimPrefix(path, "testdata/interchange/"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			l := hoodiLedger(t)
			f, err := ReadInterchange(bytes.NewReader(text))
			if err == nil {
				err = f.Fits("hoodi", phase0.Version{0x10, 0x00, 0x09, 0x10})
			}
			if err == nil {
				_, err = l.Merge(context.Background(), f)
			}
			if got := fault.Code(err); got != want {
				t.Fatalf("got %q (%v), want %q", got, err, want)
			}
			if err != nil && l.Len() != 0 {
				t.Errorf("refused, and %d entries written", l.Len())
			}
		})
	}
}

// TestInterchange_CommitBoost: digests and signatures that Commit-Boost
// published, taken over: the same bytes come back, another digest is refused.
// [Commit-Boost: sign request vectors]
func TestInterchange_CommitBoost(t *testing.T) {
	text, err := os.ReadFile("testdata/interchange/valid/commit_boost.json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadInterchange(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	l := hoodiLedger(t)
	if m, err := l.Merge(t.Context(), f); err != nil || m != (Merged{Added: 3}) {
		t.Fatalf("merge: %+v, %v", m, err)
	}
	id, _ := hex.DecodeString("6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b")
	key, err := commitments.ParseKey(f.Data[1].Key)
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{
		Kind: KindRequest, Module: "m", Key: key, Root: phase0.Root(f.Data[1].Signed[0].Digest), Nonce: 101, SigningID: phase0.Root(id),
		Resources: names(commitments.ResourceNonce(key, phase0.Root(id), 101)), Request: &commitments.ModuleRequest{ObjectRoot: phase0.Root{1}},
	}
	if r, err := l.Append(t.Context(), page(100), constant(e)); err != nil || !bytes.Equal(r.Signature, f.Data[1].Signed[0].Signature) {
		t.Errorf("the same request: %x, %v", r.Signature, err)
	}
	e.Root[0] ^= 1
	if _, err := l.Append(t.Context(), page(100), constant(e)); !errors.Is(err, ErrSlashable) {
		t.Errorf("another digest: got %v, want %v", err, ErrSlashable)
	}
	// What was taken over is exported as it came.
	var out bytes.Buffer
	var c Collect
	if err := errors.Join(l.Records(func(r Record) error { c.Add(r); return nil }), c.Interchange("hoodi", phase0.Version{0x10, 0x00, 0x09, 0x10}).Write(&out)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), text) {
		t.Errorf("exported:\n%s\nimported:\n%s", out.Bytes(), text)
	}
}

// TestMerge_Limit: a key signs nothing new below its limit, which only rises.
func TestMerge_Limit(t *testing.T) {
	l, path := fresh(t)
	key := commitments.BLSKey(phase0.BLSPubKey{1})
	must(t, l, page(50), promise(1, "r1"))
	limit := func(slot uint64) Interchange {
		return Interchange{Metadata: InterchangeMetadata{InterchangeFormat, "holesky", holesky[:]}, Data: []InterchangeKey{{Key: key.Bytes(), MinSlot: decimal(slot)}}}
	}
	for _, slot := range []uint64{100, 40, 100} {
		if _, err := l.Merge(t.Context(), limit(slot)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if l.Len() != 2 {
			t.Errorf("%d entries, want 2", l.Len())
		}
		if _, err := l.Append(t.Context(), page(99), constant(promise(2, "r2"))); !errors.Is(err, ErrSlashable) {
			t.Errorf("below: got %v, want %v", err, ErrSlashable)
		}
		must(t, l, page(50), promise(1, "r1")) // stands
		other := promise(3, "r3")
		other.Key = commitments.BLSKey(phase0.BLSPubKey{2})
		if _, err := l.Append(t.Context(), page(99), func(commitments.View) (Entry, error) { return other, errDisk }); err != errDisk {
			t.Error(err)
		}
		l = reopen(t, l, path)
	}
	must(t, l, page(100), promise(2, "r2"))
}

// TestMerge_RefusedWhole: one contradiction, and nothing of the file is taken over.
func TestMerge_RefusedWhole(t *testing.T) {
	l, _ := fresh(t)
	r := must(t, l, page(50), promise(1, "r1"))
	signature := seal(t, l, r, 7)
	item := func(n int, name string) InterchangeEntry {
		root := rootOf(n)
		return InterchangeEntry{Resources: []string{name}, Digest: root[:], Kind: "commitment", Slot: 50}
	}
	key := phase0.BLSPubKey{1}
	file := func(items ...InterchangeEntry) Interchange {
		return Interchange{Metadata: InterchangeMetadata{InterchangeFormat, "holesky", holesky[:]}, Data: []InterchangeKey{{Key: key[:], Signed: items}}}
	}
	_, err := l.Merge(t.Context(), file(item(8, "r8"), item(2, "r1"), item(9, "r9")))
	for _, want := range []string{"r1", fmt.Sprintf("%x", rootOf(1)), fmt.Sprintf("%x", rootOf(2))} {
		if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %v that names %s", err, ErrConflict, want)
		}
	}
	if got := holdings(t, l); len(got) != 1 {
		t.Errorf("held: %v", got)
	}
	if m, err := l.Merge(t.Context(), file(item(1, "r1"), item(8, "r8"))); err != nil || m != (Merged{Added: 1, Known: 1}) {
		t.Errorf("without the contradiction: %+v, %v", m, err)
	}
	if again := must(t, l, page(50), promise(1, "r1")); !bytes.Equal(again.Signature, signature) {
		t.Error("a signature changed")
	}
}

// TestMerge_Properties: over random files, merging never frees a resource nor
// changes who holds it, does nothing the second time, and does not mind the order.
func TestMerge_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digests := map[string]int{} // resource → the one digest it may have
		draw := func(label string) Interchange {
			f := Interchange{Metadata: InterchangeMetadata{InterchangeFormat, "holesky", holesky[:]}}
			for k := range rapid.IntRange(1, 2).Draw(t, label+" keys") {
				key := phase0.BLSPubKey{byte(k + 1)}
				one := InterchangeKey{Key: key[:], MinSlot: decimal(rapid.IntRange(0, 3).Draw(t, label+" limit"))}
				for range rapid.IntRange(0, 4).Draw(t, label+" items") {
					digest := rapid.IntRange(1, 3).Draw(t, label+" digest")
					root := rootOf(digest)
					e := InterchangeEntry{Digest: root[:], Kind: "commitment", Slot: decimal(rapid.IntRange(0, 9).Draw(t, label+" slot"))}
					for range rapid.IntRange(1, 3).Draw(t, label+" resources") {
						name := fmt.Sprintf("k%d/r%d", k, rapid.IntRange(0, 5).Draw(t, label+" resource"))
						if had, ok := digests[name]; (!ok || had == digest) && !slices.Contains(e.Resources, name) {
							digests[name] = digest
							e.Resources = append(e.Resources, name)
						}
					}
					if len(e.Resources) > 0 {
						one.Signed = append(one.Signed, e)
					}
				}
				f.Data = append(f.Data, one)
			}
			return f
		}
		files := []Interchange{draw("a"), draw("b"), draw("c")}
		merge := func(order ...int) (map[string]string, string) {
			path := filepath.Join(tempDir(t), "ledger.db")
			if err := Create(config(path)); err != nil {
				t.Fatal(err)
			}
			l, err := Open(config(path))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			for _, i := range order {
				before, least := holdings(t, l), l.next.least
				if _, err := l.Merge(context.Background(), files[i]); err != nil {
					t.Fatal(err)
				}
				after := holdings(t, l)
				for name, who := range before {
					if after[name] != who {
						t.Fatalf("%s: was %s, is %q", name, who, after[name])
					}
				}
				for key, slot := range least {
					if l.next.least[key] < slot {
						t.Fatalf("limit of %s: was %d, is %d", key, slot, l.next.least[key])
					}
				}
				entries := l.Len()
				if m, err := l.Merge(context.Background(), files[i]); err != nil || m.Added+m.Limit != 0 || l.Len() != entries {
					t.Fatalf("the second time: %+v, %v", m, err)
				}
			}
			return holdings(t, l), fmt.Sprint(l.next.least)
		}
		held, least := merge(0, 1, 2)
		otherHeld, otherLeast := merge(rapid.Permutation([]int{0, 1, 2}).Draw(t, "order")...)
		if fmt.Sprint(held) != fmt.Sprint(otherHeld) || least != otherLeast || len(held) != len(digests) {
			t.Fatalf("one order:\n%v %v\nanother:\n%v %v", held, least, otherHeld, otherLeast)
		}
	})
}
