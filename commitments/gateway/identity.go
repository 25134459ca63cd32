package gateway

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/crypto/sha3"

	"sidecar/fault"
	"sidecar/internal/ecdsa"
	"sidecar/internal/httpd"
	"sidecar/internal/quota"
)

// Faults of callers.
var (
	ErrAPIKey     = fault.Define("api_key_unknown", fault.Unauthorized, "No caller has this API key.")
	ErrSignature  = fault.Define("identity_signature_invalid", fault.Unauthorized, "X-Flashbots-Signature is not address:signature of the body.")
	ErrIdentity   = fault.Define("identity_required", fault.Unauthorized, "This gateway serves callers it knows: send an API key or X-Flashbots-Signature.")
	ErrForwarded  = fault.Define("forwarded_address_invalid", fault.Invalid, "The trusted proxy's header does not say where the request comes from.")
	ErrRate       = httpd.ErrRate // of every server whose callers are counted
	ErrIdentities = fault.Define("identities_invalid", fault.Invalid, "The file of identities is wrong; the message names the line.")
)

// Access says who may ask, and how much.
type Access struct {
	// Identities are the callers we know.
	Identities []Identity
	// Require refuses everybody else; without any Identities, everybody who does
	// not sign.
	Require bool
	// Rate is how often one address may ask, and one identity without a rate of
	// its own. Callers on this machine have none. The zero Rate is no limit.
	Rate quota.Rate
	// TrustedProxies may say, in ForwardedHeader, whom they ask for.
	TrustedProxies  []netip.Prefix
	ForwardedHeader string // default X-Forwarded-For
}

// Identity is a caller we know, by the SHA-256 of its API key or by the address
// it signs with.
type Identity struct {
	Name    string
	KeyHash [sha256.Size]byte
	Address bellatrix.ExecutionAddress
	Rate    quota.Rate // zero: Access.Rate
}

const (
	maxIdentities = 4096
	maxCallers    = 1 << 16 // buckets; each takes some hundred bytes
)

// ParseIdentities reads a file of identities: per line a name, then
// sha256:<64 hex digits> of an API key or address:0x<40 hex digits>, and
// optionally rate=<per second> and burst=<at once>; # begins a comment.
// Fault: ErrIdentities.
func ParseIdentities(text []byte) (out []Identity, err error) {
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line, _, _ = bytes.Cut(line, []byte{'#'})
		words := strings.Fields(string(line))
		if len(words) == 0 {
			continue
		}
		one, err := parseIdentity(words)
		if err == nil && (len(out) >= maxIdentities || slices.ContainsFunc(out, one.clashes)) {
			err = fmt.Errorf("%s is there already, or there are more than %d", one.Name, maxIdentities)
		}
		if err != nil {
			return nil, ErrIdentities.With("line %d: %v", number, err)
		}
		out = append(out, one)
	}
	return out, nil
}

func parseIdentity(words []string) (one Identity, err error) {
	one.Name = words[0]
	if len(words) < 2 || len(one.Name) > 64 {
		return one, errors.New("want a name, and sha256 or address")
	}
	switch kind, value, _ := strings.Cut(words[1], ":"); {
	case kind == "sha256" && len(value) == 2*len(one.KeyHash):
		_, err = hex.Decode(one.KeyHash[:], []byte(value))
	case kind == "address":
		one.Address, err = parseAddress(value)
	default:
		err = errors.New("want sha256:<64 hex digits> or address:0x<40 hex digits>")
	}
	for _, w := range words[2:] {
		name, value, _ := strings.Cut(w, "=")
		n, bad := strconv.ParseFloat(value, 64)
		switch {
		case bad != nil || !(n > 0) || n > 1e6:
			return one, fmt.Errorf("%s is not a number within 0 to 1000000", name)
		case name == "rate":
			one.Rate.PerSecond = n
		case name == "burst":
			one.Rate.Burst = n
		default:
			return one, fmt.Errorf("%s is neither rate nor burst", name)
		}
	}
	if one.Rate.Burst > 0 && !one.Rate.Limited() {
		return one, errors.New("burst without rate")
	}
	if one.Rate.Burst == 0 {
		one.Rate.Burst = one.Rate.PerSecond
	}
	one.Rate.Burst = max(one.Rate.Burst, 1)
	return one, err
}

