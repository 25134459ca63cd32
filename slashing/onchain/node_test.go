package onchain

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestNode_hostile: whatever a node sends, a question ends in time, with a named
// fault, and keeps little of it; the URL, where keys are, is in no text.
func TestNode_hostile(t *testing.T) {
	for name, serve := range map[string]http.HandlerFunc{
		"without an end": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":"0x`)
			for {
				if _, err := io.WriteString(w, strings.Repeat("00", 1<<15)); err != nil {
					return
				}
			}
		},
		"a byte at a time": func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		},
		"silence": func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		},
		"a header without an end": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		},
		"somewhere else": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"depth": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, strings.Repeat("[", 1<<20)) },
		"a number too big": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"id":1,"result":"0x1`+strings.Repeat("0", 64)+`"}`)
		},
		"a minus": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, `{"id":1,"result":"-0x1"}`) },
		"a text in red": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"id":1,"error":{"code":1,"message":"\u001b[31m`+strings.Repeat("x", 9999)+`"}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // or nobody sees that the caller has gone
				serve(w, r)
			}))
			defer srv.Close()
			n, err := NewNode(srv.URL + "/key-of-mine")
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			n.timeout = 500 * time.Millisecond
			_, err = n.Balance(t.Context(), [20]byte{1})
			if !errors.Is(err, ErrNode) && !errors.Is(err, ErrRefused) {
				t.Errorf("got %v", err)
			}
			if text := err.Error(); strings.Contains(text, "key-of-mine") || strings.ContainsAny(text, "\x1b\n") || len(text) > 400 {
				t.Errorf("said %q", text)
			}
		})
	}
}
