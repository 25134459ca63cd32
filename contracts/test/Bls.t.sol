// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Bls} from "../src/Bls.sol";
import {SigningRoot} from "../src/SigningRoot.sol";
import {G1, G2} from "../src/Types.sol";
import {Test} from "./Forge.sol";

/// @notice Signatures that Commit-Boost published, checked on a chain.
contract BlsTest is Test {
    uint256 private constant VECTORS = 5;

    struct Vector {
        G1 pubkey;
        bytes32 root;
        G2 signature;
    }

    string private _json;

    function setUp() external {
        _json = vm.readFile("test/fixtures/signatures.json");
    }

    function test_published() external view {
        for (uint256 i = 0; i < VECTORS; ++i) {
            Vector memory v = _vector(i);
            require(Bls.verify(v.pubkey, v.root, v.signature), _key(i, "Name"));
        }
    }

    function test_signingRoot() external view {
        for (uint256 i = 0; i < VECTORS - 1; ++i) {
            bytes32 root = SigningRoot.toSign(
                vm.parseJsonBytes32(_json, _key(i, "Object")),
                vm.parseJsonBytes32(_json, _key(i, "SigningId")),
                uint64(vm.parseJsonUint(_json, _key(i, "Nonce"))),
                uint64(vm.parseJsonUint(_json, _key(i, "ChainId"))),
                vm.parseJsonBytes32(_json, _key(i, "Domain"))
            );
            same(root, _vector(i).root, "signing root");
        }
    }

    /// The two keys and the two messages of group B do not stand in for each other.
    function test_swapped() external view {
        for (uint256 i = 0; i < VECTORS; ++i) {
            for (uint256 j = 0; j < VECTORS; ++j) {
                Vector memory v = _vector(i);
                Vector memory w = _vector(j);
                require(Bls.verify(v.pubkey, v.root, w.signature) == (i == j), "signature of another");
            }
        }
    }

    function test_infinity() external view {
        G1 memory p;
        G2 memory q;
        Vector memory v = _vector(0);
        require(!Bls.verify(p, v.root, q), "infinity pairs with itself");
        require(!Bls.verify(p, v.root, v.signature), "infinite key");
        require(!Bls.verify(v.pubkey, v.root, q), "infinite signature");
    }

    function testFuzz_otherRoot(bytes32 root) external view {
        Vector memory v = _vector(0);
        vm.assume(root != v.root);
        require(!Bls.verify(v.pubkey, root, v.signature), "another root");
    }

    /// One changed byte of a point is off the curve, unreduced, or another point.
    function testFuzz_otherPoints(uint16 at, uint8 mask) external view {
        Vector memory v = _vector(0);
        bytes memory points = abi.encode(v.pubkey, v.signature);
        uint256 i = uint256(at) % points.length;
        if (mask == 0) mask = 1;
        points[i] ^= bytes1(mask);
        (G1 memory p, G2 memory q) = abi.decode(points, (G1, G2));
        require(!Bls.verify(p, v.root, q), "changed point");
    }


    function _vector(uint256 i) private view returns (Vector memory v) {
        v.pubkey = abi.decode(vm.parseJsonBytes(_json, _key(i, "Pubkey")), (G1));
        v.root = vm.parseJsonBytes32(_json, _key(i, "Root"));
        v.signature = abi.decode(vm.parseJsonBytes(_json, _key(i, "Signature")), (G2));
    }

    function _key(uint256 i, string memory field) private pure returns (string memory) {
        return string.concat("$[", string(abi.encodePacked(uint8(48 + i))), "].", field);
    }
}
