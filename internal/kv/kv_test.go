package kv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "m.json")
	s := New(path)
	if v, err := s.Get("x"); v != nil || err != nil {
		t.Errorf("empty: got %q, %v", v, err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("reading made a file")
	}
	value := []byte("\x00one")
	for k, v := range map[string][]byte{"cursor": value, "cache/1": {}, "cache/2": nil} {
		if err := s.Put(k, v); err != nil {
			t.Fatal(err)
		}
	}
	value[1] = 'X' // the store has its own
	for name, s := range map[string]*Store{"same": s, "reopened": New(path)} {
		got, err := s.Get("cursor")
		if err != nil || string(got) != "\x00one" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		got[0] = 'X'
		if again, _ := s.Get("cursor"); string(again) != "\x00one" {
			t.Errorf("%s: it is shared", name)
		}
		if keys, err := s.Keys("cache/"); err != nil || !slices.Equal(keys, []string{"cache/1", "cache/2"}) {
			t.Errorf("%s: keys %q, %v", name, keys, err)
		}
		if v, _ := s.Get("cache/2"); v == nil || len(v) != 0 {
			t.Errorf("%s: an empty value is %v", name, v)
		}
	}
	if err := s.Delete("cursor"); err != nil {
		t.Fatal(err)
	}
	if v, _ := New(path).Get("cursor"); v != nil {
		t.Errorf("deleted, and %q", v)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestLimits(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), "m.json"))
	for name, err := range map[string]error{
		"no key": s.Put("", nil), "long key": s.Put(strings.Repeat("k", MaxKey+1), nil), "long value": s.Put("k", make([]byte, MaxValue+1)),
	} {
		if !errors.Is(err, ErrLimit) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	n := 0
	var err error
	for ; err == nil; n++ {
		err = s.Put(fmt.Sprint(n), make([]byte, MaxValue))
	}
	if !errors.Is(err, ErrLimit) || n-1 != MaxTotal/MaxValue-1 { // keys count, too
		t.Errorf("%d values of %d bytes, then %v", n-1, MaxValue, err)
	}
	if err := s.Put("0", []byte("small")); err != nil {
		t.Errorf("a smaller value: %v", err)
	}
	many := New(filepath.Join(t.TempDir(), "m.json"))
	values := map[string][]byte{}
	for i := range MaxKeys {
		values[fmt.Sprint(i)] = []byte{1}
	}
	many.values = values
	if err := many.Put("one more", nil); !errors.Is(err, ErrLimit) {
		t.Errorf("a key too many: %v", err)
	}
	if err := many.Put("7", nil); err != nil {
		t.Errorf("a key that is there: %v", err)
	}
}

// TestBroken: a file that is not ours is neither believed nor written over.
func TestBroken(t *testing.T) {
	for name, text := range map[string]string{"junk": "\x00\x01", "cut": `{"version":1,"values":{"a":"AA`, "newer": `{"version":2,"values":{}}`, "other": `{"version":1,"values":{},"x":1}`, "huge": strings.Repeat(" ", 2*MaxTotal+1)} {
		path := filepath.Join(t.TempDir(), "m.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := New(path)
		_, get := s.Get("a")
		_, keys := s.Keys("")
		for call, err := range map[string]error{"get": get, "keys": keys, "put": s.Put("a", nil), "delete": s.Delete("a")} {
			if !errors.Is(err, ErrBroken) {
				t.Errorf("%s: %s: got %v", name, call, err)
			}
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%s: written over", name)
		}
	}
}

// TestCrash: a write that fails at any step leaves the old value, and what a
// crash leaves beside the file is no harm.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.json")
	s := New(path)
	if err := s.Put("a", []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".next", []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := New(path).Get("a"); string(v) != "old" || err != nil {
		t.Errorf("half written: %q, %v", v, err)
	}
	_ = os.Remove(path + ".next")
	if err := os.Mkdir(path+".next", 0o700); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	if err := s.Put("a", []byte("new")); !errors.Is(err, ErrBroken) {
		t.Errorf("got %v", err)
	}
	for _, s := range []*Store{s, New(path)} {
		if v, err := s.Get("a"); string(v) != "old" || err != nil {
			t.Errorf("after a failed write: %q, %v", v, err)
		}
	}
	_ = os.Remove(path + ".next")
	if err := s.Put("a", []byte("new")); err != nil {
		t.Errorf("once the disk is well: %v", err)
	}
}

func TestConcurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.json")
	s := New(path)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 5 {
				if err := s.Put(fmt.Sprint(i), bytes.Repeat([]byte{byte(i)}, j+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	again := New(path)
	for i := range 8 {
		if v, err := again.Get(fmt.Sprint(i)); len(v) != 5 || err != nil {
			t.Errorf("%d: %v, %v", i, v, err)
		}
	}
}
