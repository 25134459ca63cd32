package config

import (
	"net/netip"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"
)

// PBS is the Builder API and how relays are asked. [Commit-Boost: pbs]
type PBS struct {
	// DockerImage is Commit-Boost's. Accepted and not used.
	DockerImage string `toml:"docker_image"`
	// WithSigner is Commit-Boost's. Accepted and not used.
	WithSigner bool `toml:"with_signer"`

	// Host is the address that the beacon node reaches. Default 127.0.0.1.
	// Nothing authenticates callers: bind another address only where the network does.
	Host netip.Addr `toml:"host"`
	// Port of the Builder API. Default 18550; 0 takes any free one.
	Port uint16 `toml:"port"`

	// RelayCheck makes our status ask the relays. Default true; false answers 200 at once.
	RelayCheck bool `toml:"relay_check"`
	// WaitAllRegistrations is Commit-Boost's. Default true. A registration is
	// answered at the first relay's 200 either way, and goes on to the others.
	WaitAllRegistrations bool `toml:"wait_all_registrations"`

	// TimeoutGetHeader is how long relays have for a bid. Default 950 ms; below LateInSlot.
	TimeoutGetHeader time.Duration `toml:"timeout_get_header_ms"`
	// AnswerWithin is when getHeader's answer leaves at the latest, measured from
	// the request at our socket. Default 950 ms: beacon nodes give up after a
	// second, and a bid they no longer wait for is lost.
	AnswerWithin time.Duration `toml:"answer_within_ms"`
	// TimeoutGetPayload is how long relays have to unblind a block, per attempt. Default 4000 ms.
	TimeoutGetPayload time.Duration `toml:"timeout_get_payload_ms"`
	// TimeoutRegisterValidator is how long each relay has for registrations. Default 3000 ms.
	TimeoutRegisterValidator time.Duration `toml:"timeout_register_validator_ms"`
	// LateInSlot is how far into the slot a bid is still asked for. Default 2000 ms.
	// After it the answer is 204, and the node builds its own block.
	LateInSlot time.Duration `toml:"late_in_slot_time_ms"`

	// MinBid is what a bid must at least be worth, in wei. Default 0; below 1 ETH.
	MinBid uint256.Int `toml:"min_bid_eth"`
	// MaxValue is what a bid may at most claim, in wei: a higher one is a lie or a
	// mistake. Default 10,000 ETH.
	MaxValue uint256.Int `toml:"max_value_eth"`
	// SkipSigverify takes bids without checking the relay's key and signature.
	// Default false; true lets whoever answers in a relay's place win the block.
	SkipSigverify bool `toml:"skip_sigverify"`
	// FeeRecipientStrict refuses bids whose header pays another address than the
	// validator registered. Default false: builders often name themselves and pay
	// in their last transaction, and such bids are counted only.
	FeeRecipientStrict bool `toml:"fee_recipient_strict"`
	// ExtraValidation compares bids with the parent block, read from RPCURL. Default false.
	ExtraValidation bool `toml:"extra_validation_enabled"`
	// RPCURL is an execution node, for extra validation and the Lido and Stader
	// registries. Optional: execution.url if missing.
	RPCURL string `toml:"rpc_url"`

	// SSVNodeAPIURL is the operator's own SSV node, asked first. Default http://localhost:16000/v1/.
	SSVNodeAPIURL string `toml:"ssv_node_api_url"`
	// SSVPublicAPIURL is asked when the node does not answer. Default https://api.ssv.network/api/v4/.
	SSVPublicAPIURL string `toml:"ssv_public_api_url"`
	// HTTPTimeout bounds each request of a key loader. Default 10 s.
	HTTPTimeout time.Duration `toml:"http_timeout_seconds"`
	// RegisterRetryLimit is how often registrations are sent to a relay at most. Default 3.
	RegisterRetryLimit int `toml:"register_validator_retry_limit"`
	// RegistrationBatch splits registrations into requests of at most that many.
	// Default "" (one request).
	RegistrationBatch BatchSize `toml:"validator_registration_batch_size"`
	// MuxRefresh is how often registries with enable_refreshing are read. Default 384 s.
	MuxRefresh time.Duration `toml:"mux_registry_refresh_interval_seconds"`

	// Penalty is the box for relays that win and do not deliver.
	Penalty Penalty `toml:"penalty"`
}

// Penalty keeps a relay's bids out after it won and did not deliver.
type Penalty struct {
	// Misses is how many undelivered blocks put a relay into the box. Default 1; 0 turns it off.
	Misses int `toml:"misses"`
	// Slots is how long it stays there. Default 32.
	Slots int `toml:"slots"`
}

func (p *PBS) setDefaults() {
	*p = PBS{
		Host: loopback, Port: 18550, RelayCheck: true, WaitAllRegistrations: true,
		TimeoutGetHeader: 950 * time.Millisecond, AnswerWithin: 950 * time.Millisecond,
		TimeoutGetPayload: 4 * time.Second, TimeoutRegisterValidator: 3 * time.Second, LateInSlot: 2 * time.Second,
		MaxValue: *ether(10_000), SSVNodeAPIURL: "http://localhost:16000/v1/", SSVPublicAPIURL: "https://api.ssv.network/api/v4/",
		HTTPTimeout: 10 * time.Second, RegisterRetryLimit: 3, MuxRefresh: 384 * time.Second,
		Penalty: Penalty{Misses: 1, Slots: 32},
	}
}

