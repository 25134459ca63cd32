package wire

import (
	"encoding/binary"
	"math"
)

// marshal writes a payload that came in JSON in SSZ.
func (p *Payload) marshal() ([]byte, error) {
	q := &p.parts
	afterTxs := payloadSize + len(q.extra) + 4*q.txs + q.txBytes
	bundleAt := deliveryShape.size + afterTxs + len(q.withdrawals)
	size := bundleAt + bundleShape.size + 48*len(p.Commitments) + proofSize*p.Proofs + blobSize*p.Blobs
	if uint64(size) > math.MaxUint32 {
		return nil, ErrDecode.With("payload: %d bytes", size)
	}
	out := make([]byte, deliveryShape.size, size)
	putOffset(out, deliveryShape.size)
	putOffset(out[4:], bundleAt)

	// 1. The execution payload, its three offsets set.
	out = append(out, q.fixed...)
	fixed := out[deliveryShape.size:]
	putOffset(fixed[436:], payloadSize)
	putOffset(fixed[504:], payloadSize+len(q.extra))
	putOffset(fixed[508:], afterTxs)
	out = append(out, q.extra...)
	table := len(out)
	out = append(out, make([]byte, 4*q.txs)...)
	out = appendUnhexes(out, q.transactions, func(i int, out []byte) {
		putOffset(out[table+4*i:], len(out)-table)
	})
	out = append(out, q.withdrawals...)

	// 2. The bundle.
	var bundle [12]byte
	putOffset(bundle[:], bundleShape.size)
	putOffset(bundle[4:], bundleShape.size+48*len(p.Commitments))
	putOffset(bundle[8:], bundleShape.size+48*len(p.Commitments)+proofSize*p.Proofs)
	out = append(out, bundle[:]...)
	for i := range p.Commitments {
		out = append(out, p.Commitments[i][:]...)
	}
	out = appendUnhexes(out, q.proofs, nil)
	return appendUnhexes(out, q.blobs, nil), nil
}

// marshalJSON writes a payload that came in SSZ in JSON.
func (p *Payload) marshalJSON() []byte {
	q := &p.parts
	out := make([]byte, 0, 2*len(p.body)+4096+4*(q.txs+p.Proofs+2*p.Blobs))
	out = appendEnvelope(out, p.Fork)
	out = deliveryShape.appendObject(out, make([]byte, deliveryShape.size), func(out []byte, name string) []byte {
		if name == "execution_payload" {
			return q.appendJSON(out)
		}
		return bundleShape.appendObject(out, make([]byte, bundleShape.size), func(out []byte, name string) []byte {
			switch name {
			case "commitments":
				return appendCommitments(out, p.Commitments)
			case "proofs":
				return appendHexes(out, q.proofs, proofSize)
			default:
				return appendHexes(out, q.blobs, blobSize)
			}
		})
	})
	return append(out, '}')
}

func (q *payloadParts) appendJSON(out []byte) []byte {
	return payloadShape.appendObject(out, q.fixed, func(out []byte, name string) []byte {
		switch name {
		case "extra_data":
			return appendHex(out, q.extra)
		case "withdrawals":
			return withdrawalShape.appendObjects(out, q.withdrawals)
		}
		out = append(out, '[')
		for i := range q.txs {
			if i > 0 {
				out = append(out, ',')
			}
			out = appendHex(out, transaction(q.transactions, i, q.txs))
		}
		return append(out, ']')
	})
}

// appendUnhexes appends the bytes of a list that hexes has read; each is called
// before every element.
func appendUnhexes(out, list []byte, each func(i int, out []byte)) []byte {
	s, n := scanner{in: list}, 0
	for s.item(&n, math.MaxInt) {
		if each != nil {
			each(n-1, out)
		}
		out = appendUnhex(out, s.digits())
	}
	return out
}

// transaction returns the ith of n in b, which countTransactions has seen.
func transaction(b []byte, i, n int) []byte {
	begin, end := int(binary.LittleEndian.Uint32(b[4*i:])), len(b)
	if i+1 < n {
		end = int(binary.LittleEndian.Uint32(b[4*i+4:]))
	}
	return b[begin:end]
}
