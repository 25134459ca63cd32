package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// asked is one request of the history, and answered what became of it.
type asked struct {
	resource string
	digest   int
}

type answered struct {
	seq      uint64
	digest   int // of the entry
	conflict bool
}

// onceModel is what a ledger must look like from outside: a map from resource to
// the first digest and its entry.
func onceModel() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			by := map[string][]porcupine.Operation{}
			for _, op := range history {
				name := op.Input.(asked).resource
				by[name] = append(by[name], op)
			}
			var parts [][]porcupine.Operation
			for _, part := range by {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() any { return answered{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(answered), input.(asked), output.(answered)
			switch {
			case s.seq == 0:
				return !out.conflict && out.digest == in.digest, out
			case out.conflict:
				return s.digest != in.digest, s
			default:
				return out == s && in.digest == s.digest, s
			}
		},
	}
}

// TestLinearizable: concurrent requests see the ledger as if they came one after
// another, each at some moment between its question and its answer.
func TestLinearizable(t *testing.T) { forEngines(t, testLinearizable) }

func testLinearizable(t *testing.T, e engineCase) {
	l, _ := e.fresh(t)
	const clients, each = 16, 60
	begin := time.Now()
	histories := make([][]porcupine.Operation, clients)
	var group sync.WaitGroup
	for client := range clients {
		group.Go(func() {
			for range each {
				in := asked{fmt.Sprintf("r%d", rand.IntN(40)), rand.IntN(3) + 1}
				call := time.Since(begin).Nanoseconds()
				r, err := l.Append(context.Background(), page(1), constant(promise(in.digest, in.resource)))
				out := answered{seq: r.Seq, conflict: errors.Is(err, ErrSlashable)}
				if err != nil && !out.conflict {
					t.Error(err)
					return
				}
				for n := range 4 {
					if err == nil && r.Entry.Root == rootOf(n) {
						out.digest = n
					}
				}
				histories[client] = append(histories[client], porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: time.Since(begin).Nanoseconds()})
			}
		})
	}
	group.Wait()
	var history []porcupine.Operation
	for _, h := range histories {
		history = append(history, h...)
	}
	if result := porcupine.CheckOperationsTimeout(onceModel(), history, time.Minute); result != porcupine.Ok {
		t.Errorf("%d operations: %v", len(history), result)
	}
	// The checker must be able to say no.
	bad := history[len(history)/2]
	bad.ClientId, bad.Call, bad.Return = clients, time.Hour.Nanoseconds(), 2*time.Hour.Nanoseconds()
	bad.Output = answered{seq: 1 << 40, digest: bad.Input.(asked).digest}
	if porcupine.CheckOperationsTimeout(onceModel(), append(history, bad), time.Minute) != porcupine.Illegal {
		t.Error("a second entry for a resource passes the check")
	}
}
