package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// written makes a closed ledger with entries, seals and notes.
func written(t testing.TB) string {
	t.Helper()
	return writtenIn(t, boltCase())
}

func writtenIn(t testing.TB, e engineCase) string {
	t.Helper()
	l, path := e.fresh(t)
	for n := range 4 {
		r := must(t, l, page(1), promise(n, string(rune('a'+n))))
		if n > 0 {
			seal(t, l, r, byte(n))
		}
	}
	must(t, l, page(1), Entry{Kind: KindReceipt, Note: map[string]string{"relay": "a"}})
	must(t, l, page(1), promise(1, "again")) // a second answer of a request
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// changes alter one thing each in a ledger that written made.
func changes() map[string]func(*bolt.Tx) error {
	flip := func(bucket, key []byte, at int) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			v := bytes.Clone(tx.Bucket(bucket).Get(key))
			if at < 0 {
				at += len(v)
			}
			v[at] ^= 1
			return tx.Bucket(bucket).Put(key, v)
		}
	}
	remove := func(bucket, key []byte) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return tx.Bucket(bucket).Delete(key) }
	}
	put := func(bucket, key, value []byte) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return tx.Bucket(bucket).Put(key, value) }
	}
	hash := hashOf(1)
	return map[string]func(*bolt.Tx) error{
		"version":                 flip(bucketRecords, number(1), 0),
		"record kind":             flip(bucketRecords, number(1), 1),
		"previous hash":           flip(bucketRecords, number(3), 5),
		"entry":                   flip(bucketRecords, number(1), 60),
		"seal":                    flip(bucketRecords, number(3), -3),
		"last record":             flip(bucketRecords, number(9), -3),
		"entry removed":           remove(bucketRecords, number(1)),
		"seal removed":            remove(bucketRecords, number(3)),
		"tail removed":            remove(bucketRecords, number(9)),
		"record added":            put(bucketRecords, number(10), []byte("x")),
		"short record":            put(bucketRecords, number(9), []byte("x")),
		"head":                    flip(bucketMeta, keyHead, 20),
		"head removed":            remove(bucketMeta, keyHead),
		"network":                 put(bucketMeta, keyMeta, []byte(`{"schema":1,"network":"mainnet","genesis_fork_version":"0x00000000","instance":"0x00000000000000000000000000000000"}`)),
		"meta removed":            remove(bucketMeta, keyMeta),
		"seal unlinked":           put(bucketEntries, number(2), spot{record: 2}.bytes()),
		"seal linked to nothing":  put(bucketEntries, number(1), spot{record: 1, seal: 3}.bytes()),
		"entry unlinked":          remove(bucketEntries, number(2)),
		"entry index grown":       put(bucketEntries, number(99), spot{record: 2}.bytes()),
		"resource freed":          remove(bucketResources, []byte("b")),
		"resource given away":     put(bucketResources, []byte("b"), number(1)),
		"resource added":          put(bucketResources, []byte("zz"), number(1)),
		"request forgotten":       remove(bucketRequests, hash[:]),
		"request given away":      put(bucketRequests, hash[:], number(4)),
		"later answer named":      put(bucketRequests, hash[:], number(6)),
		"page entry removed":      remove(bucketPages, pageKey(page(1), 1)),
		"page entry added":        put(bucketPages, pageKey(page(2), 1), nil),
		"bucket of seals dropped": func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketEntries) },
	}
}

// TestVerify_FindsEveryChange changes one thing at a time in a sound ledger.
func TestVerify_FindsEveryChange(t *testing.T) {
	sound := written(t)
	if sum, err := Verify(sound); err != nil || sum.Records != 9 || sum.Entries != 6 || sum.Seals != 3 || sum.Newest != 1 {
		t.Fatalf("sound ledger: %+v, %v", sum, err)
	}
	original, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/ledger.db"
			if err := os.WriteFile(path, original, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(db.Update(change), db.Close()); err != nil {
				t.Fatal(err)
			}
			if _, err := Verify(path); !errors.Is(err, ErrBroken) {
				t.Errorf("verify: got %v, want %v", err, ErrBroken)
			}
			if _, err := Open(config(path)); !errors.Is(err, ErrBroken) {
				t.Errorf("open: got %v, want %v", err, ErrBroken)
			}
		})
	}
}

