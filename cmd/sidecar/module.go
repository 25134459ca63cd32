package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sidecar/fault"
	"sidecar/modules/moduletest"
	"sidecar/modules/remote"
)

const moduleUsage = `sidecar module test --url URL --secret-file FILE [--example FILE]
sidecar module new NAME [--dir DIR] [--sidecar DIR]

test asks a running module everything the sidecar relies on, and says for each check whether it holds. An example is something
for the module to promise, with blocks that keep and break it, as docs/modules.md describes; without it some checks are skipped.

new writes a module in Go, with a test that runs the same checks, into a new directory (default ./NAME). --sidecar is where the
sidecar's source is (default ../sidecar, from there).
`

// errModuleTest is a module that does not hold what it must.
var errModuleTest = fault.Define("module_test_failed", fault.Rejected, "A module fails checks of the suite; the output names them.")

// moduleCommand is the command module.
func moduleCommand(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "test":
			return testModule(ctx, args[1:], os.Stdout)
		case "new":
			return newModule(args[1:], os.Stdout)
		case "help", "-h", "-help", "--help":
			return show(moduleUsage)
		}
	}
	return errUsage.With("module test or module new\n%s", moduleUsage)
}

// parse reads flags, before and after names, and returns the names.
func parse(flags *flag.FlagSet, args []string, most int) (names []string, err error) {
	flags.SetOutput(io.Discard)
	for {
		if err := flags.Parse(args); err != nil {
			return nil, errUsage.With("%v\n%s", err, moduleUsage)
		}
		if args = flags.Args(); len(args) == 0 {
			return names, nil
		}
		if len(names) == most {
			return nil, errUsage.With("%.40q is not expected\n%s", args[0], moduleUsage)
		}
		names, args = append(names, args[0]), args[1:]
	}
}

func testModule(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("module test", flag.ContinueOnError)
	url, file, path := flags.String("url", "", ""), flags.String("secret-file", "", ""), flags.String("example", "", "")
	if _, err := parse(flags, args, 0); err != nil {
		return err
	}
	if *url == "" || *file == "" {
		return errUsage.With("--url and --secret-file are needed\n%s", moduleUsage)
	}
	secret, err := remote.ReadSecret(*file)
	if err != nil {
		return err
	}
	var example *remote.Example
	if *path != "" {
		text, err := os.ReadFile(*path) // #nosec G304 -- the operator names it
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &example); err != nil {
			return fmt.Errorf("example %s: %w", *path, err)
		}
	}
	checks, err := moduletest.URL(ctx, *url, secret, example)
	if err != nil {
		return err
	}
	return report(ctx, checks, out)
}

// report makes every check and prints a line for each.
func report(ctx context.Context, checks []moduletest.Check, out io.Writer) error {
	failed, skipped := 0, 0
	for _, c := range checks {
		switch err := error(nil); {
		case c.Skip != "":
			skipped++
			fmt.Fprintf(out, "skip %s: %s\n", c.Name, c.Skip)
		default:
			if err = c.Run(ctx); err == nil {
				fmt.Fprintf(out, "ok   %s\n", c.Name)
				continue
			}
			failed++
			fmt.Fprintf(out, "FAIL %s: %s\n", c.Name, strings.ReplaceAll(err.Error(), "\n", "\n     "))
		}
	}
	fmt.Fprintf(out, "%d checks, %d failed, %d skipped\n", len(checks), failed, skipped)
	if failed > 0 {
		return errModuleTest.With("%d of %d", failed, len(checks))
	}
	return nil
}

//go:embed template
var templates embed.FS

var moduleName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,39}$`)

// newModule writes the template. It never writes into a directory that is there.
func newModule(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("module new", flag.ContinueOnError)
	dir, source := flags.String("dir", "", ""), flags.String("sidecar", filepath.Join("..", "sidecar"), "")
	names, err := parse(flags, args, 1)
	if err != nil {
		return err
	}
	if len(names) != 1 || !moduleName.MatchString(names[0]) {
		return errUsage.With("a name of lower-case letters, digits and hyphens is needed\n%s", moduleUsage)
	}
	name := names[0]
	if *dir == "" {
		*dir = name
	}
	sum := sha256.Sum256([]byte("sidecar/module/" + name))
	// Plain replacing: text/template keeps every method in the program alive, and
	// costs 9 MB of it and 3 MiB of idle memory.
	values := strings.NewReplacer(
		"{{.Name}}", name, "{{.Sidecar}}", filepath.ToSlash(*source),
		"{{.Type}}", fmt.Sprintf("%#x", binary.BigEndian.Uint32(sum[:])|1<<31), // unlikely to be another's
		"{{.Decimal}}", fmt.Sprint(binary.BigEndian.Uint32(sum[:])|1<<31),
		"{{.SigningID}}", fmt.Sprintf("%#x", sha256.Sum256(sum[:])),
	)
	if err := os.Mkdir(*dir, 0o750); err != nil {
		return fmt.Errorf("make the module's directory: %w", err)
	}
	files, err := templates.ReadDir("template")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := templates.ReadFile("template/" + f.Name())
		if err != nil {
			return err
		}
		path := filepath.Join(*dir, strings.TrimSuffix(f.Name(), ".tmpl"))
		if err := os.WriteFile(path, []byte(values.Replace(string(text))), 0o600); err != nil {
			return err
		}
	}
	// The sums of what the sidecar needs are what the module needs.
	if sums, err := os.ReadFile(filepath.Join(*dir, *source, "go.sum")); err == nil { // #nosec G304 -- the operator names it
		if err := os.WriteFile(filepath.Join(*dir, "go.sum"), sums, 0o600); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "Wrote the module %s into %s. Next: cd %s && go mod tidy && go test ./...\n", name, *dir, *dir)
	return nil
}
