package simnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"sidecar/commitments"
)

// The Constraints API as eth-fabric serves it: paths of its own, snake_case, plain
// numbers, one message a request, a nonce and a signing id around it. Whatever is
// wrong is 500 with text. One delegation and one constraints message a slot, never
// changed: the very same bytes again are refused, too. What it does not serve it
// hands to the relay behind it, which here is itself.

// fabricEndpoints have the names of the other dialect's.
func (r *Relay) fabricEndpoints() []endpoint {
	return []endpoint{
		{"capabilities", "GET /constraints/v0/builder/capabilities", func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			answer(w, http.StatusOK, obj{"constraint_types": []uint64{commitments.TypeInclusion}})
		}},
		{"delegate", "POST /delegation", func(w http.ResponseWriter, _ *http.Request, body []byte) { said(w, r.takeDelegation(body)) }},
		{"constraints", "POST /constraints", func(w http.ResponseWriter, _ *http.Request, body []byte) { said(w, r.takeConstraints(body)) }},
		{"delegations", "GET /delegations/{slot}", r.listFabric("delegations")},
		{"relay_constraints", "GET /constraints/v0/relay/constraints/{slot}", r.listFabric("constraints")},
		{"header_with_proofs", "GET /constraints/v0/builder/header_with_proofs/{slot}/{parent}/{pubkey}", r.headerWithProofs},
		{"health", "GET /health", func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusOK) }},
	}
}

// said answers 200 with nothing, or 500 with text.
func said(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// fabricDelegation and fabricConstraints are the bodies, with every field required.
type (
	fabricDelegation struct {
		Message *struct {
			Proposer  *phase0.BLSPubKey           `json:"proposer"`
			Delegate  *phase0.BLSPubKey           `json:"delegate"`
			Committer *bellatrix.ExecutionAddress `json:"committer"`
			Slot      *uint64                     `json:"slot"`
			Metadata  *hexutil.Bytes              `json:"metadata"`
		} `json:"message"`
		fabricEnvelope
	}
	fabricConstraints struct {
		Message *struct {
			Proposer    *phase0.BLSPubKey `json:"proposer"`
			Delegate    *phase0.BLSPubKey `json:"delegate"`
			Slot        *uint64           `json:"slot"`
			Constraints *[]struct {
				Type    *uint64        `json:"constraint_type"`
				Payload *hexutil.Bytes `json:"payload"`
			} `json:"constraints"`
			Receivers *[]phase0.BLSPubKey `json:"receivers"`
		} `json:"message"`
		fabricEnvelope
	}
	fabricEnvelope struct {
		Nonce     *uint64              `json:"nonce"`
		SigningID *phase0.Root         `json:"signing_id"`
		Signature *phase0.BLSSignature `json:"signature"`
	}
)

func (e *fabricEnvelope) whole() bool {
	return e.Nonce != nil && e.SigningID != nil && e.Signature != nil
}

func (e *fabricEnvelope) plain() envelope {
	return envelope{Nonce: number(*e.Nonce), Snake: *e.SigningID, Signature: *e.Signature}
}

// decodeStrictly refuses unknown fields, strings for numbers and what comes after.
func decodeStrictly(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one message")
	}
	return nil
}

func (r *Relay) takeDelegation(body []byte) error {
	var in fabricDelegation
	if err := decodeStrictly(body, &in); err != nil {
		return err
	}
	m := in.Message
	if m == nil || m.Proposer == nil || m.Delegate == nil || m.Committer == nil || m.Slot == nil || m.Metadata == nil || !in.whole() {
		return errors.New("a field is missing")
	}
	d := delegation{envelope: in.plain(), raw: bytes.Clone(body)}
	d.Message.Proposer, d.Message.Delegate, d.Message.Committer = *m.Proposer, *m.Delegate, *m.Committer
	d.Message.Slot, d.Message.Metadata = number(*m.Slot), *m.Metadata
	slot := phase0.Slot(*m.Slot)
	r.mu.Lock()
	taken := len(r.delegations[slot]) > 0
	r.mu.Unlock()
	switch {
	case taken:
		return fmt.Errorf("slot %d has a delegation", slot)
	case *m.Committer == bellatrix.ExecutionAddress{}:
		return errors.New("the committer is zero")
	case slot <= r.clock.Slot():
		return fmt.Errorf("slot %d has begun", slot)
	case r.beacon.proposer(slot).Pubkey != *m.Proposer:
		return errors.New("not the proposer of this slot")
	}
	return r.addDelegation(d)
}

