// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {PreconfServiceManager as Manager} from "../src/PreconfServiceManager.sol";
import {CoreDouble} from "./Doubles.sol";
import {Fixture} from "./Fixture.sol";

/// @notice Does in any order whatever anyone may do, and keeps account.
contract Actor is Fixture {
    /// Few enough that most are submitted, vetoed and executed in one run.
    uint8 private constant CASES = 8;

    uint256 public submitted;
    uint256 public vetoed;
    uint256 public executedWad;
    uint256 public executions;
    mapping(bytes32 => bool) public everVetoed;
    uint256 private _time;
    mapping(uint256 => uint256) private _dayWad;

    modifier onTime() {
        vm.warp(_time);
        _;
    }

    constructor() {
        setUp();
        _time = block.timestamp;
    }

    function submit(uint8 id, bool isDouble) external onTime {
        id %= CASES;
        if (statusOf(bytes32(uint256(id))) != Manager.Status.None) return;
        isDouble ? submitDouble(id) : submitAbsent(id);
        ++submitted;
    }

    /// Time stands still but here; forge forgets a warp after the call it was made in.
    function wait(uint32 time) external {
        _time += time % 2 days;
    }

    /// Vetoes one case in four; otherwise nothing would be left to execute.
    function veto(uint8 id) external onTime {
        id %= CASES;
        if (id % 4 != 0) return;
        vm.prank(GUARDIAN);
        try manager.veto(bytes32(uint256(id))) {
            ++vetoed;
            everVetoed[bytes32(uint256(id))] = true;
        } catch {}
    }

    function pause(bool to) external onTime {
        vm.prank(GUARDIAN);
        manager.setPaused(to);
    }

    function execute(uint8 id) external onTime {
        bytes32 fault = bytes32(uint256(id % CASES));
        (, Manager.Kind kind, Manager.Status status,, uint64 at) = manager.cases(fault);
        bool paused = manager.paused();
        try manager.execute(fault) {
            require(!paused && status == Manager.Status.Pending && block.timestamp >= at, "executed out of turn");
            require(!everVetoed[fault], "executed after a veto");
            uint256 wad = kind == Manager.Kind.Absent ? ABSENT_WAD : DOUBLE_WAD;
            executedWad += wad;
            _dayWad[_time / 1 days] += wad;
            ++executions;
        } catch {}
    }

    function slashedToday() external view returns (uint256) {
        return _dayWad[_time / 1 days];
    }

    function dailyWad() external view returns (uint256) {
        return manager.dailyWad();
    }

    function slashed() external view returns (uint256) {
        return core.slashed(OPERATOR);
    }

    function slashes() external view returns (uint256) {
        return core.slashes();
    }
}

contract ManagerInvariantTest {
    Actor private _actor;

    function setUp() external {
        _actor = new Actor();
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// What forge calls at random. [foundry: invariant targets]
    function targetSelectors() external view returns (FuzzSelector[] memory out) {
        out = new FuzzSelector[](1);
        bytes4[] memory s = new bytes4[](5);
        (s[0], s[1], s[2], s[3], s[4]) =
            (Actor.submit.selector, Actor.wait.selector, Actor.veto.selector, Actor.pause.selector, Actor.execute.selector);
        out[0] = FuzzSelector(address(_actor), s);
    }

    function targetContracts() external view returns (address[] memory out) {
        out = new address[](1);
        out[0] = address(_actor);
    }

    /// The core was asked for exactly what was executed.
    function invariant_sum() external view {
        require(_actor.slashed() == _actor.executedWad(), "shares");
        require(_actor.slashes() == _actor.executions(), "calls");
    }

    function invariant_dailyCap() external view {
        require(_actor.slashedToday() <= _actor.dailyWad(), "more than a day may cost");
    }

    /// A case ends once.
    function invariant_ends() external view {
        require(_actor.vetoed() + _actor.executions() <= _actor.submitted(), "more ends than cases");
    }
}
