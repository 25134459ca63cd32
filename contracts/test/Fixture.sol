// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {FaultVerifier} from "../src/FaultVerifier.sol";
import {IAllocationManager} from "../src/Interfaces.sol";
import {PreconfServiceManager} from "../src/PreconfServiceManager.sol";
import {AbsenceProof, Fault, Registration, SignedDelegation, SignedPromise} from "../src/Types.sol";
import {CoreDouble, VerifierDouble} from "./Doubles.sol";
import {Test} from "./Forge.sol";

/// @notice A service manager between doubles, with one operator and one key.
abstract contract Fixture is Test {
    address internal constant GUARDIAN = address(0x9a9d);
    address internal constant OPERATOR = address(0xe7a1);
    address internal constant STRANGER = address(0x57a9);
    address internal constant STRATEGY = address(0x57a7);
    uint256 internal constant ABSENT_WAD = 0.1e18;
    uint256 internal constant DOUBLE_WAD = 0.5e18;
    uint256 internal constant DAILY_WAD = 0.6e18;
    uint64 internal constant DELAY = 72 hours;

    CoreDouble internal core;
    VerifierDouble internal verifier;
    PreconfServiceManager internal manager;

    function setUp() public virtual {
        vm.warp(1_760_000_000);
        core = new CoreDouble();
        verifier = new VerifierDouble();
        manager = new PreconfServiceManager(config());
        core.register(manager, OPERATOR, keys(1));
        verifier.setSlot(100_100);
    }

    function config() internal view returns (PreconfServiceManager.Config memory c) {
        c.allocationManager = IAllocationManager(address(core));
        c.verifier = FaultVerifier(address(verifier));
        c.guardian = GUARDIAN;
        c.metadataURI = "ipfs://service";
        c.strategies = new address[](1);
        c.strategies[0] = STRATEGY;
        c.absentWad = ABSENT_WAD;
        c.doubleWad = DOUBLE_WAD;
        c.dailyWad = DAILY_WAD;
        c.delay = DELAY;
    }

    function registration(uint256 n) internal pure returns (Registration memory r) {
        r.pubkey.xLow = bytes32(n);
    }

    function keys(uint256 n) internal pure returns (bytes memory) {
        return abi.encode(list(n));
    }

    function list(uint256 n) internal pure returns (Registration[] memory rs) {
        rs = new Registration[](1);
        rs[0] = registration(n);
    }

    function validator(uint256 n) internal pure returns (bytes32) {
        return keccak256(abi.encode(registration(n).pubkey));
    }

    /// The verifier finds this fault of key 1, in a slot the key answers for.
    function find(uint256 id) internal {
        verifier.find(Fault(bytes32(id), validator(1), 100_050));
    }

    function submitAbsent(uint256 id) internal returns (bytes32) {
        find(id);
        return callAbsent();
    }

    function submitDouble(uint256 id) internal returns (bytes32) {
        find(id);
        return callDouble();
    }

    function callAbsent() internal returns (bytes32) {
        SignedDelegation memory d;
        SignedPromise memory p;
        AbsenceProof memory a;
        return manager.submitAbsent(d, p, a);
    }

    function callDouble() internal returns (bytes32) {
        SignedDelegation memory d;
        SignedPromise memory p;
        return manager.submitDouble(d, p, p);
    }

    function statusOf(bytes32 id) internal view returns (PreconfServiceManager.Status status) {
        (,, status,,) = manager.cases(id);
    }
}
