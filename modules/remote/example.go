package remote

import (
	"encoding/json"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Example is something for a module to promise, with blocks that keep and break
// it: what a test of a module at a URL needs. In JSON its parts are as on the
// wire: {slot, view, request, keep: {candidate, block}, break: {candidate, block}}.
type Example struct {
	Slot        phase0.Slot         // what Request names; 0 if it names none
	View        commitments.View    // a page that takes Request
	Request     commitments.Request // what the module promises on View
	Keep, Break *Blocks             // nil: not given
}

// Blocks are a bid and the canonical block made of it.
type Blocks struct {
	Candidate commitments.Candidate
	Block     commitments.Block
}

type exampleJSON struct {
	Slot    uint64              `json:"slot"`
	View    viewJSON            `json:"view"`
	Request commitments.Request `json:"request"`
	Keep    *blocksJSON         `json:"keep,omitempty"`
	Break   *blocksJSON         `json:"break,omitempty"`
}

type blocksJSON struct {
	Candidate candidateJSON `json:"candidate"`
	Block     blockJSON     `json:"block"`
}

// MarshalJSON writes an example for a file.
func (e Example) MarshalJSON() ([]byte, error) {
	types := []uint64{e.Request.Type}
	out := exampleJSON{Slot: uint64(e.Slot), View: viewOf(e.View, types), Request: e.Request}
	for _, b := range []struct {
		from *Blocks
		to   **blocksJSON
	}{{e.Keep, &out.Keep}, {e.Break, &out.Break}} {
		if b.from == nil {
			continue
		}
		ask, err := verifyAskOf(commitments.Page{}, b.from.Candidate)
		if err != nil {
			return nil, err
		}
		*b.to = &blocksJSON{ask.Candidate, blockOf(b.from.Block)}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes; it is strict. Fault: ErrAnswer.
func (e *Example) UnmarshalJSON(text []byte) error {
	var in exampleJSON
	if err := strict(text, &in); err != nil {
		return err
	}
	out := Example{Slot: phase0.Slot(in.Slot), Request: in.Request}
	var err error
	if out.View, err = in.View.view(); err != nil {
		return fmt.Errorf("view: %w", err)
	}
	for _, b := range []struct {
		name string
		from *blocksJSON
		to   **Blocks
	}{{"keep", in.Keep, &out.Keep}, {"break", in.Break, &out.Break}} {
		if b.from == nil {
			continue
		}
		blocks := new(Blocks)
		if blocks.Candidate, err = b.from.Candidate.candidate(); err != nil {
			return fmt.Errorf("%s: candidate: %w", b.name, err)
		}
		if blocks.Block, err = b.from.Block.block(); err != nil {
			return fmt.Errorf("%s: block: %w", b.name, err)
		}
		*b.to = blocks
	}
	*e = out
	return nil
}
