package commitments

import (
	"encoding/json"
	"math/big"
	"slices"
)

// SignatureForm is how the committer's signature is written in JSON. All are read,
// whichever is written; a delegate's, BLS, is hexadecimal in all.
type SignatureForm string

// The forms that implementations of the Commitments API expect.
const (
	FormV27    SignatureForm = "v27"    // 65 bytes in hexadecimal, v is 27 or 28: the specification
	FormV0     SignatureForm = "v0"     // the same, v is 0 or 1: Bolt's clients and many libraries
	FormObject SignatureForm = "object" // {r, s, yParity, v}, quantities, v is 0 or 1: alloy's, which fabric writes
)

// Written is a SignedCommitment in a form other than FormV27.
type Written struct {
	SignedCommitment
	Form SignatureForm
}

type rsvJSON struct {
	R       string `json:"r"`
	S       string `json:"s"`
	YParity string `json:"yParity"`
	V       string `json:"v"`
}

// MarshalJSON writes what SignedCommitment does, but for the signature.
func (w Written) MarshalJSON() ([]byte, error) {
	sig := w.Signature
	if len(sig) != lenECDSA || w.Form != FormV0 && w.Form != FormObject {
		return w.SignedCommitment.MarshalJSON()
	}
	sig = slices.Clone(sig)
	sig[lenECDSA-1] -= 27
	if w.Form == FormV0 {
		w.SignedCommitment.Signature = sig
		return w.SignedCommitment.MarshalJSON()
	}
	quantity := func(b []byte) string { return "0x" + new(big.Int).SetBytes(b).Text(16) }
	j := struct {
		signedCommitmentJSON
		Signature rsvJSON `json:"signature"` // in place of the one inside
	}{w.json(), rsvJSON{quantity(sig[:32]), quantity(sig[32:64]), quantity(sig[64:]), quantity(sig[64:])}}
	return json.Marshal(j)
}
