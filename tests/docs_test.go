package tests

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sidecar/builderapi"
	"sidecar/commitments/gateway"
	"sidecar/commitments/wallet"
	"sidecar/fault"
	"sidecar/internal/app"
	"sidecar/internal/beacon"
	"sidecar/internal/events"
	"sidecar/internal/execution"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/internal/mux"
	"sidecar/internal/relay"
	"sidecar/internal/supervise"
	"sidecar/internal/telemetry"
	"sidecar/signer"
	"sidecar/signer/api"
	"sidecar/slashing"
)

var update = flag.Bool("update", false, "write the generated documents anew")

// golden compares a generated document with the file, or writes the file.
func golden(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil { // #nosec G306 -- a document
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s is not what the code says (%v); go test ./tests -run TestDocs -update", path, err)
	}
}

// kinds are the names of fault kinds in the source.
var kinds = map[string]fault.Kind{
	"Internal": fault.Internal, "Invalid": fault.Invalid, "Unauthorized": fault.Unauthorized, "Forbidden": fault.Forbidden,
	"NotFound": fault.NotFound, "NotAllowed": fault.NotAllowed, "NotAcceptable": fault.NotAcceptable, "Conflict": fault.Conflict,
	"TooLarge": fault.TooLarge, "Unsupported": fault.Unsupported, "Rejected": fault.Rejected, "Busy": fault.Busy,
	"Upstream": fault.Upstream, "Unavailable": fault.Unavailable, "Timeout": fault.Timeout,
}

// defined is one fault.Define.
type defined struct {
	*fault.Fault
	pkg, at string
}

// faults finds every fault.Define of the module.
func faults(t *testing.T) (out []defined) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || selector(call.Fun) != "fault.Define" {
				return true
			}
			kind, known := fault.Kind(0), false
			if len(call.Args) == 3 {
				kind, known = kinds[strings.TrimPrefix(selector(call.Args[1]), "fault.")]
			}
			if !known {
				t.Errorf("%s: fault.Define without a kind that can be read", s.at(call))
				return true
			}
			d := defined{&fault.Fault{Code: text(call.Args[0]), Kind: kind, Help: text(call.Args[2])}, filepath.ToSlash(filepath.Dir(s.path)), s.at(call)}
			if !regexp.MustCompile(`^[a-z][a-z0-9_]*$`).MatchString(d.Code) || !strings.HasSuffix(d.Help, ".") {
				t.Errorf("%s: code %q is not snake_case, or its help %q is no sentence", d.at, d.Code, d.Help)
			}
			out = append(out, d)
			return true
		})
	}
	slices.SortFunc(out, func(a, b defined) int { return strings.Compare(a.Code, b.Code) })
	return out
}

// selector is "x.y" for the expression x.y.
func selector(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name + "." + s.Sel.Name
		}
	}
	return ""
}

// text evaluates a string literal, or a sum of them; "" for anything else.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			s, _ := strconv.Unquote(e.Value)
			return s
		}
	case *ast.BinaryExpr:
		return text(e.X) + text(e.Y)
	}
	return ""
}

// TestDocsErrors: docs/errors.md lists every refusal by name, and no two
// refusals have one name.
func TestDocsErrors(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Refusals by name

Generated from the source: ` + "`go test ./tests -run TestDocs -update`" + `. A code is the field ` + "`reason`" + ` of an error's body
` + "`{\"code\", \"message\", \"reason\"}`" + `, the label of metrics and the attribute of log lines. It never changes its meaning. The status is that of
an HTTP answer made of it; many of them are never answered to anyone and only counted and logged.

| code | status | meaning | package |
| --- | --- | --- | --- |
`)
	all := faults(t)
	for i, d := range all {
		if i > 0 && all[i-1].Code == d.Code {
			t.Errorf("%s: the code %s is defined at %s already", d.at, d.Code, all[i-1].at)
		}
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", d.Code, httpd.Status(d.Fault), strings.ReplaceAll(d.Help, "|", "\\|"), d.pkg)
	}
	if len(all) < 100 {
		t.Fatalf("only %d faults found", len(all))
	}
	golden(t, "../docs/errors.md", b.String())
}

// family is one metric as the source declares it.
type family struct {
	name, kind, help string
	labels           []string
}

// families finds every metric of the module: a call of a registry's method with
// metrics.Opts, or of a local short form counter(name, help, labels...).
func families(t *testing.T) (out []family) {
	for _, s := range sources(t) {
		ast.Inspect(s.file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			var f family
			labels := call.Args[1:]
			switch fun := call.Fun.(type) {
			case *ast.SelectorExpr:
				opts, ok := call.Args[0].(*ast.CompositeLit)
				if !ok || selector(opts.Type) != "metrics.Opts" {
					return true
				}
				f.kind = strings.ToLower(strings.TrimSuffix(fun.Sel.Name, "Vec"))
				f.name, f.help = field(opts, "Name"), field(opts, "Help")
			case *ast.Ident:
				if f.name = text(call.Args[0]); !strings.HasPrefix(f.name, "sidecar_") || len(call.Args) < 2 {
					return true
				}
				f.kind, f.help, labels = fun.Name, text(call.Args[1]), call.Args[2:]
			default:
				return true
			}
			if f.name == "" { // the body of a short form
				return true
			}
			for _, l := range labels {
				f.labels = append(f.labels, text(l))
			}
			out = append(out, f)
			return true
		})
	}
	slices.SortFunc(out, func(a, b family) int { return strings.Compare(a.name, b.name) })
	return out
}

