package relay

import (
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Dialects of the Constraints API.
const (
	// DialectSpec is the published one: camelCase, integers as strings, an array
	// of constraints messages. Nonce and signing id, which it lacks, are added:
	// without them no signature could be checked. [Constraints API v0.0.1]
	DialectSpec = "spec"
	// DialectFabric is the one eth-fabric serves: paths of its own, snake_case,
	// integers as numbers, one constraints message. Package commitments owns it.
	DialectFabric = "fabric"
)

// Paths of the Constraints API, by dialect.
const (
	pathDelegate          = "/constraints/v0/builder/delegate"
	pathConstraints       = "/constraints/v0/builder/constraints"
	pathDelegations       = "/constraints/v0/relay/delegations/"
	pathFabricDelegation  = "/delegation"
	pathFabricDelegations = "/delegations/"
	pathFabricConstraints = "/constraints"
	// pathHeld is the same in both: what a relay holds for a slot.
	pathHeld = "/constraints/v0/relay/constraints/"
)

func encodeDelegation(dialect string, d commitments.SignedDelegation) (path string, body []byte, err error) {
	if dialect == DialectFabric {
		body, err = json.Marshal(d)
		return pathFabricDelegation, body, err
	}
	m := d.Message
	slot := number(m.Slot)
	body, err = json.Marshal(specDelegation{
		specDelegationMessage{m.Proposer[:], m.Delegate[:], m.Committer[:], &slot, m.Metadata},
		number(d.Nonce), d.SigningID[:], d.Signature[:],
	})
	return pathDelegate, body, err
}

func encodeConstraints(dialect string, s commitments.SignedConstraints) (path string, body []byte, err error) {
	if dialect == DialectFabric {
		body, err = json.Marshal(s)
		return pathFabricConstraints, body, err
	}
	m := s.Message
	slot := number(m.Slot)
	out := specConstraintsMessage{m.Proposer[:], m.Delegate[:], &slot, []specConstraint{}, []octets{}}
	for _, c := range m.Constraints {
		out.Constraints = append(out.Constraints, specConstraint{number(c.Type), c.Payload})
	}
	for _, r := range m.Receivers {
		out.Receivers = append(out.Receivers, r[:])
	}
	body, err = json.Marshal([]specConstraints{{out, number(s.Nonce), s.SigningID[:], s.Signature[:]}})
	return pathConstraints, body, err
}

// DecodeDelegation reads a SignedDelegation in the spec dialect. Fault: ErrDecode.
func DecodeDelegation(body []byte) (d commitments.SignedDelegation, err error) {
	var j specDelegation
	if err := json.Unmarshal(body, &j); err != nil {
		return d, ErrDecode.Wrap(err)
	}
	m := &d.Message
	err = fill(
		field{"proposer", m.Proposer[:], j.Message.Proposer}, field{"delegate", m.Delegate[:], j.Message.Delegate},
		field{"committer", m.Committer[:], j.Message.Committer}, field{"signature", d.Signature[:], j.Signature},
		field{"signingId", d.SigningID[:], orZero(j.SigningID)},
	)
	if err != nil || j.Message.Slot == nil {
		return commitments.SignedDelegation{}, ErrDecode.With("delegation: %v", err)
	}
	m.Slot, m.Metadata, d.Nonce = phase0.Slot(*j.Message.Slot), j.Message.Metadata, uint64(j.Nonce)
	return d, nil
}

// decodeDelegations reads a list of delegations: an array in the spec dialect, an
// object with one in fabric's.
func decodeDelegations(dialect string, body []byte) (list []commitments.SignedDelegation, err error) {
	if dialect == DialectFabric {
		var j struct {
			Delegations []commitments.SignedDelegation `json:"delegations"`
		}
		if err := json.Unmarshal(body, &j); err != nil {
			return nil, ErrDecode.Wrap(err)
		}
		list = j.Delegations
	} else {
		var raw []json.RawMessage
		if err := json.Unmarshal(body, &raw); err != nil {
			return nil, ErrDecode.Wrap(err)
		}
		for i := range raw[:min(len(raw), maxDelegations+1)] {
			d, err := DecodeDelegation(raw[i])
			if err != nil {
				return nil, err
			}
			list = append(list, d)
		}
	}
	if len(list) > maxDelegations {
		return nil, ErrDecode.With("more than %d delegations", maxDelegations)
	}
	return list, nil
}

// holds says whether a fabric relay's list of constraints has a message of this
// signature.
func holds(body []byte, signature phase0.BLSSignature) bool {
	var j struct {
		Constraints []struct {
			Signature octets `json:"signature"`
		} `json:"constraints"`
	}
	if json.Unmarshal(body, &j) != nil {
		return false
	}
	for _, c := range j.Constraints {
		if string(c.Signature) == string(signature[:]) {
			return true
		}
	}
	return false
}

// DecodeConstraints reads an array of SignedConstraints in the spec dialect.
// Fault: ErrDecode.
func DecodeConstraints(body []byte) ([]commitments.SignedConstraints, error) {
	var list []specConstraints
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, ErrDecode.Wrap(err)
	}
	out := make([]commitments.SignedConstraints, len(list))
	for i := range list {
		if err := list[i].read(&out[i]); err != nil {
			return nil, ErrDecode.With("constraints %d: %v", i, err)
		}
	}
	return out, nil
}

