package metrics

import (
	"regexp"
	"strings"
	"sync"
)

// Namespace lets somebody foreign, such as a module, measure under a prefix. It
// bounds what they can do: names are few and without labels, and a name that is
// wrong, one too many, or used for another kind is counted and otherwise ignored.
type Namespace struct {
	registry *Registry
	prefix   string
	most     int
	dropped  *Counter

	mu   sync.Mutex
	made map[string]any // *Counter, *Gauge or *Histogram by name
}

// Namespace returns the series whose names begin with prefix, at most so many.
// dropped counts what was ignored. It is for one user: a prefix that is taken
// makes every use of it a registration of the same names, which panics.
func (r *Registry) Namespace(prefix string, most int, dropped *Counter) *Namespace {
	return &Namespace{registry: r, prefix: prefix, most: most, dropped: dropped, made: map[string]any{}}
}

// PrefixOf makes a part of a metric's name of anything.
func PrefixOf(id string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(id))
}

var goodName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// named returns the metric of a name, made on first use; nil if it may not be.
func named[T any](n *Namespace, name string, counter bool, made func(Opts) *T) *T {
	n.mu.Lock()
	defer n.mu.Unlock()
	has, known := n.made[name]
	if m, ok := has.(*T); ok {
		return m
	}
	if known || len(n.made) >= n.most || !goodName.MatchString(name) || strings.HasSuffix(name, "_total") != counter ||
		strings.HasSuffix(name, "_bucket") || strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_count") {
		n.dropped.Inc()
		return nil
	}
	m := made(Opts{Name: n.prefix + name, Help: "Of a module; see its documentation.", Buckets: seconds})
	n.made[name] = m
	return m
}

var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// Count adds to a counter, whose name ends in _total.
func (n *Namespace) Count(name string, by uint) {
	if c := named(n, name, true, n.registry.Counter); c != nil {
		c.Add(int(min(by, 1<<31-1))) // #nosec G115 -- bounded
	}
}

// Set sets a gauge.
func (n *Namespace) Set(name string, value float64) {
	if g := named(n, name, false, n.registry.Gauge); g != nil {
		g.Set(value)
	}
}

// Observe adds to a histogram of seconds.
func (n *Namespace) Observe(name string, seconds float64) {
	if h := named(n, name, false, n.registry.Histogram); h != nil {
		h.Observe(seconds)
	}
}
