package evidence

import "github.com/ethereum/go-ethereum/common"

// Window is how far back a chain can check a fault: in blocks behind the child
// of the promised one for F1 [EIP-2935], in slots for F2.
const Window = 8191

// Derived is what follows from the rest of a file, for whoever reads it. Encode
// writes it, Parse computes it again and refuses another, and a judge never
// looks at it.
type Derived struct {
	Slot          uint64         `json:"slot"`
	ProposerIndex uint64         `json:"proposer_index"`
	Sender        common.Address `json:"sender"`
	Nonce         uint64         `json:"nonce"`
	TxHashes      []common.Hash  `json:"tx_hashes"`                // of each promise
	BlockNumber   uint64         `json:"block_number,omitempty"`   // of the promised block; of absent only
	DeadlineBlock uint64         `json:"deadline_block,omitempty"` // the last that can check an absence
	DeadlineSlot  uint64         `json:"deadline_slot,omitempty"`  // the last that takes two promises
}

// Derive computes what follows from f; nil if a promise says nothing at all.
func (f File) Derive() *Derived {
	var d *Derived
	for i := range f.Promises {
		p, err := ReadPayload(f.Promises[i].Commitment.Payload, f.Rules.ChainID)
		if err != nil {
			return nil
		}
		if d == nil {
			d = &Derived{Slot: p.Slot, ProposerIndex: p.ProposerIndex, Sender: p.Sender, Nonce: p.Nonce}
		}
		d.TxHashes = append(d.TxHashes, p.TxHash)
	}
	switch {
	case d == nil:
	case f.Absence == nil:
		d.DeadlineSlot = d.Slot + Window
	case f.Absence.ChildNumber > 0:
		d.BlockNumber, d.DeadlineBlock = f.Absence.ChildNumber-1, f.Absence.ChildNumber+Window
	}
	return d
}
