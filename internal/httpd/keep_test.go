package httpd

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"testing"
)

// TestKeep: a kept body stays what it was while the same connection takes more
// requests; one that is not kept is the connection's to use again.
func TestKeep(t *testing.T) {
	var kept [][]byte
	r := start(t, Config{Routes: []Route{{Name: "keep", Method: "POST", Path: "/", MaxBody: 1 << 20, Serve: func(_ context.Context, r Request) (Response, error) {
		body, _ := r.Keep()
		kept = append(kept, body)
		return Response{}, nil
	}}}})
	var want []string
	for _, n := range []int{10, 5000, 20000, 200000, 100} {
		for _, letter := range []string{"a", "b", "c"} {
			body := strings.Repeat(letter, n)
			want = append(want, body)
			if status, _, _ := r.do(t, "POST", "/", body); status != 200 {
				t.Fatalf("status %d", status)
			}
		}
	}
	for i := range want {
		if string(kept[i]) != want[i] {
			t.Fatalf("body %d of %d bytes was written over", i, len(want[i]))
		}
	}
}

// TestKeep_Done: memory given back serves later requests, and only that: while a
// handler's reader is at a body, nobody writes into it, however many come.
func TestKeep_Done(t *testing.T) {
	var mu sync.Mutex
	seen, again := map[*byte]bool{}, 0
	var readers sync.WaitGroup
	r := start(t, Config{Routes: []Route{{Name: "keep", Method: "POST", Path: "/", MaxBody: 4 << 20, Serve: func(_ context.Context, r Request) (Response, error) {
		body, done := r.Keep()
		if second, none := r.Keep(); &second[0] != &body[0] {
			t.Error("a second Keep has another body")
		} else {
			defer none() // frees nothing: done does
		}
		before := sha256.Sum256(body)
		mu.Lock()
		if seen[&body[0]] {
			again++
		}
		seen[&body[0]] = true
		mu.Unlock()
		readers.Go(func() {
			for range 5 {
				if sha256.Sum256(body) != before {
					t.Error("a body changed while it was read")
					break
				}
			}
			done()
			done() // once is enough, twice does no harm
		})
		return Response{}, nil
	}}}})
	var callers sync.WaitGroup
	for i := range 4 {
		callers.Go(func() {
			for j := range 20 {
				size := []int{40_000, 300_000, 1_500_000}[(i+j)%3]
				if status, _, _ := r.do(t, "POST", "/", strings.Repeat(string(rune('a'+(i*20+j)%26)), size)); status != 200 {
					t.Errorf("status %d", status)
				}
			}
		})
	}
	callers.Wait()
	readers.Wait()
	if again == 0 {
		t.Error("no memory was used again")
	}
}
