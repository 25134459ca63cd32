package config

import (
	"fmt"
	"io"
	"os"
	"reflect"
)

const maxFile = 1 << 20 // bytes

// Load reads the file at path. env looks up environment variables that override
// it, as os.LookupEnv does; nil looks up none. Paths in the file are relative to
// the working directory, as in Commit-Boost. Errors: Errors, which are ErrInvalid.
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, Errors{{File: path, Message: err.Error()}}
	}
	return Parse(path, data, env)
}

// Parse is Load for a file already read; name stands in messages.
func Parse(name string, data []byte, env func(string) (string, bool)) (*Config, error) {
	if len(data) > maxFile {
		return nil, Errors{{File: name, Message: fmt.Sprintf("has more than %d bytes", maxFile)}}
	}
	root, err := parseTree(name, data)
	if err != nil {
		return nil, err
	}
	c := &Config{file: name}
	d := decoder{file: name, lines: map[string]int{}}
	v := reflect.ValueOf(c).Elem()
	setDefaults(v)
	d.table(root, v, "")
	c.lines = d.lines

	check := checker{c: c, bad: map[string]bool{}, errs: d.errs}
	for _, e := range d.errs {
		check.bad[e.Key] = true
	}
	check.override(env)
	check.resolve()
	check.all()
	if len(check.errs) > 0 {
		return nil, check.errs.sorted()
	}
	for _, w := range check.warnings.sorted() {
		c.warnings = append(c.warnings, w.Error())
	}
	return c, nil
}

// readFile reads a bounded file.
func readFile(path string) (data []byte, err error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("has more than %d bytes", maxFile)
	}
	return data, nil
}
