package simnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	builderv1 "github.com/attestantio/go-builder-client/api/v1"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/internal/bls"
)

// registration is what a relay keeps of a SignedValidatorRegistration.
type registration = builderv1.SignedValidatorRegistration

func (r *Relay) endpoints() []endpoint {
	all := []endpoint{
		{"status", "GET /eth/v1/builder/status", func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusOK) }},
		{"register", "POST /eth/v1/builder/validators", r.register},
		{"header", "GET /eth/v1/builder/header/{slot}/{parent}/{pubkey}", r.header},
		{"submit_v1", "POST /eth/v1/builder/blinded_blocks", r.submitV1},
		{"submit_v2", "POST /eth/v2/builder/blinded_blocks", r.submitV2},
		{"submit", "POST /simnet/v1/submit", r.submit},
	}
	switch {
	case r.Fabric:
		return append(all, r.fabricEndpoints()...)
	case !r.Constraints:
		return all
	}
	return append(all,
		endpoint{"capabilities", "GET /constraints/v0/builder/capabilities", r.capabilities},
		endpoint{"delegate", "POST /constraints/v0/builder/delegate", r.delegate},
		endpoint{"constraints", "POST /constraints/v0/builder/constraints", r.constrain},
		endpoint{"delegate", "POST /delegation", r.delegate},      // fabric's path
		endpoint{"constraints", "POST /constraints", r.constrain}, // fabric's path
		endpoint{"header_with_proofs", "GET /constraints/v0/builder/header_with_proofs/{slot}/{parent}/{pubkey}", r.headerWithProofs},
		endpoint{"delegations", "GET /constraints/v0/relay/delegations/{slot}", r.listDelegations},
		endpoint{"relay_constraints", "GET /constraints/v0/relay/constraints/{slot}", r.listConstraints},
	)
}

func (r *Relay) turned() RelayKnobs {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.knobs
}

// body decides the encoding of a request body. It answers when it refuses.
func (r *Relay) body(w http.ResponseWriter, req *http.Request) (ssz, ok bool) {
	ssz, err := isSSZ(req.Header)
	if k := r.turned(); err == nil && (ssz && k.NoSSZ || !ssz && k.NoJSON) {
		err = errors.New("this relay does not read that media type")
	}
	if err != nil {
		fail(w, http.StatusUnsupportedMediaType, err)
	}
	return ssz, err == nil
}

// negotiate decides the encoding of the answer. It answers when it refuses.
func (r *Relay) negotiate(w http.ResponseWriter, req *http.Request) (ssz, ok bool) {
	k := r.turned()
	asJSON, asSSZ, sszFirst := accepts(req.Header)
	asJSON, asSSZ = asJSON && !k.NoJSON, asSSZ && !k.NoSSZ
	if !asJSON && !asSSZ {
		fail(w, http.StatusNotAcceptable, errors.New("no acceptable encoding"))
		return false, false
	}
	return asSSZ && (sszFirst || !asJSON), true
}

