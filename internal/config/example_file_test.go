package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const exampleFile = "../../config.example.toml"

var (
	commented = regexp.MustCompile(`^# ([a-z_0-9]+) = (.+)$`)
	header    = regexp.MustCompile(`^(# )?\[+([a-z_.]+)\]+$`)
)

func readExample(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("testdata") // where hoodi_spec.json is
	return strings.Split(string(b), "\n")
}

func parseExample(t *testing.T, lines []string) (*Config, error) {
	t.Helper()
	c, err := Parse("config.example.toml", []byte(strings.Join(lines, "\n")), nil)
	if c != nil {
		c.lines, c.warnings = nil, nil
		for i := range c.Modules { // nodes know their lines
			c.Modules[i].Config, c.Modules[i].Rest = Table{}, Table{}
		}
	}
	return c, err
}

func TestExample_Parses(t *testing.T) {
	lines := readExample(t)
	c, err := Parse("config.example.toml", []byte(strings.Join(lines, "\n")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings()) > 0 {
		t.Errorf("the example is warned about: %q", c.Warnings())
	}
	for i, line := range lines {
		if len(line) > 180 && !strings.Contains(line, "= ") {
			t.Errorf("line %d has %d characters", i+1, len(line))
		}
	}
}

// TestExample_Defaults: uncommenting a default changes nothing, uncommenting an
// example changes something.
func TestExample_Defaults(t *testing.T) {
	lines := readExample(t)
	want, err := parseExample(t, lines)
	if err != nil {
		t.Fatal(err)
	}
	refused, tried := false, 0
	for i, line := range lines {
		if h := header.FindStringSubmatch(line); h != nil {
			refused = h[1] != ""
		}
		m := commented.FindStringSubmatch(line)
		if m == nil || refused {
			continue
		}
		tried++
		value, note, example := strings.Cut(m[2], "  # example")
		got, err := parseExample(t, uncomment(lines, i, m[1]+" = "+value, note))
		if err != nil {
			t.Errorf("line %d: %s: %v", i+1, line, err)
			continue
		}
		if same := reflect.DeepEqual(got, want); same == example {
			t.Errorf("line %d: %s: is the default: %v, says so: %v", i+1, line, same, !example)
		}
	}
	if tried < 60 {
		t.Errorf("only %d commented keys found", tried)
	}
}

// uncomment returns the file with one key uncommented in place of the same key
// in its table. Notes say what else an example needs.
func uncomment(lines []string, at int, text, note string) []string {
	out := slices.Clone(lines)
	key, _, _ := strings.Cut(text, " = ")
	first := at
	for first > 0 && header.FindString(lines[first]) == "" {
		first--
	}
	for i := first; i < len(out); i++ {
		if i > first && header.MatchString(out[i]) {
			break
		}
		if strings.HasPrefix(out[i], key+" = ") || strings.Contains(note, "alone") && out[i] != "" && out[i][0] != '#' && i > first {
			out[i] = ""
		}
	}
	out[at] = text
	for i := range out {
		if strings.Contains(note, "with TLS") && (out[i] == `# type = "insecure"` || strings.HasPrefix(out[i], `# path = "certs"`)) {
			out[i] = strings.Replace(out[i][2:], "insecure", "certificate", 1)
		}
		if strings.Contains(note, "Mainnet") && strings.HasPrefix(out[i], "chain = ") {
			out[i] = `chain = "Mainnet"`
		}
	}
	return out
}

// TestExample_OtherHolders: the commented tables are right, in place of
// [signer.local], each and both; and a default in them is one.
func TestExample_OtherHolders(t *testing.T) {
	lines := readExample(t)
	for _, with := range [][]string{{"signer.remote"}, {"signer.dirk"}, {"signer.remote", "signer.dirk"}} {
		out, table := slices.Clone(lines), ""
		for i, line := range lines {
			if h := header.FindStringSubmatch(line); h != nil {
				table = h[2]
			}
			wanted := slices.ContainsFunc(with, func(w string) bool { return table == w || strings.HasPrefix(table, w+".") })
			second := len(with) > 1 && table == "signer.dirk.store"
			switch {
			case strings.HasPrefix(table, "signer.local"):
				out[i] = ""
			case wanted && !second && strings.HasPrefix(line, "# ") && (header.MatchString(line) || commented.MatchString(line)):
				out[i] = line[2:]
			}
		}
		c, err := parseExample(t, out)
		if err != nil {
			t.Errorf("%v: %v", with, err)
			continue
		}
		if want := (KeyStore{KeysPath: "proxy_keys", SecretsPath: "proxy_secrets"}); c.Signer.Store() != want {
			t.Errorf("%v: store %+v", with, c.Signer.Store())
		}
		var remote Remote
		var dirk Dirk
		remote.setDefaults()
		dirk.setDefaults()
		if r := c.Signer.Remote; r != nil && r.Timeout != remote.Timeout {
			t.Errorf("signer.remote: default %v, the example says %v", remote.Timeout, r.Timeout)
		}
		if d := c.Signer.Dirk; d != nil && (d.Timeout != dirk.Timeout || d.MaxResponseSize != dirk.MaxResponseSize || len(d.Hosts) != 1) {
			t.Errorf("signer.dirk: defaults %+v, the example says %+v", dirk, d)
		}
	}
}

// TestExample_Complete: every field is in the example, in its table.
func TestExample_Complete(t *testing.T) {
	table := ""
	has := map[string]bool{}
	inline := regexp.MustCompile(`[{,] ([a-z_0-9]+) = `)
	key := regexp.MustCompile(`^(# )?([a-z_0-9]+) = (.*)$`)
	for _, line := range readExample(t) {
		if h := header.FindStringSubmatch(line); h != nil {
			table = h[2]
			has[table] = true
			for p := table; strings.Contains(p, "."); {
				p = p[:strings.LastIndex(p, ".")]
				has[p] = true
			}
		}
		if m := key.FindStringSubmatch(line); m != nil {
			has[join(table, m[2])] = true
			for _, sub := range inline.FindAllStringSubmatch(m[3], -1) {
				has[join(join(table, m[2]), sub[1])] = true
			}
		}
	}
	known := map[string]bool{}
	var walk func(t reflect.Type, path string) // collects the keys of a type
	walk = func(rt reflect.Type, path string) {
		for rt.Kind() == reflect.Pointer || rt.Kind() == reflect.Slice {
			rt = rt.Elem()
		}
		if rt.Kind() != reflect.Struct || rt == reflect.TypeFor[Table]() {
			return
		}
		for name, i := range fieldsOf(rt) {
			if name != ",rest" {
				known[join(path, name)] = true
				walk(rt.Field(i).Type, join(path, name))
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	for path := range known {
		// The relays of a mux are explained once, at [[relays]].
		if tail, ok := strings.CutPrefix(path, "mux.relays."); ok {
			path = "relays." + tail
		}
		// So are stores, at [signer.local.store].
		for _, other := range []string{"signer.dirk.store.", "signer.remote.store."} {
			if tail, ok := strings.CutPrefix(path, other); ok {
				path = "signer.local.store." + tail
			}
		}
		if !has[path] {
			t.Errorf("%s is not in the example", path)
		}
	}
	for path := range has {
		known := known[path] || strings.HasPrefix(path, "relays.headers.") || strings.HasPrefix(path, "relays.get_params.") || strings.HasPrefix(path, "modules.config.")
		if !known && !slices.Contains([]string{"modules.env.SOME_VARIABLE"}, path) {
			t.Errorf("%s is in the example, and not a field", path)
		}
	}
	if len(known) < 100 {
		t.Errorf("only %d fields", len(known))
	}
}
