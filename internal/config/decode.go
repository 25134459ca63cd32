package config

import (
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holiman/uint256"
)

// A struct may set its defaults before it is decoded, be written as a string
// instead of a table, and know keys that it refuses with a reason.
type (
	defaulter interface{ setDefaults() }
	texter    interface{ setText(text string) error }
	scalar    interface{ setScalar(n *node) error }
	refuser   interface{ refusedKeys() map[string]string }
)

// decoder fills structs from a tree. It goes on after an error, to report all.
type decoder struct {
	file  string
	errs  Errors
	lines map[string]int
}

func (d *decoder) fail(n *node, path, format string, args ...any) {
	d.errs = append(d.errs, Error{d.file, n.line, path, fmt.Sprintf(format, args...)})
}

// value decodes n into v. key is the last part of path and carries the unit.
func (d *decoder) value(n *node, v reflect.Value, path, key string) {
	d.lines[path] = n.line
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		setDefaults(p.Elem())
		d.value(n, p.Elem(), path, key)
		v.Set(p)
		return
	}
	if done, err := decodeSpecial(n, v, key); done {
		if err != nil {
			d.fail(n, path, "%v", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if t, ok := v.Addr().Interface().(texter); ok && n.kind == kindString {
			if err := t.setText(n.text); err != nil {
				d.fail(n, path, "%v", err)
			}
			return
		}
		if d.expect(n, path, kindTable) {
			d.table(n, v, path)
		}
	case reflect.Slice:
		if !d.expect(n, path, kindArray) {
			return
		}
		out := reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
		for i, item := range n.items {
			setDefaults(out.Index(i))
			d.value(item, out.Index(i), element(path, i), key)
		}
		v.Set(out)
	case reflect.Map:
		if !d.expect(n, path, kindTable) {
			return
		}
		out := reflect.MakeMap(v.Type())
		for _, k := range n.keys {
			item := reflect.New(v.Type().Elem()).Elem()
			d.value(n.table[k], item, join(path, k), k)
			out.SetMapIndex(reflect.ValueOf(k).Convert(v.Type().Key()), item)
		}
		v.Set(out)
	default:
		if err := decodeBasic(n, v); err != nil {
			d.fail(n, path, "%v", err)
		}
	}
}

func (d *decoder) expect(n *node, path string, want kind) bool {
	if n.kind != want {
		d.fail(n, path, "is %s, want %s", n.kind, want)
	}
	return n.kind == want
}

// table decodes a table into a struct; unknown keys are errors, or go to the
// field tagged ",rest".
func (d *decoder) table(n *node, v reflect.Value, path string) {
	fields := fieldsOf(v.Type())
	rest, open := fields[",rest"]
	refused := map[string]string{}
	if r, ok := v.Addr().Interface().(refuser); ok {
		refused = r.refusedKeys()
	}
	others := newTable(n.line)
	for _, key := range n.keys {
		child := n.table[key]
		if i, ok := fields[key]; ok && key != ",rest" {
			d.value(child, v.Field(i), join(path, key), key)
			continue
		}
		at := child
		if child.kind == kindArray && len(child.items) > 0 {
			at = child.items[0]
		}
		switch reason, no := refused[key]; {
		case no:
			d.fail(at, join(path, key), "%s", reason)
		case open:
			others.put(key, child)
		default:
			d.fail(at, join(path, key), "is not a key here%s", suggest(key, path, fields))
		}
	}
	if open {
		v.Field(rest).Set(reflect.ValueOf(Table{others}))
	}
}

// fieldsOf maps the toml names of a struct to its fields.
func fieldsOf(t reflect.Type) map[string]int {
	out := map[string]int{}
	for i := range t.NumField() {
		if tag := t.Field(i).Tag.Get("toml"); tag != "" && tag != "-" && t.Field(i).IsExported() {
			out[tag] = i
		}
	}
	return out
}

// setDefaults sets the defaults of a struct and of the structs in it.
func setDefaults(v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	if f, ok := v.Addr().Interface().(defaulter); ok {
		f.setDefaults()
		return
	}
	for _, i := range fieldsOf(v.Type()) {
		setDefaults(v.Field(i))
	}
}

var durationUnits = map[string]time.Duration{"_ms": time.Millisecond, "_seconds": time.Second, "_secs": time.Second}

var amountUnits = map[string]int{"_eth": 18, "_gwei": 9, "_wei": 0}

// decodeSpecial decodes the types that are more than their Go kind.
func decodeSpecial(n *node, v reflect.Value, key string) (done bool, err error) {
	switch p := v.Addr().Interface().(type) {
	case *Table:
		if n.kind != kindTable {
			return true, fmt.Errorf("is %s, want a table", n.kind)
		}
		p.n = n
		return true, nil
	case scalar:
		return true, p.setScalar(n)
	case *time.Duration:
		*p, err = parseDuration(n, key)
		return true, err
	case *uint256.Int:
		return true, parseAmount(n, key, p)
	case *slog.Level:
		*p, err = parseLevel(n)
		return true, err
	case *netip.Addr:
		*p, err = parseHost(n)
		return true, err
	case encoding.TextUnmarshaler:
		if n.kind != kindString {
			return true, fmt.Errorf("is %s, want a string", n.kind)
		}
		return true, p.UnmarshalText([]byte(n.text))
	}
	if v.Kind() == reflect.Array && v.Type().Elem().Kind() == reflect.Uint8 {
		return true, parseBytes(n, v)
	}
	return false, nil
}

// decodeBasic decodes strings, booleans and numbers.
func decodeBasic(n *node, v reflect.Value) error {
	want := func(k kind) error {
		if n.kind != k {
			return fmt.Errorf("is %s, want %s", n.kind, k)
		}
		return nil
	}
	switch {
	case v.Kind() == reflect.String:
		v.SetString(n.text)
		return want(kindString)
	case v.Kind() == reflect.Bool:
		v.SetBool(n.text == "true")
		return want(kindBool)
	case v.CanInt():
		if err := want(kindInteger); err != nil {
			return err
		}
		i, err := strconv.ParseInt(number(n.text), 0, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("is not within the range of %s", v.Kind())
		}
		v.SetInt(i)
	case v.CanUint():
		if err := want(kindInteger); err != nil {
			return err
		}
		u, err := strconv.ParseUint(number(n.text), 0, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("is not within 0 to %d", ^uint64(0)>>(64-v.Type().Bits()))
		}
		v.SetUint(u)
	case v.CanFloat():
		if n.kind != kindFloat && n.kind != kindInteger {
			return want(kindFloat)
		}
		f, err := strconv.ParseFloat(number(n.text), v.Type().Bits())
		if err != nil {
			return errors.New("is not a number")
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("cannot be decoded into %s", v.Type())
	}
	return nil
}

// number makes a TOML number one that strconv reads.
func number(text string) string {
	return strings.TrimPrefix(strings.ReplaceAll(text, "_", ""), "+")
}

// parseBytes reads hexadecimal of a fixed width, 0x optional.
func parseBytes(n *node, v reflect.Value) error {
	if n.kind != kindString {
		return fmt.Errorf("is %s, want a string", n.kind)
	}
	b, err := hex.DecodeString(strings.TrimPrefix(n.text, "0x"))
	if err != nil || len(b) != v.Len() {
		return fmt.Errorf("is not %d bytes in hexadecimal", v.Len())
	}
	reflect.Copy(v, reflect.ValueOf(b))
	return nil
}

// suggest names the key that was meant, if one is near or lives elsewhere.
func suggest(key, path string, fields map[string]int) string {
	var names []string
	for name := range fields {
		if !strings.HasPrefix(name, ",") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	best, distance := "", len(key)/3+1
	for _, name := range names {
		if strings.HasPrefix(name, key+"_") || strings.HasSuffix(name, "_"+key) {
			return fmt.Sprintf("; did you mean %s?", name)
		}
		if n := edits(key, name); n <= distance && n < max(len(key), len(name)) {
			best, distance = name, n-1
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %s?", best)
	}
	for _, table := range tablesWith(key) {
		if table != path {
			return fmt.Sprintf("; it belongs to [%s]", table)
		}
	}
	return ""
}

// tablesWith names the top-level tables that have a key.
func tablesWith(key string) (out []string) {
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i).Type
		for f.Kind() == reflect.Pointer || f.Kind() == reflect.Slice {
			f = f.Elem()
		}
		if f.Kind() != reflect.Struct || !t.Field(i).IsExported() {
			continue
		}
		if _, ok := fieldsOf(f)[key]; ok {
			out = append(out, t.Field(i).Tag.Get("toml"))
		}
	}
	return out
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, last+1)
		}
	}
	return row[len(b)]
}
