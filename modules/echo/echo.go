// Package echo is the smallest module: it promises that the block's extra data
// holds the words of the request. docs/modules.md walks through it, line by line;
// what is exported is what package modules asks for.
package echo

import (
	"bytes"
	"context"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/modules"
)

const Type uint64 = 0xec40 // of commitments and constraints; the payload is the words
var (
	ErrWords  = fault.Define("echo_words", fault.Invalid, "A request has 4 to 32 bytes of words.")
	ErrSilent = fault.Define("echo_silent", fault.Rejected, "A bid's extra data does not hold the promised words.")
)

type Module struct{ host modules.Host }                                // without state: the page is the state
func New(host modules.Host, _ func(any) error) (modules.Module, error) { return Module{host}, nil }

func (m Module) Info() modules.Info {
	return modules.Info{ID: m.host.ID, SigningID: m.host.SigningID, CommitmentTypes: []uint64{Type}, ConstraintTypes: []uint64{Type}}
}
func (m Module) Slot(context.Context, commitments.Request) (phase0.Slot, error) { return 0, nil } // any of ours
func (m Module) Commit(_ context.Context, _ commitments.View, r commitments.Request) (d commitments.Draft, err error) {
	if len(r.Payload) < 4 || len(r.Payload) > 32 {
		return d, ErrWords.With("%d bytes", len(r.Payload))
	}
	d.Commitment = commitments.Commitment{Type: Type, Payload: r.Payload, RequestHash: r.Hash(), Slasher: r.Slasher}
	d.Constraints = []commitments.Constraint{{Type: Type, Payload: r.Payload}}
	d.Claims = []string{"extra_data"} // a block has room for one promise
	return d, nil
}

func (m Module) Verify(_ context.Context, page commitments.Page, c commitments.Candidate) error {
	for _, p := range page.Promises {
		if c.Header == nil || !bytes.Contains(c.Header.ExtraData, p.Commitment.Payload) {
			return ErrSilent
		}
	}
	return nil
}

func (m Module) Audit(_ context.Context, page commitments.Page, b commitments.Block) (all []commitments.Verdict, _ error) {
	for _, p := range page.Promises {
		v := commitments.Verdict{RequestHash: p.Commitment.RequestHash, Outcome: commitments.Kept}
		if b.Missed {
			v.Outcome, v.Reason = commitments.Excused, "slot_missed"
		} else if !bytes.Contains(b.HeaderRLP, p.Commitment.Payload) { // RLP holds extra data as it is
			v.Outcome, v.Reason = commitments.Broken, "silent"
		}
		all = append(all, v)
	}
	return all, nil
}
