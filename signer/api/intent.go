package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"golang.org/x/crypto/sha3"

	"sidecar/commitments"
)

// Limits of an intent.
const (
	maxObject = 64 << 10 // bytes
	maxFields = 64       // of an SSZ container
	maxClaims = 16
	maxClaim  = 256 // bytes
	maxType   = 64  // bytes
	ahead     = 64  // slots, one lookahead
)

// intent signs an object that it is shown, for a slot, and lets the ledger guard
// what the object touches: a claim is taken once per key and slot, whoever asks.
//
// We check that object_root is the hash of object and that nobody has the claims.
// We do not read the object: that the claims are all it touches, and that its
// slot is the intent's, is the module's word.
func (s *Service) intent(ctx context.Context, c *call) (any, error) {
	a, err := s.parseIntent(c)
	if err != nil {
		return nil, err
	}
	if err := CheckIntentSlot(a.slot, s.cfg.Clock.Slot()); err != nil {
		return nil, err
	}
	r, err := s.sign(ctx, c, a)
	if err != nil {
		return nil, err
	}
	// The same root was signed before, as something else: what this intent
	// claims is then not, or not all, in the ledger. Nothing new was signed.
	if has := r.Entry.Request; has == nil || r.Page.Slot != a.slot || has.Type != a.request.Type || !slices.Equal(has.Claims, a.request.Claims) {
		return nil, ErrIntentDiffers.With("it stands as entry %d, slot %d", r.Seq, r.Page.Slot)
	}
	out := s.answer(c, a, r)
	slot := uint64(a.slot)
	out.Slot = &slot
	return out, nil
}

// parseIntent reads the body: every field but nonce must be there, and nothing else.
func (s *Service) parseIntent(c *call) (ask, error) {
	r := reader{fields: c.fields}
	r.only("type", "slot", "pubkey", "proxy", "object", "hash", "object_root", "claims", "nonce")
	a := ask{slot: phase0.Slot(r.number("slot"))}
	_, consensus := c.fields["pubkey"]
	_, a.proxy = c.fields["proxy"]
	switch {
	case consensus == a.proxy:
		r.fail("pubkey or proxy", "is wanted, one of them")
	case consensus:
		a.key = r.key("pubkey", len(phase0.BLSPubKey{}))
	default:
		a.key = r.key("proxy", len(phase0.BLSPubKey{}), len(commitments.Key{}.Address))
	}
	if _, ok := c.fields["nonce"]; ok {
		a.nonce = r.number("nonce")
	}
	a.request = commitments.ModuleRequest{Type: r.text("type"), ObjectRoot: r.root("object_root"), Object: r.bytes("object"), Claims: r.claims("claims")}
	if n := len(a.request.Type); r.err == nil && (n == 0 || n > maxType || !printable(a.request.Type)) {
		r.fail("type", "is not 1 to %d printable ASCII characters", maxType)
	}
	if len(a.request.Object) == 0 || len(a.request.Object) > maxObject {
		r.fail("object", "is not 1 to %d bytes", maxObject)
	}
	hash := r.text("hash")
	if r.err != nil {
		return a, r.err
	}
	root, ok := objectRoot(hash, a.request.Object)
	if !ok {
		r.fail("hash", "is not keccak256, sha256, or ssz_container with up to %d fields of 32 bytes", maxFields)
		return a, r.err
	}
	if root != a.request.ObjectRoot {
		return a, ErrIntentRoot.With("%s of the object is %#x", hash, root[:])
	}
	return a, nil
}

// claims reads a list of names, ordered as they came.
func (r *reader) claims(name string) (out []string) {
	raw := r.fields[name]
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &out) != nil || len(out) == 0 || len(out) > maxClaims {
		r.fail(name, "is not a list of 1 to %d names", maxClaims)
		return nil
	}
	for i, claim := range out {
		if claim == "" || len(claim) > maxClaim || !printable(claim) || slices.Contains(out[:i], claim) {
			r.fail(name, "has a name that is there twice, or is not 1 to %d printable ASCII characters", maxClaim)
		}
	}
	return out
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// CheckIntent returns what a module in our own process asks to be signed, by the
// rules of the route. Fault: ErrIntent.
func CheckIntent(kind, hash string, object []byte, claims []string) (*commitments.ModuleRequest, error) {
	if n := len(kind); n == 0 || n > maxType || !printable(kind) {
		return nil, ErrIntent.With("type is not 1 to %d printable ASCII characters", maxType)
	}
	if len(object) == 0 || len(object) > maxObject {
		return nil, ErrIntent.With("object is not 1 to %d bytes", maxObject)
	}
	if len(claims) == 0 || len(claims) > maxClaims {
		return nil, ErrIntent.With("claims is not a list of 1 to %d names", maxClaims)
	}
	for i, claim := range claims {
		if claim == "" || len(claim) > maxClaim || !printable(claim) || slices.Contains(claims[:i], claim) {
			return nil, ErrIntent.With("claims has a name that is there twice, or is not 1 to %d printable ASCII characters", maxClaim)
		}
	}
	root, ok := objectRoot(hash, object)
	if !ok {
		return nil, ErrIntent.With("hash is not keccak256, sha256, or ssz_container with up to %d fields of 32 bytes", maxFields)
	}
	return &commitments.ModuleRequest{Type: kind, ObjectRoot: root, Object: object, Claims: claims}, nil
}

// CheckIntentSlot wants a slot from the present one to one lookahead ahead.
// Fault: ErrIntentSlot.
func CheckIntentSlot(slot, now phase0.Slot) error {
	if slot < now || slot > now+ahead {
		return ErrIntentSlot.With("slot %d, it is %d now", slot, now)
	}
	return nil
}

// objectRoot hashes an object: its bytes, or, as an SSZ container, the roots of
// its fields in order. [SSZ: merkleization of containers]
func objectRoot(hash string, object []byte) (root phase0.Root, ok bool) {
	switch hash {
	case "sha256":
		return sha256.Sum256(object), true
	case "keccak256":
		k := sha3.NewLegacyKeccak256()
		k.Write(object)
		k.Sum(root[:0])
		return root, true
	case "ssz_container":
		if len(object)%32 != 0 || len(object) > 32*maxFields || len(object) == 0 {
			return root, false
		}
		nodes := slices.Clone(object)
		for size := 32; ; size *= 2 { // pad to a power of two
			if size >= len(nodes) {
				nodes = append(nodes, make([]byte, size-len(nodes))...)
				break
			}
		}
		for len(nodes) > 32 {
			for i := 0; i < len(nodes); i += 64 {
				h := sha256.Sum256(nodes[i : i+64])
				copy(nodes[i/2:], h[:])
			}
			nodes = nodes[:len(nodes)/2]
		}
		return phase0.Root(nodes), true
	}
	return root, false
}
