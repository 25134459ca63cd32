package ledger

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// BenchmarkAppendSeal promises and seals, each with a name of its own, over both
// engines with full durability. One operation is both steps.
func BenchmarkAppendSeal(b *testing.B) {
	for _, engine := range []string{"bbolt", "postgres"} {
		for _, clients := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/clients=%d", engine, clients), func(b *testing.B) {
				e := boltCase()
				if engine == "postgres" {
					e = pgCase(testDSN(b))
				}
				l, _ := e.fresh(b)
				b.ResetTimer()
				appendAndSeal(b, l, clients)
			})
		}
	}
}

func appendAndSeal(b *testing.B, l *Ledger, clients int) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for n := int(next.Add(1)); n <= b.N; n = int(next.Add(1)) {
				r, err := l.Append(context.Background(), page(phase0.Slot(n/8)), constant(promise(n, fmt.Sprint("bench ", n))))
				if err == nil {
					err = sealed(l, context.Background(), r, make([]byte, 96))
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "promises/s")
}
