package config

import (
	"net/netip"
	"net/url"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/holiman/uint256"
)

// The commitment types that a transaction can be promised under.
const (
	typeInclusion uint64 = 1
	typeProvable  uint64 = 0x696e636c
)

// What becomes of a wallet's transaction that cannot be promised.
const (
	WalletRefuse      = "refuse"
	WalletPassthrough = "passthrough"
)

// Wallet is the RPC URL for wallets.
type Wallet struct {
	// Host is the address to listen on. Default 127.0.0.1.
	Host netip.Addr `toml:"host"`
	// Port to listen on. Default 18570; 0 takes any free one.
	Port uint16 `toml:"port"`
	// CommitmentType of the promises: 0x696e636c, "incl", the default, which the
	// contracts can judge, or 1, fabric's inclusion.
	CommitmentType uint64 `toml:"commitment_type"`
	// Slasher is the contract that the promises name. Default: none, the zero address.
	Slasher bellatrix.ExecutionAddress `toml:"slasher"`
	// WithoutPromise says what becomes of a transaction that cannot be promised:
	// "refuse", the default, or "passthrough": the execution node gets it, and with
	// it the public pool.
	WithoutPromise string `toml:"without_promise"`
	// MaxSlotsAhead is how far ahead a slot is promised at most. Default 8. The fee
	// cap must cover the worst base fee until then: 9/8 for each slot.
	MaxSlotsAhead uint64 `toml:"max_slots_ahead"`
	// FeeHints raises the fees that wallets are told to what a promise needs.
	// Default true. Without it most wallets offer too little.
	FeeHints bool `toml:"fee_hints"`
	// FeeHold is how long the fees told are good for. Default 12000 ms.
	FeeHold time.Duration `toml:"fee_hold_ms"`
	// FeeGas is the gas limit whose price they are told; a transaction that reserves
	// much more than it surely uses pays more. Default 200000.
	FeeGas uint64 `toml:"fee_gas"`
	// MinTip is the tip per gas that wallets are told at least. Default 0: what the
	// module's price is.
	MinTip uint256.Int `toml:"min_tip_gwei"`
	// SyncTimeout is how long eth_sendRawTransactionSync waits for a receipt if the
	// caller does not say. Default 20000 ms.
	SyncTimeout time.Duration `toml:"sync_timeout_ms"`
	// SyncMaxTimeout is how long a caller may have it wait. Default 60000 ms.
	SyncMaxTimeout time.Duration `toml:"sync_max_timeout_ms"`
	// CallsPerSecond of one address, or one /64 of IPv6; ten seconds' worth at once.
	// Reads that make the node work count five times. Default 50; 0 is unlimited.
	CallsPerSecond float64 `toml:"calls_per_second"`
	// TransactionsPerSecond of one address; ten seconds' worth at once. Default 2;
	// 0 is unlimited.
	TransactionsPerSecond float64 `toml:"transactions_per_second"`
	// CORSOrigins are the web pages that may ask, as https://host; "*" is any.
	// Default none.
	CORSOrigins []string `toml:"cors_origins"`
	// Bolt serves Bolt's methods at the same URL. Optional; missing means off.
	Bolt *WalletBolt `toml:"bolt"`
}

// WalletBolt is the adapter for Bolt's clients.
type WalletBolt struct {
	// KeyPath of the operator's ECDSA key, which signs Bolt's answers and nothing
	// else: a Web3 Secret Storage file, or 64 hexadecimal digits; mode 0600. Required.
	KeyPath string `toml:"key_path"`
	// PasswordPath of a file with the password of a Web3 Secret Storage file. Optional.
	PasswordPath string `toml:"password_path"`
}

func (w *Wallet) setDefaults() {
	*w = Wallet{
		Host: loopback, Port: 18570, CommitmentType: typeProvable, WithoutPromise: WalletRefuse, MaxSlotsAhead: 8,
		FeeHints: true, FeeHold: 12 * time.Second, FeeGas: 200_000,
		SyncTimeout: 20 * time.Second, SyncMaxTimeout: time.Minute, CallsPerSecond: 50, TransactionsPerSecond: 2, CORSOrigins: []string{},
	}
}

func (k *checker) wallet() {
	w := k.c.Wallet
	if w == nil {
		return
	}
	k.require(k.c.Promises(), "wallet", "needs a module that makes promises")
	k.require(w.CommitmentType == typeInclusion || w.CommitmentType == typeProvable,
		"wallet.commitment_type", "is not 0x696e636c or 1")
	k.require(oneOf(w.WithoutPromise, WalletRefuse, WalletPassthrough), "wallet.without_promise", "is not %s", list(WalletRefuse, WalletPassthrough))
	k.require(w.MaxSlotsAhead >= 1 && w.MaxSlotsAhead <= 64, "wallet.max_slots_ahead", "is not within 1 to 64")
	k.require(w.FeeHold > 0 && w.FeeHold <= 10*time.Minute, "wallet.fee_hold_ms", "is not within 1 to 600000")
	k.require(w.FeeGas >= 21_000 && w.FeeGas <= 1<<24, "wallet.fee_gas", "is not within 21000 to %d", 1<<24)
	k.require(w.SyncMaxTimeout >= time.Second && w.SyncMaxTimeout <= 10*time.Minute, "wallet.sync_max_timeout_ms", "is not within 1000 to 600000")
	k.require(w.SyncTimeout > 0 && w.SyncTimeout <= w.SyncMaxTimeout, "wallet.sync_timeout_ms", "is not within 1 to sync_max_timeout_ms")
	k.require(w.CallsPerSecond >= 0 && w.CallsPerSecond <= 1e6, "wallet.calls_per_second", "is not within 0 to 1000000")
	k.require(w.TransactionsPerSecond >= 0 && w.TransactionsPerSecond <= 1e6, "wallet.transactions_per_second", "is not within 0 to 1000000")
	k.require(w.Bolt == nil || w.Bolt.KeyPath != "", "wallet.bolt.key_path", "is missing")
	for i, o := range w.CORSOrigins {
		u, err := url.Parse(o)
		k.require(o == "*" || err == nil && u.Host != "" && u.Scheme+"://"+u.Host == o, element("wallet.cors_origins", i), "is not scheme://host[:port] or *")
	}
	if len(w.CORSOrigins) > 0 && oneOf("*", w.CORSOrigins...) {
		k.warn("wallet.cors_origins", "lets every web page ask, in the browser of whoever reaches this address")
	}
}
