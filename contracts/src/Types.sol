// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice A point of the first group of BLS12-381: two coordinates of 64 bytes, big-endian. [EIP-2537]
struct G1 {
    bytes32 xHigh;
    bytes32 xLow;
    bytes32 yHigh;
    bytes32 yLow;
}

/// @notice A point of the second group: x.c0, x.c1, y.c0, y.c1, each of 64 bytes. [EIP-2537]
/// @dev Serialised points of consensus clients have c1 first; whoever builds calldata swaps them.
struct G2 {
    bytes32 x0High;
    bytes32 x0Low;
    bytes32 x1High;
    bytes32 x1Low;
    bytes32 y0High;
    bytes32 y0Low;
    bytes32 y1High;
    bytes32 y1Low;
}

/// @notice Lets a delegate act for a proposer in one slot. [URC: ISlasher.Delegation]
struct Delegation {
    G1 proposer;
    G1 delegate;
    address committer;
    uint64 slot;
    bytes metadata;
}

/// @notice A delegation with the proposer's signature. [URC signing-domain: SignedDelegation]
struct SignedDelegation {
    Delegation delegation;
    uint64 nonce;
    bytes32 signingId;
    G2 signature;
}

/// @notice What is promised. [Commitments API: Commitment]
struct Commitment {
    uint64 commitmentType;
    bytes payload;
    bytes32 requestHash;
    address slasher;
}

/// @notice A commitment with the delegate's signature, over its own root (empty branch) or over the
/// root of a group it is in.
struct SignedPromise {
    Commitment commitment;
    uint64 nonce;
    bytes32 signingId;
    G2 signature;
    bytes32[] branch;
}

/// @notice What shows that a promised transaction was not in its block, and could have been.
struct AbsenceProof {
    /// The number of the block after the target; its hash is looked up in the chain's history.
    uint64 childNumber;
    /// Execution headers in RLP: the promised block, the one after, the one before.
    bytes childHeader;
    bytes targetHeader;
    bytes parentHeader;
    /// The rest of the beacon block header of the slot; the promise names the slot and the proposer.
    bytes32 beaconParentRoot;
    bytes32 beaconStateRoot;
    bytes32 beaconBodyRoot;
    /// Account proofs of the sender, root first, in the state before and after the promised block.
    bytes[] preState;
    bytes[] postState;
}

/// @notice What a payload promises, read strictly.
struct Promised {
    uint64 slot;
    uint64 proposerIndex;
    address sender;
    uint64 nonce;
    uint64 gas;
    uint256 maxFee;
    uint256 value;
    bytes32 txHash;
}

/// @notice A proven fault.
struct Fault {
    /// The same for every proof of the same fault.
    bytes32 id;
    /// keccak256 of the validator's public key, four words.
    bytes32 validator;
    uint64 slot;
}

/// @notice A validator's key that joins an operator, with its proof of possession.
struct Registration {
    G1 pubkey;
    uint64 nonce;
    G2 signature;
}
