package wire

import (
	"encoding/binary"
)

// unmarshal reads the payload in SSZ.
func (p *Payload) unmarshal(body []byte) (err error) {
	var outer [2][]byte
	if err := deliveryShape.split(body, outer[:]); err != nil {
		return err
	}
	var inner, bundle [3][]byte
	if err := payloadShape.split(outer[0], inner[:]); err != nil {
		return err
	}
	if err := bundleShape.split(outer[1], bundle[:]); err != nil {
		return err
	}
	p.parts = payloadParts{
		fixed: outer[0][:payloadSize], extra: inner[0], transactions: inner[1], withdrawals: inner[2],
		proofs: bundle[1], blobs: bundle[2],
	}
	if _, err := listLen("extra_data", inner[0], 1, maxExtra); err != nil {
		return err
	}
	if p.parts.txs, err = countTransactions(inner[1]); err != nil {
		return err
	}
	p.parts.txBytes = len(inner[1]) - 4*p.parts.txs
	if _, err := listLen("withdrawals", inner[2], withdrawalShape.size, maxWithdrawals); err != nil {
		return err
	}
	if p.Commitments, err = splitCommitments(bundle[0]); err != nil {
		return err
	}
	if p.Proofs, err = listLen("proofs", bundle[1], proofSize, p.maxProofs()); err != nil {
		return err
	}
	p.Blobs, err = listLen("blobs", bundle[2], blobSize, maxCommitments)
	return err
}

// countTransactions checks the offsets of a list of transactions.
func countTransactions(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if len(b) < 4 {
		return 0, ErrDecode.With("transactions: %d bytes", len(b))
	}
	first := uint64(binary.LittleEndian.Uint32(b))
	if first == 0 || first%4 != 0 || first > uint64(len(b)) || first/4 > maxTransactions {
		return 0, ErrDecode.With("transactions: first offset is %d", first)
	}
	last := first
	for i := uint64(4); i < first; i += 4 {
		offset := uint64(binary.LittleEndian.Uint32(b[i:]))
		if offset < last || offset > uint64(len(b)) {
			return 0, ErrDecode.With("transactions: offset %d is %d", i/4, offset)
		}
		last = offset
	}
	return int(first / 4), nil // #nosec G115 -- at most len(b)
}

// scan reads the payload in JSON.
func (p *Payload) scan(body []byte) error {
	s := scanner{in: body}
	env := newEnvelope(&s, p.Fork)
	for s.data(&env) {
		o := s.object(deliveryShape, nil)
		for s.more(&o) {
			if s.field == "execution_payload" {
				p.parts.scan(&s)
			} else {
				p.scanBundle(&s)
			}
		}
	}
	p.nulls = s.nulls
	return s.err
}

func (p *Payload) scanBundle(s *scanner) {
	o := s.object(bundleShape, nil)
	for s.more(&o) {
		switch s.field {
		case "commitments":
			p.Commitments = s.commitments()
		case "proofs":
			p.parts.proofs = s.span(func() { p.Proofs, _ = s.hexes(proofSize, p.maxProofs()) })
		case "blobs":
			p.parts.blobs = s.span(func() { p.Blobs, _ = s.hexes(blobSize, maxCommitments) })
		}
	}
}

func (q *payloadParts) scan(s *scanner) {
	q.fixed = make([]byte, payloadSize)
	o := s.object(payloadShape, q.fixed)
	for s.more(&o) {
		switch s.field {
		case "extra_data":
			var extra [maxExtra]byte
			n := s.shortHex(extra[:])
			q.extra = append([]byte{}, extra[:n]...)
		case "transactions":
			q.transactions = s.span(func() { q.txs, q.txBytes = s.hexes(0, maxTransactions) })
		case "withdrawals":
			q.withdrawals = s.objects(nil, withdrawalShape, maxWithdrawals)
		}
	}
}

// span returns the text of the value that read reads.
func (s *scanner) span(read func()) []byte {
	s.next()
	begin := s.pos
	read()
	return s.in[begin:s.pos]
}

// hexes reads a list of hex strings of size bytes each, or of any if size is 0;
// it returns how many there are and their bytes in all.
func (s *scanner) hexes(size, limit int) (n, total int) {
	for s.item(&n, limit) {
		d := s.digits()
		if size != 0 && len(d) != 2*size && s.err == nil {
			s.fail("an element of another length before here")
		}
		total += len(d) / 2
	}
	return n, total
}