func (one Identity) clashes(other Identity) bool {
	return one.Name == other.Name || one.KeyHash == other.KeyHash && one.KeyHash != [sha256.Size]byte{} ||
		one.Address == other.Address && one.Address != bellatrix.ExecutionAddress{}
}

func parseAddress(text string) (a bellatrix.ExecutionAddress, err error) {
	digits, ok := strings.CutPrefix(text, "0x")
	if !ok || len(digits) != 2*len(a) {
		return a, errors.New("an address is 0x and 40 hex digits")
	}
	_, err = hex.Decode(a[:], []byte(digits))
	return a, err
}

// asked is what a request says of who sent it, whatever carried it.
type asked struct {
	remote netip.Addr
	header func(name string) string
	body   []byte
}

func askedBy(r httpd.Request) asked { return asked{r.Remote, r.Header, r.Body} }

// caller is who asks.
type caller struct {
	name  string     // what limits go by: the identity, or the address
	rate  quota.Rate // its own
	known bool
	local bool // a process of this machine: no share is kept from it
}

// greet finds out who asks, and whether it may ask once more.
// Faults: ErrForwarded, ErrAPIKey, ErrSignature, ErrIdentity, ErrRate.
func (g *Gateway) greet(a asked) (caller, error) {
	from, direct, err := g.address(a)
	if err != nil {
		return caller{}, err
	}
	// A proxy on this machine that nobody named as trusted asks for strangers: its
	// header, which is not believed, says so.
	local := direct && from.IsLoopback() && (a.header(g.Access.ForwardedHeader) == "" || g.Access.trusted(from))
	c := caller{name: block(from), rate: g.Access.Rate, local: local}
	// 1. A key is cheap to look up, and its limits are its own.
	if key := apiKey(a.header); key != "" {
		one, ok := g.Access.keyed(key)
		if !ok {
			if err := g.charge(c); err != nil {
				return c, err
			}
			return c, ErrAPIKey
		}
		return g.welcome(one.Name, one.Rate)
	}
	// 2. A signature costs us something, and an identity costs nobody anything:
	// the address pays for both.
	if err := g.charge(c); err != nil {
		return c, err
	}
	if text := a.header("X-Flashbots-Signature"); text != "" {
		signer, err := signerOf(text, a.body)
		if err != nil {
			return c, err
		}
		if one, ok := g.Access.signs(signer); ok {
			return g.welcome(one.Name, one.Rate)
		}
		if g.Access.Require && len(g.Access.Identities) > 0 {
			return c, ErrIdentity
		}
		return c, nil
	}
	if g.Access.Require {
		return c, ErrIdentity
	}
	return c, nil
}

// welcome is greet for somebody we know.
func (g *Gateway) welcome(name string, rate quota.Rate) (caller, error) {
	c := caller{name: "id:" + name, rate: rate, known: true}
	if !rate.Limited() {
		c.rate = g.Access.Rate
	}
	return c, g.charge(c)
}

// charge takes a token from the caller's bucket. Fault: ErrRate.
func (g *Gateway) charge(c caller) error {
	if c.local {
		return nil
	}
	if wait, ok := g.buckets.Take(c.name, c.rate, 1, g.Clock.Now()); !ok {
		return ErrRate.Wrap(&later{wait})
	}
	return nil
}

// later is inside ErrRate: when to ask again.
type later struct{ wait time.Duration }

func (l *later) Error() string { return fmt.Sprintf("again in %d ms", l.wait.Milliseconds()) }

