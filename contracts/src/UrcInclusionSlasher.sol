// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {FaultVerifier} from "./FaultVerifier.sol";
import {ISlasherMain, ISlasherSigningDomain} from "./Interfaces.sol";
import {AbsenceProof, Commitment, Delegation, Promised} from "./Types.sol";

/// @title Inclusion slasher for the Universal Registry Contract
/// @notice F1 behind both generations of the registry's slasher interface. One proof, one call: there
/// is no challenge that silence loses. The registry has checked the committer's signature over the
/// commitment, and the delegation or the opt-in.
contract UrcInclusionSlasher is ISlasherMain, ISlasherSigningDomain {
    error ConfigInvalid();
    /// Only the registry may call this.
    error NotRegistry();
    /// Not a commitment of the verifier's type.
    error CommitmentType();
    /// The commitment names another slasher.
    error OtherSlasher();
    /// The delegation is for another slot than the promise.
    error DelegationSlot();
    /// The delegation names another committer.
    error OtherCommitter();
    /// The fault has been punished.
    error FaultKnown();

    event FaultPunished(bytes32 indexed id, address indexed committer, uint64 slot, address challenger);

    address public immutable registry;
    FaultVerifier public immutable verifier;
    /// What the registry burns for a fault. It refuses 0.
    uint256 public immutable slashWei;

    /// Faults punished, by committer, slot, sender and nonce: the registry's opt-in path remembers none.
    mapping(bytes32 => bool) public punished;

    constructor(address registry_, FaultVerifier verifier_, uint256 slashWei_) {
        if (registry_ == address(0) || slashWei_ == 0) revert ConfigInvalid();
        registry = registry_;
        verifier = verifier_;
        slashWei = slashWei_;
    }

    /// @inheritdoc ISlasherMain
    /// @param evidence abi.encode(AbsenceProof)
    function slash(
        Delegation calldata delegation,
        CommitmentMain calldata commitment,
        address committer,
        bytes calldata evidence,
        address challenger
    ) external returns (uint256) {
        _check(commitment.commitmentType, commitment.slasher);
        return _slash(delegation, commitment.payload, committer, evidence, challenger);
    }

    /// @inheritdoc ISlasherSigningDomain
    /// @param evidence abi.encode(AbsenceProof)
    function slash(
        Delegation calldata delegation,
        Commitment calldata commitment,
        address committer,
        bytes calldata evidence,
        address challenger
    ) external returns (uint256) {
        _check(commitment.commitmentType, commitment.slasher);
        return _slash(delegation, commitment.payload, committer, evidence, challenger);
    }

    function _check(uint64 commitmentType, address slasher) private view {
        if (msg.sender != registry) revert NotRegistry();
        if (commitmentType != verifier.TYPE_INCLUSION()) revert CommitmentType();
        if (slasher != address(this)) revert OtherSlasher();
    }

    function _slash(
        Delegation calldata delegation,
        bytes calldata payload,
        address committer,
        bytes calldata evidence,
        address challenger
    ) private returns (uint256) {
        Promised memory p = verifier.absence(payload, abi.decode(evidence, (AbsenceProof)));
        // The opt-in path has no delegation: the registry passes zeros, and the promise itself says
        // whose slot it is.
        if (delegation.committer != address(0) || delegation.slot != 0) {
            if (delegation.committer != committer) revert OtherCommitter();
            if (delegation.slot != p.slot) revert DelegationSlot();
        }
        bytes32 id = keccak256(abi.encode(committer, p.slot, p.sender, p.nonce));
        if (punished[id]) revert FaultKnown();
        punished[id] = true;
        emit FaultPunished(id, committer, p.slot, challenger);
        return slashWei;
    }
}
