package commitments

import (
	"encoding/json"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

type messageJSON struct {
	Proposer    *hexBytes     `json:"proposer"`
	Delegate    *hexBytes     `json:"delegate"`
	Slot        *uint64       `json:"slot"`
	Constraints *[]Constraint `json:"constraints"`
	Receivers   *[]hexBytes   `json:"receivers"`
}

// MarshalJSON writes {proposer, delegate, slot, constraints, receivers}.
func (m ConstraintsMessage) MarshalJSON() ([]byte, error) {
	receivers := make([]hexBytes, len(m.Receivers))
	for i := range m.Receivers {
		receivers[i] = m.Receivers[i][:]
	}
	slot, constraints := uint64(m.Slot), orEmpty(m.Constraints)
	return json.Marshal(messageJSON{hexOf(m.Proposer[:]), hexOf(m.Delegate[:]), &slot, &constraints, &receivers})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (m *ConstraintsMessage) UnmarshalJSON(text []byte) error {
	var j messageJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := ConstraintsMessage{Slot: in.slot(j.Slot)}
	in.fixed("proposer", out.Proposer[:], j.Proposer)
	in.fixed("delegate", out.Delegate[:], j.Delegate)
	if j.Constraints == nil || j.Receivers == nil || len(*j.Constraints) > MaxConstraints || len(*j.Receivers) > MaxConstraints {
		in.fail("constraints or receivers are missing or more than %d", MaxConstraints)
		return in.err
	}
	out.Constraints = *j.Constraints
	for _, r := range *j.Receivers {
		var key phase0.BLSPubKey
		in.fixed("receiver", key[:], &r)
		out.Receivers = append(out.Receivers, key)
	}
	if in.err == nil {
		*m = out
	}
	return in.err
}

type delegationJSON struct {
	Proposer  *hexBytes `json:"proposer"`
	Delegate  *hexBytes `json:"delegate"`
	Committer *hexBytes `json:"committer"`
	Slot      *uint64   `json:"slot"`
	Metadata  *hexBytes `json:"metadata"`
}

// MarshalJSON writes {proposer, delegate, committer, slot, metadata}.
func (d Delegation) MarshalJSON() ([]byte, error) {
	slot := uint64(d.Slot)
	return json.Marshal(delegationJSON{hexOf(d.Proposer[:]), hexOf(d.Delegate[:]), hexOf(d.Committer[:]), &slot, hexOf(d.Metadata)})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (d *Delegation) UnmarshalJSON(text []byte) error {
	var j delegationJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := Delegation{Slot: in.slot(j.Slot), Metadata: in.bytes("metadata", j.Metadata, maxMetadata)}
	in.fixed("proposer", out.Proposer[:], j.Proposer)
	in.fixed("delegate", out.Delegate[:], j.Delegate)
	in.fixed("committer", out.Committer[:], j.Committer)
	if in.err == nil {
		*d = out
	}
	return in.err
}

// signedJSON is a message with what the key signed around it.
type signedJSON[M any] struct {
	Message   *M        `json:"message"`
	Nonce     *uint64   `json:"nonce"`
	SigningID *hexBytes `json:"signing_id"`
	Signature *hexBytes `json:"signature"`
}

func decodeSigned[M any](text []byte) (m M, nonce uint64, id phase0.Root, sig phase0.BLSSignature, err error) {
	var j signedJSON[M]
	if err := object(text, &j); err != nil {
		return m, 0, id, sig, err
	}
	var in reader
	if j.Message == nil {
		in.fail("message is missing")
	} else {
		m = *j.Message
	}
	nonce = in.number("nonce", j.Nonce)
	in.fixed("signing_id", id[:], j.SigningID)
	in.fixed("signature", sig[:], j.Signature)
	return m, nonce, id, sig, in.err
}

// MarshalJSON writes {message, nonce, signing_id, signature}.
func (s SignedConstraints) MarshalJSON() ([]byte, error) {
	return json.Marshal(signedJSON[ConstraintsMessage]{&s.Message, &s.Nonce, hexOf(s.SigningID[:]), hexOf(s.Signature[:])})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (s *SignedConstraints) UnmarshalJSON(text []byte) error {
	m, nonce, id, sig, err := decodeSigned[ConstraintsMessage](text)
	if err == nil {
		*s = SignedConstraints{m, nonce, id, sig}
	}
	return err
}

// MarshalJSON writes {message, nonce, signing_id, signature}.
func (s SignedDelegation) MarshalJSON() ([]byte, error) {
	return json.Marshal(signedJSON[Delegation]{&s.Message, &s.Nonce, hexOf(s.SigningID[:]), hexOf(s.Signature[:])})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (s *SignedDelegation) UnmarshalJSON(text []byte) error {
	m, nonce, id, sig, err := decodeSigned[Delegation](text)
	if err == nil {
		*s = SignedDelegation{m, nonce, id, sig}
	}
	return err
}

// orEmpty makes a nil slice one that JSON writes as [].
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return slices.Clip(s)
}
