package commitments

import (
	"bytes"
	"encoding/json"

	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// Offering is what can be promised on one chain. [Commitments API: Offering]
type Offering struct {
	ChainID         uint64
	CommitmentTypes []uint64
}

// SlotInfo says what can be promised for a slot. [Commitments API: SlotInfo]
type SlotInfo struct {
	Slot      phase0.Slot
	Offerings []Offering
}

// SlotInfoResponse lists the slots that take promises. [Commitments API]
type SlotInfoResponse struct{ Slots []SlotInfo }

// FeeInfo says what a promise would cost, in bytes whose meaning belongs to the
// commitment type. [Commitments API: FeeInfo]
type FeeInfo struct {
	Type    uint64
	Payload []byte
}

type offeringJSON struct {
	ChainID *uint64   `json:"chain_id"`
	Types   *[]uint64 `json:"commitment_types"`
}

// MarshalJSON writes {chain_id, commitment_types}.
func (o Offering) MarshalJSON() ([]byte, error) {
	types := orEmpty(o.CommitmentTypes)
	return json.Marshal(offeringJSON{&o.ChainID, &types})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (o *Offering) UnmarshalJSON(text []byte) error {
	var j offeringJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := Offering{ChainID: in.number("chain_id", j.ChainID)}
	if j.Types == nil || len(*j.Types) > maxSlots {
		in.fail("commitment_types are missing or too many")
	} else {
		out.CommitmentTypes = *j.Types
	}
	if in.err == nil {
		*o = out
	}
	return in.err
}

type slotInfoJSON struct {
	Slot      *uint64     `json:"slot"`
	Offerings *[]Offering `json:"offerings"`
}

// MarshalJSON writes {slot, offerings}.
func (s SlotInfo) MarshalJSON() ([]byte, error) {
	slot, offerings := uint64(s.Slot), orEmpty(s.Offerings)
	return json.Marshal(slotInfoJSON{&slot, &offerings})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (s *SlotInfo) UnmarshalJSON(text []byte) error {
	var j slotInfoJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := SlotInfo{Slot: in.slot(j.Slot)}
	if j.Offerings == nil || len(*j.Offerings) > maxSlots {
		in.fail("offerings are missing or too many")
	} else {
		out.Offerings = *j.Offerings
	}
	if in.err == nil {
		*s = out
	}
	return in.err
}

type slotInfoResponseJSON struct {
	Slots *[]SlotInfo `json:"slots"`
}

// MarshalJSON writes {slots}.
func (s SlotInfoResponse) MarshalJSON() ([]byte, error) {
	slots := orEmpty(s.Slots)
	return json.Marshal(slotInfoResponseJSON{&slots})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (s *SlotInfoResponse) UnmarshalJSON(text []byte) error {
	var j slotInfoResponseJSON
	if err := object(text, &j); err != nil {
		return err
	}
	if j.Slots == nil || len(*j.Slots) > maxSlots {
		return ErrEncoding.With("slots are missing or more than %d", maxSlots)
	}
	s.Slots = *j.Slots
	return nil
}

type feeInfoJSON struct {
	Type       *uint64   `json:"commitment_type"`
	Payload    *hexBytes `json:"payload,omitempty"`
	FeePayload *hexBytes `json:"fee_payload,omitempty"`
}

// MarshalJSON writes {commitment_type, payload, fee_payload}: the specification
// calls the bytes payload, fabric fee_payload, and both readers are served.
func (f FeeInfo) MarshalJSON() ([]byte, error) {
	return json.Marshal(feeInfoJSON{&f.Type, hexOf(f.Payload), hexOf(f.Payload)})
}

// UnmarshalJSON reads either name of the bytes; both must agree. Fault: ErrEncoding.
func (f *FeeInfo) UnmarshalJSON(text []byte) error {
	var j feeInfoJSON
	if err := object(text, &j); err != nil {
		return err
	}
	if j.Payload == nil {
		j.Payload = j.FeePayload
	}
	var in reader
	out := FeeInfo{Type: in.number("commitment_type", j.Type), Payload: in.bytes("payload", j.Payload, MaxPayload)}
	if j.FeePayload != nil && !bytes.Equal(*j.FeePayload, out.Payload) {
		in.fail("payload and fee_payload differ")
	}
	if in.err == nil {
		*f = out
	}
	return in.err
}
