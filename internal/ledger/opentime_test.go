package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// perPage is how many promises a page of TestOpenTime has: each is three records,
// the entry, its seal and its verdict.
const perPage = 128

// TestOpenTime prints how long a ledger takes to open, which checks the whole
// chain and every index. docs/performance.md quotes it.
func TestOpenTime(t *testing.T) {
	records, _ := strconv.Atoi(os.Getenv("LEDGER_OPEN"))
	if records <= 0 {
		t.Skip("a measurement: LEDGER_OPEN=1000000, the number of records, makes it")
	}
	l, path := fresh(t)
	for slot := 0; slot*perPage*3 < records; slot++ {
		fillPage(t, l, slot)
	}
	want := l.Version()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l = reopen(t, nil, path)
	took := time.Since(began)
	if l.Version() != want || want < uint64(records) {
		t.Fatalf("%d records, %d were written", l.Version(), want)
	}
	var after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d records in %d MiB opened in %.1f s, %.1f µs each; %d MiB of heap",
		want, info.Size()>>20, took.Seconds(), took.Seconds()*1e6/float64(want), after.HeapAlloc>>20)
}

// fillPage has a page's promises made, sealed and judged for good, side by side.
func fillPage(t *testing.T, l *Ledger, slot int) {
	t.Helper()
	var group sync.WaitGroup
	for i := range perPage {
		group.Go(func() {
			ctx, id, n := context.Background(), page(phase0.Slot(slot)), slot*perPage+i // #nosec G115 -- counted from 0
			r, err := l.Append(ctx, id, constant(promise(n, fmt.Sprint("open ", n))))
			if err == nil {
				err = sealed(l, ctx, r, make([]byte, 96))
			}
			v := verdict(n, commitments.Kept)
			v.Verdict.Stage = commitments.Final
			_, judged := l.Append(ctx, id, constant(v))
			if err = errors.Join(err, judged); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
}