func TestOpen_DamagedFiles(t *testing.T) {
	sound := written(t)
	original, err := os.ReadFile(sound)
	if err != nil {
		t.Fatal(err)
	}
	zeroed := bytes.Clone(original)
	clear(zeroed[8192:])
	cases := map[string][]byte{
		"empty":            {},
		"text":             []byte("not a ledger at all"),
		"garbage":          bytes.Repeat([]byte{0xa5}, 1<<16),
		"one page":         original[:4096],
		"two pages":        original[:8192],
		"three pages":      original[:3*4096],
		"half":             original[:len(original)/2],
		"last page zeroed": zeroed,
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/ledger.db"
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the first try must not hold the lock, nor heal anything
				if _, err := Open(config(path)); !errors.Is(err, ErrBroken) {
					t.Errorf("open: got %v, want %v", err, ErrBroken)
				}
			}
			if _, err := Verify(path); !errors.Is(err, ErrBroken) {
				t.Errorf("verify: got %v, want %v", err, ErrBroken)
			}
		})
	}
	if _, err := Open(config(t.TempDir())); !errors.Is(err, ErrBroken) {
		t.Errorf("a folder: got %v, want %v", err, ErrBroken)
	}
}

func TestOpen_NewerSchema(t *testing.T) {
	path := written(t)
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketMeta).Put(keyMeta, []byte(`{"schema":3,"network":"holesky","genesis_fork_version":"0x01017000","instance":"0x00000000000000000000000000000000"}`))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(config(path)); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v, want %v", err, ErrNewer)
	}
}

func TestRecords_ShowsAllInOrder(t *testing.T) { forEngines(t, testRecords_ShowsAllInOrder) }

func testRecords_ShowsAllInOrder(t *testing.T, e engineCase) {
	path := writtenIn(t, e)
	l := e.reopen(t, nil, path)
	var open, offline []Record
	if err := l.Records(func(r Record) error { open = append(open, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.walk(path, func(r Record) error { offline = append(offline, r); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(open) != 9 || !reflect.DeepEqual(open, offline) || open[2].Seq != 2 || open[2].Seal[0] != 1 || open[7].Entry.Note["relay"] != "a" {
		t.Errorf("records: %+v", open)
	}
	stop := errors.New("enough")
	if _, err := e.walk(path, func(Record) error { return stop }); err != stop {
		t.Errorf("got %v, want the caller's own error", err)
	}
}

func TestEntry_RoundTrip(t *testing.T) {
	e := promise(1, "r")
	body, err := encodeEntry(3, page(9), e)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"seq":3,"slot":9,"proposer":"0xaa09`
	if !bytes.HasPrefix(body, []byte(want)) {
		t.Errorf("got %s, want it to begin with %s", body, want)
	}
	seq, id, got, err := decodeEntry(body)
	if err != nil || seq != 3 || id != page(9) || !reflect.DeepEqual(got, e) {
		t.Errorf("got %+v on %v, %v", got, id, err)
	}
}

// FuzzRecord: whatever decodes encodes to something that decodes to the same.
func FuzzRecord(f *testing.F) {
	if err := seedRecords(f); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		h := head{Entries: 1}
		if len(record) >= recordHead {
			copy(h.Hash[:], record[2:recordHead])
		}
		r, _, err := h.next(record)
		if err != nil || r.Entry == nil {
			return
		}
		body, err := encodeEntry(r.Seq, r.Page, *r.Entry)
		if err != nil {
			t.Fatal(err)
		}
		_, id, again, err := decodeEntry(body)
		if err != nil || id != r.Page {
			t.Fatalf("%v: %s", err, body)
		}
		x, _ := json.Marshal(r.Entry)
		y, _ := json.Marshal(again)
		if !bytes.Equal(x, y) {
			t.Fatalf("got %s, want %s", y, x)
		}
	})
}

func seedRecords(f *testing.F) error {
	f.Add([]byte("short"))
	db, err := bolt.Open(written(f), 0o600, nil)
	if err != nil {
		return err
	}
	return errors.Join(db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketRecords).ForEach(func(_, v []byte) error {
			f.Add(bytes.Clone(v))
			return nil
		})
	}), db.Close())
}
