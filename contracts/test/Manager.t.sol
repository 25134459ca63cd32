// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAllocationManager} from "../src/Interfaces.sol";
import {PreconfServiceManager as Manager} from "../src/PreconfServiceManager.sol";
import {Fault, Registration} from "../src/Types.sol";
import {CoreDouble, VerifierDouble} from "./Doubles.sol";
import {Fixture} from "./Fixture.sol";

contract ManagerTest is Fixture {
    // --- Birth

    function test_created() external view {
        require(core.slasherOf(address(manager), 0) == address(manager), "not its own slasher");
        require(core.strategies(0) == STRATEGY, "strategy");
        require(core.recipient() == address(0) && manager.redistributionRecipient() == address(0), "not a burning set");
        require(manager.supportsAVS(address(manager)) && !manager.supportsAVS(address(core)), "supportsAVS");
    }

    function testFuzz_config(uint8 field, uint64 more) external {
        Manager.Config memory c = config();
        field %= 12;
        if (field == 0) c.absentWad = 0;
        if (field == 1) c.doubleWad = 0;
        if (field == 2) c.dailyWad = c.doubleWad - 1;
        if (field == 3) (c.absentWad, c.dailyWad) = (1e18 + 1 + uint256(more), type(uint256).max);
        if (field == 4) c.guardian = address(0);
        if (field == 5) c.delay = 7 days + 1 + more % 1000 days;
        if (field == 6) c.strategies = new address[](0);
        if (field == 7) c.strategies = new address[](2); // not ascending
        if (field == 8) c.redistributionRecipient = GUARDIAN;
        if (field == 9) c.redistributionRecipient = address(core);
        if (field == 10) c.redistributionRecipient = address(verifier);
        if (field == 11) c.redistributionRecipient = vm.computeCreateAddress(address(this), vm.getNonce(address(this)));
        vm.expectRevert(Manager.ConfigInvalid.selector);
        new Manager(c);
    }

    // --- A set that pays

    /// The core is told of the recipient once, at birth, and slashing is as in a set that burns.
    function testFuzz_recipient(address to) external {
        Manager.Config memory c = config();
        vm.assume(to != address(0) && to != GUARDIAN && to != OPERATOR && to != address(core) && to != address(verifier));
        vm.assume(to != vm.computeCreateAddress(address(this), vm.getNonce(address(this))));
        c.redistributionRecipient = to;
        manager = new Manager(c);
        require(core.recipient() == to && manager.redistributionRecipient() == to, "recipient");
        require(core.slasherOf(address(manager), 0) == address(manager), "not its own slasher");
        core.register(manager, OPERATOR, "");
        verifier.setSlot(100_000);
        vm.prank(OPERATOR);
        manager.registerKeys(list(1));
        verifier.setSlot(100_100);
        bytes32 id = submitAbsent(1);
        vm.warp(block.timestamp + DELAY);
        vm.prank(to); // it may execute like anybody, and has nothing else to call
        manager.execute(id);
        same(core.slashed(OPERATOR), ABSENT_WAD, "slashed");
    }

    /// Neither the recipient nor anybody else vetoes or pauses in the guardian's place.
    function test_recipient_powers() external {
        Manager.Config memory c = config();
        c.redistributionRecipient = STRANGER;
        manager = new Manager(c);
        vm.expectRevert(Manager.OperatorIsRecipient.selector);
        core.register(manager, STRANGER, "");
        core.register(manager, OPERATOR, keys(1));
        verifier.find(Fault(bytes32(uint256(1)), validator(1), 100_150));
        verifier.setSlot(100_200);
        bytes32 id = callAbsent();
        vm.prank(STRANGER);
        vm.expectRevert(Manager.NotGuardian.selector);
        manager.veto(id);
        vm.prank(STRANGER);
        vm.expectRevert(Manager.TooEarly.selector);
        manager.execute(id);
        vm.prank(GUARDIAN);
        manager.veto(id);
        vm.warp(block.timestamp + DELAY);
        vm.prank(STRANGER);
        vm.expectRevert(Manager.NotPending.selector);
        manager.execute(id);
        same(core.slashed(OPERATOR), 0, "slashed");
    }

    // --- Registrar

    function test_registrar_onlyCore() external {
        vm.expectRevert(Manager.NotAllocationManager.selector);
        manager.registerOperator(STRANGER, address(manager), new uint32[](1), "");
        vm.expectRevert(Manager.NotAllocationManager.selector);
        manager.deregisterOperator(OPERATOR, address(manager), new uint32[](1));
    }

    function test_registrar_otherSet() external {
        uint32[] memory ids = new uint32[](1);
        ids[0] = 1;
        vm.prank(address(core));
        vm.expectRevert(Manager.OtherOperatorSet.selector);
        manager.registerOperator(STRANGER, address(manager), ids, "");
        vm.prank(address(core));
        vm.expectRevert(Manager.OtherOperatorSet.selector);
        manager.registerOperator(STRANGER, address(core), new uint32[](1), "");
        vm.prank(address(core));
        vm.expectRevert(Manager.OtherOperatorSet.selector);
        manager.registerOperator(STRANGER, address(manager), new uint32[](2), "");
    }

    function test_keys_possession() external {
        verifier.setPossession(false);
        vm.prank(OPERATOR);
        vm.expectRevert(Manager.PossessionNotProven.selector);
        manager.registerKeys(list(2));
    }

    function test_keys_taken() external {
        vm.expectRevert(Manager.KeyTaken.selector);
        core.register(manager, STRANGER, keys(1));
        vm.prank(OPERATOR);
        vm.expectRevert(Manager.KeyTaken.selector);
        manager.registerKeys(list(1));
    }

    function test_keys_stranger() external {
        vm.prank(STRANGER);
        vm.expectRevert(Manager.NotOperator.selector);
        manager.registerKeys(list(2));
        vm.prank(STRANGER);
        vm.expectRevert(Manager.NotOperatorsKey.selector);
        manager.retireKey(validator(1));
    }

    function test_keys_afterLeaving() external {
        core.deregister(manager, OPERATOR);
        vm.prank(OPERATOR);
        vm.expectRevert(Manager.NotOperator.selector);
        manager.registerKeys(list(2));
    }

    /// A key answers for slots after its registration and before its end, and for no other.
    function testFuzz_active(uint64 slot, bool leaves) external {
        if (leaves) {
            core.deregister(manager, OPERATOR);
        } else {
            vm.prank(OPERATOR);
            manager.retireKey(validator(1));
        }
        slot = 99_900 + slot % 400;
        verifier.find(Fault(bytes32(uint256(1)), validator(1), slot));
        bool answers = slot > 100_000 && slot < 100_100 + 64;
        if (!answers) vm.expectRevert(Manager.KeyNotActive.selector);
        callAbsent();
    }

    function test_active_unknownKey() external {
        verifier.find(Fault(bytes32(uint256(1)), validator(2), 100_050));
        vm.expectRevert(Manager.KeyNotActive.selector);
        callAbsent();
    }

    /// A retired key is free again once nothing it promised can be proven any more, and not earlier.
    function test_keys_again() external {
        vm.prank(OPERATOR);
        manager.retireKey(validator(1));
        vm.prank(OPERATOR);
        vm.expectRevert(Manager.NotOperatorsKey.selector);
        manager.retireKey(validator(1));
        uint64 until = 100_100 + 64;
        verifier.setSlot(until + 2 * 8191);
        vm.expectRevert(Manager.KeyTaken.selector);
        core.register(manager, STRANGER, keys(1));
        verifier.setSlot(until + 2 * 8191 + 1);
        vm.expectRevert(Manager.PossessionReplayed.selector);
        core.register(manager, OPERATOR, keys(1)); // with the proof of the first time
        Registration[] memory again = list(1);
        again[0].nonce = 1;
        core.register(manager, STRANGER, abi.encode(again));
        (address operator,,,,) = manager.validators(validator(1));
        require(operator == STRANGER, "operator");
        // The former operator's slots are nobody's now.
        find(1);
        vm.expectRevert(Manager.KeyNotActive.selector);
        callAbsent();
    }

    /// Joining again does not revive the keys of the term before.
    function test_operator_again() external {
        core.deregister(manager, OPERATOR);
        core.deregister(manager, OPERATOR); // again: never reverts, changes nothing
        verifier.setSlot(100_300);
        core.register(manager, OPERATOR, keys(2));
        verifier.find(Fault(bytes32(uint256(1)), validator(1), 100_250));
        vm.expectRevert(Manager.KeyNotActive.selector);
        callAbsent();
        verifier.find(Fault(bytes32(uint256(2)), validator(2), 100_301));
        callAbsent();
    }

    // --- Faults

    function test_submit_acquitted() external {
        verifier.acquit();
        vm.expectRevert(VerifierDouble.Acquitted.selector);
        callAbsent();
        vm.expectRevert(VerifierDouble.Acquitted.selector);
        callDouble();
    }

    function test_submit_once() external {
        submitAbsent(1);
        find(1);
        vm.expectRevert(Manager.FaultKnown.selector);
        callAbsent();
        find(1);
        vm.expectRevert(Manager.FaultKnown.selector);
        callDouble();
    }

    function test_submit_onceForEver() external {
        bytes32 executed = submitAbsent(1);
        bytes32 vetoed = submitAbsent(2);
        vm.prank(GUARDIAN);
        manager.veto(vetoed);
        vm.warp(block.timestamp + DELAY);
        manager.execute(executed);
        find(1);
        vm.expectRevert(Manager.FaultKnown.selector);
        callAbsent();
        find(2);
        vm.expectRevert(Manager.FaultKnown.selector);
        callAbsent();
    }

    function test_double_window() external {
        verifier.setSlot(100_050 + 8191);
        submitDouble(1);
        verifier.setSlot(100_050 + 8192);
        find(2);
        vm.expectRevert(Manager.EvidenceTooOld.selector);
        callDouble();
    }

    function testFuzz_execute_delay(uint32 wait) external {
        bytes32 id = submitAbsent(1);
        wait %= 2 * uint32(DELAY);
        vm.warp(block.timestamp + wait);
        if (wait < DELAY) vm.expectRevert(Manager.TooEarly.selector);
        vm.prank(STRANGER);
        manager.execute(id);
        same(core.slashed(OPERATOR), wait < DELAY ? 0 : ABSENT_WAD, "slashed");
    }

    function test_execute_params() external {
        bytes32 id = submitDouble(1);
        vm.warp(block.timestamp + DELAY);
        manager.execute(id);
        IAllocationManager.SlashingParams memory p =
            abi.decode(core.lastParams(), (IAllocationManager.SlashingParams));
        require(p.operator == OPERATOR && p.operatorSetId == 0, "whom");
        require(p.strategies.length == 1 && p.strategies[0] == STRATEGY, "what");
        require(p.wadsToSlash.length == 1 && p.wadsToSlash[0] == DOUBLE_WAD, "how much");
    }

    function test_execute_once() external {
        bytes32 id = submitAbsent(1);
        vm.warp(block.timestamp + DELAY);
        manager.execute(id);
        vm.expectRevert(Manager.NotPending.selector);
        manager.execute(id);
        vm.expectRevert(Manager.NotPending.selector);
        manager.execute(bytes32(uint256(99)));
    }

    /// The core, or a strategy it calls, comes back in the middle of a slash.
    function test_execute_reentry() external {
        bytes32 id = submitAbsent(1);
        vm.warp(block.timestamp + DELAY);
        core.setHook(address(manager), abi.encodeCall(manager.execute, (id)));
        manager.execute(id);
        require(!core.hookSucceeded() && core.slashes() == 1, "slashed twice");
    }

    function test_execute_dailyCap() external {
        for (uint256 i = 1; i <= 7; ++i) {
            submitAbsent(i);
        }
        vm.warp((block.timestamp + DELAY) / 1 days * 1 days + 1 days); // the first second of a day
        for (uint256 i = 1; i <= 6; ++i) {
            manager.execute(bytes32(i));
        }
        vm.expectRevert(Manager.DailyCapReached.selector);
        manager.execute(bytes32(uint256(7)));
        vm.warp(block.timestamp + 1 days - 1);
        vm.expectRevert(Manager.DailyCapReached.selector);
        manager.execute(bytes32(uint256(7)));
        vm.warp(block.timestamp + 1);
        manager.execute(bytes32(uint256(7)));
        same(core.slashed(OPERATOR), 7 * ABSENT_WAD, "slashed");
    }

    /// An operator that left is slashed for what it promised before.
    function test_execute_afterLeaving() external {
        bytes32 id = submitAbsent(1);
        core.deregister(manager, OPERATOR);
        vm.warp(block.timestamp + DELAY);
        manager.execute(id);
        same(core.slashed(OPERATOR), ABSENT_WAD, "slashed");
    }

    function test_slash_stranger() external {
        IAllocationManager.SlashingParams memory p;
        vm.prank(STRANGER);
        vm.expectRevert(CoreDouble.OnlySlasher.selector);
        core.slashOperator(address(manager), p);
    }

    // --- Guardian

    function test_veto() external {
        bytes32 id = submitAbsent(1);
        vm.warp(block.timestamp + DELAY - 1);
        vm.prank(GUARDIAN);
        manager.veto(id);
        vm.warp(block.timestamp + DELAY);
        vm.expectRevert(Manager.NotPending.selector);
        manager.execute(id);
        vm.prank(GUARDIAN);
        vm.expectRevert(Manager.NotPending.selector);
        manager.veto(id);
    }

    function test_veto_tooLate() external {
        bytes32 id = submitAbsent(1);
        vm.warp(block.timestamp + DELAY);
        vm.prank(GUARDIAN);
        vm.expectRevert(Manager.TooLateToVeto.selector);
        manager.veto(id);
    }

    function testFuzz_guardianOnly(address other) external {
        vm.assume(other != GUARDIAN);
        bytes32 id = submitAbsent(1);
        vm.prank(other);
        vm.expectRevert(Manager.NotGuardian.selector);
        manager.veto(id);
        vm.prank(other);
        vm.expectRevert(Manager.NotGuardian.selector);
        manager.setPaused(true);
    }

    /// A pause stops execution and nothing else: evidence does not wait.
    function test_pause() external {
        bytes32 id = submitAbsent(1);
        vm.prank(GUARDIAN);
        manager.setPaused(true);
        submitAbsent(2);
        vm.warp(block.timestamp + DELAY);
        vm.expectRevert(Manager.Paused.selector);
        manager.execute(id);
        vm.prank(GUARDIAN);
        manager.setPaused(false);
        manager.execute(id);
    }
}
