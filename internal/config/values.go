package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/holiman/uint256"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func ether(n uint64) *uint256.Int {
	return new(uint256.Int).Mul(uint256.NewInt(n), uint256.NewInt(1e18))
}

// Table is a table kept for later, with its lines.
type Table struct{ n *node }

// Empty says whether there is nothing in it.
func (t Table) Empty() bool { return t.n == nil || len(t.n.keys) == 0 }

// decode is strict. What the table does not name keeps its value.
func (t Table) decode(file, path string, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return ErrInvalid.With("decode into %T, not a pointer to a struct", into)
	}
	if t.n == nil {
		return nil
	}
	d := decoder{file: file, lines: map[string]int{}}
	d.table(t.n, v.Elem(), path)
	if len(d.errs) > 0 {
		return d.errs.sorted()
	}
	return nil
}

// BatchSize is a number of registrations; 0 is unlimited. In the file it is an
// integer or a string with one, from 1 on, or "" for unlimited.
type BatchSize int

func (s *BatchSize) setScalar(n *node) error {
	if n.kind == kindString && n.text == "" {
		*s = 0
		return nil
	}
	if n.kind != kindString && n.kind != kindInteger {
		return fmt.Errorf("is %s, want an integer or a string", n.kind)
	}
	i, err := strconv.ParseInt(number(n.text), 10, 32)
	if err != nil || i < 1 {
		return errors.New(`is not a number from 1 on; "" is unlimited`)
	}
	*s = BatchSize(i)
	return nil
}

// ChainID is a number, or a decimal or 0x string.
type ChainID uint64

func (c *ChainID) setScalar(n *node) error {
	if n.kind != kindString && n.kind != kindInteger {
		return fmt.Errorf("is %s, want an integer or a string", n.kind)
	}
	text, base := number(n.text), 10
	if h, ok := strings.CutPrefix(text, "0x"); ok {
		text, base = h, 16
	}
	u, err := strconv.ParseUint(text, base, 64)
	if err != nil || u == 0 {
		return errors.New("is not a chain id of 64 bits")
	}
	*c = ChainID(u)
	return nil
}

// parseDuration reads an integer in the unit of the key's name, or, for a key
// without one, a string such as "2s".
func parseDuration(n *node, key string) (time.Duration, error) {
	for suffix, unit := range durationUnits {
		if !strings.HasSuffix(key, suffix) {
			continue
		}
		if n.kind != kindInteger {
			return 0, fmt.Errorf("is %s, want an integer", n.kind)
		}
		i, err := strconv.ParseInt(number(n.text), 0, 64)
		if err != nil || i < 0 || i > int64(math.MaxInt64/unit) {
			return 0, errors.New("is not within range")
		}
		return time.Duration(i) * unit, nil
	}
	if n.kind != kindString {
		return 0, fmt.Errorf(`is %s, want a string such as "2s"`, n.kind)
	}
	return time.ParseDuration(n.text)
}

// parseAmount reads a decimal in the unit of the key's name, exact to the wei:
// a float counts as it is written, not as the nearest binary number.
func parseAmount(n *node, key string, out *uint256.Int) error {
	decimals := 0
	for suffix, d := range amountUnits {
		if strings.HasSuffix(key, suffix) {
			decimals = d
		}
	}
	if n.kind != kindInteger && n.kind != kindFloat && n.kind != kindString {
		return fmt.Errorf("is %s, want a number or a string", n.kind)
	}
	whole, fraction, _ := strings.Cut(number(n.text), ".")
	fraction = strings.TrimRight(fraction, "0")
	digits := strings.TrimLeft(whole+fraction, "0")
	for _, c := range whole + fraction {
		if c < '0' || c > '9' {
			return errors.New("is not a plain decimal number from 0 on")
		}
	}
	switch {
	case whole == "":
		return errors.New("is not a plain decimal number from 0 on")
	case len(fraction) > decimals:
		return errors.New("is finer than one wei")
	case digits == "":
		out.Clear()
		return nil
	}
	if err := out.SetFromDecimal(digits + strings.Repeat("0", decimals-len(fraction))); err != nil {
		return errors.New("is too large")
	}
	return nil
}

func parseLevel(n *node) (slog.Level, error) {
	if n.kind == kindString {
		switch strings.ToLower(n.text) {
		case "trace":
			return LevelTrace, nil
		case "debug":
			return slog.LevelDebug, nil
		case "info":
			return slog.LevelInfo, nil
		case "warn":
			return slog.LevelWarn, nil
		case "error":
			return slog.LevelError, nil
		}
	}
	return 0, errors.New("is not trace, debug, info, warn or error")
}

// parseHost reads an address to listen on: names would be resolved, and could move.
func parseHost(n *node) (netip.Addr, error) {
	if n.kind == kindString && n.text == "localhost" {
		return loopback, nil
	}
	if n.kind == kindString {
		if a, err := netip.ParseAddr(n.text); err == nil && a.Zone() == "" {
			return a, nil
		}
	}
	return netip.Addr{}, errors.New("is not an IP address")
}
