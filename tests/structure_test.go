package tests

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "sidecar/"

// TestStructure holds the code to docs/structure.md. It parses files itself:
// go list in a subprocess would be invisible to the test cache.
func TestStructure(t *testing.T) {
	doc, err := os.ReadFile("../docs/structure.md")
	if err != nil {
		t.Fatal(err)
	}
	floor, owner := map[string]int{}, map[string][]string{}
	for _, row := range block(string(doc), "floors") {
		n, _ := strconv.Atoi(row[0])
		for _, p := range row[1:] {
			floor[p] = n
		}
	}
	for _, row := range block(string(doc), "owners") {
		owner[row[0]] = row[1:]
	}
	seen := map[string]bool{}
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && skipDir(path, d) {
			return filepath.SkipDir // a module of its own, or no code
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		pkg := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), "../"))
		if strings.HasPrefix(pkg, "tests") {
			return nil
		}
		if _, ok := floor[pkg]; !ok && !seen[pkg] {
			t.Errorf("%s is on no floor", pkg)
		}
		seen[pkg] = true
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			im, _ := strconv.Unquote(spec.Path.Value)
			if dep, ours := strings.CutPrefix(im, module); ours && floor[dep] >= floor[pkg] {
				t.Errorf("%s: floor %d imports %s on floor %d", path, floor[pkg], dep, floor[dep])
			}
			for p, who := range owner {
				if (im == p || strings.HasPrefix(im, p+"/")) && !slices.Contains(who, pkg) {
					t.Errorf("%s: imports %s, which belongs to %v", path, im, who)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for p := range floor {
		if !seen[p] {
			t.Errorf("%s is in docs/structure.md and nowhere else", p)
		}
	}
}

func block(doc, name string) (rows [][]string) {
	_, rest, _ := strings.Cut(doc, "```"+name+"\n")
	body, _, _ := strings.Cut(rest, "```")
	for line := range strings.Lines(body) {
		rows = append(rows, strings.Fields(line))
	}
	return rows
}
