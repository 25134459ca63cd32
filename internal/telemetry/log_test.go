package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type secret string

func (secret) LogValue() slog.Value { return slog.StringValue("redacted") }

func TestText(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(Options{Level: slog.LevelDebug, Format: "text", Out: &out})
	for _, c := range []struct {
		log  func()
		want string
	}{
		{func() { log.Info("Bid chosen") }, "INFO  Bid chosen"},
		{func() { log.Debug("Bid chosen", "slot", 12, "relay", "a") }, "DEBUG Bid chosen  slot=12 relay=a"},
		{func() { log.Warn("Late", "ms", 1.5, "took", 1500*time.Millisecond, "ok", true) }, "WARN  Late  ms=1.5 took=1.5s ok=true"},
		{func() { log.Error("Broken", "error", errors.New("no way")) }, `ERROR Broken  error="no way"`},
		{func() { log.With("server", "b").WithGroup("g").With("x", 1).Info("M", "y", 2) }, "INFO  M  server=b g.x=1 g.y=2"},
		{func() { log.Info("M", slog.Group("g", "a", 1, slog.Group("h", "b", 2)), slog.Group("", "c", 3)) }, "INFO  M  g.a=1 g.h.b=2 c=3"},
		{func() { log.Info("M", "at", time.Unix(0, 0).UTC(), "s", secret("hunter2"), "e", "") }, `INFO  M  at=1970-01-01T00:00:00Z s=redacted e=""`},
		{func() { log.Info("a\nERROR b", "k\x1b", "v\x1b[2J\r\n", "u", "\xff", "b", "\u202e", "z", "é=") }, `INFO  "a\nERROR b"  "k\x1b"="v\x1b[2J\r\n" u="\xff" b="\u202e" z="é="`},
		{func() { log.Info("M", slog.Attr{}, "n", nil) }, "INFO  M  n=<nil>"},
	} {
		out.Reset()
		c.log()
		stamp, rest, _ := strings.Cut(out.String(), " ")
		if _, err := time.Parse("15:04:05.000", stamp); err != nil || rest != c.want+"\n" {
			t.Errorf("got  %q\nwant %q", out.String(), c.want)
		}
	}
}

func TestText_WithDoesNotLeak(t *testing.T) {
	var out bytes.Buffer
	log := NewLogger(Options{Format: "text", Out: &out}).With("a", 1)
	x, y := log.With("x", 1), log.With("y", 1)
	x.Info("M")
	y.Info("M")
	if got := out.String(); strings.Count(got, "a=1 x=1") != 1 || strings.Count(got, "a=1 y=1") != 1 {
		t.Errorf("got %q", got)
	}
}

func TestNewLogger(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, format := range []string{"json", "auto", "", "what"} {
		var out bytes.Buffer
		log := NewLogger(Options{Format: format, Out: &out})
		log.Debug("not this")
		log.Info("A\x1b", "k", "v\n")
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["msg"] != "A\x1b" || line["k"] != "v\n" {
			t.Errorf("%q: %s: %v", format, out.Bytes(), err)
		}
		if bytes.ContainsRune(out.Bytes(), 0x1b) || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
			t.Errorf("%q: %q", format, out.Bytes())
		}
	}
	if _, human := NewLogger(Options{Out: file}).Handler().(*text); human {
		t.Error("a file is taken for a terminal")
	}
	var level slog.LevelVar
	log := NewLogger(Options{Level: &level, Format: "text", Out: new(bytes.Buffer)})
	level.Set(slog.LevelError)
	if log.Enabled(context.Background(), slog.LevelWarn) {
		t.Error("the level does not follow")
	}
}

func FuzzText(f *testing.F) {
	f.Add("Message", "key", "value")
	f.Add("a\nb", "\x1b[0m", "\u2028\x7f\x9b")
	f.Fuzz(func(t *testing.T, msg, key, value string) {
		var out bytes.Buffer
		NewLogger(Options{Format: "text", Out: &out}).Info(msg, key, value)
		line, ok := strings.CutSuffix(out.String(), "\n")
		if !ok || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Errorf("%q", out.String())
		}
	})
}
