package httpd

import (
	"context"
	"strings"
	"testing"
)

// TestKeep: a kept body stays what it was while the same connection takes more
// requests; one that is not kept is the connection's to use again.
func TestKeep(t *testing.T) {
	var kept [][]byte
	r := start(t, Config{Routes: []Route{{Name: "keep", Method: "POST", Path: "/", MaxBody: 1 << 20, Serve: func(_ context.Context, r Request) (Response, error) {
		kept = append(kept, r.Keep())
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
