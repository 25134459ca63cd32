package wire

import "bytes"

// The pieces of a registration between its values, as every client writes them:
// keys in the spec's order, no white space.
var (
	regBegin     = []byte(`{"message":{"fee_recipient":"0x`)
	regGasLimit  = []byte(`","gas_limit":"`)
	regTimestamp = []byte(`","timestamp":"`)
	regPubkey    = []byte(`","pubkey":"0x`)
	regSignature = []byte(`"},"signature":"0x`)
	regEnd       = []byte(`"}`)
)

// quickRegistration reads a registration written the way every client writes
// it, and returns its length. Any other spelling yields 0 and is left to the
// scanner, which is the one that judges. A node registers all of its validators
// at once; this is a third of the scanner's work. The signature is looked at in
// any case and decoded if signed.
func quickRegistration(in []byte, r *Registration, signed bool) int {
	at := 0
	take := func(piece []byte) bool {
		ok := at <= len(in) && bytes.HasPrefix(in[at:], piece)
		at += len(piece)
		return ok
	}
	octets := func(dst []byte) bool {
		n := 2 * len(dst)
		if len(in)-at < n || !unhex(dst, in[at:at+n]) {
			return false
		}
		at += n
		return true
	}
	number := func(v *uint64) bool {
		begin := at
		for *v = 0; at < len(in) && in[at]-'0' < 10 && at-begin < 19; at++ {
			*v = *v*10 + uint64(in[at]-'0')
		}
		// 19 digits always fit; a leading zero is the scanner's to refuse.
		return at > begin && (in[begin] != '0' || at == begin+1)
	}
	if !take(regBegin) || !octets(r.FeeRecipient[:]) || !take(regGasLimit) || !number(&r.GasLimit) ||
		!take(regTimestamp) || !number(&r.Timestamp) || !take(regPubkey) || !octets(r.Pubkey[:]) ||
		!take(regSignature) {
		return 0
	}
	if signed {
		if !octets(r.Signature[:]) {
			return 0
		}
	} else if n := 2 * len(r.Signature); len(in)-at >= n && isHex(in[at:at+n]) {
		at += n
	}
	if !take(regEnd) {
		return 0
	}
	r.Raw = in[:at:at]
	return at
}
