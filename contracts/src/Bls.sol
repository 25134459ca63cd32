// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {G1, G2} from "./Types.sol";

/// @title BLS signatures of the consensus layer
/// @notice Minimal public keys, proof-of-possession ciphersuite, messages of 32 bytes.
/// [consensus-specs: bls.Verify; RFC 9380: BLS12381G2_XMD:SHA-256_SSWU_RO_; EIP-2537]
/// @dev Every doubt is `false`: a precompile that fails or is missing, a point off the curve or out
/// of its subgroup, a coordinate that is not reduced, the point at infinity.
library Bls {
    /// Domain separation tag with its length: the DST_prime of RFC 9380.
    bytes private constant DST_PRIME = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_\x2b";

    /// The field modulus, as two words.
    bytes32 private constant P_HIGH = 0x000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd7;
    bytes32 private constant P_LOW = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    /// The negated generator of the first group.
    bytes32 private constant NEG_G1_X_HIGH = 0x0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0f;
    bytes32 private constant NEG_G1_X_LOW = 0xc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb;
    bytes32 private constant NEG_G1_Y_HIGH = 0x00000000000000000000000000000000114d1d6855d545a8aa7d76c8cf2e21f2;
    bytes32 private constant NEG_G1_Y_LOW = 0x67816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca;

    address private constant MODEXP = address(0x05);
    address private constant G2_ADD = address(0x0d);
    address private constant PAIRING = address(0x0f);
    address private constant MAP_FP2_TO_G2 = address(0x11);

    /// @notice Whether `signature` is the holder of `pubkey`'s over `root`.
    function verify(G1 memory pubkey, bytes32 root, G2 memory signature) internal view returns (bool) {
        // 1. Infinity pairs to one with anything.
        if (pubkey.xHigh | pubkey.xLow | pubkey.yHigh | pubkey.yLow == 0) return false;
        // 2. The message becomes a point.
        (bool ok, bytes memory message) = hashToG2(root);
        if (!ok) return false;
        // 3. e(pubkey, message) · e(-generator, signature) = 1. The precompile checks the subgroups.
        bytes memory generator = abi.encode(NEG_G1_X_HIGH, NEG_G1_X_LOW, NEG_G1_Y_HIGH, NEG_G1_Y_LOW);
        bytes memory pairs = bytes.concat(abi.encode(pubkey), message, generator, abi.encode(signature));
        bytes memory out;
        (ok, out) = _call(PAIRING, pairs, 32);
        return ok && abi.decode(out, (uint256)) == 1;
    }

    /// @notice hash_to_curve of a message of 32 bytes. [RFC 9380 §3]
    /// @dev The precompile clears the cofactor of each point; clearing is linear, so the sum is the same.
    function hashToG2(bytes32 root) internal view returns (bool ok, bytes memory point) {
        bytes32[8] memory u = _expand(root);
        bytes memory a;
        bytes memory b;
        (ok, a) = _map(u[0], u[1], u[2], u[3]);
        if (!ok) return (false, point);
        (ok, b) = _map(u[4], u[5], u[6], u[7]);
        if (!ok) return (false, point);
        return _call(G2_ADD, bytes.concat(a, b), 256);
    }

    /// expand_message_xmd with SHA-256 to 256 bytes. [RFC 9380 §5.3.1]
    function _expand(bytes32 root) private pure returns (bytes32[8] memory b) {
        bytes32 zero;
        bytes32 first = sha256(abi.encodePacked(zero, zero, root, uint16(256), uint8(0), DST_PRIME));
        b[0] = sha256(abi.encodePacked(first, uint8(1), DST_PRIME));
        for (uint8 i = 1; i < 8; ++i) {
            b[i] = sha256(abi.encodePacked(first ^ b[i - 1], i + 1, DST_PRIME));
        }
    }

    /// The point of the field element c0 + c1·i, both given as 64 unreduced bytes.
    function _map(bytes32 c0High, bytes32 c0Low, bytes32 c1High, bytes32 c1Low)
        private
        view
        returns (bool ok, bytes memory point)
    {
        bytes memory c0;
        bytes memory c1;
        (ok, c0) = _reduce(c0High, c0Low);
        if (!ok) return (false, point);
        (ok, c1) = _reduce(c1High, c1Low);
        if (!ok) return (false, point);
        return _call(MAP_FP2_TO_G2, bytes.concat(c0, c1), 256);
    }

    /// 64 bytes modulo p.
    function _reduce(bytes32 high, bytes32 low) private view returns (bool, bytes memory) {
        bytes memory lengths = abi.encode(64, 1, 64);
        return _call(MODEXP, abi.encodePacked(lengths, high, low, uint8(1), P_HIGH, P_LOW), 64);
    }

    /// A missing precompile is an empty account: its calls succeed and return nothing.
    function _call(address precompile, bytes memory input, uint256 size) private view returns (bool ok, bytes memory out) {
        (ok, out) = precompile.staticcall(input);
        ok = ok && out.length == size;
    }
}
