package slashing

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"sidecar/commitments"
	"sidecar/modules"
	"sidecar/slashing/evidence"
)

// The conditions of a near miss: what would have made a promise broken, or
// excused, had it gone a little further.
const (
	MissFeeCap      = "fee_cap_close"       // the base fee came within a tenth of the fee cap
	MissBalance     = "balance_close"       // the sender could pay, with less than a tenth to spare
	MissExcused     = "excused"             // only an excuse keeps it from being broken
	MissBroken      = "broken"              // nothing does
	MissUnknown     = "unknown"             // nobody can say: the proofs came too late
	MissReorg       = "reorganised"         // the chain left the block that kept it, and no other is judged yet
	MissNoHeader    = "no_safe_block"       // no bid that proves the promises: the node built its own block
	MissOtherBlock  = "another_block"       // the slot's block is none that was served: kept by luck, or by the local builder
	MissAckLate     = "ack_late"            // the last relay took the constraints less than a second before the slot
	MissNoAck       = "ack_missing"         // no relay took them
	MissRefused     = "constraints_refused" // a relay did not
	MissUnproven    = "bids_refused"        // bids were refused: unproven, or otherwise not to be served
	MissNonceSpent  = "nonce_spent"         // ahead: the sender's nonce is used already
	MissSenderCode  = "sender_has_code"     // ahead: the sender has code by now
	MissNotKeepable = "not_keepable"        // ahead: the base fee may exceed the fee cap by the slot, or the balance does not suffice
)

// closeShare is what "within a tenth" is, in percent.
const closeShare = 90

// NearMiss is one condition of one promise, or of a whole slot (no request hash).
type NearMiss struct {
	Slot        phase0.Slot    `json:"slot"`
	Proposer    string         `json:"proposer"`
	Ahead       bool           `json:"ahead"` // the slot is still to come
	RequestHash *phase0.Hash32 `json:"request_hash,omitempty"`
	Condition   string         `json:"condition"`
	Detail      string         `json:"detail,omitempty"`
	Outcome     string         `json:"outcome,omitempty"` // of the latest verdict
	Stage       string         `json:"stage,omitempty"`
}

// Past looks at a page whose slot is over: its verdicts, its notes, what was
// captured of its block (nil for nothing), and how many bids were refused.
func Past(p *commitments.Page, start time.Time, chainID uint64, c *Capture, refused int) (all []NearMiss) {
	if p.Empty() {
		return nil
	}
	add := func(condition, detail string) {
		all = append(all, NearMiss{Slot: p.Slot, Proposer: p.Proposer.String(), Condition: condition, Detail: detail})
	}
	served := map[string]bool{}
	accepted, last := 0, int64(0)
	for _, n := range p.Notes {
		at, _ := strconv.ParseInt(n.What["at_ms"], 10, 64) // 0: an older ledger
		switch {
		case n.Kind == commitments.NoteHeaderServed:
			served[n.What["block_hash"]] = true
		case n.What["outcome"] == "no_safe_block":
			add(MissNoHeader, n.What["reason"])
		case n.What["message"] == "constraints" && n.What["outcome"] == "accepted":
			accepted++
			last = max(last, at)
		case n.What["message"] == "constraints":
			add(MissRefused, n.What["relay"]+": "+n.What["reason"])
		}
	}
	if accepted == 0 {
		add(MissNoAck, "")
	} else if spare := start.UnixMilli() - last; last > 0 && spare < 1000 {
		add(MissAckLate, fmt.Sprintf("%d ms before the slot", spare))
	}
	if refused > 0 {
		add(MissUnproven, fmt.Sprintf("%d bids", refused))
	}
	if block := judgedBlock(p); block != (phase0.Hash32{}) && !served[block.String()] {
		add(MissOtherBlock, block.String())
	}
	return append(all, pastPromises(p, chainID, c)...)
}