// field is the text of a key of a composite literal.
func field(lit *ast.CompositeLit, key string) string {
	for _, e := range lit.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if k, ok := kv.Key.(*ast.Ident); ok && k.Name == key {
				return text(kv.Value)
			}
		}
	}
	return ""
}

// TestDocsMetrics: docs/metrics.md lists every metric, and each of them is
// registered under that name, type and help.
func TestDocsMetrics(t *testing.T) {
	r := telemetry.NewRegistry("", "", "")
	app.NewModuleMetrics(r)
	builderapi.NewMetrics(r)
	gateway.NewMetrics(r)
	beacon.NewMetrics(r)
	events.NewMetrics(r)
	execution.NewMetrics(r)
	httpd.NewMetrics(r)
	ledger.NewMetrics(r)
	mux.NewMetrics(r)
	relay.NewMetrics(r)
	signer.NewMetrics(r)
	wallet.NewMetrics(r)
	api.NewMetrics(r)
	slashing.NewMetrics(r)
	supervise.NewMetrics(r)
	var registered bytes.Buffer
	if err := r.Write(&registered); err != nil {
		t.Fatal(err)
	}
	var b, process strings.Builder
	b.WriteString(`# Metrics

Generated from the source: ` + "`go test ./tests -run TestDocs -update`" + `. Served at ` + "`GET /metrics`" + ` of the ` + "`[metrics]`" + ` listener. Units are in the
names. Values of the labels reason, verdict, outcome and result are codes of [errors.md](errors.md) or the words in the meaning.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
`)
	all := families(t)
	name := regexp.MustCompile(`^sidecar_[a-z][a-z0-9_]*$`)
	for _, f := range all {
		if !name.MatchString(f.name) || f.help == "" || slices.Contains(f.labels, "") || (f.kind == "counter") != strings.HasSuffix(f.name, "_total") {
			t.Errorf("metric %s %q of type %s with labels %q: want sidecar_<noun>, counters alone in _total", f.name, f.help, f.kind, f.labels)
		}
		if head := fmt.Sprintf("# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind); !strings.Contains(registered.String(), head) {
			t.Errorf("no package registers\n%s", head)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.name, f.kind, strings.Join(f.labels, ", "), f.help)
	}
	for _, m := range regexp.MustCompile(`# HELP (\S+) (.*)\n# TYPE \S+ (\S+)`).FindAllStringSubmatch(registered.String(), -1) {
		switch {
		case !strings.HasPrefix(m[1], "sidecar_"):
			fmt.Fprintf(&process, "| `%s` | %s |  | %s |\n", m[1], m[3], m[2])
		case !slices.ContainsFunc(all, func(f family) bool { return f.name == m[1] }):
			t.Errorf("%s is registered, and no declaration was found", m[1])
		}
	}
	golden(t, "../docs/metrics.md", b.String()+process.String())
}

var (
	inTicks = regexp.MustCompile("`([^`\n]+)`")
	inLink  = regexp.MustCompile(`\]\(([^)#\s]+)`)
	aPath   = regexp.MustCompile(`^[\w.-]+(/[\w.*-]+)*/?$`)
)

// TestDocsPaths: what the documents name exists. A path begins at the root or,
// for a bare file name, is anywhere.
func TestDocsPaths(t *testing.T) {
	names, top := map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names[d.Name()] = true
		}
		if filepath.Dir(path) == ".." && err == nil && d.IsDir() {
			top[d.Name()] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, doc := range append(append(docs, more...), "../README.md", "../CHANGELOG.md") {
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inTicks.FindAllStringSubmatch(string(b), -1) {
			path := strings.TrimPrefix(m[1], "./")
			first, _, nested := strings.Cut(path, "/")
			switch {
			case !aPath.MatchString(path):
			case nested && top[first]:
				found++
				if hits, err := filepath.Glob(filepath.Join("..", path)); err != nil || len(hits) == 0 && filepath.Dir(path) != "bin" {
					t.Errorf("%s names `%s`, which is not there", doc, path)
				}
			case !nested && (strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".md") || strings.HasSuffix(path, ".example.toml")):
				found++
				if !names[path] {
					t.Errorf("%s names `%s`, which is nowhere", doc, path)
				}
			}
		}
		for _, m := range inLink.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
	}
	if found == 0 {
		t.Error("no path found in any document")
	}
}

// TestDocsKinds: every kind of fault has a status of its own.
func TestDocsKinds(t *testing.T) {
	seen := map[int]string{}
	for name, kind := range kinds {
		status := httpd.Status(&fault.Fault{Code: "x", Kind: kind})
		if other, twice := seen[status]; twice || http.StatusText(status) == "" {
			t.Errorf("kinds %s and %s are both %d", name, other, status)
		}
		seen[status] = name
	}
}
