package ledger

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
)

// TestAppend_SeveralResources: an entry takes all its names or none, and repeats
// only what it does not contradict anywhere.
func TestAppend_SeveralResources(t *testing.T) { forEngines(t, testAppend_SeveralResources) }

func testAppend_SeveralResources(t *testing.T, e engineCase) {
	l, path := e.fresh(t)
	entry := func(n int, names ...string) Entry {
		e := promise(n, "")
		e.Resources = names
		return e
	}
	first := must(t, l, page(1), entry(1, "request/1", "claim/a"))
	second := must(t, l, page(1), entry(2, "request/2", "claim/b"))
	for range 2 {
		cases := map[string]struct {
			e    Entry
			want error
			seq  uint64
		}{
			"the same":                      {entry(1, "request/1", "claim/a"), nil, first.Seq},
			"the same, in another order":    {entry(2, "claim/b", "request/2"), nil, second.Seq},
			"one of its names":              {entry(1, "claim/a"), nil, first.Seq},
			"another for a taken claim":     {entry(3, "request/3", "claim/a"), ErrSlashable, 0},
			"another, the free name first":  {entry(3, "claim/free", "request/2"), ErrSlashable, 0},
			"names of two different things": {entry(1, "claim/a", "claim/b"), ErrSlashable, 0},
			"a name twice":                  {entry(4, "x", "x"), ErrEntry, 0},
			"an empty name":                 {entry(4, "x", ""), ErrEntry, 0},
			"a long name":                   {entry(4, strings.Repeat("x", maxResource+1)), ErrEntry, 0},
		}
		many := entry(4)
		for i := range maxResources + 1 {
			many.Resources = append(many.Resources, strconv.Itoa(i))
		}
		cases["too many names"] = struct {
			e    Entry
			want error
			seq  uint64
		}{many, ErrEntry, 0}
		for name, c := range cases {
			r, err := l.Append(context.Background(), page(1), constant(c.e))
			if !errors.Is(err, c.want) || r.Seq != c.seq {
				t.Errorf("%s: entry %d, %v; want %d, %v", name, r.Seq, err, c.seq, c.want)
			}
		}
		if l.Len() != 2 {
			t.Fatalf("%d entries, want 2", l.Len())
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := e.walk(path, nil); err != nil {
			t.Fatal(err)
		}
		l = e.reopen(t, nil, path)
	}
	// What was refused took nothing.
	must(t, l, page(1), entry(5, "claim/free"))
}
