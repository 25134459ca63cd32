package chain

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const maxSpecFile = 1 << 20 // bytes; real ones have about 8 KiB

// constants are the entries of a spec file as text: a scalar, or a list of maps.
type constants struct {
	scalar map[string]string
	list   map[string][]map[string]string
}

// ParseSpec reads a network's constants from JSON as /eth/v1/config/spec returns
// it (bare or in "data", values quoted) or from a YAML configuration (values
// unquoted). genesis is never taken from the file: MIN_GENESIS_TIME is not it.
//
// SLOTS_PER_EPOCH defaults to the preset's. A file that names no fork below Fulu is read
// as Commit-Boost reads it: Electra below Fulu. The result is validated.
func ParseSpec(data []byte, genesis time.Time) (Spec, error) {
	if len(data) > maxSpecFile {
		return Spec{}, fmt.Errorf("spec has more than %d bytes", maxSpecFile)
	}
	read := readYAML
	if b := bytes.TrimSpace(data); len(b) > 0 && b[0] == '{' {
		read = readJSON
	}
	c, err := read(data)
	if err != nil {
		return Spec{}, err
	}
	s := Spec{Name: c.scalar["CONFIG_NAME"], GenesisTime: genesis}
	if s.Name == "" {
		s.Name = customNetwork
	}
	var errs []error
	collect := func(err error) { errs = append(errs, err) }
	s.ChainID, err = c.uint("DEPOSIT_CHAIN_ID", nil)
	collect(err)
	s.SlotsPerEpoch, err = c.uint("SLOTS_PER_EPOCH", new(c.presetEpoch()))
	collect(err)
	s.SlotDuration, err = c.slotDuration()
	collect(err)
	s.GenesisForkVersion, err = c.version("GENESIS_FORK_VERSION")
	collect(err)
	s.Forks, err = c.forks()
	collect(err)
	s.Blobs, err = c.blobs(s.Forks)
	collect(err)
	if err := errors.Join(errs...); err != nil {
		return Spec{}, err
	}
	if err := s.Validate(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// uint reads an integer, decimal or 0x. A nil def means that the key is required.
func (c constants) uint(key string, def *uint64) (uint64, error) {
	text, ok := c.scalar[key]
	if !ok {
		if def == nil {
			return 0, fmt.Errorf("%s is missing", key)
		}
		return *def, nil
	}
	return parseUint(key, text)
}

func parseUint(key, text string) (uint64, error) {
	base := 10
	digits := text
	if h, ok := strings.CutPrefix(text, "0x"); ok {
		base, digits = 16, h
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %.40q is not a 64-bit number", key, text)
	}
	return n, nil
}

// presetEpoch is SLOTS_PER_EPOCH of the preset, for a file without that key.
func (c constants) presetEpoch() uint64 {
	if c.scalar["PRESET_BASE"] == "minimal" {
		return 8
	}
	return mainnetEpoch
}

// slotDuration reads SECONDS_PER_SLOT or its successor SLOT_DURATION_MS.
func (c constants) slotDuration() (time.Duration, error) {
	limit := uint64(maxSlotDuration / time.Millisecond)
	seconds, err := c.uint("SECONDS_PER_SLOT", new(uint64(0)))
	if err != nil {
		return 0, err
	}
	millis, err := c.uint("SLOT_DURATION_MS", new(uint64(0)))
	if err != nil {
		return 0, err
	}
	if seconds > limit/1000 || millis > limit {
		return 0, fmt.Errorf("slots are longer than %v", maxSlotDuration)
	}
	switch {
	case seconds == 0 && millis == 0:
		return 0, errors.New("SECONDS_PER_SLOT and SLOT_DURATION_MS are missing")
	case seconds != 0 && millis != 0 && millis != seconds*1000:
		return 0, fmt.Errorf("SECONDS_PER_SLOT %d and SLOT_DURATION_MS %d disagree", seconds, millis)
	case millis == 0:
		millis = seconds * 1000
	}
	return time.Duration(millis) * time.Millisecond, nil // #nosec G115 -- bounded above
}

// version reads four bytes: 0x and eight digits, or a YAML integer, which is
// read big-endian whether or not it is written in hexadecimal.
func (c constants) version(key string) (v phase0.Version, err error) {
	text, ok := c.scalar[key]
	if !ok {
		return v, fmt.Errorf("%s is missing", key)
	}
	digits, isHex := strings.CutPrefix(text, "0x")
	if !isHex {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return v, fmt.Errorf("%s: %.40q is not four bytes", key, text)
		}
		digits = fmt.Sprintf("%08x", n)
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) != len(v) {
		return v, fmt.Errorf("%s: %.40q is not four bytes", key, text)
	}
	return phase0.Version(b), nil
}

// forks reads *_FORK_EPOCH. Forks that are not scheduled are left out, and so
// are experimental ones without a name here.
func (c constants) forks() ([]ForkAt, error) {
	forks := []ForkAt{{Phase0, 0, 0}}
	named := 0
	for f := Altair; int(f) < len(forkNames); f++ {
		key := strings.ToUpper(f.String()) + "_FORK_EPOCH"
		if _, ok := c.scalar[key]; !ok {
			continue
		}
		epoch, err := c.uint(key, nil)
		if err != nil {
			return nil, err
		}
		if f < Fulu {
			named++
		}
		if phase0.Epoch(epoch) != unscheduled {
			forks = append(forks, ForkAt{Fork: f, Epoch: phase0.Epoch(epoch)})
		}
	}
	if _, ok := c.scalar["FULU_FORK_EPOCH"]; ok && named == 0 {
		forks[0] = ForkAt{Electra, 0, 0}
	}
	return forks, nil
}

// blobs reads the limits of Deneb and Electra and the schedule, which holds from
// Fulu on. [EIP-7892: get_blob_parameters]
func (c constants) blobs(forks []ForkAt) ([]BlobsAt, error) {
	deneb, err := c.uint("MAX_BLOBS_PER_BLOCK", new(uint64(blobsDeneb)))
	if err != nil {
		return nil, err
	}
	electra, err := c.uint("MAX_BLOBS_PER_BLOCK_ELECTRA", new(uint64(blobsElectra)))
	if err != nil {
		return nil, err
	}
	schedule, err := c.schedule()
	if err != nil {
		return nil, err
	}
	if max(deneb, electra) > maxBlobs {
		return nil, fmt.Errorf("blob limit is above %d", maxBlobs)
	}
	var out []BlobsAt
	add := func(epoch phase0.Epoch, limit int) {
		if n := len(out); n > 0 && out[n-1].Epoch == epoch {
			out = out[:n-1] // the later line of one epoch holds
		}
		out = append(out, BlobsAt{epoch, limit})
	}
	for _, f := range forks {
		switch f.Fork {
		case Deneb:
			add(f.Epoch, int(deneb)) // #nosec G115 -- bounded above
		case Electra:
			add(f.Epoch, int(electra)) // #nosec G115 -- bounded above
		case Fulu:
			for _, b := range schedule {
				add(max(b.Epoch, f.Epoch), b.Max)
			}
		}
	}
	return out, nil
}

func (c constants) schedule() ([]BlobsAt, error) {
	const key = "BLOB_SCHEDULE"
	var out []BlobsAt
	for _, line := range c.list[key] {
		epoch, err := parseUint(key+".EPOCH", line["EPOCH"])
		if err != nil {
			return nil, err
		}
		limit, err := parseUint(key+".MAX_BLOBS_PER_BLOCK", line["MAX_BLOBS_PER_BLOCK"])
		if err != nil {
			return nil, err
		}
		if limit > maxBlobs {
			return nil, fmt.Errorf("%s: blob limit is above %d", key, maxBlobs)
		}
		if phase0.Epoch(epoch) != unscheduled {
			out = append(out, BlobsAt{phase0.Epoch(epoch), int(limit)}) // #nosec G115 -- bounded above
		}
	}
	slices.SortStableFunc(out, func(a, b BlobsAt) int {
		switch {
		case a.Epoch < b.Epoch:
			return -1
		case a.Epoch > b.Epoch:
			return 1
		}
		return 0
	})
	return out, nil
}

func readJSON(data []byte) (c constants, err error) {
	var bare map[string]json.RawMessage
	if err := json.Unmarshal(data, &bare); err != nil {
		return c, fmt.Errorf("spec is not JSON: %w", err)
	}
	if inner, ok := bare["data"]; ok {
		bare = nil
		if err := json.Unmarshal(inner, &bare); err != nil {
			return c, fmt.Errorf("spec data is not an object: %w", err)
		}
	}
	c = constants{map[string]string{}, map[string][]map[string]string{}}
	for key, raw := range bare {
		if text, ok := jsonScalar(raw); ok {
			c.scalar[key] = text
			continue
		}
		var lines []map[string]json.RawMessage
		if json.Unmarshal(raw, &lines) != nil {
			continue // of a shape no key we read has
		}
		for _, line := range lines {
			m := map[string]string{}
			for k, v := range line {
				m[k], _ = jsonScalar(v)
			}
			c.list[key] = append(c.list[key], m)
		}
	}
	return c, nil
}

// jsonScalar returns a string or a number as text.
func jsonScalar(raw json.RawMessage) (string, bool) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text, true
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String(), true
	}
	return "", false
}

