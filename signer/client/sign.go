package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/crypto/sha3"
)

// Keys are a validator's key and the module's own proxies for it.
type Keys struct {
	Consensus  phase0.BLSPubKey
	ProxyBLS   []phase0.BLSPubKey
	ProxyECDSA []bellatrix.ExecutionAddress
}

// Signed is a signature and what it binds beside the object root.
type Signed struct {
	SigningID phase0.Root // of the module, from the sidecar's configuration
	Nonce     uint64
	ChainID   uint64 // of the execution layer
	Signature []byte // 96 bytes of a BLS key; 65 (r‖s‖v, v 27 or 28) of an ECDSA key
}

// Pubkeys lists the validators the module may act for. Faults: Refusal, ErrUnreachable, ErrAnswer.
func (c *Client) Pubkeys(ctx context.Context) ([]Keys, error) {
	var answer struct {
		Keys []struct {
			Consensus  string   `json:"consensus"`
			ProxyBLS   []string `json:"proxy_bls"`
			ProxyECDSA []string `json:"proxy_ecdsa"`
		} `json:"keys"`
	}
	if err := c.ask(ctx, "/signer/v1/get_pubkeys", nil, &answer); err != nil {
		return nil, err
	}
	out := make([]Keys, len(answer.Keys))
	var errs []error
	for i, k := range answer.Keys {
		errs = append(errs, unhex(k.Consensus, out[i].Consensus[:]))
		out[i].ProxyBLS = make([]phase0.BLSPubKey, len(k.ProxyBLS))
		for j, p := range k.ProxyBLS {
			errs = append(errs, unhex(p, out[i].ProxyBLS[j][:]))
		}
		out[i].ProxyECDSA = make([]bellatrix.ExecutionAddress, len(k.ProxyECDSA))
		for j, p := range k.ProxyECDSA {
			errs = append(errs, unhex(p, out[i].ProxyECDSA[j][:]))
		}
	}
	return out, errors.Join(errs...)
}

// SignConsensus has a validator's key sign an object root, blind: the operator
// must have named module and key. A nonce above 0 is for one root, ever; 0 is
// not tracked. Faults: Refusal (ErrSlashable, ErrBlind, …), ErrUnreachable, ErrAnswer.
func (c *Client) SignConsensus(ctx context.Context, key phase0.BLSPubKey, objectRoot phase0.Root, nonce uint64) (Signed, error) {
	return c.sign(ctx, "bls", request{Pubkey: text(key[:])}, objectRoot, nonce)
}

// SignProxyBLS is SignConsensus with a BLS proxy key of the module.
func (c *Client) SignProxyBLS(ctx context.Context, proxy phase0.BLSPubKey, objectRoot phase0.Root, nonce uint64) (Signed, error) {
	return c.sign(ctx, "proxy-bls", request{Proxy: text(proxy[:])}, objectRoot, nonce)
}

// SignProxyECDSA is SignConsensus with an ECDSA proxy key of the module.
func (c *Client) SignProxyECDSA(ctx context.Context, proxy bellatrix.ExecutionAddress, objectRoot phase0.Root, nonce uint64) (Signed, error) {
	return c.sign(ctx, "proxy-ecdsa", request{Proxy: text(proxy[:])}, objectRoot, nonce)
}

// request is a body of request_signature, or of intents.
type request struct {
	Pubkey     string   `json:"pubkey,omitempty"`
	Proxy      string   `json:"proxy,omitempty"`
	ObjectRoot string   `json:"object_root"`
	Nonce      uint64   `json:"nonce"`
	Type       string   `json:"type,omitempty"`
	Slot       *uint64  `json:"slot,omitempty"`
	Object     string   `json:"object,omitempty"`
	Hash       string   `json:"hash,omitempty"`
	Claims     []string `json:"claims,omitempty"`
}

type answer struct {
	Pubkey     string  `json:"pubkey"`
	Address    string  `json:"address"`
	ObjectRoot string  `json:"object_root"`
	SigningID  string  `json:"module_signing_id"`
	Nonce      *uint64 `json:"nonce"`
	ChainID    string  `json:"chain_id"`
	Signature  string  `json:"signature"`
}

func (c *Client) sign(ctx context.Context, kind string, r request, root phase0.Root, nonce uint64) (Signed, error) {
	r.ObjectRoot, r.Nonce = root.String(), nonce
	return c.signed(ctx, "/signer/v1/request_signature/"+kind, r)
}

// signed asks, and checks that the answer is about what was asked.
func (c *Client) signed(ctx context.Context, path string, r request) (Signed, error) {
	var a answer
	if err := c.ask(ctx, path, r, &a); err != nil {
		return Signed{}, err
	}
	asked := r.Pubkey + r.Proxy
	out := Signed{Signature: make([]byte, 96)}
	if len(asked) == 42 {
		out.Signature = make([]byte, 65)
	}
	if !strings.EqualFold(a.Pubkey+a.Address, asked) || !strings.EqualFold(a.ObjectRoot, r.ObjectRoot) || a.Nonce == nil || *a.Nonce != r.Nonce {
		return Signed{}, ErrAnswer.With("it is about another key, root or nonce")
	}
	out.Nonce = r.Nonce
	err := errors.Join(unhex(a.SigningID, out.SigningID[:]), unhex(a.Signature, out.Signature))
	if err != nil {
		return Signed{}, err
	}
	if out.ChainID, err = strconv.ParseUint(strings.TrimPrefix(a.ChainID, "0x"), 16, 64); err != nil {
		return Signed{}, ErrAnswer.With("chain id %.40q", a.ChainID)
	}
	return out, nil
}