func (r *Relay) takeConstraints(body []byte) error {
	var in fabricConstraints
	if err := decodeStrictly(body, &in); err != nil {
		return err
	}
	m := in.Message
	if m == nil || m.Proposer == nil || m.Delegate == nil || m.Slot == nil || m.Constraints == nil || m.Receivers == nil || !in.whole() {
		return errors.New("a field is missing")
	}
	s := signedConstraints{envelope: in.plain(), raw: bytes.Clone(body)}
	s.Message.Proposer, s.Message.Delegate, s.Message.Slot, s.Message.Receivers = *m.Proposer, *m.Delegate, number(*m.Slot), *m.Receivers
	for _, c := range *m.Constraints {
		if c.Type == nil || c.Payload == nil {
			return errors.New("a constraint without type or payload")
		}
		s.Message.Constraints = append(s.Message.Constraints, constraint{*c.Type, *c.Payload})
	}
	slot := phase0.Slot(*m.Slot)
	r.mu.Lock()
	taken, delegated := len(r.constraints[slot]) > 0, false
	for _, d := range r.delegations[slot] {
		delegated = delegated || d.Message.Proposer == *m.Proposer && d.Message.Delegate == *m.Delegate
	}
	r.mu.Unlock()
	switch {
	case taken:
		return fmt.Errorf("slot %d has its constraints", slot)
	case slot <= r.clock.Slot():
		return fmt.Errorf("slot %d has begun", slot)
	case !delegated:
		return errors.New("no delegation to this delegate")
	}
	return r.addConstraints(s)
}

// listFabric serves what is known for a slot, under the name of the list.
func (r *Relay) listFabric(name string) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, req *http.Request, _ []byte) {
		slot, err := strconv.ParseUint(req.PathValue("slot"), 10, 64)
		if err != nil {
			said(w, err)
			return
		}
		list := []json.RawMessage{}
		r.mu.Lock()
		if name == "delegations" {
			for _, d := range r.delegations[phase0.Slot(slot)] {
				list = append(list, d.raw)
			}
		} else {
			for _, s := range r.constraints[phase0.Slot(slot)] {
				list = append(list, s.raw)
			}
		}
		r.mu.Unlock()
		answer(w, http.StatusOK, obj{name: list})
	}
}

// readConstraints reads what a builder is told, in either dialect.
func readConstraints(body []byte) (list []signedConstraints, err error) {
	if b := bytes.TrimSpace(body); len(b) > 0 && b[0] == '{' {
		var in struct {
			Constraints []signedConstraints `json:"constraints"`
		}
		err = json.Unmarshal(body, &in)
		return in.Constraints, err
	}
	err = json.Unmarshal(body, &list)
	return list, err
}

// PlantDelegation makes the relay know of a delegation, true or not, as if someone
// had posted it in its dialect.
func (r *Relay) PlantDelegation(d commitments.SignedDelegation) error {
	raw, err := json.Marshal(d) // snake_case, which both lists may hold
	if err != nil {
		return err
	}
	if !r.Fabric {
		raw, err = json.Marshal(obj{
			"message": obj{
				"proposer": d.Message.Proposer, "delegate": d.Message.Delegate, "committer": hexutil.Bytes(d.Message.Committer[:]),
				"slot": number(d.Message.Slot), "metadata": hexutil.Bytes(d.Message.Metadata),
			},
			"nonce": number(d.Nonce), "signingId": d.SigningID, "signature": d.Signature,
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delegations[d.Message.Slot] = append(r.delegations[d.Message.Slot], delegation{raw: raw})
	return err
}
