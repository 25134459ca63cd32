package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Kinds of keys, routes, generations and tokens of a [modules.signer] table.
const (
	KindConsensus = "consensus"
	KindProxy     = "proxy"

	RoutePubkeys  = "get_pubkeys"
	RouteSign     = "request_signature"
	RouteGenerate = "generate_proxy_key"
	RouteIntents  = "intents"

	GenerationV1     = "v1"     // Commit-Boost from 0.10 on
	GenerationLegacy = "legacy" // and up to 0.9 as well

	TokensCompatible = "compatible"
	TokensStrict     = "strict"
)

// ModuleSigner says what a "commit" module may ask of the Signer API. Without
// the table it is what Commit-Boost's modules have today, but for validators'
// keys: proxies of its own for every validator.
type ModuleSigner struct {
	// Keys are validators: "all", or public keys. The module may make proxies
	// for them. Default "all". Roots that we cannot read are signed with a
	// validator's own key only if it is named here, and Kinds has "consensus".
	Keys KeyList `toml:"keys"`
	// Kinds are the kinds of keys the module may sign with: "proxy" (its own),
	// "consensus" (the validators'). Default ["proxy"].
	Kinds []string `toml:"kinds"`
	// Routes the module may call: "get_pubkeys", "request_signature",
	// "generate_proxy_key", "intents". Default: all but intents.
	Routes []string `toml:"routes"`
	// PerSlot is how many signatures it may ask for in a slot. Default 2048.
	PerSlot uint32 `toml:"per_slot"`
	// Generation is "v1", the API of Commit-Boost from 0.10 on, or "legacy",
	// that of up to 0.9 as well. Legacy is weak: its tokens bind nothing. Default "v1".
	Generation string `toml:"generation"`
	// Tokens are "compatible", as Commit-Boost's, or "strict": each once, for at
	// most 60 s, a secret of at least 32 characters. Default "compatible".
	Tokens string `toml:"tokens"`
	// SecretFile holds the module's secret, one line. Optional: else it is in the
	// environment variable CB_JWTS, as MODULE=secret,MODULE=secret.
	SecretFile string `toml:"secret_file"`
	// ClientName is a DNS name that the module's client certificate must have.
	// Optional; it needs a client_ca.pem in signer.tls_mode.path.
	ClientName string `toml:"client_name"`
}

func (m *ModuleSigner) setDefaults() {
	*m = ModuleSigner{Keys: KeyList{All: true}, Kinds: []string{KindProxy}, Routes: []string{RoutePubkeys, RouteSign, RouteGenerate},
		PerSlot: 2048, Generation: GenerationV1, Tokens: TokensCompatible}
}

// SignerGrant is the module's [modules.signer], or what stands for none.
func (m *Module) SignerGrant() *ModuleSigner {
	if m.Signer != nil {
		return m.Signer
	}
	s := new(ModuleSigner)
	s.setDefaults()
	return s
}

// KeyList is "all", or a list of BLS public keys.
type KeyList struct {
	All  bool
	Keys []phase0.BLSPubKey
}

func (l *KeyList) setScalar(n *node) error {
	if n.kind == kindString && n.text == "all" {
		*l = KeyList{All: true}
		return nil
	}
	if n.kind != kindArray {
		return errors.New(`is not "all" or a list of public keys`)
	}
	*l = KeyList{}
	for i, item := range n.items {
		b, err := hex.DecodeString(strings.TrimPrefix(item.text, "0x"))
		if item.kind != kindString || err != nil || len(b) != phase0.PublicKeyLength || !compressed(phase0.BLSPubKey(b)) {
			return fmt.Errorf("has no compressed BLS public key at %d", i)
		}
		l.Keys = append(l.Keys, phase0.BLSPubKey(b))
	}
	return nil
}

// SignerAPI says whether modules in processes of their own are served.
func (c *Config) SignerAPI() bool {
	return c.Signer != nil && slices.ContainsFunc(c.Modules, func(m Module) bool { return m.Type == ModuleCommit })
}

// moduleSigner checks what a module may ask for.
func (k *checker) moduleSigner(m *Module, at string) {
	if k.c.Signer == nil {
		k.warn(at, "%s has nobody to sign for it: there is no [signer]", m.ID)
	}
	if m.Signer == nil {
		k.warn(at, `%s may sign with proxy keys of its own, and no longer with validators' keys as under Commit-Boost; if it must, add below it: [modules.signer] kinds = ["consensus", "proxy"] keys = ["0x<public key of each validator>"]`, m.ID)
		return
	}
	s := m.Signer
	at += ".signer"
	each := func(name string, has []string, of ...string) {
		for i, v := range has {
			k.require(oneOf(v, of...), element(at+"."+name, i), "%.40q is not %s", v, list(of...))
			k.require(!slices.Contains(has[:i], v), element(at+"."+name, i), "%.40q is there twice", v)
		}
	}
	each("kinds", s.Kinds, KindConsensus, KindProxy)
	each("routes", s.Routes, RoutePubkeys, RouteSign, RouteGenerate, RouteIntents)
	k.require(oneOf(s.Generation, GenerationV1, GenerationLegacy), at+".generation", "is not v1 or legacy")
	k.require(oneOf(s.Tokens, TokensCompatible, TokensStrict), at+".tokens", "is not compatible or strict")
	k.require(s.PerSlot >= 1 && s.PerSlot <= 1_000_000, at+".per_slot", "is not within 1 to 1000000")
	if s.Generation == GenerationLegacy {
		k.require(s.Tokens != TokensStrict, at+".tokens", "cannot be strict with generation = \"legacy\"")
		k.warn(at+".generation", "is legacy, and weak: whoever sees a token of %s may ask for anything it may, until the token expires", m.ID)
	}
	if slices.Contains(s.Kinds, KindConsensus) && s.Keys.All && slices.Contains(s.Routes, RouteSign) {
		k.warn(at+".keys", `is "all": %s gets intents of validators' keys, but no roots that we cannot read; for those, name the keys`, m.ID)
	}
	if s.ClientName != "" {
		k.require(k.c.Signer != nil && k.c.Signer.TLS.Type == TLSCertificate, at+".client_name", "needs signer.tls_mode of type certificate")
	}
}
