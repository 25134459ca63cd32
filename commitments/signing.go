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

// SigningRoot returns the root a proxy key signs for a module: the object, the
// module's signing id, a nonce and the chain id of the execution layer, under
// the Commit-Boost domain. BLS and ECDSA keys sign the same 32 bytes.
// [Commit-Boost ≥ 0.10: PropCommitSigningInfo]
func SigningRoot(domain phase0.Domain, chainID uint64, objectRoot, signingID phase0.Root, nonce uint64) phase0.Root {
	var n, c [32]byte
	binary.LittleEndian.PutUint64(n[:], nonce)
	binary.LittleEndian.PutUint64(c[:], chainID)
	info := hash2(hash2(objectRoot, signingID), hash2(n, c))
	return SigningData(info, domain)
}

// ProxyDelegationRoot returns the object root by which a validator's key vouches
// for a BLS proxy key. It is signed as SigningData, without signing id or nonce.
// [Commit-Boost: ProxyDelegation]
func ProxyDelegationRoot(delegator, proxy phase0.BLSPubKey) phase0.Root {
	return hash2(pubkeyRoot(delegator), pubkeyRoot(proxy))
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

// ResourceDelegation names what a proposer may delegate once: a slot.
func ResourceDelegation(slot phase0.Slot, proposer phase0.BLSPubKey) string {
	return fmt.Sprintf("delegation/%d/%#x", uint64(slot), proposer[:])
}

// ResourceCommitment names what a proxy key may sign once: a nonce of a signing id.
func ResourceCommitment(key phase0.BLSPubKey, signingID phase0.Root, nonce uint64) string {
	return fmt.Sprintf("commitment/%#x/%#x/%d", key[:], signingID[:], nonce)
}

// ResourceRequest names what a proxy key may answer once: a request.
func ResourceRequest(key phase0.BLSPubKey, requestHash phase0.Hash32) string {
	return fmt.Sprintf("request/%#x/%#x", key[:], requestHash[:])
}

// ResourceConstraints names what a delegate may send once: the constraints of a slot.
func ResourceConstraints(delegate phase0.BLSPubKey, slot phase0.Slot) string {
	return fmt.Sprintf("constraints/%d/%#x", uint64(slot), delegate[:])
}
