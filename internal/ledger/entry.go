package ledger

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Limits of one entry.
const (
	maxBody      = 16 << 20 // bytes of one encoded record: the constraints of a page with 4 MiB of transactions and 21 blobs, in hex
	maxResource  = 512      // bytes of one name
	maxResources = 64       // names of one entry
	maxSignature = 1024     // bytes
)

// The types below are the disk format. They repeat the nouns of package
// commitments on purpose: those may grow, this may only be added to.

// hexBytes is 0x-prefixed hex in JSON.
type hexBytes []byte

// MarshalText writes 0x-prefixed lower-case hex.
func (h hexBytes) MarshalText() ([]byte, error) {
	return hex.AppendEncode([]byte("0x"), h), nil
}

// UnmarshalText reads 0x-prefixed hex.
func (h *hexBytes) UnmarshalText(text []byte) error {
	digits, ok := bytes.CutPrefix(text, []byte("0x"))
	if !ok {
		return errors.New("hex without 0x")
	}
	b, err := hex.AppendDecode(nil, digits)
	*h = b
	return err
}

type entryBody struct {
	Seq         uint64            `json:"seq"`
	Slot        uint64            `json:"slot"`
	Proposer    hexBytes          `json:"proposer"`
	Kind        Kind              `json:"kind"`
	Module      string            `json:"module,omitempty"`
	Key         hexBytes          `json:"key,omitempty"`
	Delegate    hexBytes          `json:"delegate,omitempty"`
	Root        hexBytes          `json:"root,omitempty"`
	Resources   []string          `json:"resources,omitempty"`
	Nonce       uint64            `json:"nonce,omitempty"`
	SigningID   hexBytes          `json:"signing_id,omitempty"`
	Draft       *draftBody        `json:"draft,omitempty"`
	Delegation  *delegationBody   `json:"delegation,omitempty"`
	Constraints *constraintsBody  `json:"constraints,omitempty"`
	Verdict     *verdictBody      `json:"verdict,omitempty"`
	Request     *requestBody      `json:"request,omitempty"`
	Proxy       *proxyBody        `json:"proxy,omitempty"`
	Import      *importBody       `json:"import,omitempty"`
	Note        map[string]string `json:"note,omitempty"`
}

type draftBody struct {
	Type        uint64           `json:"type"`
	Payload     hexBytes         `json:"payload"`
	RequestHash hexBytes         `json:"request_hash"`
	Slasher     hexBytes         `json:"slasher"`
	Constraints []constraintBody `json:"constraints,omitempty"`
	Gas         uint64           `json:"gas,omitempty"`
	Blobs       uint64           `json:"blobs,omitempty"`
	Bytes       uint64           `json:"bytes,omitempty"`
	Touches     []string         `json:"touches,omitempty"`
	Claims      []string         `json:"claims,omitempty"`
}

type constraintBody struct {
	Type    uint64   `json:"type"`
	Payload hexBytes `json:"payload"`
}

type delegationBody struct {
	Proposer  hexBytes `json:"proposer"`
	Delegate  hexBytes `json:"delegate"`
	Committer hexBytes `json:"committer"`
	Slot      uint64   `json:"slot"`
	Metadata  hexBytes `json:"metadata,omitempty"`
}

type constraintsBody struct {
	Proposer    hexBytes         `json:"proposer"`
	Delegate    hexBytes         `json:"delegate"`
	Slot        uint64           `json:"slot"`
	Constraints []constraintBody `json:"constraints,omitempty"`
	Receivers   []hexBytes       `json:"receivers,omitempty"`
}

type verdictBody struct {
	RequestHash hexBytes `json:"request_hash"`
	Outcome     uint8    `json:"outcome"`
	Reason      string   `json:"reason,omitempty"`
	Evidence    hexBytes `json:"evidence,omitempty"`
	Stage       uint8    `json:"stage,omitempty"`
	Block       hexBytes `json:"block,omitempty"`
}

type requestBody struct {
	ObjectRoot hexBytes `json:"object_root"`
	Envelope   uint8    `json:"envelope,omitempty"`
	Type       string   `json:"type,omitempty"`
	Object     hexBytes `json:"object,omitempty"`
	Claims     []string `json:"claims,omitempty"`
}

type proxyBody struct {
	Delegator hexBytes `json:"delegator"`
	Proxy     hexBytes `json:"proxy"`
}

type importBody struct {
	Kind  uint8  `json:"kind,omitempty"`
	Least uint64 `json:"least,omitempty"`
}

