package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// A log reader that has stopped reading must not stop the sidecar.
func TestSpill_StuckReader(t *testing.T) {
	r, w := io.Pipe()
	var told uint64
	s := newSpill(w, func(lost uint64) { told += lost })
	const all = spillLines + 100
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		for i := range all {
			fmt.Fprintf(s, "%d\n", i)
		}
	}()
	select {
	case <-wrote:
	case <-time.After(10 * time.Second):
		t.Fatal("the writer waits for the reader")
	}
	var got bytes.Buffer
	read := make(chan struct{})
	go func() { defer close(read); _, _ = got.ReadFrom(r) }()
	s.flush()
	_ = w.Close()
	<-read
	if n := uint64(strings.Count(got.String(), "\n")); told == 0 || n+told != all {
		t.Fatalf("%d lines came, %d were told to be lost, want %d together", n, told, all)
	}
	if !strings.HasPrefix(got.String(), "0\n1\n2\n") {
		t.Fatalf("lines out of order: %.20q", got.String())
	}
}
