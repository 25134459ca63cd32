package ledger

import (
	"bytes"
	"maps"
	"slices"
	"unicode/utf8"

	"sidecar/commitments"
)

// asStored is the entry as a replay of its record would read it, with nothing in
// common with the caller's. Commitments, of which there are many, are copied
// field by field instead of being decoded.
func asStored(e Entry, body []byte) (Entry, error) {
	if e.Kind != KindCommitment || !e.plain() || e.Delegation != nil || e.Constraints != nil || e.Verdict != nil || e.Request != nil || e.Proxy != nil || e.Import != nil {
		_, _, stored, err := decodeEntry(body)
		return stored, err
	}
	d := e.Draft
	stored := Entry{
		Kind: e.Kind, Module: e.Module, Key: e.Key, Delegate: e.Delegate, Root: e.Root, Resources: copied(e.Resources), Nonce: e.Nonce, SigningID: e.SigningID,
		Draft: &commitments.Draft{
			Commitment: commitments.Commitment{
				Type: d.Commitment.Type, Payload: copiedBytes(d.Commitment.Payload), RequestHash: d.Commitment.RequestHash, Slasher: d.Commitment.Slasher,
			},
			Cost: d.Cost, Touches: copied(d.Touches), Claims: copied(d.Claims),
		},
	}
	for _, c := range d.Constraints {
		stored.Draft.Constraints = append(stored.Draft.Constraints, commitments.Constraint{Type: c.Type, Payload: copiedBytes(c.Payload)})
	}
	if len(e.Note) > 0 {
		stored.Note = maps.Clone(e.Note)
	}
	return stored, nil
}

// copied copies names; none are nil, as JSON reads them.
func copied(in []string) []string {
	if len(in) == 0 {
		return nil
	}
	return slices.Clone(in)
}

func copiedBytes(in []byte) []byte {
	if len(in) == 0 {
		return nil
	}
	return bytes.Clone(in)
}

// plain says whether JSON keeps every text of a commitment as it is: what is not
// UTF-8 it replaces.
func (e *Entry) plain() bool {
	ok := utf8.ValidString(e.Module)
	for _, list := range [][]string{e.Resources, e.Draft.Touches, e.Draft.Claims} {
		for _, s := range list {
			ok = ok && utf8.ValidString(s)
		}
	}
	for k, v := range e.Note {
		ok = ok && utf8.ValidString(k) && utf8.ValidString(v)
	}
	return ok
}