// Scheme is the kind of a proxy key.
type Scheme string

// The schemes.
const (
	BLS   Scheme = "bls"
	ECDSA Scheme = "ecdsa"
)

// Delegation is a validator's signature for a proxy key: ProxyBLS or ProxyECDSA.
type Delegation struct {
	Delegator  phase0.BLSPubKey
	ProxyBLS   phase0.BLSPubKey
	ProxyECDSA bellatrix.ExecutionAddress
	Signature  phase0.BLSSignature
}

// GenerateProxyKey has a new proxy key made for a validator. It is the module's
// own, and stays so. Faults: Refusal, ErrUnreachable, ErrAnswer.
func (c *Client) GenerateProxyKey(ctx context.Context, consensus phase0.BLSPubKey, scheme Scheme) (d Delegation, err error) {
	var a struct {
		Message struct {
			Delegator string `json:"delegator"`
			Proxy     string `json:"proxy"`
		} `json:"message"`
		Signature string `json:"signature"`
	}
	in := map[string]string{"pubkey": text(consensus[:]), "scheme": string(scheme)}
	if err := c.ask(ctx, "/signer/v1/generate_proxy_key", in, &a); err != nil {
		return d, err
	}
	proxy := d.ProxyBLS[:]
	if scheme == ECDSA {
		proxy = d.ProxyECDSA[:]
	}
	err = errors.Join(unhex(a.Message.Delegator, d.Delegator[:]), unhex(a.Message.Proxy, proxy), unhex(a.Signature, d.Signature[:]))
	if err == nil && d.Delegator != consensus {
		err = ErrAnswer.With("the proxy is another validator's")
	}
	return d, err
}

// How an intent's object is hashed.
const (
	Keccak256    = "keccak256"     // of its bytes
	SHA256       = "sha256"        // of its bytes
	SSZContainer = "ssz_container" // its bytes are the roots of the fields of an SSZ container, in order
)

// Intent is an object to be signed for a slot. The sidecar signs no second
// object of a slot, with the same key, that claims one of the same names. That
// the claims are all the object touches is the module's word.
type Intent struct {
	Type string // names the kind of object, such as "example/bid/v1"
	Slot phase0.Slot

	// Who signs: exactly one.
	Consensus  phase0.BLSPubKey
	ProxyBLS   phase0.BLSPubKey
	ProxyECDSA bellatrix.ExecutionAddress

	Object     []byte      // at most 64 KiB
	Hash       string      // how Object is hashed; "" means Keccak256
	ObjectRoot phase0.Root // required for SSZContainer, else computed
	Claims     []string    // 1 to 16 names, of at most 256 printable ASCII characters
	Nonce      uint64      // above 0: for one root, ever
}

// Intent has an intent signed. What is signed is the same as by the other
// methods: signing id, nonce and chain id around the object root. Faults:
// Refusal (ErrSlashable, intent_slot, intent_differs, …), ErrUnreachable, ErrAnswer.
func (c *Client) Intent(ctx context.Context, i Intent) (Signed, error) {
	slot := uint64(i.Slot)
	r := request{Nonce: i.Nonce, Type: i.Type, Slot: &slot, Object: text(i.Object), Hash: i.Hash, Claims: i.Claims}
	if i.Consensus != (phase0.BLSPubKey{}) {
		r.Pubkey = text(i.Consensus[:])
	}
	if i.ProxyBLS != (phase0.BLSPubKey{}) {
		r.Proxy = text(i.ProxyBLS[:])
	}
	if i.ProxyECDSA != (bellatrix.ExecutionAddress{}) {
		if r.Proxy != "" {
			return Signed{}, errors.New("signer client: an intent of two keys")
		}
		r.Proxy = text(i.ProxyECDSA[:])
	}
	if r.Hash == "" {
		r.Hash = Keccak256
	}
	root := i.ObjectRoot
	switch r.Hash {
	case Keccak256:
		k := sha3.NewLegacyKeccak256()
		k.Write(i.Object)
		k.Sum(root[:0])
	case SHA256:
		root = sha256.Sum256(i.Object)
	}
	r.ObjectRoot = root.String()
	return c.signed(ctx, "/signer/v1/intents", r)
}

func text(b []byte) string { return fmt.Sprintf("%#x", b) }

// unhex reads hexadecimal of a fixed width.
func unhex(s string, into []byte) error {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil || len(b) != len(into) {
		return ErrAnswer.With("%.40q is not %d bytes", s, len(into))
	}
	copy(into, b)
	return nil
}
