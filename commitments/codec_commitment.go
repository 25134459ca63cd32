package commitments

import (
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Lengths of a signature: secp256k1 with its recovery byte, and BLS.
const (
	lenECDSA = 65
	lenBLS   = 96
)

type signedCommitmentJSON struct {
	Commitment     *Commitment    `json:"commitment"`
	Nonce          *uint64        `json:"nonce"`
	SigningID      *hexBytes      `json:"signing_id"`
	Signature      *signatureJSON `json:"signature"`
	ProxySignature *hexBytes      `json:"proxy_signature,omitempty"`
	ProxyNonce     *uint64        `json:"proxy_nonce,omitempty"`
	ProxyBranch    *[]hexBytes    `json:"proxy_branch,omitempty"`
}

// MarshalJSON writes {commitment, nonce, signing_id, signature}, as fabric does,
// and with a proxy signature also {proxy_signature, proxy_nonce, proxy_branch}.
func (s SignedCommitment) MarshalJSON() ([]byte, error) { return json.Marshal(s.json()) }

func (s *SignedCommitment) json() signedCommitmentJSON {
	j := signedCommitmentJSON{Commitment: &s.Commitment, Nonce: &s.Nonce, SigningID: hexOf(s.SigningID[:]), Signature: (*signatureJSON)(&s.Signature)}
	if !s.Proxy.IsZero() {
		branch := make([]hexBytes, len(s.Proxy.Branch))
		for i := range branch {
			branch[i] = s.Proxy.Branch[i][:]
		}
		j.ProxySignature, j.ProxyNonce, j.ProxyBranch = hexOf(s.Proxy.Signature[:]), &s.Proxy.Nonce, &branch
	}
	return j
}

// UnmarshalJSON reads what MarshalJSON writes, with the signature also as the
// object {r, s, yParity, v} that fabric writes, or with a v of 0 or 1. The proxy's
// fields come together or not at all. Fault: ErrEncoding.
func (s *SignedCommitment) UnmarshalJSON(text []byte) error {
	var j signedCommitmentJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := SignedCommitment{Nonce: in.number("nonce", j.Nonce)}
	in.fixed("signing_id", out.SigningID[:], j.SigningID)
	if j.Commitment == nil {
		in.fail("commitment is missing")
	} else {
		out.Commitment = *j.Commitment
	}
	if j.Signature == nil {
		in.fail("signature is missing")
	} else {
		out.Signature = *j.Signature
	}
	switch n := len(out.Signature); {
	case n == lenECDSA && out.Signature[n-1] <= 1:
		out.Signature[n-1] += 27
	case n == lenECDSA && out.Signature[n-1] != 27 && out.Signature[n-1] != 28:
		in.fail("signature with a v of %d", out.Signature[n-1])
	case n != lenBLS && n != lenECDSA:
		in.fail("signature of %d bytes", n)
	}
	if j.ProxySignature != nil || j.ProxyNonce != nil || j.ProxyBranch != nil {
		out.Proxy = in.proxy(&j)
	}
	if in.err == nil {
		*s = out
	}
	return in.err
}

func (r *reader) proxy(j *signedCommitmentJSON) (p ProxySignature) {
	p.Nonce = r.number("proxy_nonce", j.ProxyNonce)
	r.fixed("proxy_signature", p.Signature[:], j.ProxySignature)
	if p.IsZero() {
		r.fail("proxy_signature is zero")
	}
	if j.ProxyBranch == nil || len(*j.ProxyBranch) > MaxBranch {
		r.fail("proxy_branch is missing or longer than %d", MaxBranch)
		return p
	}
	for _, h := range *j.ProxyBranch {
		var sibling phase0.Root
		r.fixed("proxy_branch", sibling[:], &h)
		p.Branch = append(p.Branch, sibling)
	}
	return p
}

// signatureJSON writes hex, and reads hex or alloy's object.
type signatureJSON []byte

func (s signatureJSON) MarshalJSON() ([]byte, error) { return json.Marshal(hexBytes(s)) }

func (s *signatureJSON) UnmarshalJSON(text []byte) error {
	if text[0] != '{' {
		var h hexBytes
		err := object(text, &h)
		*s = signatureJSON(h)
		return err
	}
	var j struct {
		R, S, YParity, V *string
	}
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := make([]byte, lenECDSA)
	in.quantity("r", out[:32], j.R)
	in.quantity("s", out[32:64], j.S)
	// alloy writes both, the parity under each name; older versions v as 27 or 28.
	var parity, v [1]byte
	if j.YParity != nil {
		in.quantity("yParity", parity[:], j.YParity)
	}
	if j.V != nil || j.YParity == nil {
		in.quantity("v", v[:], j.V)
	}
	if v[0] == 27 || v[0] == 28 {
		v[0] -= 27
	}
	switch {
	case parity[0] > 1 || v[0] > 1:
		in.fail("yParity or v is none")
	case j.YParity != nil && j.V != nil && parity != v:
		in.fail("yParity and v differ")
	}
	out[lenECDSA-1] = 27 + (parity[0] | v[0])
	*s = out
	return in.err
}

// quantity reads a number in hex without leading zeros, or with. [Ethereum JSON-RPC]
func (r *reader) quantity(name string, dst []byte, text *string) {
	if text == nil {
		r.fail("%s is missing", name)
		return
	}
	digits, ok := strings.CutPrefix(*text, "0x")
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	b, err := hex.DecodeString(digits)
	if !ok || err != nil || len(b) == 0 || len(b) > len(dst) {
		r.fail("%s is not a number of at most %d bytes in hex", name, len(dst))
		return
	}
	copy(dst[len(dst)-len(b):], b)
}