func (j *specConstraints) read(s *commitments.SignedConstraints) error {
	m := &s.Message
	err := fill(
		field{"proposer", m.Proposer[:], j.Message.Proposer}, field{"delegate", m.Delegate[:], j.Message.Delegate},
		field{"signature", s.Signature[:], j.Signature}, field{"signingId", s.SigningID[:], orZero(j.SigningID)},
	)
	switch {
	case err != nil:
		return err
	case j.Message.Slot == nil:
		return ErrDecode.With("slot is missing")
	case len(j.Message.Constraints) > maxProofs:
		return ErrDecode.With("%d constraints", len(j.Message.Constraints))
	}
	m.Slot, s.Nonce = phase0.Slot(*j.Message.Slot), uint64(j.Nonce)
	for _, c := range j.Message.Constraints {
		m.Constraints = append(m.Constraints, commitments.Constraint{Type: uint64(c.Type), Payload: c.Payload})
	}
	for _, r := range j.Message.Receivers {
		var key phase0.BLSPubKey
		if err := fill(field{"receiver", key[:], r}); err != nil {
			return err
		}
		m.Receivers = append(m.Receivers, key)
	}
	return nil
}

// decodeCapabilities reads the constraint types of either dialect.
func decodeCapabilities(body []byte) ([]uint64, error) {
	var j struct {
		Types      []number `json:"constraintTypes"`
		TypesSnake []number `json:"constraint_types"`
	}
	if err := json.Unmarshal(body, &j); err != nil {
		return nil, ErrDecode.Wrap(err)
	}
	list := j.Types
	if list == nil {
		list = j.TypesSnake
	}
	if len(list) > maxProofs {
		return nil, ErrDecode.With("%d constraint types", len(list))
	}
	types := make([]uint64, len(list))
	for i, t := range list {
		types[i] = uint64(t)
	}
	return types, nil
}

// The messages of the spec dialect.
type (
	specDelegation struct {
		Message   specDelegationMessage `json:"message"`
		Nonce     number                `json:"nonce"`
		SigningID octets                `json:"signingId"`
		Signature octets                `json:"signature"`
	}
	specDelegationMessage struct {
		Proposer  octets  `json:"proposer"`
		Delegate  octets  `json:"delegate"`
		Committer octets  `json:"committer"`
		Slot      *number `json:"slot"`
		Metadata  octets  `json:"metadata"`
	}
	specConstraints struct {
		Message   specConstraintsMessage `json:"message"`
		Nonce     number                 `json:"nonce"`
		SigningID octets                 `json:"signingId"`
		Signature octets                 `json:"signature"`
	}
	specConstraintsMessage struct {
		Proposer    octets           `json:"proposer"`
		Delegate    octets           `json:"delegate"`
		Slot        *number          `json:"slot"`
		Constraints []specConstraint `json:"constraints"`
		Receivers   []octets         `json:"receivers"`
	}
	specConstraint struct {
		Type    number `json:"constraintType"`
		Payload octets `json:"payload"`
	}
)

// number is a uint64 written as a decimal string, and read as that, as a hex
// string ("0x00" in the specification's example) or as a number.
type number uint64

// MarshalText writes decimal digits.
func (n number) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(n), 10), nil }

// UnmarshalJSON reads any of the three forms.
func (n *number) UnmarshalJSON(text []byte) error {
	s := string(text)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	base := 10
	if strings.HasPrefix(s, "0x") {
		s, base = s[2:], 16
	}
	v, err := strconv.ParseUint(s, base, 64)
	if err != nil {
		return ErrDecode.With("%s is not a uint64", clip(string(text), 24))
	}
	*n = number(v)
	return nil
}

// octets are bytes written as 0x and hex digits.
type octets []byte

// MarshalText writes 0x and lower-case digits.
func (o octets) MarshalText() ([]byte, error) { return hex.AppendEncode([]byte("0x"), o), nil }

// UnmarshalText reads 0x and digits of either case.
func (o *octets) UnmarshalText(text []byte) (err error) {
	if len(text) < 2 || text[0] != '0' || text[1] != 'x' {
		return ErrDecode.With("bytes without 0x")
	}
	*o, err = hex.AppendDecode([]byte{}, text[2:])
	return err
}

// field is a value of fixed length and the octets it is read from.
type field struct {
	name string
	to   []byte
	from octets
}

func fill(fields ...field) error {
	for _, f := range fields {
		if len(f.from) != len(f.to) {
			return ErrDecode.With("%s: %d bytes, want %d", f.name, len(f.from), len(f.to))
		}
		copy(f.to, f.from)
	}
	return nil
}

// orZero stands in for a signing id that the plain specification does not have.
func orZero(o octets) octets {
	if o == nil {
		return make(octets, 32)
	}
	return o
}
