package wire

import (
	"encoding/binary"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"
)

// Header is an ExecutionPayloadHeader of Deneb, Electra or Fulu, which share
// one shape of 17 fields. [consensus-specs: deneb/ExecutionPayloadHeader]
type Header struct {
	ParentHash       phase0.Hash32
	FeeRecipient     bellatrix.ExecutionAddress
	StateRoot        phase0.Root
	ReceiptsRoot     phase0.Root
	LogsBloom        [256]byte
	PrevRandao       [32]byte
	BlockNumber      uint64
	GasLimit         uint64
	GasUsed          uint64
	Timestamp        uint64 // unix seconds
	ExtraData        []byte // at most 32 bytes
	BaseFeePerGas    uint256.Int
	BlockHash        phase0.Hash32
	TransactionsRoot phase0.Root
	WithdrawalsRoot  phase0.Root
	BlobGasUsed      uint64
	ExcessBlobGas    uint64
}

const (
	maxExtra   = 32 // MAX_EXTRA_DATA_BYTES
	headerSize = 584
)

var headerShape = newShape("header",
	bytesOf("parent_hash", 32),
	bytesOf("fee_recipient", 20),
	bytesOf("state_root", 32),
	bytesOf("receipts_root", 32),
	bytesOf("logs_bloom", 256),
	bytesOf("prev_randao", 32),
	uint64Of("block_number"),
	uint64Of("gas_limit"),
	uint64Of("gas_used"),
	uint64Of("timestamp"),
	varies("extra_data"),
	uint256Of("base_fee_per_gas"),
	bytesOf("block_hash", 32),
	bytesOf("transactions_root", 32),
	bytesOf("withdrawals_root", 32),
	uint64Of("blob_gas_used"),
	uint64Of("excess_blob_gas"),
)

// scan reads a header in JSON; its extra data goes to extra.
func (h *Header) scan(s *scanner, extra *[maxExtra]byte) {
	var fixed [headerSize]byte
	n := 0
	o := s.object(headerShape, fixed[:])
	for s.more(&o) {
		n = s.shortHex(extra[:])
	}
	h.setFixed(&fixed)
	h.ExtraData = extra[:n:n]
}

// unmarshal reads a header in SSZ; its extra data goes to extra.
func (h *Header) unmarshal(b []byte, extra *[maxExtra]byte) error {
	var parts [1][]byte
	if err := headerShape.split(b, parts[:]); err != nil {
		return err
	}
	n, err := listLen("extra_data", parts[0], 1, maxExtra)
	if err != nil {
		return err
	}
	copy(extra[:], parts[0])
	h.setFixed((*[headerSize]byte)(b))
	h.ExtraData = extra[:n:n]
	return nil
}

// setFixed sets all but the extra data. The positions are those of headerShape.
func (h *Header) setFixed(b *[headerSize]byte) {
	copy(h.ParentHash[:], b[0:])
	copy(h.FeeRecipient[:], b[32:])
	copy(h.StateRoot[:], b[52:])
	copy(h.ReceiptsRoot[:], b[84:])
	copy(h.LogsBloom[:], b[116:])
	copy(h.PrevRandao[:], b[372:])
	h.BlockNumber = binary.LittleEndian.Uint64(b[404:])
	h.GasLimit = binary.LittleEndian.Uint64(b[412:])
	h.GasUsed = binary.LittleEndian.Uint64(b[420:])
	h.Timestamp = binary.LittleEndian.Uint64(b[428:])
	h.BaseFeePerGas = getWide(b[440:472])
	copy(h.BlockHash[:], b[472:])
	copy(h.TransactionsRoot[:], b[504:])
	copy(h.WithdrawalsRoot[:], b[536:])
	h.BlobGasUsed = binary.LittleEndian.Uint64(b[568:])
	h.ExcessBlobGas = binary.LittleEndian.Uint64(b[576:])
}

// fixed is the inverse of setFixed, with the one offset in place.
func (h *Header) fixed() (b [headerSize]byte) {
	copy(b[0:], h.ParentHash[:])
	copy(b[32:], h.FeeRecipient[:])
	copy(b[52:], h.StateRoot[:])
	copy(b[84:], h.ReceiptsRoot[:])
	copy(b[116:], h.LogsBloom[:])
	copy(b[372:], h.PrevRandao[:])
	binary.LittleEndian.PutUint64(b[404:], h.BlockNumber)
	binary.LittleEndian.PutUint64(b[412:], h.GasLimit)
	binary.LittleEndian.PutUint64(b[420:], h.GasUsed)
	binary.LittleEndian.PutUint64(b[428:], h.Timestamp)
	putOffset(b[436:], headerSize)
	putWide(b[440:], &h.BaseFeePerGas)
	copy(b[472:], h.BlockHash[:])
	copy(b[504:], h.TransactionsRoot[:])
	copy(b[536:], h.WithdrawalsRoot[:])
	binary.LittleEndian.PutUint64(b[568:], h.BlobGasUsed)
	binary.LittleEndian.PutUint64(b[576:], h.ExcessBlobGas)
	return b
}

func (h *Header) appendJSON(out []byte) []byte {
	fixed := h.fixed()
	return headerShape.appendObject(out, fixed[:], func(out []byte, _ string) []byte {
		return appendHex(out, h.ExtraData)
	})
}

// Deneb returns h as the spec's type. It shares no memory with h.
func (h *Header) Deneb() *deneb.ExecutionPayloadHeader {
	return &deneb.ExecutionPayloadHeader{
		ParentHash:       h.ParentHash,
		FeeRecipient:     h.FeeRecipient,
		StateRoot:        h.StateRoot,
		ReceiptsRoot:     h.ReceiptsRoot,
		LogsBloom:        h.LogsBloom,
		PrevRandao:       h.PrevRandao,
		BlockNumber:      h.BlockNumber,
		GasLimit:         h.GasLimit,
		GasUsed:          h.GasUsed,
		Timestamp:        h.Timestamp,
		ExtraData:        append([]byte{}, h.ExtraData...),
		BaseFeePerGas:    h.BaseFeePerGas.Clone(),
		BlockHash:        h.BlockHash,
		TransactionsRoot: h.TransactionsRoot,
		WithdrawalsRoot:  h.WithdrawalsRoot,
		BlobGasUsed:      h.BlobGasUsed,
		ExcessBlobGas:    h.ExcessBlobGas,
	}
}

// HeaderOf is the inverse of Deneb. It shares no memory with d; a nil base fee is 0.
func HeaderOf(d *deneb.ExecutionPayloadHeader) Header {
	h := Header{
		ParentHash:       d.ParentHash,
		FeeRecipient:     d.FeeRecipient,
		StateRoot:        d.StateRoot,
		ReceiptsRoot:     d.ReceiptsRoot,
		LogsBloom:        d.LogsBloom,
		PrevRandao:       d.PrevRandao,
		BlockNumber:      d.BlockNumber,
		GasLimit:         d.GasLimit,
		GasUsed:          d.GasUsed,
		Timestamp:        d.Timestamp,
		ExtraData:        append([]byte{}, d.ExtraData...),
		BlockHash:        d.BlockHash,
		TransactionsRoot: d.TransactionsRoot,
		WithdrawalsRoot:  d.WithdrawalsRoot,
		BlobGasUsed:      d.BlobGasUsed,
		ExcessBlobGas:    d.ExcessBlobGas,
	}
	if d.BaseFeePerGas != nil {
		h.BaseFeePerGas = *d.BaseFeePerGas
	}
	return h
}
