// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {BlockHeader} from "@openzeppelin/contracts/utils/BlockHeader.sol";
import {Blockhash} from "@openzeppelin/contracts/utils/Blockhash.sol";
import {Memory} from "@openzeppelin/contracts/utils/Memory.sol";
import {RLP} from "@openzeppelin/contracts/utils/RLP.sol";
import {TrieProof} from "@openzeppelin/contracts/utils/cryptography/TrieProof.sol";
import {Bls} from "./Bls.sol";
import {PromiseReader} from "./PromiseReader.sol";
import {SigningRoot} from "./SigningRoot.sol";
import {AbsenceProof, Delegation, Fault, Promised, Registration, SignedDelegation, SignedPromise} from "./Types.sol";

/// @title Proof of broken inclusion promises
/// @notice Two faults: a promised transaction that was valid and absent, and two different promises
/// for one slot, sender and nonce. A proof either shows guilt or reverts with the name of the excuse;
/// silence proves nothing, and every doubt acquits.
/// @dev Holds no state, no owner and no money. It knows the rules of the forks in its range of slots
/// and judges no other: a new fork needs a new verifier.
contract FaultVerifier {
    using BlockHeader for Memory.Slice[];
    using RLP for Memory.Slice;
    using TrieProof for bytes32;

    // --- Excuses and malformed proofs. Those of the transaction are in PromiseReader.
    /// A configuration that no chain has.
    error ConfigInvalid();
    /// The contract runs on another chain than it was made on.
    error ChainSplit();
    /// The slot is before or after the forks this verifier knows.
    error SlotOutOfRange();
    /// Not a commitment of type `TYPE_INCLUSION`.
    error CommitmentType();
    /// The commitment names another contract as its slasher.
    error OtherSlasher();
    /// The signing id is another module's.
    error OtherSigningId();
    /// The delegation is for another slot than the promise.
    error DelegationSlot();
    /// The validator did not sign the delegation.
    error DelegationSignature();
    /// The delegate did not sign the promise.
    error PromiseSignature();
    /// The child's header is not in the chain's history, or is too old for it.
    error ChildUnknown();
    /// The target's header is not the child's parent.
    error TargetNotParent();
    /// The parent's header is not the target's parent.
    error ParentNotParent();
    /// The target is the block of another slot, or of none.
    error OtherSlot();
    /// The beacon block of the slot is not the promised proposer's.
    error OtherProposer();
    /// The block's base fee exceeds the transaction's fee cap.
    error BaseFeeAboveCap();
    /// The transaction needs more gas than the block may use.
    error GasAboveBlock();
    /// The proof of the sender's account before the block does not hold.
    error PreStateProof();
    /// The proof of the sender's account after the block does not hold.
    error PostStateProof();
    /// The nonce was used before the block.
    error NonceUsed();
    /// Transactions before the promised one were missing.
    error NonceGap();
    /// The sender has code, its own or a delegation's. [EIP-3607, EIP-7702]
    error SenderHasCode();
    /// The sender could not pay gas · fee cap + value.
    error FundsTooLow();
    /// The block holds a transaction of the sender with this nonce: the promised one, or another.
    error NonceSpentInBlock();
    /// Both promises are for the same transaction.
    error SamePromise();
    /// The promises are for two senders.
    error SendersDiffer();
    /// The promises are for two nonces.
    error NoncesDiffer();

    /// @notice The commitment type of a provable inclusion promise: "incl".
    uint64 public constant TYPE_INCLUSION = 0x696e636c;

    uint256 private constant KIND_ABSENT = 1;
    uint256 private constant KIND_DOUBLE = 2;
    bytes32 private constant NO_CODE = keccak256("");

    struct Config {
        /// Of the beacon chain, in seconds since 1970.
        uint64 genesisTime;
        /// How long a slot lasts. Headers count whole seconds: the slot's start, rounded down.
        uint64 slotMillis;
        /// The slots whose forks this verifier knows: first ≤ slot < end.
        uint64 firstSlot;
        uint64 endSlot;
        /// The Commit-Boost domain of the network. [Commit-Boost: compute_domain]
        bytes32 signingDomain;
        /// The signing id of the module that promises.
        bytes32 signingId;
    }

    uint64 public immutable chainId;
    uint64 public immutable genesisTime;
    uint64 public immutable slotMillis;
    uint64 public immutable firstSlot;
    uint64 public immutable endSlot;
    bytes32 public immutable signingDomain;
    bytes32 public immutable signingId;

    constructor(Config memory c) {
        if (c.slotMillis == 0 || c.firstSlot >= c.endSlot || c.signingDomain == 0) revert ConfigInvalid();
        if (c.endSlot > type(uint40).max) revert ConfigInvalid(); // callers keep slots in 40 bits
        if (block.chainid == 0 || block.chainid > type(uint64).max) revert ConfigInvalid();
        chainId = uint64(block.chainid);
        genesisTime = c.genesisTime;
        slotMillis = c.slotMillis;
        firstSlot = c.firstSlot;
        endSlot = c.endSlot;
        signingDomain = c.signingDomain;
        signingId = c.signingId;
    }

    /// @notice F1: the promised transaction was valid and is not in the block. Reverts if not proven.
    /// @param slasher The contract that would punish; the promise must name it.
    function absent(
        address slasher,
        SignedDelegation memory delegation,
        SignedPromise memory signedPromise,
        AbsenceProof memory proof
    ) external view returns (Fault memory) {
        Promised memory p = _promised(slasher, delegation.delegation, signedPromise);
        _absence(p, proof);
        _delegated(delegation);
        _signed(delegation.delegation, signedPromise);
        return _fault(KIND_ABSENT, delegation.delegation, p);
    }

    /// @notice F2: two promises for one slot, sender and nonce, and two transactions. Reverts if not proven.
    function double(
        address slasher,
        SignedDelegation memory delegation,
        SignedPromise memory one,
        SignedPromise memory other
    ) external view returns (Fault memory) {
        Promised memory p = _promised(slasher, delegation.delegation, one);
        Promised memory q = _promised(slasher, delegation.delegation, other);
        // One delegation is for one slot, so both promises are.
        if (p.sender != q.sender) revert SendersDiffer();
        if (p.nonce != q.nonce) revert NoncesDiffer();
        if (p.txHash == q.txHash) revert SamePromise();
        _delegated(delegation);
        _signed(delegation.delegation, one);
        _signed(delegation.delegation, other);
        return _fault(KIND_DOUBLE, delegation.delegation, p);
    }

    /// @notice The facts of F1 without its signatures, for registries that check those themselves.
    function absence(bytes memory payload, AbsenceProof memory proof) external view returns (Promised memory p) {
        p = promised(payload);
        _absence(p, proof);
    }

    /// @notice What a payload promises; reverts if it could not be kept by anybody, or is out of range.
    function promised(bytes memory payload) public view returns (Promised memory p) {
        if (block.chainid != chainId) revert ChainSplit();
        p = PromiseReader.read(payload, chainId);
        if (p.slot < firstSlot || p.slot >= endSlot) revert SlotOutOfRange();
    }

    /// @notice Whether a validator's key signed that it joins `operator` at the contract `manager`.
    function registered(address manager, address operator, Registration calldata r) external view returns (bool) {
        bytes32 object = SigningRoot.ofRegistration(manager, operator);
        return Bls.verify(r.pubkey, SigningRoot.toSign(object, signingId, r.nonce, chainId, signingDomain), r.signature);
    }

    /// @notice The slot of this block's time; 0 before genesis.
    function currentSlot() external view returns (uint64) {
        if (block.timestamp < genesisTime) return 0;
        return uint64((block.timestamp - genesisTime) * 1000 / slotMillis);
    }

    /// What a signed promise says, if it is one for this slasher under this delegation.
    function _promised(address slasher, Delegation memory d, SignedPromise memory s)
        private
        view
        returns (Promised memory p)
    {
        if (s.commitment.commitmentType != TYPE_INCLUSION) revert CommitmentType();
        if (s.commitment.slasher != slasher) revert OtherSlasher();
        if (s.signingId != signingId) revert OtherSigningId();
        p = promised(s.commitment.payload);
        if (d.slot != p.slot) revert DelegationSlot();
    }

    function _delegated(SignedDelegation memory s) private view {
        if (s.signingId != signingId) revert OtherSigningId();
        bytes32 object = SigningRoot.ofDelegation(s.delegation);
        bytes32 root = SigningRoot.toSign(object, s.signingId, s.nonce, chainId, signingDomain);
        if (!Bls.verify(s.delegation.proposer, root, s.signature)) revert DelegationSignature();
    }

    function _signed(Delegation memory d, SignedPromise memory s) private view {
        bytes32 object = SigningRoot.ofGroup(SigningRoot.ofCommitment(s.commitment), s.branch);
        bytes32 root = SigningRoot.toSign(object, s.signingId, s.nonce, chainId, signingDomain);
        if (!Bls.verify(d.delegate, root, s.signature)) revert PromiseSignature();
    }

    /// One id per fault: who, which slot, which sender and nonce.
    function _fault(uint256 kind, Delegation memory d, Promised memory p) private pure returns (Fault memory) {
        bytes32 validator = keccak256(abi.encode(d.proposer));
        return Fault(keccak256(abi.encode(kind, validator, p.slot, p.sender, p.nonce)), validator, p.slot);
    }

    /// The promised transaction could have been in the block, at every position, and was not.
    function _absence(Promised memory p, AbsenceProof memory proof) private view {
        // 1. Three headers in a row, the last of them in the chain's history. A header is read only
        //    once its hash is known to be right.
        if (Blockhash.blockHash(proof.childNumber) != keccak256(proof.childHeader)) revert ChildUnknown();
        Memory.Slice[] memory child = BlockHeader.parseHeader(proof.childHeader);
        if (child.getParentHash() != keccak256(proof.targetHeader)) revert TargetNotParent();
        Memory.Slice[] memory target = BlockHeader.parseHeader(proof.targetHeader);
        if (target.getParentHash() != keccak256(proof.parentHeader)) revert ParentNotParent();
        // 2. The target is the block of the slot, and the slot the promised proposer's: the child
        //    holds the root of the beacon block that holds the target.
        if (target.getTimestamp() != genesisTime + uint256(p.slot) * slotMillis / 1000) revert OtherSlot();
        bytes32 beacon = SigningRoot.ofBeaconHeader(
            p.slot, p.proposerIndex, proof.beaconParentRoot, proof.beaconStateRoot, proof.beaconBodyRoot
        );
        if (child.getParentBeaconBlockRoot() != beacon) revert OtherProposer();
        // 3. The block had room for such a transaction, and its price.
        if (target.getBaseFeePerGas() > p.maxFee) revert BaseFeeAboveCap();
        if (target.getGasLimit() < p.gas) revert GasAboveBlock();
        // 4. The sender could send it before the block, and has not after it. While the nonce stands
        //    still nothing leaves a plain account, so it could all through the block.
        bytes32 parentState = BlockHeader.parseHeader(proof.parentHeader).getStateRoot();
        _couldSend(p, parentState, proof.preState);
        (bytes memory account, TrieProof.ProofError err) = target.getStateRoot().tryTraverse(_key(p), proof.postState);
        if (err != TrieProof.ProofError.NO_ERROR) revert PostStateProof();
        if (RLP.decodeList(account)[0].readUint256() != p.nonce) revert NonceSpentInBlock();
    }

    function _couldSend(Promised memory p, bytes32 stateRoot, bytes[] memory proof) private pure {
        (bytes memory rlp, TrieProof.ProofError err) = stateRoot.tryTraverse(_key(p), proof);
        if (err != TrieProof.ProofError.NO_ERROR) revert PreStateProof();
        Memory.Slice[] memory account = RLP.decodeList(rlp); // nonce, balance, storage root, code hash
        uint256 nonce = account[0].readUint256();
        if (nonce > p.nonce) revert NonceUsed();
        if (nonce < p.nonce) revert NonceGap();
        if (account[3].readBytes32() != NO_CODE) revert SenderHasCode();
        // Nobody owns 2^128 wei; below that the sum fits.
        if (p.maxFee >> 128 != 0 || p.value >> 128 != 0) revert FundsTooLow();
        if (account[1].readUint256() < p.gas * p.maxFee + p.value) revert FundsTooLow();
    }

    /// The sender's key in the state trie.
    function _key(Promised memory p) private pure returns (bytes memory) {
        return abi.encodePacked(keccak256(abi.encodePacked(p.sender)));
    }
}
