package simnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
)

// The Constraints API in the dialect of its specification: camelCase, numbers
// as strings. What comes in may also be written as fabric writes it: snake_case,
// plain numbers, a nonce and a signing id, one message instead of an array.

// constraint is a Constraint, or a proof of one.
type constraint struct {
	Type    uint64
	Payload hexutil.Bytes
}

// number reads a JSON number, a decimal string or a hex string.
type number uint64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseUint(string(bytes.Trim(b, `"`)), 0, 64)
	*n = number(v)
	return err
}

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	return []byte(strconv.Quote(fmt.Sprint(uint64(n)))), nil
}

// MarshalJSON implements json.Marshaler.
func (c constraint) MarshalJSON() ([]byte, error) {
	return json.Marshal(obj{"constraintType": number(c.Type), "payload": c.Payload})
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *constraint) UnmarshalJSON(b []byte) error {
	var v struct {
		Camel   *number       `json:"constraintType"`
		Snake   *number       `json:"constraint_type"`
		Payload hexutil.Bytes `json:"payload"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch {
	case v.Camel != nil:
		c.Type = uint64(*v.Camel)
	case v.Snake != nil:
		c.Type = uint64(*v.Snake)
	default:
		return errors.New("constraint without a type")
	}
	c.Payload = v.Payload
	return nil
}

// envelope is what was signed around a message, and the signature. The
// specification has neither nonce nor signing id; the sidecar adds them to its
// dialect, for no signature could be checked without.
type envelope struct {
	Nonce     number              `json:"nonce"`
	Camel     phase0.Root         `json:"signingId"`
	Snake     phase0.Root         `json:"signing_id"`
	Signature phase0.BLSSignature `json:"signature"`
}

// verify checks a signature of root in Commit-Boost's envelope.
func (e envelope) verify(spec chain.Spec, key phase0.BLSPubKey, root phase0.Root) error {
	id := e.Camel
	if id == (phase0.Root{}) {
		id = e.Snake
	}
	d := domain(chain.DomainCommitBoost, spec.GenesisForkVersion, phase0.Root{})
	if !bls.Verify(key, commitments.SigningRoot(d, spec.ChainID, root, id, uint64(e.Nonce)), e.Signature) {
		return errors.New("wrong signature of the message")
	}
	return nil
}

// signedConstraints is a SignedConstraints, with the bytes it came in.
type signedConstraints struct {
	Message struct {
		Proposer    phase0.BLSPubKey   `json:"proposer"`
		Delegate    phase0.BLSPubKey   `json:"delegate"`
		Slot        number             `json:"slot"`
		Constraints []constraint       `json:"constraints"`
		Receivers   []phase0.BLSPubKey `json:"receivers"`
	} `json:"message"`
	envelope

	raw json.RawMessage
}

// delegation is a SignedDelegation, with the bytes it came in.
type delegation struct {
	Message struct {
		Proposer  phase0.BLSPubKey           `json:"proposer"`
		Delegate  phase0.BLSPubKey           `json:"delegate"`
		Committer bellatrix.ExecutionAddress `json:"committer"`
		Slot      number                     `json:"slot"`
		Metadata  hexutil.Bytes              `json:"metadata"`
	} `json:"message"`
	envelope

	raw json.RawMessage
}

// oneOrMany decodes an array, or a lone object, keeping each element's bytes.
func oneOrMany(body []byte) ([]json.RawMessage, error) {
	var many []json.RawMessage
	if b := bytes.TrimSpace(body); len(b) > 0 && b[0] == '{' {
		return []json.RawMessage{b}, nil
	}
	err := json.Unmarshal(body, &many)
	return many, err
}

func (r *Relay) capabilities(w http.ResponseWriter, _ *http.Request, _ []byte) {
	answer(w, http.StatusOK, obj{"constraintTypes": []number{number(commitments.TypeInclusion)}})
}

// delegate stores a SignedDelegation: one per slot and proposer.
func (r *Relay) delegate(w http.ResponseWriter, _ *http.Request, body []byte) {
	all, err := oneOrMany(body)
	for _, raw := range all {
		d := delegation{raw: raw}
		if err = json.Unmarshal(raw, &d); err != nil {
			break
		}
		if err = r.addDelegation(d); err != nil {
			break
		}
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (r *Relay) addDelegation(d delegation) error {
	slot := phase0.Slot(d.Message.Slot)
	m := d.Message
	root, err := commitments.Delegation{Proposer: m.Proposer, Delegate: m.Delegate, Committer: m.Committer, Slot: slot, Metadata: m.Metadata}.Root()
	if err == nil {
		err = d.verify(r.spec, m.Proposer, root)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, old := range r.delegations[slot] {
		if old.Message.Proposer == d.Message.Proposer {
			if bytes.Equal(old.raw, d.raw) {
				return nil
			}
			return errors.New("another delegation is known for this slot")
		}
	}
	r.delegations[slot] = append(r.delegations[slot], d)
	r.forget(r.clock.Slot())
	return nil
}

// constrain stores SignedConstraints: one message per slot and proposer, which
// may be sent again.
func (r *Relay) constrain(w http.ResponseWriter, _ *http.Request, body []byte) {
	all, err := oneOrMany(body)
	for _, raw := range all {
		s := signedConstraints{raw: raw}
		if err = json.Unmarshal(raw, &s); err != nil {
			break
		}
		if err = r.addConstraints(s); err != nil {
			break
		}
	}
	if err != nil {
		r.log.Debug("Refused constraints", "error", err)
		fail(w, http.StatusBadRequest, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (r *Relay) addConstraints(s signedConstraints) error {
	slot := phase0.Slot(s.Message.Slot)
	if len(s.Message.Constraints) > 256 {
		return errors.New("more than 256 constraints")
	}
	if err := r.verifyConstraints(s); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delegated := s.Message.Delegate == s.Message.Proposer
	for _, d := range r.delegations[slot] {
		if d.Message.Proposer == s.Message.Proposer {
			if delegated = d.Message.Delegate == s.Message.Delegate; !delegated {
				return errors.New("another delegate holds the delegation")
			}
		}
	}
	switch {
	case r.knobs.Delegated && !delegated:
		return errors.New("no delegation for this slot")
	case r.clock.Slot() > slot, r.knobs.RefuseLate && r.late(slot):
		return errors.New("too late for this slot")
	case r.beacon.proposer(slot).Pubkey != s.Message.Proposer:
		return errors.New("not the proposer of this slot")
	}
	for _, old := range r.constraints[slot] {
		if old.Message.Proposer == s.Message.Proposer {
			if old.Signature == s.Signature {
				return nil
			}
			return errors.New("another constraints message is known for this slot")
		}
	}
	if !r.knobs.Forget {
		r.constraints[slot] = append(r.constraints[slot], s)
	}
	return nil
}

// listConstraints serves what a builder may read: public messages, and those
// that name it. This relay knows a receiver by the key in X-Receiver-PublicKey.
func (r *Relay) listConstraints(w http.ResponseWriter, req *http.Request, _ []byte) {
	slot, err := strconv.ParseUint(req.PathValue("slot"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	var reader phase0.BLSPubKey
	_ = reader.UnmarshalJSON([]byte(strconv.Quote(req.Header.Get("X-Receiver-PublicKey")))) // absent: nobody
	list := []json.RawMessage{}
	r.mu.Lock()
	for _, s := range r.constraints[phase0.Slot(slot)] {
		if to := s.Message.Receivers; len(to) == 0 || slices.Contains(to, reader) && r.isReader(req, reader, phase0.Slot(slot)) {
			list = append(list, s.raw)
		}
	}
	r.mu.Unlock()
	answer(w, http.StatusOK, list)
}

func (r *Relay) listDelegations(w http.ResponseWriter, req *http.Request, _ []byte) {
	slot, err := strconv.ParseUint(req.PathValue("slot"), 10, 64)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	list := []json.RawMessage{}
	r.mu.Lock()
	for _, d := range r.delegations[phase0.Slot(slot)] {
		list = append(list, d.raw)
	}
	r.mu.Unlock()
	answer(w, http.StatusOK, list)
}

// headerWithProofs is header, in JSON, with the proofs beside the message.
func (r *Relay) headerWithProofs(w http.ResponseWriter, req *http.Request, _ []byte) {
	key, ok := wanted(w, req)
	if !ok {
		return
	}
	s, k, ok := r.best(key)
	if k.NoProofRoute {
		http.NotFound(w, req)
		return
	}
	if !ok {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	signed, err := r.bidOf(s, k)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	data := map[string]json.RawMessage{}
	raw, err := signed.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(raw, &data)
	}
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	types, payloads := []number{}, []hexutil.Bytes{}
	for _, p := range s.Proofs {
		if k.NoProofs {
			break
		}
		if k.FalseProofs {
			p.Payload = bytes.Repeat([]byte{0xab}, len(p.Payload))
		}
		types, payloads = append(types, number(p.Type)), append(payloads, p.Payload)
	}
	data["proofs"] = must(json.Marshal(obj{"constraintTypes": types, "payloads": payloads}))
	if len(payloads) == 1 && commitments.FormatOf(payloads[0]) == commitments.ProofBolt {
		data["proofs"] = json.RawMessage(payloads[0]) // Bolt's object is in the place of the lists
	}
	w.Header().Set("Eth-Consensus-Version", r.fork.String())
	answer(w, http.StatusOK, obj{"version": r.fork.String(), "data": data})
}

// HasConstraints returns how many constraints are stored for a slot.
func (r *Relay) HasConstraints(slot phase0.Slot) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, s := range r.constraints[slot] {
		n += len(s.Message.Constraints)
	}
	return n
}

// verifyConstraints checks the delegate's signature of a constraints message.
func (r *Relay) verifyConstraints(s signedConstraints) error {
	m := commitments.ConstraintsMessage{
		Proposer: s.Message.Proposer, Delegate: s.Message.Delegate, Slot: phase0.Slot(s.Message.Slot), Receivers: s.Message.Receivers,
	}
	for _, c := range s.Message.Constraints {
		m.Constraints = append(m.Constraints, commitments.Constraint{Type: c.Type, Payload: c.Payload})
	}
	root, err := m.Root()
	if err != nil {
		return err
	}
	return s.verify(r.spec, s.Message.Delegate, root)
}