// check refuses entries that could not be shown on a page.
func (e *Entry) check() error {
	var missing bool
	switch e.Kind {
	case KindDelegation:
		missing = e.Delegation == nil
	case KindCommitment:
		missing = e.Draft == nil
	case KindConstraints:
		missing = e.Constraints == nil
	case KindVerdict:
		missing = e.Verdict == nil
	case KindRequest:
		missing = e.Request == nil
	case KindProxy:
		missing = e.Proxy == nil || e.Proxy.Proxy.Bytes() == nil
	case KindRevocation:
		missing = len(e.Note) == 0
	case KindImport:
		return e.checkImport()
	case KindClose, KindHeaderServed, KindReceipt:
	default:
		return ErrEntry.With("kind %d", e.Kind)
	}
	if missing {
		return ErrEntry.With("%s without its object", e.Kind)
	}
	if v := e.Verdict; v != nil && (v.Outcome > commitments.Excused || v.Stage > commitments.Justified) {
		return ErrEntry.With("outcome %d, stage %d", v.Outcome, v.Stage)
	}
	if e.Kind.Signed() != (e.Root != phase0.Root{}) {
		return ErrEntry.With("%s: a root belongs to signed kinds, and to them only", e.Kind)
	}
	if e.Kind.Signed() && e.Key.Bytes() == nil {
		return ErrEntry.With("%s: nobody signs it, or two", e.Kind)
	}
	if !e.Delegate.IsZero() && (e.Kind != KindCommitment || !e.Key.IsECDSA()) {
		return ErrEntry.With("%s: a delegate signs beside a committer only", e.Kind)
	}
	return e.checkResources()
}

func (e *Entry) checkResources() error {
	if len(e.Resources) > maxResources {
		return ErrEntry.With("%d resources", len(e.Resources))
	}
	for i, name := range e.Resources {
		if name == "" || len(name) > maxResource || slices.Contains(e.Resources[:i], name) {
			return ErrEntry.With("resource of %d bytes, or twice", len(name))
		}
	}
	return nil
}

func encodeEntry(seq uint64, id commitments.PageID, e Entry) ([]byte, error) {
	if e.alone() {
		return encodeDraft(seq, id, &e)
	}
	return encodeBody(bodyOf(seq, id, e))
}

func bodyOf(seq uint64, id commitments.PageID, e Entry) entryBody {
	b := entryBody{
		Seq: seq, Slot: uint64(id.Slot), Proposer: id.Proposer[:],
		Kind: e.Kind, Module: e.Module, Resources: e.Resources, Nonce: e.Nonce, Note: e.Note,
		Key: e.Key.Bytes(), Delegate: unlessZero(e.Delegate[:]), Root: unlessZero(e.Root[:]), SigningID: unlessZero(e.SigningID[:]),
	}
	if d := e.Draft; d != nil {
		c := &d.Commitment
		b.Draft = &draftBody{
			Type: c.Type, Payload: c.Payload, RequestHash: c.RequestHash[:], Slasher: c.Slasher[:],
			Constraints: fromConstraints(d.Constraints),
			Gas:         d.Cost.Gas, Blobs: d.Cost.Blobs, Bytes: d.Cost.Bytes, Touches: d.Touches, Claims: d.Claims,
		}
	}
	if d := e.Delegation; d != nil {
		b.Delegation = &delegationBody{d.Proposer[:], d.Delegate[:], d.Committer[:], uint64(d.Slot), d.Metadata}
	}
	if c := e.Constraints; c != nil {
		b.Constraints = &constraintsBody{c.Proposer[:], c.Delegate[:], uint64(c.Slot), fromConstraints(c.Constraints), nil}
		for i := range c.Receivers {
			b.Constraints.Receivers = append(b.Constraints.Receivers, c.Receivers[i][:])
		}
	}
	if v := e.Verdict; v != nil {
		b.Verdict = &verdictBody{v.RequestHash[:], uint8(v.Outcome), v.Reason, v.Evidence, uint8(v.Stage), unlessZero(v.Block[:])}
	}
	if r := e.Request; r != nil {
		b.Request = &requestBody{r.ObjectRoot[:], uint8(r.Envelope), r.Type, r.Object, r.Claims}
	}
	if p := e.Proxy; p != nil {
		b.Proxy = &proxyBody{p.Delegator[:], p.Proxy.Bytes()}
	}
	if i := e.Import; i != nil {
		b.Import = &importBody{uint8(i.Kind), uint64(i.Least)}
	}
	return b
}

