package tests

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocsEdges: every test that docs/edges.md names exists.
func TestDocsEdges(t *testing.T) {
	text, err := os.ReadFile("../docs/edges.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	name := regexp.MustCompile(`(?m)^func ((?:Test|journey)\w+)\(`)
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path) // #nosec G304 -- our own sources
		for _, m := range name.FindAllStringSubmatch(string(source), -1) {
			found[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|journey)\\w+)`").FindAllStringSubmatch(string(text), -1)
	for _, m := range named {
		if !found[m[1]] {
			t.Errorf("docs/edges.md names %s, and there is no such test", m[1])
		}
	}
	if len(named) < 50 {
		t.Errorf("%d tests are named", len(named))
	}
}