// How a relay is asked for bids.
const (
	HeaderHTTP   = "http"
	HeaderStream = "stream"
)

// Relay is one relay of a set. [Commit-Boost: relays]
type Relay struct {
	// ID names the relay in logs and metrics. Optional: the host of URL.
	ID string `toml:"id"`
	// URL is scheme://0xPUBKEY@host[:port]; bids must be signed by that key. Required.
	URL string `toml:"url"`
	// Headers go with every request. Optional.
	Headers map[string]string `toml:"headers"`
	// GetParams are query parameters of every request. Optional.
	GetParams map[string]string `toml:"get_params"`

	// EnableTimingGames turns the next two on. Default false. Later bids are
	// higher, and blocks proposed too late are lost: for those who measure.
	EnableTimingGames bool `toml:"enable_timing_games"`
	// TargetFirstRequest delays the first request to this far into the slot. Optional.
	TargetFirstRequest time.Duration `toml:"target_first_request_ms"`
	// FrequencyGetHeader repeats the request this often. Optional.
	FrequencyGetHeader time.Duration `toml:"frequency_get_header_ms"`
	// GetHeader is "http", or "stream" for the WebSocket bid stream. Default "http".
	GetHeader string `toml:"get_header"`

	// Constraints says that the relay serves the Constraints API. Default false.
	// Promises need at least one such relay.
	Constraints bool `toml:"constraints"`
	// ConstraintsDialect is "spec" or "fabric". Default "fabric".
	ConstraintsDialect string `toml:"constraints_dialect"`
	// ConstraintsLead is how long before a slot's start the relay must have its
	// constraints. Optional: gateway.lead_ms, or gateway.fabric_lead_ms for fabric.
	ConstraintsLead time.Duration `toml:"constraints_lead_ms"`
	// AllowPrivate lets the relay's name resolve to a private address. Optional:
	// true for a private address, localhost or a name without dots, else false.
	AllowPrivate *bool `toml:"allow_private"`

	// Pubkey is the key in URL.
	Pubkey phase0.BLSPubKey `toml:"-"`
}

// Dialects of the Constraints API.
const (
	DialectSpec   = "spec"
	DialectFabric = "fabric"
)

func (r *Relay) setDefaults() { *r = Relay{GetHeader: HeaderHTTP, ConstraintsDialect: DialectFabric} }

func (r *Relay) refusedKeys() map[string]string {
	return map[string]string{"validator_registration_batch_size": "is obsolete here; set it in [pbs], for all relays"}
}

// Mux gives a set of validators relays of their own, for bids, registrations
// and blocks alike. [Commit-Boost: mux, which scopes bids only]
type Mux struct {
	// ID names the mux in logs and metrics. Required.
	ID string `toml:"id"`
	// ValidatorPubkeys belong to the mux. Optional with a loader; no key may be in two muxes.
	ValidatorPubkeys []phase0.BLSPubKey `toml:"validator_pubkeys"`
	// Loader finds more keys. Optional.
	Loader *Loader `toml:"loader"`
	// TimeoutGetHeader is pbs.timeout_get_header_ms for these validators. Optional.
	TimeoutGetHeader time.Duration `toml:"timeout_get_header_ms"`
	// LateInSlot is pbs.late_in_slot_time_ms for these validators. Optional.
	LateInSlot time.Duration `toml:"late_in_slot_time_ms"`
	// Relays of the mux. At least one.
	Relays []Relay `toml:"relays"`
}

// Registries that know an operator's validators.
const (
	RegistryLido   = "lido"
	RegistrySSV    = "ssv"
	RegistryStader = "stader"
)

// Stader's pools.
const (
	StaderPermissioned   = "permissioned"
	StaderPermissionless = "permissionless"
)

// Loader is a path as a string, or a table with a URL or a registry.
type Loader struct {
	// Path is a file: a JSON array of public keys.
	Path string `toml:"-"`
	// URL answers GET with a JSON array of public keys. Read at start only.
	URL string `toml:"url"`
	// HTTPTimeout bounds each request. Optional: pbs.http_timeout_seconds.
	HTTPTimeout time.Duration `toml:"http_timeout_seconds"`
	// Registry is "lido", "ssv" or "stader".
	Registry string `toml:"registry"`
	// NodeOperatorID is the operator in the registry. Required with one.
	NodeOperatorID uint64 `toml:"node_operator_id"`
	// LidoModuleID is the staking module of Lido. Default 1, the curated one.
	LidoModuleID uint64 `toml:"lido_module_id"`
	// StaderPool is "permissioned" or "permissionless". Required for Stader.
	StaderPool string `toml:"stader_pool"`
	// EnableRefreshing reads the registry again every
	// pbs.mux_registry_refresh_interval_seconds. Default false.
	EnableRefreshing bool `toml:"enable_refreshing"`
}

func (l *Loader) setDefaults() { *l = Loader{LidoModuleID: 1} }

func (l *Loader) setText(text string) error {
	l.Path = text
	return nil
}
