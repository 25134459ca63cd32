// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Commitment, Delegation} from "./Types.sol";

/// @notice What this project calls of EigenLayer's core, declared from its published ABI.
/// [EigenLayer v1.9: AllocationManager]
interface IAllocationManager {
    struct SlashingParams {
        address operator;
        uint32 operatorSetId;
        /// Ascending by address.
        address[] strategies;
        /// Shares of the set's allocation, 1e18 is all; one for each strategy.
        uint256[] wadsToSlash;
        string description;
    }

    struct CreateSetParams {
        uint32 operatorSetId;
        address[] strategies;
        address slasher;
    }

    function updateAVSMetadataURI(address avs, string calldata metadataURI) external;

    function createOperatorSets(address avs, CreateSetParams[] calldata params) external;

    /// @notice Sets whose slashed stake goes to a recipient each, for ever: there is no call that changes it.
    function createRedistributingOperatorSets(
        address avs,
        CreateSetParams[] calldata params,
        address[] calldata redistributionRecipients
    ) external;

    function slashOperator(address avs, SlashingParams calldata params)
        external
        returns (uint256 slashId, uint256[] memory shares);
}

/// @notice What EigenLayer's core calls of an AVS. [EigenLayer v1.9: IAVSRegistrar]
interface IAVSRegistrar {
    function registerOperator(address operator, address avs, uint32[] calldata operatorSetIds, bytes calldata data)
        external;

    function deregisterOperator(address operator, address avs, uint32[] calldata operatorSetIds) external;

    function supportsAVS(address avs) external view returns (bool);
}

/// @notice What the Universal Registry Contract calls of a slasher: main (July 2025).
interface ISlasherMain {
    /// @notice A commitment as main knows it: without a request hash. [URC: ISlasher.Commitment]
    struct CommitmentMain {
        uint64 commitmentType;
        bytes payload;
        address slasher;
    }

    function slash(
        Delegation calldata delegation,
        CommitmentMain calldata commitment,
        address committer,
        bytes calldata evidence,
        address challenger
    ) external returns (uint256 slashAmountWei);
}

/// @notice The same in the registry's branch signing-domain (eth-fabric, January 2026).
interface ISlasherSigningDomain {
    function slash(
        Delegation calldata delegation,
        Commitment calldata commitment,
        address committer,
        bytes calldata evidence,
        address challenger
    ) external returns (uint256 slashAmountWei);
}
