// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Commitment, Delegation} from "./Types.sol";

/// @title What keys sign
/// @notice Object roots of commitments and delegations, groups of commitments, and the root a key of
/// a Commit-Boost signer signs for them. [URC signing-domain: MessageType; Commit-Boost: PropCommitSigningInfo]
library SigningRoot {
    /// Numbers that keep the messages of the registry apart, and two of our own.
    uint256 private constant DELEGATION = 2;
    uint256 private constant COMMITMENT = 3;
    uint256 private constant GROUP = 0x67726f7570; // "group"
    uint256 private constant REGISTRATION = 0x6f70657261746f72; // "operator"

    function ofDelegation(Delegation memory d) internal pure returns (bytes32) {
        return keccak256(abi.encode(DELEGATION, d));
    }

    function ofCommitment(Commitment memory c) internal pure returns (bytes32) {
        return keccak256(abi.encode(COMMITMENT, c));
    }

    /// @notice What a validator's key signs to join `operator` at the contract `manager`.
    function ofRegistration(address manager, address operator) internal pure returns (bytes32) {
        return keccak256(abi.encode(REGISTRATION, manager, operator));
    }

    /// @notice The root of a group: pairs are hashed smaller first, under a number of their own, so
    /// that no node of a tree is also the root of a commitment. An empty branch leaves `leaf`.
    function ofGroup(bytes32 leaf, bytes32[] memory branch) internal pure returns (bytes32 node) {
        node = leaf;
        for (uint256 i = 0; i < branch.length; ++i) {
            (bytes32 a, bytes32 b) = node < branch[i] ? (node, branch[i]) : (branch[i], node);
            node = keccak256(abi.encode(GROUP, a, b));
        }
    }

    /// @notice The 32 bytes a key signs: the object under a module's signing id, a nonce, the chain
    /// and the Commit-Boost domain.
    function toSign(bytes32 object, bytes32 signingId, uint64 nonce, uint64 chainId, bytes32 domain)
        internal
        pure
        returns (bytes32)
    {
        bytes32 numbers = _hash(_little(nonce), _little(chainId));
        return _hash(_hash(_hash(object, signingId), numbers), domain);
    }

    /// @notice hash_tree_root of a beacon block header. [consensus-specs: BeaconBlockHeader]
    function ofBeaconHeader(uint64 slot, uint64 proposerIndex, bytes32 parent, bytes32 state, bytes32 body)
        internal
        pure
        returns (bytes32)
    {
        bytes32 zero = _hash(0, 0);
        bytes32 left = _hash(_hash(_little(slot), _little(proposerIndex)), _hash(parent, state));
        return _hash(left, _hash(_hash(body, 0), zero));
    }

    function _hash(bytes32 a, bytes32 b) private pure returns (bytes32) {
        return sha256(abi.encodePacked(a, b));
    }

    /// A number as a chunk of SSZ: little-endian, padded on the right.
    function _little(uint64 n) private pure returns (bytes32) {
        n = ((n & 0xff00ff00ff00ff00) >> 8) | ((n & 0x00ff00ff00ff00ff) << 8);
        n = ((n & 0xffff0000ffff0000) >> 16) | ((n & 0x0000ffff0000ffff) << 16);
        n = (n >> 32) | (n << 32);
        return bytes32(bytes8(n));
    }
}