func decodeEntry(body []byte) (seq uint64, id commitments.PageID, e Entry, err error) {
	var b entryBody
	if err := decodeBody(body, &b); err != nil {
		return 0, id, e, err
	}
	var f fixed
	id.Slot = phase0.Slot(b.Slot)
	f.must(id.Proposer[:], b.Proposer)
	e = Entry{Kind: b.Kind, Module: b.Module, Resources: b.Resources, Nonce: b.Nonce, Note: b.Note, Key: f.key(b.Key)}
	f.may(e.Delegate[:], b.Delegate)
	f.may(e.Root[:], b.Root)
	f.may(e.SigningID[:], b.SigningID)
	if d := b.Draft; d != nil {
		e.Draft = &commitments.Draft{
			Commitment:  commitments.Commitment{Type: d.Type, Payload: d.Payload},
			Constraints: toConstraints(d.Constraints),
			Cost:        commitments.Cost{Gas: d.Gas, Blobs: d.Blobs, Bytes: d.Bytes},
			Touches:     d.Touches,
			Claims:      d.Claims,
		}
		f.must(e.Draft.Commitment.RequestHash[:], d.RequestHash)
		f.must(e.Draft.Commitment.Slasher[:], d.Slasher)
	}
	if d := b.Delegation; d != nil {
		e.Delegation = &commitments.Delegation{Slot: phase0.Slot(d.Slot), Metadata: d.Metadata}
		f.must(e.Delegation.Proposer[:], d.Proposer)
		f.must(e.Delegation.Delegate[:], d.Delegate)
		f.must(e.Delegation.Committer[:], d.Committer)
	}
	if c := b.Constraints; c != nil {
		e.Constraints = &commitments.ConstraintsMessage{Slot: phase0.Slot(c.Slot), Constraints: toConstraints(c.Constraints)}
		f.must(e.Constraints.Proposer[:], c.Proposer)
		f.must(e.Constraints.Delegate[:], c.Delegate)
		for _, r := range c.Receivers {
			var key phase0.BLSPubKey
			f.must(key[:], r)
			e.Constraints.Receivers = append(e.Constraints.Receivers, key)
		}
	}
	if v := b.Verdict; v != nil {
		e.Verdict = &commitments.Verdict{Outcome: commitments.Outcome(v.Outcome), Reason: v.Reason, Evidence: v.Evidence, Stage: commitments.Stage(v.Stage)}
		f.must(e.Verdict.RequestHash[:], v.RequestHash)
		f.may(e.Verdict.Block[:], v.Block)
	}
	if r := b.Request; r != nil {
		e.Request = &commitments.ModuleRequest{Envelope: commitments.Envelope(r.Envelope), Type: r.Type, Object: r.Object, Claims: r.Claims}
		f.must(e.Request.ObjectRoot[:], r.ObjectRoot)
	}
	if p := b.Proxy; p != nil {
		e.Proxy = &commitments.ProxyDelegation{Proxy: f.key(p.Proxy)}
		f.must(e.Proxy.Delegator[:], p.Delegator)
	}
	if i := b.Import; i != nil {
		e.Import = &Imported{Kind(i.Kind), phase0.Slot(i.Least)}
	}
	if f.err != nil {
		return 0, id, e, f.err
	}
	return b.Seq, id, e, e.check()
}

// encodeBody is deterministic: fields in order, maps sorted by key.
func encodeBody(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, ErrEntry.Wrap(err)
	}
	return bounded(b)
}

func bounded(b []byte) ([]byte, error) {
	if len(b) > maxBody {
		return nil, ErrEntry.With("record of %d bytes", len(b))
	}
	return b, nil
}

func decodeBody(body []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("record body: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("record body: trailing bytes")
	}
	return nil
}

// fixed copies fields of known length and keeps the first error.
type fixed struct{ err error }

func (f *fixed) must(dst, src []byte) {
	if len(src) != len(dst) && f.err == nil {
		f.err = fmt.Errorf("field of %d bytes, want %d", len(src), len(dst))
	}
	copy(dst, src)
}

func (f *fixed) may(dst, src []byte) {
	if len(src) > 0 {
		f.must(dst, src)
	}
}

func (f *fixed) key(src []byte) commitments.Key {
	k, err := commitments.ParseKey(src)
	if f.err == nil {
		f.err = err
	}
	return k
}

func unlessZero(b []byte) hexBytes {
	for _, x := range b {
		if x != 0 {
			return b
		}
	}
	return nil
}

func fromConstraints(in []commitments.Constraint) (out []constraintBody) {
	for _, c := range in {
		out = append(out, constraintBody{c.Type, c.Payload})
	}
	return out
}

func toConstraints(in []constraintBody) (out []commitments.Constraint) {
	for _, c := range in {
		out = append(out, commitments.Constraint{Type: c.Type, Payload: c.Payload})
	}
	return out
}
