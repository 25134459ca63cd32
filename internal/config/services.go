package config

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Network is a name as a string ("Mainnet", "Holesky", "Sepolia", "Hoodi"), or a
// table: genesis time and spec file, or the numbers of a custom chain.
type Network struct {
	// Name of a public network, in any case.
	Name string `toml:"-"`
	// GenesisTime in unix seconds. It is never read from the spec file.
	GenesisTime int64 `toml:"genesis_time_secs"`
	// Path of a spec file: JSON of /eth/v1/config/spec, or a YAML configuration.
	Path string `toml:"path"`
	// SlotTime of a custom chain, in seconds.
	SlotTime uint64 `toml:"slot_time_secs"`
	// ShortSlotTime of a custom chain with slots below a second, instead of SlotTime.
	ShortSlotTime time.Duration `toml:"slot_time_ms"`
	// ForkVersion is the genesis fork version of a custom chain: four bytes in hexadecimal.
	ForkVersion phase0.Version `toml:"genesis_fork_version"`
	// FuluForkSlot of a custom chain; slots below it are Electra.
	FuluForkSlot uint64 `toml:"fulu_fork_slot"`
	// ChainID of a custom chain's execution layer: a number, or a decimal or 0x string.
	ChainID ChainID `toml:"chain_id"`
}

func (n *Network) setText(text string) error {
	n.Name = text
	return nil
}

// Metrics is the listener for Prometheus and the readiness probe.
type Metrics struct {
	// Enabled turns it on. Default true, once the table is there.
	Enabled bool `toml:"enabled"`
	// Host is the address to listen on. Default 127.0.0.1.
	Host netip.Addr `toml:"host"`
	// StartPort is our port. Default 10000; 0 takes any free one. Commit-Boost
	// numbers its modules from here too.
	StartPort uint16 `toml:"start_port"`
}

func (m *Metrics) setDefaults() { *m = Metrics{Enabled: true, Host: loopback, StartPort: 10000} }

// Logs say where log lines go.
type Logs struct {
	// Stdout is on unless turned off.
	Stdout LogStdout `toml:"stdout"`
	// File is accepted and not written by this version.
	File LogFile `toml:"file"`
}

// LogStdout writes log lines to standard output.
type LogStdout struct {
	// Enabled turns it on. Default true.
	Enabled bool `toml:"enabled"`
	// Level is "trace", "debug", "info", "warn" or "error". Default "info".
	Level slog.Level `toml:"level"`
	// UseJSON writes JSON. Optional: plain on a terminal, JSON elsewhere.
	UseJSON *bool `toml:"use_json"`
	// Color marks levels on a terminal. Default true.
	Color bool `toml:"color"`
}

// LogFile is Commit-Boost's table for files.
type LogFile struct {
	// Enabled turns it on. Default false.
	Enabled bool `toml:"enabled"`
	// Level as for stdout. Default "info".
	Level slog.Level `toml:"level"`
	// UseJSON writes JSON. Default true.
	UseJSON bool `toml:"use_json"`
	// DirPath is the directory. Default "/var/logs/commit-boost".
	DirPath string `toml:"dir_path"`
	// MaxFiles is how many are kept. Optional: all.
	MaxFiles int `toml:"max_files"`
}

func (l *Logs) setDefaults() {
	l.Stdout = LogStdout{Enabled: true, Color: true}
	l.File = LogFile{UseJSON: true, DirPath: "/var/logs/commit-boost"}
}

// LevelTrace is below slog.LevelDebug.
const LevelTrace = slog.LevelDebug - 4

// Beacon is the beacon node: duties, genesis, blocks.
type Beacon struct {
	// URL of its Beacon API. Required for promises. Without it a relay that takes a
	// block and does not publish it is not noticed.
	URL string `toml:"url"`
}

// Execution is the execution node: accounts, heads.
type Execution struct {
	// URL of its JSON-RPC. Required for promises: pbs.rpc_url if missing.
	URL string `toml:"url"`
	// SecondURL of another node. With it nothing is promised unless both tell the
	// same head and the same accounts. Optional.
	SecondURL string `toml:"second_url"`
}

// Ledger is the one durable store.
type Ledger struct {
	// Path of the file. Default "ledger.db". Never delete, copy back or share it:
	// it is what keeps us from contradicting ourselves.
	Path string `toml:"path"`
	// Witness is a file that follows the ledger's counter, so that a ledger that
	// was put back or copied is noticed. Keep it in another folder, and on another
	// disk if there is one. Default: beside the proxy keys.
	Witness string `toml:"witness"`
	// PostgresDSNFile names a file, mode 0600, that holds the connection string of
	// a PostgreSQL database. Several sidecars may share the ledger in it: one of
	// them leads and signs, the others stand by. Optional; instead of Path.
	PostgresDSNFile string `toml:"postgres_dsn_file"`
	// Holder is the name the other sidecars see while this one leads. Default: the
	// host's name.
	Holder string `toml:"holder"`
	// Lease is how long a leader that vanished keeps the others from signing.
	// Default 10000 ms.
	Lease time.Duration `toml:"lease_ms"`
}

