// Package config owns the configuration file: its fields, their defaults and
// what makes them right. Reading is strict, and everything that is wrong is
// reported at once, with lines. Names and meanings are Commit-Boost's where it
// has them, so that its files run here.
//
// Units are in the names: _ms and _seconds are integers, _eth and _gwei are
// decimal numbers or strings, exact to the wei. It never dials and never
// keeps a secret: Secrets hands them over. Beside the file itself only the chain's
// spec file and, when asked, files of secrets are read.
package config

import (
	"sidecar/chain"
	"sidecar/fault"
)

// Config is the whole file. It is read-only once loaded.
type Config struct {
	// Network says which chain we are on. Required.
	Network Network `toml:"chain"`
	// PBS is the Builder API that the beacon node calls. Optional.
	PBS PBS `toml:"pbs"`
	// Relays are asked for validators without a mux. At least one.
	Relays []Relay `toml:"relays"`
	// Muxes give validators relays of their own. Optional.
	Muxes []Mux `toml:"mux"`
	// Signer holds the validators' keys. Required for promises.
	Signer *Signer `toml:"signer"`
	// Modules make promises, or ask for signatures. Optional.
	Modules []Module `toml:"modules"`
	// Metrics is the Prometheus listener. Optional; missing means off.
	Metrics *Metrics `toml:"metrics"`
	// Logs say where log lines go. Optional.
	Logs Logs `toml:"logs"`
	// Beacon is the beacon node. Required for promises.
	Beacon Beacon `toml:"beacon"`
	// Execution is the execution node. Required for promises.
	Execution Execution `toml:"execution"`
	// Ledger is where promises are kept. Optional.
	Ledger Ledger `toml:"ledger"`
	// Data is where modules keep what may be lost. Optional.
	Data Data `toml:"data"`
	// Gateway takes commitment requests. Optional; missing means off.
	Gateway *Gateway `toml:"gateway"`
	// Wallet is an RPC URL for wallets, whose transactions are promised. Optional;
	// missing means off.
	Wallet *Wallet `toml:"wallet"`
	// Audit judges our blocks. Optional.
	Audit Audit `toml:"audit"`

	file     string
	lines    map[string]int // by key, as pbs.port or relays[0].url
	spec     chain.Spec
	warnings []string
}

// ErrInvalid is every error of this package; errors.As finds Errors inside.
var ErrInvalid = fault.Define("config_invalid", fault.Invalid, "The configuration file is wrong; the message names lines and keys.")

// Chain is the network of the file, resolved and valid.
func (c *Config) Chain() chain.Spec { return c.spec }

// File is the name the file was read under.
func (c *Config) File() string { return c.file }

// Warnings are what the file does that may not be meant, in the form of errors.
func (c *Config) Warnings() []string { return c.warnings }

// Promises says whether a module may make promises, so that signer, ledger,
// beacon and execution node are needed.
func (c *Config) Promises() bool {
	for i := range c.Modules {
		if c.Modules[i].Promises() {
			return true
		}
	}
	return false
}

// DecodeModule decodes the [modules.config] table of module i into a struct with
// toml tags, strictly; what is not in the file keeps its value. Field types: the
// ones of this package's own structs. Errors: Errors, with lines.
func (c *Config) DecodeModule(i int, into any) error {
	return c.Modules[i].Config.decode(c.file, element("modules", i)+".config", into)
}
