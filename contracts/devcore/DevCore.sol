// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

interface IRegistrar {
    function registerOperator(address operator, address avs, uint32[] calldata ids, bytes calldata data) external;
    function deregisterOperator(address operator, address avs, uint32[] calldata ids) external;
}

/// @notice A stand-in for EigenLayer's core on development chains: the calls this project makes, by
/// the same names and with the same effects on the numbers they return, in one contract that is
/// allocation manager, delegation manager, strategy manager, the one strategy and its token at once.
/// What it does not have: delays, withdrawals, other strategies, permissions, approval of delegations.
/// The token is made up out of nothing when it is deposited.
contract DevCore {
    error InvalidCaller();
    error InvalidOperator();
    error InvalidOperatorSet();
    error AlreadyMemberOfSet();
    error NotMemberOfSet();
    error OperatorNotSlashable();
    error InsufficientMagnitude();
    error InvalidWadToSlash();
    error InputAddressZero();
    error InvalidRedistributionRecipient();

    struct OperatorSet {
        address avs;
        uint32 id;
    }

    struct CreateSetParams {
        uint32 operatorSetId;
        address[] strategies;
        address slasher;
    }

    struct RegisterParams {
        address avs;
        uint32[] operatorSetIds;
        bytes data;
    }

    struct DeregisterParams {
        address operator;
        address avs;
        uint32[] operatorSetIds;
    }

    struct AllocateParams {
        OperatorSet operatorSet;
        address[] strategies;
        uint64[] newMagnitudes;
    }

    struct SlashingParams {
        address operator;
        uint32 operatorSetId;
        address[] strategies;
        uint256[] wadsToSlash;
        string description;
    }

    struct Allocation {
        uint64 currentMagnitude;
        int128 pendingDiff;
        uint32 effectBlock;
    }

    struct SignatureWithExpiry {
        bytes signature;
        uint256 expiry;
    }

    event OperatorSlashed(
        address operator, OperatorSet operatorSet, address[] strategies, uint256[] wadSlashed, string description
    );

    address private constant BURN = 0x00000000000000000000000000000000000E16E4;
    uint256 private constant ONE = 1e18;

    mapping(address => bool) public isOperator;
    mapping(address => uint256) public deposits; // by staker
    mapping(address => uint256) private _shares; // by operator
    mapping(address => uint64) private _lost; // magnitude slashed, by operator
    mapping(address => mapping(address => mapping(uint32 => uint64))) private _magnitude; // operator, avs, set
    mapping(address => mapping(address => mapping(uint32 => bool))) private _member; // operator, avs, set
    mapping(address => mapping(uint32 => address)) private _slasher; // avs, set
    mapping(address => mapping(uint32 => address)) private _recipient; // avs, set; 0 burns
    mapping(address => mapping(uint32 => uint256)) private _slashCount; // avs, set
    mapping(address => mapping(uint32 => mapping(uint256 => uint256))) private _burnable; // avs, set, slash
    mapping(address => uint256) public balanceOf; // of the token

    // --- Delegation manager and strategy manager

    function registerAsOperator(address, uint32, string calldata) external {
        isOperator[msg.sender] = true;
    }

    function depositIntoStrategy(address, address, uint256 amount) external returns (uint256) {
        deposits[msg.sender] += amount;
        return amount;
    }

    function delegateTo(address operator, SignatureWithExpiry calldata, bytes32) external {
        if (!isOperator[operator]) revert InvalidOperator();
        _shares[operator] += deposits[msg.sender];
        deposits[msg.sender] = 0;
    }

    function operatorShares(address operator, address) external view returns (uint256) {
        return _shares[operator];
    }

    function strategyManager() external view returns (address) {
        return address(this);
    }

    function getSlashableSharesInQueue(address, address) external pure returns (uint256) {
        return 0;
    }

    function getBurnOrRedistributableShares(OperatorSet calldata set, uint256 slashId)
        external
        view
        returns (address[] memory list, uint256[] memory amounts)
    {
        if (_burnable[set.avs][set.id][slashId] == 0) return (list, amounts);
        (list, amounts) = (new address[](1), new uint256[](1));
        (list[0], amounts[0]) = (address(this), _burnable[set.avs][set.id][slashId]);
    }

    function underlyingToken() external view returns (address) {
        return address(this);
    }

    function sharesToUnderlyingView(uint256 amount) external pure returns (uint256) {
        return amount;
    }

    function minWithdrawalDelayBlocks() external pure returns (uint32) {
        return 0;
    }

    function clearBurnOrRedistributableShares(OperatorSet calldata set, uint256 slashId)
        external
        returns (uint256[] memory amounts)
    {
        amounts = new uint256[](1);
        amounts[0] = _burnable[set.avs][set.id][slashId];
        _burnable[set.avs][set.id][slashId] = 0;
        balanceOf[getRedistributionRecipient(set)] += amounts[0];
    }

    // --- Allocation manager

    function DEALLOCATION_DELAY() external pure returns (uint32) {
        return 0;
    }

    function ALLOCATION_CONFIGURATION_DELAY() external pure returns (uint32) {
        return 0;
    }

    function delegation() external view returns (address) {
        return address(this);
    }

    function updateAVSMetadataURI(address avs, string calldata) external view {
        if (msg.sender != avs) revert InvalidCaller();
    }

    function createRedistributingOperatorSets(
        address avs,
        CreateSetParams[] calldata params,
        address[] calldata recipients
    ) external {
        for (uint256 i = 0; i < params.length; ++i) {
            if (recipients[i] == address(0)) revert InputAddressZero();
            if (recipients[i] == BURN) revert InvalidRedistributionRecipient();
            _recipient[avs][params[i].operatorSetId] = recipients[i];
        }
        createOperatorSets(avs, params);
    }

    function createOperatorSets(address avs, CreateSetParams[] calldata params) public {
        if (msg.sender != avs) revert InvalidCaller();
        for (uint256 i = 0; i < params.length; ++i) {
            _slasher[avs][params[i].operatorSetId] = params[i].slasher;
        }
    }

    function isOperatorSet(OperatorSet memory set) public view returns (bool) {
        return _slasher[set.avs][set.id] != address(0);
    }

    function getSlasher(OperatorSet calldata set) external view returns (address) {
        return _slasher[set.avs][set.id];
    }

    function getPendingSlasher(OperatorSet calldata) external pure returns (address, uint32) {
        return (address(0), 0);
    }

    function isRedistributingOperatorSet(OperatorSet calldata set) external view returns (bool) {
        return _recipient[set.avs][set.id] != address(0);
    }

    function getRedistributionRecipient(OperatorSet calldata set) public view returns (address) {
        address to = _recipient[set.avs][set.id];
        return to == address(0) ? BURN : to;
    }

    function getStrategiesInOperatorSet(OperatorSet calldata) external view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(this);
    }

    function getAVSRegistrar(address avs) external pure returns (address) {
        return avs;
    }

    function getRegisteredSets(address operator) external view returns (OperatorSet[] memory) {
        return _sets[operator];
    }

    function getAllocatedSets(address operator) external view returns (OperatorSet[] memory) {
        return _sets[operator];
    }

    /// Every set an operator was ever in.
    mapping(address => OperatorSet[]) private _sets;

    function isMemberOfOperatorSet(address operator, OperatorSet calldata set) external view returns (bool) {
        return _member[operator][set.avs][set.id];
    }

    function isOperatorSlashable(address operator, OperatorSet calldata set) external view returns (bool) {
        return _member[operator][set.avs][set.id];
    }

    function registerForOperatorSets(address operator, RegisterParams calldata p) external {
        if (msg.sender != operator) revert InvalidCaller();
        if (!isOperator[operator]) revert InvalidOperator();
        for (uint256 i = 0; i < p.operatorSetIds.length; ++i) {
            uint32 id = p.operatorSetIds[i];
            if (_slasher[p.avs][id] == address(0)) revert InvalidOperatorSet();
            if (_member[operator][p.avs][id]) revert AlreadyMemberOfSet();
            _member[operator][p.avs][id] = true;
            _sets[operator].push(OperatorSet(p.avs, id));
        }
        IRegistrar(p.avs).registerOperator(operator, p.avs, p.operatorSetIds, p.data);
    }

    function deregisterFromOperatorSets(DeregisterParams calldata p) external {
        if (msg.sender != p.operator && msg.sender != p.avs) revert InvalidCaller();
        for (uint256 i = 0; i < p.operatorSetIds.length; ++i) {
            if (!_member[p.operator][p.avs][p.operatorSetIds[i]]) revert NotMemberOfSet();
            _member[p.operator][p.avs][p.operatorSetIds[i]] = false;
        }
        IRegistrar(p.avs).deregisterOperator(p.operator, p.avs, p.operatorSetIds);
    }

    function getAllocationDelay(address operator) external view returns (bool, uint32) {
        return (isOperator[operator], 0);
    }

    function getMaxMagnitude(address operator, address) public view returns (uint64) {
        return uint64(ONE) - _lost[operator];
    }

    function getAllocation(address operator, OperatorSet calldata set, address)
        external
        view
        returns (Allocation memory)
    {
        return Allocation(_magnitude[operator][set.avs][set.id], 0, 0);
    }

    function modifyAllocations(address operator, AllocateParams[] calldata params) external {
        if (msg.sender != operator) revert InvalidCaller();
        for (uint256 i = 0; i < params.length; ++i) {
            OperatorSet calldata set = params[i].operatorSet;
            uint64 to = params[i].newMagnitudes[0];
            if (to > getMaxMagnitude(operator, address(this))) revert InsufficientMagnitude();
            _magnitude[operator][set.avs][set.id] = to;
        }
    }

    /// What of an operator's stake is behind a set.
    function _stake(address operator, address avs, uint32 id) private view returns (uint256) {
        return _shares[operator] * _magnitude[operator][avs][id] / getMaxMagnitude(operator, address(this));
    }

    function getAllocatedStake(OperatorSet calldata set, address[] calldata operators, address[] calldata strategies)
        public
        view
        returns (uint256[][] memory out)
    {
        out = new uint256[][](operators.length);
        for (uint256 i = 0; i < operators.length; ++i) {
            out[i] = new uint256[](strategies.length);
            for (uint256 j = 0; j < strategies.length; ++j) {
                out[i][j] = _stake(operators[i], set.avs, set.id);
            }
        }
    }

    function getMinimumSlashableStake(
        OperatorSet calldata set,
        address[] calldata operators,
        address[] calldata strategies,
        uint32
    ) external view returns (uint256[][] memory) {
        return getAllocatedStake(set, operators, strategies);
    }

    function slashOperator(address avs, SlashingParams calldata p)
        external
        returns (uint256 slashId, uint256[] memory shares)
    {
        if (msg.sender != _slasher[avs][p.operatorSetId]) revert InvalidCaller();
        if (!_member[p.operator][avs][p.operatorSetId]) revert OperatorNotSlashable();
        uint256 wad = p.wadsToSlash[0];
        if (wad == 0 || wad > ONE) revert InvalidWadToSlash();
        uint256 burnt = _stake(p.operator, avs, p.operatorSetId) * wad / ONE;
        uint64 gone = uint64(uint256(_magnitude[p.operator][avs][p.operatorSetId]) * wad / ONE);
        _magnitude[p.operator][avs][p.operatorSetId] -= gone;
        _lost[p.operator] += gone;
        _shares[p.operator] -= burnt;
        slashId = ++_slashCount[avs][p.operatorSetId];
        _burnable[avs][p.operatorSetId][slashId] = burnt;
        shares = new uint256[](1);
        shares[0] = burnt;
        emit OperatorSlashed(p.operator, OperatorSet(avs, p.operatorSetId), p.strategies, p.wadsToSlash, p.description);
    }
}