// readYAML walks the syntax tree, so that numbers stay text (0x00000000 keeps
// its width) and anchors are never expanded.
func readYAML(data []byte) (c constants, err error) {
	defer func() {
		if recover() != nil { // the parser is not ours, and a file must not end the program
			err = errors.New("spec is not YAML")
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return c, fmt.Errorf("spec is not YAML: %w", err)
	}
	if len(file.Docs) != 1 {
		return c, errors.New("spec is not one YAML document")
	}
	c = constants{map[string]string{}, map[string][]map[string]string{}}
	top, ok := yamlMap(file.Docs[0].Body)
	if !ok {
		return c, errors.New("spec is not a YAML mapping")
	}
	for key, node := range top {
		seq, ok := node.(*ast.SequenceNode)
		if !ok {
			c.scalar[key] = yamlScalar(node)
			continue
		}
		for _, item := range seq.Values {
			m, _ := yamlMap(item)
			line := map[string]string{}
			for k, v := range m {
				line[k] = yamlScalar(v)
			}
			c.list[key] = append(c.list[key], line)
		}
	}
	return c, nil
}

func yamlMap(n ast.Node) (map[string]ast.Node, bool) {
	out := map[string]ast.Node{}
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			out[yamlScalar(v.Key)] = v.Value
		}
	case *ast.MappingValueNode: // a mapping of one entry
		out[yamlScalar(n.Key)] = n.Value
	default:
		return nil, false
	}
	maps.DeleteFunc(out, func(k string, _ ast.Node) bool { return k == "" })
	return out, true
}

func yamlScalar(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value
	}
	return ""
}
