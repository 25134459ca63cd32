package chain

import "github.com/attestantio/go-eth2-client/spec/phase0"

// BlobParams are what the execution layer prices blobs by. [EIP-7840: blobSchedule]
type BlobParams struct {
	Target   int    // blobs per block at which the price stays
	Max      int    // blobs per block
	Fraction uint64 // baseFeeUpdateFraction
}

// Known says whether they are of any use. Where there are no blobs, there are none,
// and what no chain can have is not known either.
func (p BlobParams) Known() bool {
	return p.Max > 0 && p.Max <= maxBlobs && p.Target >= 0 && p.Target <= p.Max && p.Fraction > 0
}

// BlobParams returns the parameters of a slot. The beacon chain's schedule names
// the maximum only. Target and fraction follow the rule of every fork so far: two
// thirds of the maximum (Deneb: half), and a full block raises the price by 8.2 %
// whatever the maximum (Deneb: 12.5 %), that is, Electra's fraction in proportion.
// [EIP-4844, EIP-7691, EIP-7892, EIP-8134, EIP-8135]
func (s Spec) BlobParams(slot phase0.Slot) BlobParams {
	most := s.MaxBlobs(slot)
	p := BlobParams{Target: most * 2 / 3, Max: most, Fraction: (uint64(most)*fractionElectra + blobsElectra/2) / blobsElectra} // #nosec G115 -- validated
	if s.Fork(slot) < Electra {
		p.Target = most / 2
	}
	return p
}

// fractionElectra is BLOB_BASE_FEE_UPDATE_FRACTION_ELECTRA. [EIP-7691]
const fractionElectra = 5_007_716
