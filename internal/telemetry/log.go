// Package telemetry makes what an operator looks at: the logger, the registry
// of metrics, and the admin server that shows metrics, health and profiles and
// takes a reload. It promises that no control character from outside reaches a
// terminal, and that the admin server stays on loopback unless told otherwise.
// It never sends anything anywhere.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Options describes a logger.
type Options struct {
	Level  slog.Leveler // nil means info
	Format string       // "json", "text", or "auto": text on a terminal, else JSON; "" is "auto"
	Out    io.Writer    // nil means standard error
}

// NewLogger returns a logger that writes one line per record, in one Write. An
// unknown format is taken for "auto".
func NewLogger(o Options) *slog.Logger {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.Out == nil {
		o.Out = os.Stderr
	}
	if o.Format == "text" || o.Format != "json" && terminal(o.Out) {
		return slog.New(&text{level: o.Level, out: o.Out, mu: new(sync.Mutex)})
	}
	return slog.New(slog.NewJSONHandler(o.Out, &slog.HandlerOptions{Level: o.Level}))
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) // #nosec G115 -- a descriptor is a small int
}

// text writes records for people:
//
//	15:04:05.000 INFO  Bid chosen  slot=12 relay=a value="1 wei"
type text struct {
	level  slog.Leveler
	out    io.Writer
	mu     *sync.Mutex // one Write at a time; shared by all that derive
	prefix string      // the open groups, each with a dot behind
	attrs  []byte      // of WithAttrs, written already
}

// Enabled is as in slog.Handler.
func (h *text) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// WithAttrs is as in slog.Handler.
func (h *text) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.attrs = slices.Clip(slices.Clone(h.attrs))
	for _, a := range attrs {
		n.attrs = appendAttr(n.attrs, h.prefix, a)
	}
	return &n
}

// WithGroup is as in slog.Handler.
func (h *text) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	n := *h
	n.prefix += name + "."
	return &n
}

// Handle is as in slog.Handler.
func (h *text) Handle(_ context.Context, r slog.Record) error {
	b := make([]byte, 0, 256)
	if !r.Time.IsZero() {
		b = r.Time.AppendFormat(b, "15:04:05.000 ")
	}
	level := r.Level.String()
	b = append(b, level...)
	for i := len(level); i < 6; i++ {
		b = append(b, ' ')
	}
	if plain(r.Message, true) {
		b = append(b, r.Message...)
	} else {
		b = strconv.AppendQuote(b, r.Message)
	}
	if len(h.attrs) > 0 || r.NumAttrs() > 0 {
		b = append(b, ' ')
	}
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.prefix, a)
		return true
	})
	b = append(b, '\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.out.Write(b)
	return err
}

// appendAttr writes " key=value", or the members of a group one by one.
func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, m := range v.Group() {
			b = appendAttr(b, prefix, m)
		}
		return b
	}
	b = append(b, ' ')
	b = appendWord(b, prefix+a.Key)
	b = append(b, '=')
	if v.Kind() == slog.KindTime {
		return v.Time().AppendFormat(b, time.RFC3339Nano)
	}
	return appendWord(b, v.String())
}

// appendWord quotes what would not stay one word on one line.
func appendWord(b []byte, s string) []byte {
	if plain(s, false) {
		return append(b, s...)
	}
	return strconv.AppendQuote(b, s)
}

// plain says whether s can be printed as it is: printable, valid UTF-8, and for
// a word neither empty nor with blanks, quotes or an equals sign.
func plain(s string, sentence bool) bool {
	if !sentence && s == "" {
		return false
	}
	for _, r := range s {
		switch {
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return false
		case !sentence && (r == ' ' || r == '"' || r == '='):
			return false
		}
	}
	return true
}
