package httpd

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// maxParams is how many parameters a path may have.
const maxParams = 6

// node is one segment of the table's paths. The tree is built once and then
// only read.
type node struct {
	literal map[string]*node
	param   *node
	end     *end // nil: no path of the table ends here
}

// end is a path of the table.
type end struct {
	methods map[string]*entry
	allow   string // the Allow header: the methods, sorted
}

// entry is a route as the server uses it.
type entry struct {
	Route
	params []string // names, in the order of the path
}

// params holds the segments that stood for parameters. They alias the path.
type params [maxParams][]byte

// buildRouter checks the table and makes its tree.
func buildRouter(routes []Route) (*node, error) {
	root := &node{}
	for _, r := range routes {
		e := &entry{Route: r}
		switch {
		case r.Name == "" || r.Method == "" || (r.Serve == nil) == (r.Stream == nil):
			return nil, fmt.Errorf("route %q %q: name, method and one handler are required", r.Method, r.Path)
		case r.Method != strings.ToUpper(r.Method):
			return nil, fmt.Errorf("route %s: method %q is not upper case", r.Name, r.Method)
		case r.Timeout < 0 || r.MaxBody < 0 || r.Stream != nil && r.MaxBody > 0:
			return nil, fmt.Errorf("route %s: negative limit", r.Name)
		case !strings.HasPrefix(r.Path, "/"):
			return nil, fmt.Errorf("route %s: path %q does not begin with a slash", r.Name, r.Path)
		}
		at := root
		for _, seg := range strings.Split(r.Path[1:], "/") {
			next, err := at.grow(e, seg)
			if err != nil {
				return nil, err
			}
			at = next
		}
		if at.end == nil {
			at.end = &end{methods: map[string]*entry{}}
		}
		if at.end.methods[r.Method] != nil {
			return nil, fmt.Errorf("route %s: %s %s is in the table already", r.Name, r.Method, r.Path)
		}
		at.end.methods[r.Method] = e
		at.end.allow = allow(at.end.methods)
	}
	return root, nil
}

// grow returns n's child for a segment of e's path, making it if need be.
func (n *node) grow(e *entry, seg string) (*node, error) {
	if !strings.ContainsAny(seg, "{}") {
		if n.literal == nil {
			n.literal = map[string]*node{}
		}
		if n.literal[seg] == nil {
			n.literal[seg] = &node{}
		}
		return n.literal[seg], nil
	}
	name := strings.TrimSuffix(strings.TrimPrefix(seg, "{"), "}")
	if name == "" || len(name) != len(seg)-2 || strings.ContainsAny(name, "{}") || slices.Contains(e.params, name) {
		return nil, fmt.Errorf("route %s: bad parameter %q", e.Name, seg)
	}
	if len(e.params) == maxParams {
		return nil, fmt.Errorf("route %s: more than %d parameters", e.Name, maxParams)
	}
	e.params = append(e.params, name)
	if n.param == nil {
		n.param = &node{}
	}
	return n.param, nil
}

func allow(methods map[string]*entry) string {
	var names []string
	for m := range methods {
		names = append(names, m)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// each calls f for every route.
func (n *node) each(f func(*entry)) {
	if n == nil {
		return
	}
	if n.end != nil {
		for _, e := range n.end.methods {
			f(e)
		}
	}
	for _, next := range n.literal {
		next.each(f)
	}
	n.param.each(f)
}

// find returns the end of path, which may be nil, and fills ps. Segments are
// percent-decoded one by one, so an encoded slash stays inside its segment.
func (n *node) find(path []byte, ps *params) *end {
	if len(path) == 0 || path[0] != '/' {
		return nil
	}
	return n.walk(path[1:], ps, 0)
}

func (n *node) walk(path []byte, ps *params, depth int) *end {
	seg, rest, more := bytes.Cut(path, []byte{'/'})
	if bytes.IndexByte(seg, '%') >= 0 {
		plain, err := url.PathUnescape(string(seg))
		if err != nil {
			return nil
		}
		seg = []byte(plain)
	}
	step := func(next *node, depth int) *end {
		if next == nil {
			return nil
		}
		if !more {
			return next.end
		}
		return next.walk(rest, ps, depth)
	}
	if e := step(n.literal[string(seg)], depth); e != nil {
		return e
	}
	if n.param == nil || len(seg) == 0 || depth == maxParams {
		return nil
	}
	ps[depth] = seg
	return step(n.param, depth+1)
}

// target splits a request target into path and query. An absolute form loses
// its authority, as [RFC 9112 §3.2.2] asks; any other form has no path.
func target(uri []byte) (path, query []byte) {
	if len(uri) > 0 && uri[0] != '/' {
		_, rest, ok := bytes.Cut(uri, []byte("://"))
		slash := bytes.IndexByte(rest, '/')
		if !ok || slash < 0 || bytes.IndexByte(rest[:slash], '?') >= 0 {
			return nil, nil
		}
		uri = rest[slash:]
	}
	path, query, _ = bytes.Cut(uri, []byte{'?'})
	return path, query
}
