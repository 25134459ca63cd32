// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {FaultVerifier} from "./FaultVerifier.sol";
import {IAllocationManager, IAVSRegistrar} from "./Interfaces.sol";
import {AbsenceProof, Fault, G1, Registration, SignedDelegation, SignedPromise} from "./Types.sol";

/// @title The service operators restake for
/// @notice Identity, registrar and only slasher of one EigenLayer operator set. Validators' keys join
/// with proof of possession. Anyone submits a proof; after a delay anyone executes it. The guardian
/// may veto within the delay and pause execution, and nothing else: it cannot slash, register or
/// change anything. Slashed stake is burnt, or goes to one recipient named at birth.
/// @dev Not upgradeable, no owner. A fork its verifier does not know needs a new contract.
contract PreconfServiceManager is IAVSRegistrar {
    error ConfigInvalid();
    /// Only the allocation manager may call this.
    error NotAllocationManager();
    /// Only the guardian may call this.
    error NotGuardian();
    /// The call is for another service or another set.
    error OtherOperatorSet();
    /// Whom slashed stake goes to cannot be slashed: it would pay itself with its stakers' stake.
    error OperatorIsRecipient();
    /// The caller is not a registered operator.
    error NotOperator();
    /// The key is registered, or was until so lately that its old promises can still be proven.
    error KeyTaken();
    /// The key did not sign that it joins this operator here.
    error PossessionNotProven();
    /// The proof of possession has been used: a key joins again with a higher nonce.
    error PossessionReplayed();
    /// The key is not registered to the caller, or is retired already.
    error NotOperatorsKey();
    /// The validator was not registered in the slot: before, after, or never.
    error KeyNotActive();
    /// The fault lies too far back.
    error EvidenceTooOld();
    /// The fault has been submitted.
    error FaultKnown();
    /// No such fault waits for execution.
    error NotPending();
    /// The delay has not passed.
    error TooEarly();
    /// The delay has passed: it can only be executed now.
    error TooLateToVeto();
    /// Execution is paused.
    error Paused();
    /// The operator has lost as much today as it may; try tomorrow.
    error DailyCapReached();

    enum Kind {
        None,
        Absent,
        Double
    }

    enum Status {
        None,
        Pending,
        Vetoed,
        Executed
    }

    struct Config {
        IAllocationManager allocationManager;
        FaultVerifier verifier;
        address guardian;
        string metadataURI;
        /// What is slashed; ascending by address.
        address[] strategies;
        /// Shares of the operator's allocation, 1e18 is all.
        uint256 absentWad;
        uint256 doubleWad;
        /// What an operator may lose in one day (UTC), as the sum of shares.
        uint256 dailyWad;
        /// How long a proven fault waits for a veto, in seconds.
        uint64 delay;
        /// Where slashed stake goes; the zero address burns it.
        address redistributionRecipient;
    }

    struct Validator {
        address operator;
        /// Which of the operator's registrations the key belongs to.
        uint64 term;
        /// Slots with since < slot < until are answered for; until 0 is no end.
        uint64 since;
        uint64 until;
        /// Of its last proof of possession.
        uint64 nonce;
    }

    struct Case {
        address operator;
        Kind kind;
        Status status;
        uint40 slot;
        /// Unix time from which it may be executed. All fields share one word of storage.
        uint40 executableAt;
    }

    event KeyRegistered(bytes32 indexed validator, address indexed operator, uint64 since);
    event KeyRetired(bytes32 indexed validator, address indexed operator, uint64 until);
    event OperatorJoined(address indexed operator, uint64 term);
    event OperatorLeft(address indexed operator, uint64 until);
    event FaultSubmitted(
        bytes32 indexed id, address indexed operator, Kind kind, uint64 slot, uint64 executableAt, address submitter
    );
    event FaultVetoed(bytes32 indexed id);
    event FaultExecuted(bytes32 indexed id, address indexed operator, uint256 slashId);
    event PausedSet(bool paused);

    /// The one operator set.
    uint32 public constant OPERATOR_SET = 0;
    /// Retirement takes two epochs: promises of the next slots are out already.
    uint64 public constant RETIREMENT_SLOTS = 64;
    /// How far back faults can lie; the chain's history of block hashes holds as many blocks. [EIP-2935]
    uint64 public constant WINDOW_SLOTS = 8191;
    /// Far below EigenLayer's deallocation delay of 14 days.
    uint64 public constant MAX_DELAY = 7 days;

    uint256 private constant ONE = 1e18;

    IAllocationManager public immutable allocationManager;
    FaultVerifier public immutable verifier;
    address public immutable guardian;
    uint256 public immutable absentWad;
    uint256 public immutable doubleWad;
    uint256 public immutable dailyWad;
    uint64 public immutable delay;
    /// Where slashed stake goes, for ever; the zero address is EigenLayer's burn address.
    address public immutable redistributionRecipient;

    bool public paused;
    address[] private _strategies;
    /// By keccak256 of the public key.
    mapping(bytes32 => Validator) public validators;
    /// How often an operator has joined; its present or last term.
    mapping(address => uint64) public terms;
    /// The first slot an operator's term does not answer for; 0 while it lasts.
    mapping(address => mapping(uint64 => uint64)) public termEnds;
    mapping(bytes32 => Case) public cases;
    /// Shares executed, by operator and day since 1970.
    mapping(address => mapping(uint256 => uint256)) public slashedOn;

    constructor(Config memory c) {
        _check(c);
        allocationManager = c.allocationManager;
        verifier = c.verifier;
        guardian = c.guardian;
        absentWad = c.absentWad;
        doubleWad = c.doubleWad;
        dailyWad = c.dailyWad;
        delay = c.delay;
        redistributionRecipient = c.redistributionRecipient;
        _strategies = c.strategies;
        // The set has this contract as its slasher from its first block on.
        c.allocationManager.updateAVSMetadataURI(address(this), c.metadataURI);
        IAllocationManager.CreateSetParams[] memory sets = new IAllocationManager.CreateSetParams[](1);
        sets[0] = IAllocationManager.CreateSetParams(OPERATOR_SET, c.strategies, address(this));
        if (c.redistributionRecipient == address(0)) {
            c.allocationManager.createOperatorSets(address(this), sets);
            return;
        }
        address[] memory recipients = new address[](1);
        recipients[0] = c.redistributionRecipient;
        c.allocationManager.createRedistributingOperatorSets(address(this), sets, recipients);
    }

    function _check(Config memory c) private view {
        bool wads = c.absentWad != 0 && c.doubleWad != 0 && c.absentWad <= c.dailyWad && c.doubleWad <= c.dailyWad
            && c.absentWad <= ONE && c.doubleWad <= ONE;
        if (!wads || c.guardian == address(0) || c.delay > MAX_DELAY || c.strategies.length == 0) revert ConfigInvalid();
        for (uint256 i = 1; i < c.strategies.length; ++i) {
            if (c.strategies[i - 1] >= c.strategies[i]) revert ConfigInvalid();
        }
        // Whoever may veto must not gain by not doing so. And the contracts of this service would keep
        // what they got for ever.
        address to = c.redistributionRecipient;
        if (to != address(0)) {
            bool stuck = to == address(this) || to == address(c.allocationManager) || to == address(c.verifier);
            if (to == c.guardian || stuck) revert ConfigInvalid();
        }
    }

    // --- Registrar

    modifier onlyAllocationManager(address avs, uint32[] calldata ids) {
        if (msg.sender != address(allocationManager)) revert NotAllocationManager();
        if (avs != address(this) || ids.length != 1 || ids[0] != OPERATOR_SET) revert OtherOperatorSet();
        _;
    }

    /// @inheritdoc IAVSRegistrar
    /// @param data abi.encode(Registration[]); empty bytes for none yet.
    function registerOperator(address operator, address avs, uint32[] calldata ids, bytes calldata data)
        external
        onlyAllocationManager(avs, ids)
    {
        if (operator == redistributionRecipient) revert OperatorIsRecipient();
        uint64 term = ++terms[operator];
        emit OperatorJoined(operator, term);
        if (data.length != 0) _registerKeys(operator, term, abi.decode(data, (Registration[])));
    }

    /// @inheritdoc IAVSRegistrar
    /// @dev Never reverts for the core: an operator may always leave.
    function deregisterOperator(address operator, address avs, uint32[] calldata ids)
        external
        onlyAllocationManager(avs, ids)
    {
        uint64 term = terms[operator];
        if (termEnds[operator][term] != 0) return;
        uint64 until = verifier.currentSlot() + RETIREMENT_SLOTS;
        termEnds[operator][term] = until;
        emit OperatorLeft(operator, until);
    }

    /// @inheritdoc IAVSRegistrar
    function supportsAVS(address avs) external view returns (bool) {
        return avs == address(this);
    }

    /// @notice More keys for the calling operator.
    function registerKeys(Registration[] calldata registrations) external {
        uint64 term = terms[msg.sender];
        if (term == 0 || termEnds[msg.sender][term] != 0) revert NotOperator();
        _registerKeys(msg.sender, term, registrations);
    }

    /// @notice The key answers for no slot from two epochs on.
    function retireKey(bytes32 validator) external {
        Validator storage v = validators[validator];
        if (v.operator != msg.sender || v.until != 0) revert NotOperatorsKey();
        v.until = verifier.currentSlot() + RETIREMENT_SLOTS;
        emit KeyRetired(validator, msg.sender, v.until);
    }

    function _registerKeys(address operator, uint64 term, Registration[] memory registrations) private {
        uint64 slot = verifier.currentSlot();
        for (uint256 i = 0; i < registrations.length; ++i) {
            bytes32 validator = keccak256(abi.encode(registrations[i].pubkey));
            Validator storage v = validators[validator];
            uint64 end = _end(v);
            if (end > slot || slot - end <= 2 * WINDOW_SLOTS && end != 0) revert KeyTaken();
            // A former operator cannot take the key again with what it was once given.
            if (end != 0 && registrations[i].nonce <= v.nonce) revert PossessionReplayed();
            if (!verifier.registered(address(this), operator, registrations[i])) revert PossessionNotProven();
            validators[validator] = Validator(operator, term, slot, 0, registrations[i].nonce);
            emit KeyRegistered(validator, operator, slot);
        }
    }

    /// The first slot the key does not answer for: the largest if there is no end, 0 if it never did.
    function _end(Validator storage v) private view returns (uint64 end) {
        if (v.operator == address(0)) return 0;
        end = v.until == 0 ? type(uint64).max : v.until;
        uint64 left = termEnds[v.operator][v.term];
        if (left != 0 && left < end) end = left;
    }

    // --- Faults

    /// @notice Submits F1. Anyone may, for any registered validator.
    function submitAbsent(
        SignedDelegation calldata delegation,
        SignedPromise calldata signedPromise,
        AbsenceProof calldata proof
    ) external returns (bytes32) {
        return _submit(Kind.Absent, verifier.absent(address(this), delegation, signedPromise, proof));
    }

    /// @notice Submits F2. Anyone may, for any registered validator.
    function submitDouble(SignedDelegation calldata delegation, SignedPromise calldata one, SignedPromise calldata other)
        external
        returns (bytes32)
    {
        Fault memory fault = verifier.double(address(this), delegation, one, other);
        // F1 is as old as the chain's history of hashes at most; signatures alone have no age.
        if (fault.slot + WINDOW_SLOTS < verifier.currentSlot()) revert EvidenceTooOld();
        return _submit(Kind.Double, fault);
    }

    /// Submitting goes on while execution is paused: evidence does not wait.
    function _submit(Kind kind, Fault memory fault) private returns (bytes32) {
        Validator storage v = validators[fault.validator];
        if (fault.slot <= v.since || fault.slot >= _end(v)) revert KeyNotActive();
        if (cases[fault.id].status != Status.None) revert FaultKnown();
        uint40 at = uint40(block.timestamp + delay);
        cases[fault.id] = Case(v.operator, kind, Status.Pending, uint40(fault.slot), at);
        emit FaultSubmitted(fault.id, v.operator, kind, fault.slot, at, msg.sender);
        return fault.id;
    }

    /// @notice Slashes for a submitted fault whose delay has passed. Anyone may.
    function execute(bytes32 id) external returns (uint256 slashId) {
        // 1. It is time, and nobody stopped it.
        Case storage c = cases[id];
        if (paused) revert Paused();
        if (c.status != Status.Pending) revert NotPending();
        if (block.timestamp < c.executableAt) revert TooEarly();
        // 2. Within what one day may cost.
        uint256 wad = c.kind == Kind.Absent ? absentWad : doubleWad;
        uint256 today = block.timestamp / 1 days;
        uint256 total = slashedOn[c.operator][today] + wad;
        if (total > dailyWad) revert DailyCapReached();
        // 3. Written down before the core is called: no way back in.
        slashedOn[c.operator][today] = total;
        c.status = Status.Executed;
        (slashId,) = allocationManager.slashOperator(address(this), _params(c.operator, c.kind, wad));
        emit FaultExecuted(id, c.operator, slashId);
    }

    function _params(address operator, Kind kind, uint256 wad)
        private
        view
        returns (IAllocationManager.SlashingParams memory p)
    {
        p.operator = operator;
        p.operatorSetId = OPERATOR_SET;
        p.strategies = _strategies;
        p.wadsToSlash = new uint256[](p.strategies.length);
        for (uint256 i = 0; i < p.wadsToSlash.length; ++i) {
            p.wadsToSlash[i] = wad;
        }
        p.description = kind == Kind.Absent ? "promised transaction absent" : "two promises for one nonce";
    }

    /// @notice What is slashed.
    function strategies() external view returns (address[] memory) {
        return _strategies;
    }

    // --- Guardian

    modifier onlyGuardian() {
        if (msg.sender != guardian) revert NotGuardian();
        _;
    }

    /// @notice Ends a case within its delay, for ever.
    function veto(bytes32 id) external onlyGuardian {
        Case storage c = cases[id];
        if (c.status != Status.Pending) revert NotPending();
        if (block.timestamp >= c.executableAt) revert TooLateToVeto();
        c.status = Status.Vetoed;
        emit FaultVetoed(id);
    }

    /// @notice Stops execution, or lets it go on. Nothing else is stopped.
    function setPaused(bool to) external onlyGuardian {
        paused = to;
        emit PausedSet(to);
    }
}