// retryAfter is when to ask again after an error of kind Busy.
func retryAfter(err error) time.Duration {
	var l *later
	if errors.As(err, &l) {
		return l.wait
	}
	return time.Second
}

func (g *Gateway) address(a asked) (from netip.Addr, direct bool, err error) {
	return g.Access.From(a.remote, a.header)
}

// From is where a request comes from: the connection, or what a trusted proxy
// says. direct is false for the latter. Fault: ErrForwarded.
func (a *Access) From(remote netip.Addr, header func(name string) string) (from netip.Addr, direct bool, err error) {
	if !a.trusted(remote) {
		return remote, true, nil
	}
	value := header(a.ForwardedHeader) // several lines are joined with a comma
	if value == "" {
		return remote, true, nil // the proxy asks for itself
	}
	for items := strings.Split(value, ","); len(items) > 0; items = items[:len(items)-1] {
		from, err := netip.ParseAddr(strings.TrimSpace(items[len(items)-1]))
		if err != nil || from.Zone() != "" {
			return from, false, ErrForwarded
		}
		if from = from.Unmap(); !a.trusted(from) || len(items) == 1 {
			return from, false, nil
		}
	}
	return from, false, ErrForwarded
}

func (a *Access) trusted(addr netip.Addr) bool {
	return slices.ContainsFunc(a.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// keyed finds the owner of an API key. Every key is compared, in constant time.
func (a *Access) keyed(key string) (found Identity, ok bool) {
	hash := sha256.Sum256([]byte(key))
	at := -1
	for i := range a.Identities {
		if subtle.ConstantTimeCompare(a.Identities[i].KeyHash[:], hash[:]) == 1 {
			at = i
		}
	}
	if at < 0 {
		return found, false
	}
	return a.Identities[at], true
}

func (a *Access) signs(address bellatrix.ExecutionAddress) (Identity, bool) {
	i := slices.IndexFunc(a.Identities, func(one Identity) bool { return one.Address == address })
	if i < 0 || (address == bellatrix.ExecutionAddress{}) {
		return Identity{}, false
	}
	return a.Identities[i], true
}

func apiKey(header func(string) string) string {
	if key := header("X-Api-Key"); key != "" {
		return key
	}
	scheme, key, ok := strings.Cut(header("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(key)
}

// block is what counts as one address: an IPv4 address, or an IPv6 /64.
func block(a netip.Addr) string {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Prefix for the zero Addr
	return "ip:" + p.String()
}

// signerOf reads X-Flashbots-Signature: address:signature, where the signature
// is over the EIP-191 text of the hexadecimal keccak256 of the body, and names
// the address. Fault: ErrSignature. [Flashbots: X-Flashbots-Signature]
func signerOf(text string, body []byte) (bellatrix.ExecutionAddress, error) {
	who, signature, _ := strings.Cut(strings.TrimSpace(text), ":")
	address, err := parseAddress(who)
	digits, ok := strings.CutPrefix(signature, "0x")
	var sig [65]byte
	if err != nil || !ok || len(digits) != 2*len(sig) {
		return address, ErrSignature
	}
	if _, err := hex.Decode(sig[:], []byte(digits)); err != nil {
		return address, ErrSignature
	}
	if sig[64] < 2 {
		sig[64] += 27
	}
	hash := keccak(body)
	message := "0x" + hex.EncodeToString(hash[:])
	root := keccak([]byte("\x19Ethereum Signed Message:\n" + strconv.Itoa(len(message)) + message)) // [EIP-191: version 0x45]
	signer, err := ecdsa.Recover(root, sig)
	if err != nil || signer != address {
		return address, ErrSignature
	}
	return address, nil
}

func keccak(b []byte) (h phase0.Root) {
	d := sha3.NewLegacyKeccak256()
	_, _ = d.Write(b) // never fails [hash.Hash]
	d.Sum(h[:0])
	return h
}
