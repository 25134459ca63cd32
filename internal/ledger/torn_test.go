package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// tornLedger is a ledger before and after one durable step, as a crash would
// leave it: database and journal.
type tornLedger struct {
	path    string
	db      [2][]byte
	journal [2][]byte
}

// read is what the two files hold now.
func (l *tornLedger) read(t *testing.T, at int) {
	t.Helper()
	for path, into := range map[string]*[]byte{l.path: &l.db[at], journalPath(l.path): &l.journal[at]} {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		*into = body
	}
}

// check opens a state: it has from least to 2 entries, and is whole.
func (l *tornLedger) check(t *testing.T, name string, db, journal []byte, least uint64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.db")
	writeFile(t, path, string(db))
	writeFile(t, journalPath(path), string(journal))
	sum, err := Verify(path)
	if err != nil || sum.Entries < least || sum.Entries > 2 {
		t.Errorf("%s: verify: %d entries, %v", name, sum.Entries, err)
	}
	again, err := Open(config(path))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	defer again.Close()
	if n := again.Len(); n != sum.Entries {
		t.Errorf("%s: %d entries, verified were %d", name, n, sum.Entries)
	}
	must(t, again, page(1), promise(1, "r1"))
	if _, err := again.Append(context.Background(), page(1), constant(promise(9, "r1"))); !errors.Is(err, ErrSlashable) {
		t.Errorf("%s: got %v, want %v", name, err, ErrSlashable)
	}
}

// torn opens a ledger with one sealed entry, and returns it with what commits the
// database's transaction.
func torn(t *testing.T) (l *tornLedger, open *Ledger) {
	t.Helper()
	first, path := fresh(t)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open, err := openWith(config(path), broken(func(d *disk) { d.size = 4 * frameAlign }), replaceFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = open.Close() })
	seal(t, open, must(t, open, page(1), promise(1, "r1")), 1)
	return &tornLedger{path: path}, open
}

// sectors calls try with every state between before and after in which some
// sectors are written, in order and in reverse.
func sectors(before, after []byte, try func(state []byte)) {
	const sector = 512
	state := append([]byte(nil), before...)
	if len(after) > len(state) {
		state = append(state, make([]byte, len(after)-len(state))...)
	}
	backwards := append([]byte(nil), state...)
	differs := func(at int) bool {
		return string(state[at:at+sector]) != string(after[at:at+sector])
	}
	var changed []int
	for at := 0; at+sector <= len(after); at += sector {
		if differs(at) {
			changed = append(changed, at)
		}
	}
	for i, at := range changed {
		copy(state[at:at+sector], after[at:])
		try(state)
		last := changed[len(changed)-1-i]
		copy(backwards[last:last+sector], after[last:])
		if i < len(changed)-1 {
			try(backwards)
		}
	}
}

// TestCrash_TornFrame builds states in which a batch's frame may be cut off. It was
// made durable or not; what was before it is there.
func TestCrash_TornFrame(t *testing.T) {
	l, open := torn(t)
	l.read(t, 0)
	must(t, open, page(1), promise(2, "r2"))
	l.read(t, 1)
	count := 0
	sectors(l.journal[0], l.journal[1], func(state []byte) {
		count++
		l.check(t, "frame", l.db[0], state, 1)
	})
	if count < 2 {
		t.Errorf("%d states: the test proves nothing", count)
	}
	l.check(t, "whole frame", l.db[0], l.journal[1], 2)
}

// TestCrash_TornCheckpoint builds states in which the database was cut off as it
// took over from the journal, before and after the batch that made it: nothing
// that was released is lost.
func TestCrash_TornCheckpoint(t *testing.T) {
	l, open := torn(t)
	must(t, open, page(1), promise(2, "r2"))
	l.read(t, 0)
	if err := open.Records(func(Record) error { return nil }); err != nil { // the database takes over
		t.Fatal(err)
	}
	l.read(t, 1)
	size, count := os.Getpagesize(), 0
	// Data pages come first, the two meta pages last. [bbolt: Tx.Commit]
	state := append([]byte(nil), l.db[0]...)
	state = append(state, make([]byte, max(0, len(l.db[1])-len(state)))...)
	order := []int{}
	for at := 2 * size; at < len(l.db[1]); at += size {
		order = append(order, at)
	}
	for _, at := range append(order, 0, size) {
		for part := 512; part <= size; part += 512 {
			if cut := append([]byte(nil), state...); string(cut[at:at+part]) != string(l.db[1][at:at+part]) {
				copy(cut[at:at+part], l.db[1][at:])
				count++
				l.check(t, "checkpoint", cut, l.journal[0], 2)
			}
		}
		copy(state[at:at+size], l.db[1][at:at+size])
	}
	if count < 5 {
		t.Errorf("%d states: the test proves nothing", count)
	}
}
