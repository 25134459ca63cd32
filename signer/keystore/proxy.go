package keystore

import (
	"fmt"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
)

// Faults of proxy keys.
var (
	ErrDelegation = fault.Define("proxy_delegation_invalid", fault.Invalid, "A proxy key's delegation is not signed by its validator for this network.")
	ErrPossession = fault.Define("proxy_possession_invalid", fault.Invalid, "A proxy key's proof of possession is not its own.")
	ErrModuleName = fault.Define("proxy_module_name", fault.Invalid, "A module id cannot name a folder of proxy keys.")
	ErrScheme     = fault.Define("proxy_scheme", fault.Invalid, "A proxy key's scheme is neither bls nor ecdsa.")
	ErrLifetime   = fault.Define("proxy_lifetime", fault.Invalid, "A proxy key would expire before it is made.")
	ErrExpired    = fault.Define("proxy_expired", fault.Forbidden, "The proxy key has expired.")
	ErrRevoked    = fault.Define("proxy_revoked", fault.Forbidden, "The proxy key was revoked.")
	ErrTooMany    = fault.Define("proxy_too_many", fault.Rejected, "The module has as many proxy keys as it may have.")
)

// DomainPossession is the domain type under which a proxy key signs its own
// delegation, to prove that somebody holds it: "pop" and a zero byte. It is ours;
// Commit-Boost has no such proof. No other message has the type.
var DomainPossession = phase0.DomainType{'p', 'o', 'p', 0}

// Proxy is what may be known of a key that acts for a validator's key on behalf
// of one module. It holds no secret.
type Proxy struct {
	Module     string
	Consensus  phase0.BLSPubKey
	Key        commitments.Key
	Delegation phase0.BLSSignature // by Consensus, over the ProxyDelegation

	// Expires is when the key stops signing, to the second; zero is never.
	Expires time.Time
	// Proven says whether there is a proof of possession: 96 or 65 bytes, by Key.
	// Keys that Commit-Boost made have none.
	Proven bool

	at         string // where its store keeps it
	possession []byte
}

// String names key and module.
func (p Proxy) String() string { return fmt.Sprintf("proxy %s of %s", p.Key, p.Module) }

// Scheme says how the key signs.
func (p Proxy) Scheme() Scheme { return schemeOf(p.Key) }

// Expired says whether the key no longer signs at an instant.
func (p Proxy) Expired(now time.Time) bool { return !p.Expires.IsZero() && !now.Before(p.Expires) }

func (p Proxy) delegation() commitments.ProxyDelegation {
	return commitments.ProxyDelegation{Delegator: p.Consensus, Proxy: p.Key}
}

// DelegationMessage is what a validator's key signs to vouch for a proxy key.
// [Commit-Boost: ProxyDelegation]
func DelegationMessage(spec chain.Spec, d commitments.ProxyDelegation) commitments.Message {
	return commitments.Message{Object: d.Root(), Domain: spec.Domain(chain.DomainCommitBoost)}
}

// possessionMessage is what the proxy key signs.
func possessionMessage(spec chain.Spec, d commitments.ProxyDelegation) commitments.Message {
	return commitments.Message{Object: d.Root(), Domain: spec.Domain(DomainPossession)}
}

// stored is a proxy as it comes out of a store.
type stored struct {
	Proxy
	secret secretKey
}

// Format hides the secret from every verb.
func (s stored) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, s.String()) }

// verify checks everything that was signed about a proxy.
func (s stored) verify(spec chain.Spec) error {
	d := s.delegation()
	if !bls.Verify(s.Consensus, DelegationMessage(spec, d).Root(), s.Delegation) {
		return ErrDelegation.With("%s: not by validator %s, or for another network", s.at, s.Consensus)
	}
	if !s.Proven {
		return nil
	}
	// Both schemes are deterministic: the proof is what the key signs again.
	again, err := s.secret.sign(possessionMessage(spec, d).Root())
	if err != nil || string(again) != string(s.possession) {
		return ErrPossession.With("%s", s.at)
	}
	return nil
}

// Remark is what an operator should know about a store, and no error.
type Remark struct {
	Path string
	Text string
}

// Store is where proxy keys are kept: EncryptedStore or PlainStore.
type Store interface {
	// load reads every proxy, whatever can be read even if others are broken.
	load() ([]stored, []Remark, error)
	// stage keeps a secret that is no proxy yet, and tells where.
	stage(s stored) (at string, err error)
	// complete makes a proxy of what was staged.
	complete(s stored) error
	// revoke sees to it that a proxy is never loaded again.
	revoke(p Proxy) error
}

var (
	_ Store = EncryptedStore{}
	_ Store = PlainStore{}
)
