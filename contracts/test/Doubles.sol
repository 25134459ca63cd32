// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IAllocationManager, IAVSRegistrar} from "../src/Interfaces.sol";
import {AbsenceProof, Fault, Promised, Registration, SignedDelegation, SignedPromise} from "../src/Types.sol";

/// @notice A double of EigenLayer's allocation manager: it keeps what it was asked, and calls the
/// registrar as the core does. It allocates and slashes nothing.
contract CoreDouble is IAllocationManager {
    error OnlySlasher();

    mapping(address => mapping(uint32 => address)) public slasherOf;
    mapping(address => uint256) public slashed; // sum of shares, by operator
    uint256 public slashes;
    string public metadataURI;
    address[] public strategies;
    address public recipient; // of a redistributing set
    bytes public lastParams;
    /// What is called in the middle of a slash; an attacker's way back in.
    address public hook;
    bytes public hookCall;
    bool public hookSucceeded;

    function updateAVSMetadataURI(address, string calldata uri) external {
        metadataURI = uri;
    }

    function createRedistributingOperatorSets(
        address avs,
        CreateSetParams[] calldata params,
        address[] calldata recipients
    ) external {
        require(params.length == recipients.length && recipients[0] != address(0), "recipients");
        recipient = recipients[0];
        createOperatorSets(avs, params);
    }

    function createOperatorSets(address avs, CreateSetParams[] calldata params) public {
        for (uint256 i = 0; i < params.length; ++i) {
            slasherOf[avs][params[i].operatorSetId] = params[i].slasher;
            strategies = params[i].strategies;
        }
    }

    function slashOperator(address avs, SlashingParams calldata p) external returns (uint256, uint256[] memory shares) {
        if (msg.sender != slasherOf[avs][p.operatorSetId]) revert OnlySlasher();
        slashed[p.operator] += p.wadsToSlash[0];
        lastParams = abi.encode(p);
        if (hook != address(0)) (hookSucceeded,) = hook.call(hookCall);
        return (++slashes, shares);
    }

    function setHook(address to, bytes calldata input) external {
        (hook, hookCall) = (to, input);
    }

    function register(IAVSRegistrar avs, address operator, bytes calldata data) external {
        avs.registerOperator(operator, address(avs), new uint32[](1), data);
    }

    function deregister(IAVSRegistrar avs, address operator) external {
        avs.deregisterOperator(operator, address(avs), new uint32[](1));
    }
}

/// @notice A double of FaultVerifier that finds whatever the test says: the service manager's own
/// rules are tested with it, and the real verifier with real evidence elsewhere.
contract VerifierDouble {
    error Acquitted();

    Fault private _fault;
    bool public guilty;
    bool public possession = true;
    uint64 public currentSlot = 100_000;

    function find(Fault memory fault) external {
        (_fault, guilty) = (fault, true);
    }

    function acquit() external {
        guilty = false;
    }

    function setPossession(bool to) external {
        possession = to;
    }

    function setSlot(uint64 slot) external {
        currentSlot = slot;
    }

    function absent(address, SignedDelegation calldata, SignedPromise calldata, AbsenceProof calldata)
        external
        view
        returns (Fault memory)
    {
        if (!guilty) revert Acquitted();
        return _fault;
    }

    function double(address, SignedDelegation calldata, SignedPromise calldata, SignedPromise calldata)
        external
        view
        returns (Fault memory)
    {
        if (!guilty) revert Acquitted();
        return _fault;
    }

    function registered(address, address, Registration calldata) external view returns (bool) {
        return possession;
    }
}
