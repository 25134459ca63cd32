// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {FaultVerifier} from "../src/FaultVerifier.sol";
import {Fault, Registration} from "../src/Types.sol";
import {Test} from "./Forge.sol";

/// @notice The evidence that the Go tests prove on geth's EVM, on a second EVM.
contract EvidenceTest is Test {
    FaultVerifier private _verifier;
    bytes private _absent;
    bytes private _double;
    string private _json;

    function setUp() external {
        _json = vm.readFile("test/fixtures/evidence.json");
        vm.chainId(vm.parseJsonUint(_json, ".ChainId"));
        vm.roll(vm.parseJsonUint(_json, ".Number"));
        vm.warp(vm.parseJsonUint(_json, ".Time"));
        vm.setBlockhash(vm.parseJsonUint(_json, ".ChildNumber"), vm.parseJsonBytes32(_json, ".ChildHash"));
        _verifier = new FaultVerifier(abi.decode(vm.parseJsonBytes(_json, ".Config"), (FaultVerifier.Config)));
        _absent = vm.parseJsonBytes(_json, ".Absent");
        _double = vm.parseJsonBytes(_json, ".Double");
    }

    function test_absent() external view {
        (bool ok, bytes memory out) = address(_verifier).staticcall(_absent);
        require(ok && abi.decode(out, (Fault)).slot == 1_000_000, "F1 is not proven");
    }

    function test_double() external view {
        (bool ok, bytes memory out) = address(_verifier).staticcall(_double);
        require(ok && abi.decode(out, (Fault)).slot == 1_000_000, "F2 is not proven");
    }

    function test_registered() external view {
        Registration memory r = abi.decode(vm.parseJsonBytes(_json, ".Registration"), (Registration));
        address manager = vm.parseJsonAddress(_json, ".Slasher");
        address operator = vm.parseJsonAddress(_json, ".Operator");
        require(_verifier.registered(manager, operator, r), "possession");
        require(!_verifier.registered(manager, manager, r), "possession by another operator");
        require(!_verifier.registered(operator, operator, r), "possession at another contract");
    }

    /// Another block in the child's place: the same evidence is worth nothing.
    function test_reorg() external {
        vm.setBlockhash(vm.parseJsonUint(_json, ".ChildNumber"), keccak256("another"));
        (bool ok, bytes memory out) = address(_verifier).staticcall(_absent);
        require(!ok && bytes4(out) == FaultVerifier.ChildUnknown.selector, "reorged evidence");
    }

    /// A changed byte either proves nothing, or is padding that nobody reads and proves the same.
    function testFuzz_absent(uint16 at, uint8 mask) external view {
        _mutate(_absent, at, mask);
    }

    function testFuzz_double(uint16 at, uint8 mask) external view {
        _mutate(_double, at, mask);
    }

    function _mutate(bytes memory input, uint16 at, uint8 mask) private view {
        (, bytes memory want) = address(_verifier).staticcall(input);
        uint256 i = 4 + uint256(at) % (input.length - 4);
        input[i] ^= bytes1(mask == 0 ? 1 : mask);
        (bool ok, bytes memory got) = address(_verifier).staticcall(input);
        require(!ok || keccak256(got) == keccak256(want), "a changed proof proves something else");
    }
}
