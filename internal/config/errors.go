package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong.
type Error struct {
	File    string
	Line    int    // 0: not in the file, as a missing key or an environment variable
	Key     string // as pbs.port or relays[0].url; "" for the file as a whole
	Message string
}

// Error prints file:line: key: message.
func (e Error) Error() string {
	where := e.File
	if e.Line > 0 {
		where = fmt.Sprintf("%s:%d", e.File, e.Line)
	}
	if e.Key != "" {
		where += ": " + e.Key
	}
	return where + ": " + e.Message
}

// Errors is everything that is wrong with a file, ascending by line.
type Errors []Error

// Error prints one error a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i := range e {
		lines[i] = e[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap makes every Errors an ErrInvalid.
func (e Errors) Unwrap() error { return ErrInvalid }

func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Error) int { return cmp.Compare(a.Line, b.Line) })
	return e
}