func (l *Ledger) setDefaults() { l.Path, l.Lease = "ledger.db", 10*time.Second }

// Data is what may be lost.
type Data struct {
	// Path of a directory for modules' own values and the log of events, made when
	// something is written. Default "data".
	Path string `toml:"path"`
}

func (d *Data) setDefaults() { d.Path = "data" }

// Gateway is the Commitments API for searchers.
type Gateway struct {
	// Host is the address to listen on. Default 127.0.0.1.
	Host netip.Addr `toml:"host"`
	// Port to listen on. Default 18560; 0 takes any free one.
	Port uint16 `toml:"port"`
	// Lead is how long before a slot's start its promises close and its
	// constraints go out. Default 4000 ms. Less leaves builders no time.
	Lead time.Duration `toml:"lead_ms"`
	// FabricLead is the same where only relays of the fabric dialect are a path.
	// Default 14000 ms, which is when fabric's own gateway closes.
	FabricLead time.Duration `toml:"fabric_lead_ms"`
	// PostsEnd is how long before a slot's start the last attempt begins to hand
	// over constraints. Default 500 ms, or a quarter of the least lead.
	PostsEnd time.Duration `toml:"posts_end_ms"`
	// MinAcks is how many relays or builders must be a path for a slot, and must
	// take its constraints. Default 1.
	MinAcks int `toml:"min_acks"`
	// MaxUnproven is for how many slots a relay may return bids that prove nothing
	// before it is no path any more, for 32 slots or until it proves one. Default
	// 2; 0 is any number.
	MaxUnproven int `toml:"max_unproven"`
	// Builders are trusted with constraints. Optional.
	Builders []Builder `toml:"builders"`
	// Receivers may see constraints before the block. Optional: anybody may.
	Receivers []Receivers `toml:"receivers"`
	// SignatureForm is how answers write committers' signatures: "v27", "v0" (65 bytes,
	// v is 27 or 28, or 0 or 1) or "object" ({r, s, yParity, v}). Default "v27".
	SignatureForm string `toml:"signature_form"`
	// Collateral is what capabilities tell searchers of. Optional.
	Collateral *Collateral `toml:"collateral"`
	// Committers promise for some validators. Optional.
	Committers []Committer `toml:"committers"`
	// Exclusive are validators that are sold elsewhere. Optional.
	Exclusive []Exclusive `toml:"exclusive"`
	// Slashers are the contracts that promises may name, beside the zero address,
	// which is none. Default: any. Where a key is registered with a registry that
	// believes whatever contract a promise names, any is all of its collateral.
	Slashers []bellatrix.ExecutionAddress `toml:"slashers"`
	// MaxGasPercent of the gas limit that the slot's block has at least, by the
	// execution node's head, may be promised per slot. Default 25.
	MaxGasPercent int `toml:"max_gas_percent"`
	// MaxCommitments per slot. Default 128.
	MaxCommitments int `toml:"max_commitments"`
	// MaxBytes of transactions per slot, without blobs. Default 1048576, at most four
	// times that.
	MaxBytes uint64 `toml:"max_bytes"`
	// MaxBlobs per slot, at most 21; never more than a block may have. Default 0: no
	// blob transactions.
	MaxBlobs uint64 `toml:"max_blobs"`
	// Access says who may ask, and how much.
	Access Access `toml:"access"`
}

// DefaultGateway returns the defaults of the table.
func DefaultGateway() *Gateway {
	g := new(Gateway)
	g.setDefaults()
	return g
}

func (g *Gateway) setDefaults() {
	*g = Gateway{Host: loopback, Port: 18560, Lead: 4 * time.Second, FabricLead: 14 * time.Second, PostsEnd: 500 * time.Millisecond, SignatureForm: "v27", MinAcks: 1, MaxUnproven: 2, MaxGasPercent: 25, MaxCommitments: 128, MaxBytes: 1 << 20}
	g.Access.setDefaults()
}

// Audit judges our blocks against our promises.
type Audit struct {
	// AfterSlots is how old a slot is when it is first judged. Default 1: verdicts
	// are provisional until the slot is finalized, and are reached anew after a
	// reorganisation. What shows them has to be captured within about 128 blocks.
	AfterSlots uint64 `toml:"after_slots"`
}

func (a *Audit) setDefaults() { a.AfterSlots = 1 }
