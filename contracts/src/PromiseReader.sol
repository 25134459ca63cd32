// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {Promised} from "./Types.sol";

/// @title The text of an inclusion promise
/// @notice Reads the payload abi(uint64 slot, uint64 proposerIndex, bytes signedTx) and the
/// transaction in it. Whatever could not be in a block as it stands is refused by name: nobody can be
/// blamed for leaving it out.
/// @dev The transaction's RLP is read here and not by OpenZeppelin's library, which says of itself
/// that it is permissive: bytes that only a lenient reader accepts are in no block.
library PromiseReader {
    /// The payload is not the one encoding of its values.
    error PayloadEncoding();
    /// Not a transaction of type 2. [EIP-1559]
    error TransactionType();
    /// The transaction is not canonical RLP of its twelve fields, or something follows it.
    error TransactionEncoding();
    /// The transaction is for another chain.
    error OtherChain();
    /// The transaction creates a contract.
    error ContractCreation();
    /// The transaction has an access list.
    error AccessListNotEmpty();
    /// The tip exceeds the fee cap: invalid at every base fee.
    error TipAboveFeeCap();
    /// The nonce is the last one, which no transaction may have. [EIP-2681]
    error NonceTooHigh();
    /// The gas may be below what such a transaction costs at least.
    error GasBelowFloor();
    /// The gas exceeds what one promise may ask of a block.
    error GasAboveCap();
    /// The signature's s is in the upper half. [EIP-2]
    error SignatureHighS();
    /// The signature is nobody's.
    error SignatureInvalid();

    /// Above every fork's calldata floor so far: 40 gas a byte at most in Prague, 64 in drafts after it. [EIP-7623]
    uint256 internal constant GAS_BASE = 21_000;
    uint256 internal constant GAS_PER_BYTE = 64;
    uint256 internal constant GAS_CAP = 5_000_000;

    uint256 private constant HALF_N = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    uint256 private constant HEAD = 4 * 32;

    /// Positions of the fields of the transaction in its list. [EIP-1559]
    uint256 private constant CHAIN_ID = 0;
    uint256 private constant NONCE = 1;
    uint256 private constant TIP = 2;
    uint256 private constant FEE_CAP = 3;
    uint256 private constant GAS = 4;
    uint256 private constant TO = 5;
    uint256 private constant VALUE = 6;
    uint256 private constant INPUT = 7;
    uint256 private constant ACCESS_LIST = 8;
    uint256 private constant Y_PARITY = 9;
    uint256 private constant R = 10;
    uint256 private constant S = 11;
    uint256 private constant FIELDS = 12;

    /// Where the content of each field begins and ends in the transaction, and where the list does.
    struct Fields {
        uint256[12] start;
        uint256[12] end;
        uint256 first; // of the list's content
        uint256 unsignedEnd; // of the fields that are signed
    }

    /// @notice What `payload` promises on the chain `chainId`.
    function read(bytes memory payload, uint64 chainId) internal pure returns (Promised memory p) {
        bytes memory signedTx;
        (p.slot, p.proposerIndex, signedTx) = _payload(payload);
        _transaction(signedTx, chainId, p);
    }

    /// The payload's values, if it is the encoding Solidity gives them.
    function _payload(bytes memory payload) private pure returns (uint64 slot, uint64 index, bytes memory signedTx) {
        if (payload.length < HEAD) revert PayloadEncoding();
        uint256[4] memory words;
        for (uint256 i = 0; i < 4; ++i) {
            words[i] = uint256(_word(payload, 32 * i));
            if (words[i] > type(uint64).max) revert PayloadEncoding();
        }
        uint256 size = words[3];
        uint256 padded = (size + 31) / 32 * 32;
        if (words[2] != 3 * 32 || payload.length != HEAD + padded) revert PayloadEncoding();
        for (uint256 i = HEAD + size; i < payload.length; ++i) {
            if (payload[i] != 0) revert PayloadEncoding();
        }
        return (uint64(words[0]), uint64(words[1]), _slice(payload, HEAD, HEAD + size));
    }

    /// Fills in what the transaction says; refuses one that no block could hold.
    function _transaction(bytes memory signedTx, uint64 chainId, Promised memory p) private pure {
        Fields memory f = _fields(signedTx);
        uint256 nonce = _number(signedTx, f, NONCE);
        uint256 gas = _number(signedTx, f, GAS);
        p.maxFee = _number(signedTx, f, FEE_CAP);
        p.value = _number(signedTx, f, VALUE);
        uint256 tip = _number(signedTx, f, TIP);
        uint256 chain = _number(signedTx, f, CHAIN_ID);
        uint256 toLength = f.end[TO] - f.start[TO];
        if (toLength != 0 && toLength != 20) revert TransactionEncoding();

        if (chain != chainId) revert OtherChain();
        if (toLength == 0) revert ContractCreation();
        if (f.end[ACCESS_LIST] != f.start[ACCESS_LIST]) revert AccessListNotEmpty();
        if (tip > p.maxFee) revert TipAboveFeeCap();
        if (nonce >= type(uint64).max) revert NonceTooHigh();
        if (gas > GAS_CAP) revert GasAboveCap();
        if (gas < GAS_BASE + GAS_PER_BYTE * (f.end[INPUT] - f.start[INPUT])) revert GasBelowFloor();
        p.nonce = uint64(nonce);
        p.gas = uint64(gas);
        p.sender = _sender(signedTx, f);
        p.txHash = keccak256(signedTx);
    }

    /// Who signed the transaction.
    function _sender(bytes memory signedTx, Fields memory f) private pure returns (address sender) {
        uint256 y = _number(signedTx, f, Y_PARITY);
        uint256 r = _number(signedTx, f, R);
        uint256 s = _number(signedTx, f, S);
        if (s > HALF_N) revert SignatureHighS();
        if (y > 1) revert SignatureInvalid();
        bytes memory content = _slice(signedTx, f.first, f.unsignedEnd);
        bytes32 digest = keccak256(bytes.concat(hex"02", _listHead(content.length), content));
        sender = ecrecover(digest, uint8(27 + y), bytes32(r), bytes32(s));
        if (sender == address(0)) revert SignatureInvalid();
    }

    /// Where the fields are, if the transaction is one list of twelve items and nothing else.
    function _fields(bytes memory b) private pure returns (Fields memory f) {
        if (b.length == 0 || b[0] != 0x02) revert TransactionType();
        (uint256 at, uint256 end, bool list) = _item(b, 1);
        if (!list || end != b.length) revert TransactionEncoding();
        f.first = at;
        for (uint256 i = 0; i < FIELDS; ++i) {
            if (i == Y_PARITY) f.unsignedEnd = at;
            (f.start[i], f.end[i], list) = _item(b, at);
            if (list != (i == ACCESS_LIST)) revert TransactionEncoding();
            at = f.end[i];
        }
        if (at != end) revert TransactionEncoding();
    }

    /// The content of the item at `at`, in its one canonical form. [Yellow Paper, appendix B]
    function _item(bytes memory b, uint256 at) private pure returns (uint256 start, uint256 end, bool list) {
        if (at >= b.length) revert TransactionEncoding();
        uint256 prefix = uint8(b[at]);
        if (prefix < 0x80) return (at, at + 1, false);
        list = prefix >= 0xc0;
        uint256 size = prefix - (list ? 0xc0 : 0x80);
        start = at + 1;
        if (size > 55) {
            uint256 digits = size - 55;
            if (b.length - start < digits || b[start] == 0) revert TransactionEncoding();
            size = uint256(_word(b, start)) >> (256 - 8 * digits);
            if (size <= 55) revert TransactionEncoding();
            start += digits;
        }
        if (size > b.length - start) revert TransactionEncoding();
        end = start + size;
        if (!list && end - at == 2 && uint8(b[start]) < 0x80) revert TransactionEncoding();
    }

    /// A field as a number: at most 32 bytes, the first of them not zero.
    function _number(bytes memory b, Fields memory f, uint256 field) private pure returns (uint256) {
        uint256 start = f.start[field];
        uint256 size = f.end[field] - start;
        if (size == 0) return 0;
        if (size > 32 || b[start] == 0) revert TransactionEncoding();
        return uint256(_word(b, start)) >> (256 - 8 * size);
    }

    /// The head of a list of `size` bytes.
    function _listHead(uint256 size) private pure returns (bytes memory) {
        if (size <= 55) return abi.encodePacked(uint8(0xc0 + size));
        if (size <= type(uint8).max) return abi.encodePacked(uint8(0xf8), uint8(size));
        if (size <= type(uint16).max) return abi.encodePacked(uint8(0xf9), uint16(size));
        return abi.encodePacked(uint8(0xfa), uint24(size)); // the gas cap bounds the input
    }

    function _slice(bytes memory b, uint256 start, uint256 end) private pure returns (bytes memory out) {
        out = new bytes(end - start);
        assembly ("memory-safe") {
            mcopy(add(out, 32), add(add(b, 32), start), sub(end, start))
        }
    }

    /// The 32 bytes at `at`; what lies beyond `b` is whatever memory holds, so callers shift it out.
    function _word(bytes memory b, uint256 at) private pure returns (bytes32 w) {
        assembly ("memory-safe") {
            w := mload(add(add(b, 32), at))
        }
    }
}
