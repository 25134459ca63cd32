package config

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxBrackets bounds nesting: the TOML parser recurses.
const maxBrackets = 10_000

type kind uint8

const (
	kindTable kind = iota
	kindArray
	kindString
	kindInteger
	kindFloat
	kindBool
	kindOther // dates and times
)

func (k kind) String() string {
	return [...]string{"a table", "an array", "a string", "an integer", "a float", "a boolean", "a date or time"}[k]
}

// node is a TOML value with its line. Numbers stay text, so that decimals are exact.
type node struct {
	kind  kind
	line  int
	text  string           // of scalars
	keys  []string         // of tables, in order
	table map[string]*node // of tables
	items []*node          // of arrays

	header bool // a table with a [header] of its own
}

// parseTree reads a TOML document. Only the first syntax error is reported: what
// follows one cannot be told apart.
func parseTree(file string, data []byte) (*node, error) {
	if bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > maxBrackets {
		return nil, Errors{{File: file, Message: fmt.Sprintf("has more than %d brackets", maxBrackets)}}
	}
	// The library's decoder checks what its parser does not: duplicate keys,
	// tables defined twice, numbers.
	invalid := toml.Unmarshal(data, new(map[string]any))
	var at *toml.DecodeError
	if errors.As(invalid, &at) {
		line, column := at.Position()
		return nil, Errors{{File: file, Line: line, Message: fmt.Sprintf("column %d: %s", column, trimPrefix(at.Error()))}}
	}
	b := builder{data: data, root: newTable(1)}
	if err := b.build(); err != nil {
		return nil, Errors{{File: file, Line: b.line(b.lastKey), Message: err.Error()}}
	}
	if invalid != nil {
		return nil, Errors{{File: file, Message: trimPrefix(invalid.Error())}}
	}
	return b.root, nil
}

func trimPrefix(s string) string { return string(bytes.TrimPrefix([]byte(s), []byte("toml: "))) }

func newTable(line int) *node { return &node{kind: kindTable, line: line, table: map[string]*node{}} }

func (n *node) put(key string, v *node) {
	if _, ok := n.table[key]; !ok {
		n.keys = append(n.keys, key)
	}
	n.table[key] = v
}

type builder struct {
	data    []byte
	parser  unstable.Parser
	root    *node
	lastKey uint32 // offset
	offset  uint32 // up to which newlines are counted
	count   int    // newlines before offset
}

// build makes the tree. The first error is at lastKey.
func (b *builder) build() (err error) {
	at := b.root
	b.parser.Reset(b.data)
	for err == nil && b.parser.NextExpression() {
		switch e := b.parser.Expression(); e.Kind {
		case unstable.Table:
			at, err = b.enter(e, false)
		case unstable.ArrayTable:
			at, err = b.enter(e, true)
		case unstable.KeyValue:
			err = b.set(at, e)
		}
	}
	if err == nil && b.parser.Error() != nil {
		err = errors.New(trimPrefix(b.parser.Error().Error()))
	}
	return err
}

// line of an offset. Offsets mostly ascend, so that newlines are counted once.
func (b *builder) line(offset uint32) int {
	if offset < b.offset {
		b.offset, b.count = 0, 0
	}
	b.count += bytes.Count(b.data[b.offset:offset], []byte("\n"))
	b.offset = offset
	return b.count + 1
}

// enter walks to the table of a [header], making what is missing.
func (b *builder) enter(e *unstable.Node, array bool) (*node, error) {
	at := b.root
	for it := e.Key(); it.Next(); {
		k := it.Node()
		b.lastKey = k.Raw.Offset
		last := it.IsLast()
		key, line := string(k.Data), b.line(k.Raw.Offset)
		next := at.table[key]
		switch {
		case array && last:
			if next == nil {
				next = &node{kind: kindArray, line: line}
				at.put(key, next)
			}
			if next.kind != kindArray {
				return nil, fmt.Errorf("%q is not an array of tables", key)
			}
			next.items = append(next.items, newTable(line))
		case next == nil:
			next = newTable(line)
			at.put(key, next)
		case last && next.header:
			return nil, fmt.Errorf("[%s] is here twice, first on line %d", key, next.line)
		case last:
			next.line = line // the header, not a table below it that came first
		}
		next.header = next.header || last && !array
		if next.kind == kindArray && len(next.items) > 0 {
			next = next.items[len(next.items)-1]
		}
		if next.kind != kindTable {
			return nil, fmt.Errorf("%q is not a table", key)
		}
		at = next
	}
	return at, nil
}

// set puts key = value, whose key may be dotted, into a table.
func (b *builder) set(at *node, e *unstable.Node) error {
	for it := e.Key(); it.Next(); {
		k := it.Node()
		b.lastKey = k.Raw.Offset
		key, line := string(k.Data), b.line(k.Raw.Offset)
		if first := at.table[key]; first != nil && it.IsLast() {
			return fmt.Errorf("%s is here twice, first on line %d", key, first.line)
		}
		if it.IsLast() {
			v, err := b.value(e.Value(), line)
			if err != nil {
				return err
			}
			at.put(key, v)
			return nil
		}
		next := at.table[key]
		if next == nil {
			next = newTable(line)
			at.put(key, next)
		}
		if next.kind != kindTable {
			return fmt.Errorf("%q is not a table", key)
		}
		at = next
	}
	return nil
}

// value reads a value that begins on or after line.
func (b *builder) value(v *unstable.Node, line int) (*node, error) {
	if v.Raw.Length > 0 && v.Kind != unstable.InlineTable {
		line = b.line(v.Raw.Offset)
	}
	n := &node{line: line, text: string(v.Data)}
	switch v.Kind {
	case unstable.String:
		n.kind = kindString
	case unstable.Integer:
		n.kind = kindInteger
	case unstable.Float:
		n.kind = kindFloat
	case unstable.Bool:
		n.kind = kindBool
	case unstable.Array:
		n.kind, n.text = kindArray, ""
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			item, err := b.value(it.Node(), line)
			if err != nil {
				return nil, err
			}
			line = item.line
			n.items = append(n.items, item)
		}
	case unstable.InlineTable:
		n = newTable(line)
		for it := v.Children(); it.Next(); {
			if it.Node().Kind != unstable.KeyValue {
				continue
			}
			if err := b.set(n, it.Node()); err != nil {
				return nil, err
			}
		}
	default:
		n.kind = kindOther
	}
	return n, nil
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
