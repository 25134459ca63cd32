package commitments

import (
	"bytes"
	"encoding/binary"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// MaxPayload bounds the payload of a request or of a constraint, in bytes.
const MaxPayload = 1 << 20

// inclusionHead is the length of an inclusion payload without its transaction.
const inclusionHead = 4 * 32

// EncodeInclusion returns the payload of an inclusion promise:
// abi(struct{uint64 slot; bytes signed_tx}). signedTx is in EIP-2718 form.
func EncodeInclusion(slot phase0.Slot, signedTx []byte) []byte {
	w := make(abiWriter, 0, inclusionHead+len(signedTx)+31)
	w.number(32)
	w.number(uint64(slot))
	w.number(2 * 32)
	w.bytes(signedTx)
	return w
}

// DecodeInclusion reads what EncodeInclusion writes, and nothing else: every
// offset and padding byte must be the canonical one, so that a payload has one
// meaning. The transaction aliases payload. Faults: ErrEncoding, ErrJSONPayload.
func DecodeInclusion(payload []byte) (phase0.Slot, []byte, error) {
	words, signedTx, err := decodeInclusion(payload)
	if err != nil {
		return 0, nil, err
	}
	if words[0] != 32 || words[2] != 64 {
		return 0, nil, ErrEncoding.With("offsets of the inclusion payload are not canonical")
	}
	return phase0.Slot(words[1]), signedTx, nil
}

// EncodeProvableInclusion returns the payload of a provable inclusion promise:
// abi(uint64 slot, uint64 proposerIndex, bytes signedTx), without an offset word
// in front. signedTx is in EIP-2718 form. [contracts: PromiseReader]
func EncodeProvableInclusion(slot phase0.Slot, proposer phase0.ValidatorIndex, signedTx []byte) []byte {
	w := make(abiWriter, 0, inclusionHead+len(signedTx)+31)
	w.number(uint64(slot))
	w.number(uint64(proposer))
	w.number(3 * 32)
	w.bytes(signedTx)
	return w
}

// DecodeProvableInclusion reads what EncodeProvableInclusion writes, and nothing
// else, as the contract does. The transaction aliases payload. Faults:
// ErrEncoding, ErrJSONPayload.
func DecodeProvableInclusion(payload []byte) (phase0.Slot, phase0.ValidatorIndex, []byte, error) {
	words, signedTx, err := decodeInclusion(payload)
	if err != nil {
		return 0, 0, nil, err
	}
	if words[2] != 96 {
		return 0, 0, nil, ErrEncoding.With("the offset of the provable inclusion payload is not canonical")
	}
	return phase0.Slot(words[0]), phase0.ValidatorIndex(words[1]), signedTx, nil
}

// decodeInclusion reads what both forms have in common: four words, the last of
// them the length of the transaction that follows and is padded to whole words.
func decodeInclusion(payload []byte) (words [4]uint64, signedTx []byte, err error) {
	if len(payload) > 0 && payload[0] == '{' {
		return words, nil, ErrJSONPayload
	}
	if len(payload) < inclusionHead || len(payload) > MaxPayload || padding(len(payload)) != 0 {
		return words, nil, ErrEncoding.With("inclusion payload of %d bytes", len(payload))
	}
	for i := range words {
		w := payload[i*32 : i*32+32]
		if !zero(w[:24]) {
			return words, nil, ErrEncoding.With("word %d of the inclusion payload exceeds 64 bits", i)
		}
		words[i] = binary.BigEndian.Uint64(w[24:])
	}
	rest := payload[inclusionHead:]
	switch n := words[3]; {
	case n > uint64(len(rest)) || len(rest)-int(n) != padding(int(n)): // #nosec G115 -- n is at most len(rest)
		return words, nil, ErrEncoding.With("inclusion payload names %d bytes and holds %d", n, len(rest))
	case !zero(rest[n:]):
		return words, nil, ErrEncoding.With("padding of the inclusion payload is not zero")
	default:
		return words, rest[:n:n], nil
	}
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// blobTxType is the EIP-2718 type of transactions with blobs. [EIP-4844]
const blobTxType = 3

// PromisedPayload is the payload of the commitment that answers r: r's own, but for
// a request of inclusion whose transaction comes with its blobs. What is promised
// of that is the transaction as a block has it, without blobs, commitments and
// proofs. [EIP-4844: networking]
func PromisedPayload(r Request) []byte {
	if r.Type != TypeInclusion {
		return r.Payload
	}
	slot, tx, err := DecodeInclusion(r.Payload)
	if err != nil || len(tx) == 0 || tx[0] != blobTxType {
		return r.Payload
	}
	outer := rlpReader{rest: tx[1:]}
	whole := outer.list()
	inner := whole
	if fields := inner.list(); inner.bad || len(outer.rest) > 0 || fields.bad {
		return r.Payload // the first item is no list: there are no blobs with it
	}
	canonical := append([]byte{blobTxType}, whole.rest[:len(whole.rest)-len(inner.rest)]...)
	return EncodeInclusion(slot, canonical)
}
