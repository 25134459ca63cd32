package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// checker collects what is wrong across fields.
type checker struct {
	c        *Config
	bad      map[string]bool // keys that already have an error
	errs     Errors
	warnings Errors
}

func (k *checker) fail(key, format string, args ...any) {
	k.errs = append(k.errs, Error{k.c.file, k.line(key), key, fmt.Sprintf(format, args...)})
}

func (k *checker) warn(key, format string, args ...any) {
	k.warnings = append(k.warnings, Error{k.c.file, k.line(key), key, fmt.Sprintf(format, args...)})
}

// env reports a wrong environment variable.
func (k *checker) env(name, format string, args ...any) {
	k.errs = append(k.errs, Error{File: "environment", Key: name, Message: fmt.Sprintf(format, args...)})
}

// require checks a condition on a key that was decoded well.
func (k *checker) require(ok bool, key, format string, args ...any) {
	if !ok && !k.bad[key] {
		k.bad[key] = true
		k.fail(key, format, args...)
	}
}

// given says whether the file has the key.
func (k *checker) given(key string) bool { _, ok := k.c.lines[key]; return ok }

// line of a key, or of the nearest table around a key that is missing.
func (k *checker) line(key string) int {
	for key != "" {
		if n, ok := k.c.lines[key]; ok {
			return n
		}
		key = key[:max(strings.LastIndexAny(key, ".["), 0)]
	}
	return 0
}

// resolve fills values that are inherited from other keys.
func (k *checker) resolve() {
	c := k.c
	if c.Execution.URL == "" {
		c.Execution.URL = c.PBS.RPCURL
	} else if c.PBS.RPCURL == "" {
		c.PBS.RPCURL = c.Execution.URL
	}
	for i := range c.Muxes {
		m, at := &c.Muxes[i], element("mux", i)
		if !k.given(at + ".timeout_get_header_ms") {
			m.TimeoutGetHeader = c.PBS.TimeoutGetHeader
		}
		if !k.given(at + ".late_in_slot_time_ms") {
			m.LateInSlot = c.PBS.LateInSlot
		}
		if l := m.Loader; l != nil {
			l.Registry = strings.ToLower(l.Registry)
			l.StaderPool = strings.ToLower(l.StaderPool)
			if l.Path == "" && !k.given(at+".loader.http_timeout_seconds") {
				l.HTTPTimeout = c.PBS.HTTPTimeout
			}
		}
	}
}

// chain resolves the network.
func (k *checker) chain() {
	n := &k.c.Network
	custom := []string{"slot_time_secs", "slot_time_ms", "genesis_fork_version", "fulu_fork_slot", "chain_id"}
	switch {
	case k.bad["chain"]:
		return
	case !k.given("chain"):
		k.fail("chain", `is missing; "Mainnet", "Holesky", "Sepolia", "Hoodi", or a table`)
	case n.Name != "":
		spec, ok := chain.Named(n.Name)
		k.require(ok, "chain", "%.40q is no network; Mainnet, Holesky, Sepolia and Hoodi are", n.Name)
		k.c.spec = spec
	case k.given("chain.path"):
		k.require(k.given("chain.genesis_time_secs"), "chain.genesis_time_secs", "is missing")
		for _, key := range custom {
			k.require(!k.given("chain."+key), "chain."+key, "is read from the spec file; leave it out")
		}
		k.specFile(n)
	default:
		k.customChain(n)
	}
}

func (k *checker) specFile(n *Network) {
	data, err := readFile(n.Path)
	if err != nil {
		k.fail("chain.path", "%v", err)
		return
	}
	if k.bad["chain.genesis_time_secs"] || !k.given("chain.genesis_time_secs") {
		return
	}
	spec, err := chain.ParseSpec(data, time.Unix(n.GenesisTime, 0).UTC())
	if err != nil {
		k.fail("chain.path", "%s: %s", n.Path, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	k.c.spec = spec
}

func (k *checker) customChain(n *Network) {
	before := len(k.errs)
	for _, key := range []string{"genesis_time_secs", "genesis_fork_version", "fulu_fork_slot", "chain_id"} {
		k.require(k.given("chain."+key), "chain."+key, "is missing")
	}
	slot := n.ShortSlotTime
	if k.given("chain.slot_time_secs") {
		slot = time.Duration(min(n.SlotTime, 1<<20)) * time.Second // #nosec G115 -- bounded
	}
	k.require(k.given("chain.slot_time_secs") != k.given("chain.slot_time_ms"), "chain.slot_time_secs",
		"one of slot_time_secs and slot_time_ms is needed")
	if len(k.errs) > before {
		return
	}
	for _, key := range []string{"genesis_time_secs", "genesis_fork_version", "fulu_fork_slot", "chain_id", "slot_time_secs", "slot_time_ms"} {
		if k.bad["chain."+key] {
			return
		}
	}
	spec := chain.Custom(time.Unix(n.GenesisTime, 0).UTC(), slot, n.ForkVersion, phase0.Slot(n.FuluForkSlot), uint64(n.ChainID))
	if err := spec.Validate(); err != nil {
		k.fail("chain", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	k.c.spec = spec
}
