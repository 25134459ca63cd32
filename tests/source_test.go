package tests

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is one Go file of this module that is not a test.
type source struct {
	path  string // from the module's root, with slashes
	file  *ast.File
	set   *token.FileSet
	lines int
}

func (s source) in(dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(s.path, d+"/") })
}

func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.set.Position(n.Pos()).Line)
}

// skipDir says which directories hold no code of this module.
func skipDir(path string, d fs.DirEntry) bool {
	if !d.IsDir() || path == ".." {
		return false
	}
	if d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") {
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

// sources parses the module.
func sources(t testing.TB) (out []source) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case skipDir(path, d):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		s := source{path: filepath.ToSlash(strings.TrimPrefix(path, "../")), set: token.NewFileSet()}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s.lines = strings.Count(string(text), "\n")
		s.file, err = parser.ParseFile(s.set, path, text, parser.ParseComments|parser.SkipObjectResolution)
		out = append(out, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 50 {
		t.Fatalf("only %d files found", len(out))
	}
	return out
}

// TestStructureSize holds the code to the sizes that people can read.
func TestStructureSize(t *testing.T) {
	const file, function = 400, 60
	for _, s := range sources(t) {
		if s.lines > file {
			t.Errorf("%s has %d lines, at most %d", s.path, s.lines, file)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			f, ok := n.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				return true
			}
			if lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1; lines > function {
				t.Errorf("%s: %s has %d lines, at most %d", s.at(f), f.Name.Name, lines, function)
			}
			return true
		})
	}
}

// TestStructureClock: time comes from chain.Clock, so that it can be another in
// tests, and nothing sleeps where it could not be woken.
func TestStructureClock(t *testing.T) {
	for _, s := range sources(t) {
		if s.in("chain", "tests", "internal/simnet", "internal/devnet", "cmd/devnet", "bench") {
			continue
		}
		name := importName(s.file, "time")
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && name != "" {
				x, ok := sel.X.(*ast.Ident)
				if ok && x.Name == name && slices.Contains([]string{"Now", "Sleep", "Since", "Until", "Tick"}, sel.Sel.Name) {
					t.Errorf("%s: time.%s; take a *chain.Clock, or a timer", s.at(n), sel.Sel.Name)
				}
			}
			return true
		})
	}
}

// TestStructureHouse: no init, and no notes to come back to.
func TestStructureHouse(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init; say at one place what happens at the start", s.at(f))
			}
		}
		for _, group := range s.file.Comments {
			for _, word := range []string{"TODO", "FIXME", "XXX"} {
				if strings.Contains(group.Text(), word) {
					t.Errorf("%s: %s in a comment", s.at(group), word)
				}
			}
		}
	}
}

// importName is the name under which a file imports a package; "" if it does not.
func importName(f *ast.File, path string) string {
	for _, im := range f.Imports {
		if p, _ := strconv.Unquote(im.Path.Value); p == path {
			if im.Name != nil {
				return im.Name.Name
			}
			return path[strings.LastIndexByte(path, '/')+1:]
		}
	}
	return ""
}

// TestProduction: what operators run links neither an execution node nor the
// simulated network.
func TestProduction(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../cmd/sidecar").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, "sidecar/builderapi") {
		t.Fatalf("%d dependencies without the Builder API", len(deps))
	}
	const geth = "github.com/ethereum/go-ethereum/"
	for _, p := range deps {
		for _, not := range []string{geth + "node", geth + "eth", geth + "core/vm", geth + "p2p", "sidecar/internal/simnet", "sidecar/internal/devnet"} {
			if p == not || strings.HasPrefix(p, not+"/") {
				t.Errorf("cmd/sidecar links %s", p)
			}
		}
	}
}
