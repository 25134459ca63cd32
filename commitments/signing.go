package commitments

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// SigningData returns the root a BLS key signs for an object in a domain.
// [consensus-specs: compute_signing_root]
func SigningData(objectRoot phase0.Root, domain phase0.Domain) phase0.Root {
	return hash2(objectRoot, domain)
}

// Message is what a key signs: an object under a domain. Holders of keys that
// are elsewhere want both, and hash them themselves. [consensus-specs: SigningData]
type Message struct {
	Object phase0.Root
	Domain phase0.Domain
}

// Root returns the 32 bytes that the key signs.
func (m Message) Root() phase0.Root { return SigningData(m.Object, m.Domain) }

// ModuleObject returns the object that binds a module's object root to the
// module's signing id, a nonce and the chain id of the execution layer.
// [Commit-Boost ≥ 0.10: PropCommitSigningInfo]
func ModuleObject(chainID uint64, objectRoot, signingID phase0.Root, nonce uint64) phase0.Root {
	var n, c [32]byte
	binary.LittleEndian.PutUint64(n[:], nonce)
	binary.LittleEndian.PutUint64(c[:], chainID)
	return hash2(hash2(objectRoot, signingID), hash2(n, c))
}

// SigningRoot returns the root a proxy key signs for a module: the object, the
// module's signing id, a nonce and the chain id of the execution layer, under
// the Commit-Boost domain. BLS and ECDSA keys sign the same 32 bytes.
// [Commit-Boost ≥ 0.10: PropCommitSigningInfo]
func SigningRoot(domain phase0.Domain, chainID uint64, objectRoot, signingID phase0.Root, nonce uint64) phase0.Root {
	return SigningData(ModuleObject(chainID, objectRoot, signingID, nonce), domain)
}

// pubkeyRoot is the hash tree root of a Bytes48.
func pubkeyRoot(k phase0.BLSPubKey) [32]byte {
	var chunks [64]byte
	copy(chunks[:], k[:])
	return sha256.Sum256(chunks[:])
}

func hash2[A, B ~[32]byte](a A, b B) [32]byte {
	var pair [64]byte
	copy(pair[:32], a[:])
	copy(pair[32:], b[:])
	return sha256.Sum256(pair[:])
}

// The functions below name what may be signed once. The names are on disk, in
// exports and in test vectors: they never change. security: one digest per name.

// ResourceDelegation names what a proposer may delegate once: a slot.
func ResourceDelegation(slot phase0.Slot, proposer phase0.BLSPubKey) string {
	return fmt.Sprintf("delegation/%d/%#x", uint64(slot), proposer[:])
}

// ResourceRequest names what a key may answer once: a request for a promise.
func ResourceRequest(key Key, requestHash phase0.Hash32) string {
	return fmt.Sprintf("request/%s/%#x", key, requestHash[:])
}

// ResourceClaim names what a key may promise once in a slot: what a module's
// draft claims, such as a sender's nonce.
func ResourceClaim(key Key, slot phase0.Slot, claim string) string {
	return fmt.Sprintf("claim/%s/%d/%s", key, uint64(slot), claim)
}

// ResourceConstraints names what a delegate may send once: the constraints of a slot.
func ResourceConstraints(delegate phase0.BLSPubKey, slot phase0.Slot) string {
	return fmt.Sprintf("constraints/%d/%#x", uint64(slot), delegate[:])
}

// ResourceNonce names what a module may have signed once: a nonce above 0 of a
// key under its signing id.
func ResourceNonce(key Key, signingID phase0.Root, nonce uint64) string {
	return fmt.Sprintf("nonce/%s/%#x/%d", key, signingID[:], nonce)
}

// ResourceToken names a secret of a module that was revoked: the secret by its
// fingerprint, so that a new one is not.
func ResourceToken(module string, fingerprint [32]byte) string {
	return fmt.Sprintf("token/%s/%#x", module, fingerprint[:])
}

// ResourceRevokedProxy names a proxy key that was revoked.
func ResourceRevokedProxy(key Key) string { return "revoked/" + key.String() }

// ResourceRoot names a signing root of a key: it holds nothing but itself, so
// that the same request again finds its signature.
func ResourceRoot(key Key, root phase0.Root) string {
	return fmt.Sprintf("root/%s/%#x", key, root[:])
}