// pastPromises are the conditions of each promise.
func pastPromises(p *commitments.Page, chainID uint64, c *Capture) (all []NearMiss) {
	for i := range p.Promises {
		hash := p.Promises[i].Commitment.RequestHash
		v, judged := latest(*p, hash)
		one := NearMiss{Slot: p.Slot, Proposer: p.Proposer.String(), RequestHash: &hash}
		if judged {
			one.Outcome, one.Stage = v.Outcome.String(), v.Stage.String()
		}
		add := func(condition, detail string) {
			one.Condition, one.Detail = condition, detail
			all = append(all, one)
		}
		switch {
		case !judged:
		case v.Outcome == commitments.Broken:
			add(MissBroken, v.Reason)
		case v.Outcome == commitments.Excused:
			add(MissExcused, v.Reason)
		case v.Outcome == commitments.Unknown && v.Reason == reasonReorg:
			add(MissReorg, "")
		case v.Outcome == commitments.Unknown:
			add(MissUnknown, v.Reason)
		}
		in, ok := readInclusion(&p.Promises[i].Commitment, chainID)
		if !ok || in.excuse != nil || c == nil {
			continue
		}
		var target types.Header
		if rlp.DecodeBytes(c.Headers.Target, &target) == nil && target.BaseFee != nil && near(target.BaseFee, in.MaxFee) {
			add(MissFeeCap, fmt.Sprintf("base fee %s wei, fee cap %s", target.BaseFee, in.MaxFee))
		}
		if a, ok := c.account(in.Sender); ok {
			if have, ok := balanceOf(a.Proofs.Pre); ok && near(costOf(in.Promised), have) {
				add(MissBalance, fmt.Sprintf("%s wei needed, %s there", costOf(in.Promised), have))
			}
		}
	}
	return all
}

// Ahead looks at a page whose slot is still to come, by the head and the senders'
// accounts there. It names no promise: what is promised is nobody's business yet.
func Ahead(p *commitments.Page, chainID uint64, head modules.Head, account func(in evidence.Promised) (modules.Account, bool)) (all []NearMiss) {
	count := map[string]int{}
	for i := range p.Promises {
		in, ok := readInclusion(&p.Promises[i].Commitment, chainID)
		if !ok || in.excuse != nil {
			continue
		}
		worst := worstBaseFee(head, p.Slot, in.MaxFee)
		if worst.Cmp(in.MaxFee) > 0 {
			count[MissNotKeepable]++
		} else if near(worst, in.MaxFee) {
			count[MissFeeCap]++
		}
		a, known := account(in.Promised)
		if !known {
			continue
		}
		have := a.Balance.ToBig()
		switch need := costOf(in.Promised); {
		case a.Nonce > in.Nonce:
			count[MissNonceSpent]++
		case a.HasCode:
			count[MissSenderCode]++
		case have.Cmp(need) < 0:
			count[MissNotKeepable]++
		case near(need, have):
			count[MissBalance]++
		}
	}
	for condition, n := range count {
		all = append(all, NearMiss{Slot: p.Slot, Proposer: p.Proposer.String(), Ahead: true, Condition: condition, Detail: fmt.Sprintf("%d of %d promises", n, len(p.Promises))})
	}
	slices.SortFunc(all, func(a, b NearMiss) int { return bytes.Compare([]byte(a.Condition), []byte(b.Condition)) })
	return all
}

// worstBaseFee is the highest base fee a slot may have after the head: an eighth
// more each block. It stops above enough. [EIP-1559]
func worstBaseFee(head modules.Head, slot phase0.Slot, enough *big.Int) *big.Int {
	b := head.BaseFee.ToBig()
	for s := head.Slot; s < slot && b.Cmp(enough) <= 0; s++ {
		b.Add(b, new(big.Int).Rsh(b, 3)).Add(b, big.NewInt(1))
	}
	return b
}

// near says whether used is at least nine tenths of the limit.
func near(used, limit *big.Int) bool {
	u := new(big.Int).Mul(used, big.NewInt(100))
	return u.Cmp(new(big.Int).Mul(limit, big.NewInt(closeShare))) >= 0
}

// costOf is the most a promised transaction may take from its sender, in wei.
func costOf(p evidence.Promised) *big.Int {
	cost := new(big.Int).SetUint64(p.Gas)
	return cost.Mul(cost, p.MaxFee).Add(cost, p.Value)
}

// balanceOf reads the account that a captured proof ends in; it was verified
// when it was captured.
func balanceOf(proof []hexutil.Bytes) (*big.Int, bool) {
	if len(proof) == 0 {
		return nil, false
	}
	var leaf [][]byte
	var a types.StateAccount
	if rlp.DecodeBytes(proof[len(proof)-1], &leaf) != nil || len(leaf) != 2 || rlp.DecodeBytes(leaf[1], &a) != nil || a.Balance == nil {
		return nil, false
	}
	return a.Balance.ToBig(), true
}

// Captured is what was captured of the block that a page was judged by; nil for
// nothing.
func (s *Store) Captured(p *commitments.Page) *Capture {
	if block := judgedBlock(p); block != (phase0.Hash32{}) {
		return s.get(p.Slot, block)
	}
	return nil
}

// judgedBlock is the block that a page was last judged by: a verdict stays on the
// page when the chain leaves its block. Zero for none.
func judgedBlock(p *commitments.Page) (block phase0.Hash32) {
	if n := len(p.Verdicts); n > 0 {
		block = p.Verdicts[n-1].Block
	}
	return block
}
