package app

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeep: a loop that ends, fails or panics is started again, ever more
// slowly, and ends with its context and with nothing else.
func TestKeep(t *testing.T) {
	for name, f := range map[string]func(context.Context) error{
		"ends":   func(context.Context) error { return nil },
		"fails":  func(context.Context) error { return errors.New("no") },
		"panics": func(context.Context) error { panic("a bug") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var runs []time.Duration
				logged, began := 0, time.Now()
				keep(ctx, name, func(string, ...any) { logged++ }, func(ctx context.Context) error {
					runs = append(runs, time.Since(began))
					return f(ctx)
				})
				// After 1, 2 and 4 seconds; the next would come after 15.
				if len(runs) != 4 || runs[3] != 7*time.Second || logged != 4 || time.Since(began) != 10*time.Second {
					t.Errorf("ran at %v, %d log lines, ended after %v", runs, logged, time.Since(began))
				}
			})
		})
	}
}