func (r *Relay) register(w http.ResponseWriter, req *http.Request, body []byte) {
	ssz, ok := r.body(w, req)
	if !ok {
		return
	}
	var all builderv1.SignedValidatorRegistrations
	if err := decodePlain(ssz, body, &all); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	d := domain(chain.DomainBuilder, r.spec.GenesisForkVersion, phase0.Root{})
	for _, s := range all.Registrations {
		if s == nil || s.Message == nil {
			fail(w, http.StatusBadRequest, errors.New("registration without a message"))
			return
		}
		root, err := s.Message.HashTreeRoot()
		if err != nil || r.turned().CheckKeys && !bls.Verify(s.Message.Pubkey, signingRoot(root, d), s.Signature) {
			fail(w, http.StatusBadRequest, fmt.Errorf("wrong signature of %#x", s.Message.Pubkey[:8]))
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range all.Registrations {
		if old, ok := r.registrations[s.Message.Pubkey]; !ok || !s.Message.Timestamp.Before(old.Message.Timestamp) {
			r.registrations[s.Message.Pubkey] = *s
		}
	}
	w.WriteHeader(http.StatusOK)
}

// wanted reads the path of a getHeader. It answers when it refuses.
func wanted(w http.ResponseWriter, req *http.Request) (key offerKey, ok bool) {
	slot, err := strconv.ParseUint(req.PathValue("slot"), 10, 64)
	key.slot = phase0.Slot(slot)
	err = errors.Join(err,
		key.parent.UnmarshalJSON([]byte(strconv.Quote(req.PathValue("parent")))),
		key.pubkey.UnmarshalJSON([]byte(strconv.Quote(req.PathValue("pubkey")))))
	if err != nil {
		fail(w, http.StatusBadRequest, err)
	}
	return key, err == nil
}

func (r *Relay) header(w http.ResponseWriter, req *http.Request, _ []byte) {
	key, ok := wanted(w, req)
	if !ok {
		return
	}
	ssz, ok := r.negotiate(w, req)
	if !ok {
		return
	}
	s, knobs, ok := r.best(key)
	if !ok {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	signed, err := r.bidOf(s, knobs)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	r.send(w, ssz, signed)
}

func (r *Relay) send(w http.ResponseWriter, ssz bool, c codec) {
	contentType, body, err := encode(r.fork, ssz, c)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	answerBytes(w, r.fork, contentType, body)
}

// blinded reads and opens a signed blinded block, and unblinds it. It answers
// when it refuses.
func (r *Relay) blinded(w http.ResponseWriter, req *http.Request, body []byte) (full block, ok bool) {
	ssz, ok := r.body(w, req)
	if !ok {
		return full, false
	}
	if v := req.Header.Get("Eth-Consensus-Version"); v != r.fork.String() && (ssz || v != "") {
		fail(w, http.StatusBadRequest, fmt.Errorf("consensus version %q, want %q", v, r.fork))
		return full, false
	}
	signed := newBlinded(r.fork)
	err := decodePlain(ssz, body, signed)
	if err == nil {
		full, err = r.unblind(signed)
	}
	if err != nil {
		r.log.Debug("Refused a blinded block", "error", err)
		fail(w, http.StatusBadRequest, err)
	}
	return full, err == nil
}

func (r *Relay) unblind(signed codec) (block, error) {
	in, err := readBlock(signed)
	if err != nil {
		return in, err
	}
	payload, err := r.open(in)
	if err != nil {
		return in, err
	}
	full, err := unblind(signed, payload)
	if err != nil {
		return in, err
	}
	return readBlock(full)
}

func (r *Relay) submitV1(w http.ResponseWriter, req *http.Request, body []byte) {
	answerSSZ, ok := r.negotiate(w, req)
	if !ok {
		return
	}
	full, ok := r.blinded(w, req, body)
	if !ok {
		return
	}
	payload, k := full.payload, r.turned()
	switch {
	case k.Withhold:
		fail(w, http.StatusBadRequest, errors.New("could not get payload"))
		return
	case k.WrongPayload:
		payload = another(payload)
	case !k.NoPublish:
		if err := r.publish(req.Context(), full); err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
	}
	r.send(w, answerSSZ, newDelivery(r.fork, payload, r.bundleOf(full.hash)))
}

func (r *Relay) submitV2(w http.ResponseWriter, req *http.Request, body []byte) {
	full, ok := r.blinded(w, req, body)
	if !ok {
		return
	}
	if !r.turned().Withhold {
		if err := r.publish(req.Context(), full); err != nil {
			fail(w, http.StatusBadRequest, err)
			return
		}
	}
	w.WriteHeader(http.StatusAccepted)
}

// submit takes a builder's block. The endpoint is this package's own.
func (r *Relay) submit(w http.ResponseWriter, _ *http.Request, body []byte) {
	var s submission
	err := json.Unmarshal(body, &s)
	if err == nil {
		err = r.take(s)
	}
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}
