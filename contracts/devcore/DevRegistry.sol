// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

struct G1 {
    bytes32 xHigh;
    bytes32 xLow;
    bytes32 yHigh;
    bytes32 yLow;
}

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

struct Delegation {
    G1 proposer;
    G1 delegate;
    address committer;
    uint64 slot;
    bytes metadata;
}

struct CommitmentMain {
    uint64 commitmentType;
    bytes payload;
    address slasher;
}

struct Commitment {
    uint64 commitmentType;
    bytes payload;
    bytes32 requestHash;
    address slasher;
}

interface ISlasherMain {
    function slash(Delegation calldata, CommitmentMain calldata, address, bytes calldata, address)
        external
        returns (uint256);
}

interface ISlasherSigningDomain {
    function slash(Delegation calldata, Commitment calldata, address, bytes calldata, address)
        external
        returns (uint256);
}

/// @notice A stand-in for the Universal Registry Contract on development chains: the calls by which
/// collateral is slashed, by the names and layouts of both of its generations, with the same errors.
/// What it does not have: registration (a root is the hash of one key, and collateral is put under it),
/// Merkle proofs, checks of signatures, windows and delays.
contract DevRegistry {
    error InvalidProof();
    error NotOptedIn();
    error NoCollateralSlashed();
    error SlashAmountExceedsCollateral();
    error SlashingAlreadyOccurred();

    struct RegistrationMain {
        G1 pubkey;
        G2 signature;
    }

    struct RegistrationProofMain {
        bytes32 registrationRoot;
        RegistrationMain registration;
        bytes32[] merkleProof;
    }

    struct SignedDelegationMain {
        Delegation delegation;
        G2 signature;
    }

    struct SignedCommitmentMain {
        CommitmentMain commitment;
        bytes signature;
    }

    struct Registration {
        G1 pubkey;
        G2 signature;
        uint64 nonce;
    }

    struct RegistrationProof {
        bytes32 registrationRoot;
        Registration registration;
        bytes32[] merkleProof;
        bytes32 signingId;
    }

    struct SignedDelegation {
        Delegation delegation;
        uint64 nonce;
        bytes32 signingId;
        G2 signature;
    }

    struct SignedCommitment {
        Commitment commitment;
        uint64 nonce;
        bytes32 signingId;
        bytes signature;
    }

    mapping(bytes32 => uint256) public collateral; // wei, by root
    mapping(bytes32 => mapping(address => address)) public committers; // by root and slasher, of who opted in
    mapping(bytes32 => bool) private _before;

    function deposit(bytes32 root) external payable {
        collateral[root] += msg.value;
    }

    function optInToSlasher(bytes32 root, address slasher, address committer) external {
        committers[root][slasher] = committer;
    }

    function slashCommitment(
        RegistrationProofMain calldata proof,
        SignedDelegationMain calldata delegation,
        SignedCommitmentMain calldata commitment,
        bytes calldata evidence
    ) external returns (uint256 amount) {
        _once(keccak256(abi.encode(delegation, commitment, proof.registrationRoot)));
        _registered(proof.registrationRoot, proof.registration.pubkey, delegation.delegation.proposer);
        amount = ISlasherMain(commitment.commitment.slasher)
            .slash(
                delegation.delegation, commitment.commitment, delegation.delegation.committer, evidence, msg.sender
            );
        _burn(proof.registrationRoot, amount);
    }

    function slashCommitment(bytes32 root, SignedCommitmentMain calldata commitment, bytes calldata evidence)
        external
        returns (uint256 amount)
    {
        address committer = _optedIn(root, commitment.commitment.slasher);
        Delegation memory none;
        amount = ISlasherMain(commitment.commitment.slasher)
            .slash(none, commitment.commitment, committer, evidence, msg.sender);
        _burn(root, amount);
    }

    function slashCommitment(
        RegistrationProof calldata proof,
        SignedDelegation calldata delegation,
        SignedCommitment calldata commitment,
        bytes calldata evidence
    ) external returns (uint256 amount) {
        _once(keccak256(abi.encode(delegation, commitment, proof.registrationRoot)));
        _registered(proof.registrationRoot, proof.registration.pubkey, delegation.delegation.proposer);
        amount = ISlasherSigningDomain(commitment.commitment.slasher)
            .slash(
                delegation.delegation, commitment.commitment, delegation.delegation.committer, evidence, msg.sender
            );
        _burn(proof.registrationRoot, amount);
    }

    function slashCommitment(bytes32 root, SignedCommitment calldata commitment, bytes calldata evidence)
        external
        returns (uint256 amount)
    {
        address committer = _optedIn(root, commitment.commitment.slasher);
        Delegation memory none;
        amount = ISlasherSigningDomain(commitment.commitment.slasher)
            .slash(none, commitment.commitment, committer, evidence, msg.sender);
        _burn(root, amount);
    }

    function _once(bytes32 digest) private {
        if (_before[digest]) revert SlashingAlreadyOccurred();
        _before[digest] = true;
    }

    function _registered(bytes32 root, G1 calldata key, G1 calldata proposer) private pure {
        bytes32 hash = keccak256(abi.encode(key));
        if (hash != root || hash != keccak256(abi.encode(proposer))) revert InvalidProof();
    }

    function _optedIn(bytes32 root, address slasher) private view returns (address committer) {
        committer = committers[root][slasher];
        if (committer == address(0)) revert NotOptedIn();
    }

    function _burn(bytes32 root, uint256 amount) private {
        if (amount == 0) revert NoCollateralSlashed();
        if (amount > collateral[root]) revert SlashAmountExceedsCollateral();
        collateral[root] -= amount;
        (bool ok,) = address(0).call{value: amount}("");
        require(ok);
    }
}
