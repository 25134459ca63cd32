package slashing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/chain"
	"sidecar/internal/execution"
	"sidecar/slashing/evidence"
)

// The answers of Verify, and the exit codes of sidecar evidence verify.
const (
	Guilty    = "guilty"
	Acquitted = "acquitted"
	Malformed = "malformed"
	TooLate   = "too_late"  // guilty, and no chain can check it any more
	Undecided = "undecided" // the node that was asked did not answer
)

// Who vouches for the block that a guilty verdict rests on.
const (
	ByNobody = "nobody" // guilty provided that the block of that number has that hash
	ByHash   = "trusted_hash"
	ByNode   = "node"
)

// Finding is what evidence comes to. Its JSON is an interface: docs/evidence.md.
type Finding struct {
	Verdict string        `json:"verdict"`
	Excuse  string        `json:"excuse,omitempty"` // the contract's error; of acquitted only
	Reason  string        `json:"reason,omitempty"` // what is malformed, or did not answer
	Fault   evidence.Kind `json:"fault,omitempty"`
	ID      *common.Hash  `json:"fault_id,omitempty"` // of guilty and too_late: the contract's
	Sha256  *common.Hash  `json:"sha256,omitempty"`   // of the file, as it says itself

	Slasher   *common.Address   `json:"slasher,omitempty"`
	OnChain   bool              `json:"rules_on_chain"` // the rules are those of the slasher's contract, and not the file's word
	Validator string            `json:"validator,omitempty"`
	Delegate  string            `json:"delegate,omitempty"`
	Derived   *evidence.Derived `json:"derived,omitempty"`

	BlockNumber uint64       `json:"block_number,omitempty"` // of the promised block's child
	BlockHash   *common.Hash `json:"block_hash,omitempty"`   // it has, or would have to have
	VouchedBy   string       `json:"vouched_by,omitempty"`
	HeadBlock   uint64       `json:"head_block,omitempty"`  // of the node
	BlocksLeft  uint64       `json:"blocks_left,omitempty"` // until the chain cannot check an absence any more
	SlotsLeft   uint64       `json:"slots_left,omitempty"`  // until two promises are taken no more
}

// Node is the execution node that vouches for a block.
type Node interface {
	ChainID(ctx context.Context) (uint64, error)
	CanonicalHeader(ctx context.Context, number uint64) (rlpHeader []byte, hash phase0.Hash32, err error)
	HeadNumber(ctx context.Context) (number, timestamp uint64, err error)
	Call(ctx context.Context, to [20]byte, data []byte) ([]byte, error)
}

// VerifyOptions say whom to trust about the chain; at most one of them is set.
type VerifyOptions struct {
	TrustedHash *common.Hash                             // of the promised block's child
	Dial        func(rules evidence.Rules) (Node, error) // of the chain with these rules
}

// Verify says what an evidence file proves. It needs no chain: without one, guilt
// is conditional on one block's hash. What it cannot say is in the finding, too.
func Verify(ctx context.Context, text []byte, o VerifyOptions) Finding {
	f, err := evidence.Parse(text)
	if err != nil {
		return Finding{Verdict: Malformed, Reason: err.Error()}
	}
	v := Finding{
		Fault: f.Kind, Sha256: &f.Digest, Slasher: &f.Slasher, Derived: f.Derived,
		Validator: f.Delegation.Message.Proposer.String(), Delegate: f.Delegation.Message.Delegate.String(),
	}
	rules, child := f.Rules, f.ChildHash()
	if f.Absence != nil {
		wants := child
		v.BlockNumber, v.BlockHash, v.VouchedBy = f.Absence.ChildNumber, &wants, ByNobody
	}
	switch {
	case o.Dial != nil:
		node, err := o.Dial(f.Rules)
		if err == nil {
			rules, child, err = v.ask(ctx, f, node)
		}
		if err != nil {
			v.Verdict, v.Reason, v.BlocksLeft = Undecided, err.Error(), 0
			return v
		}
	case o.TrustedHash != nil && f.Absence != nil:
		v.VouchedBy, child = ByHash, *o.TrustedHash
	}
	v.judge(f, rules, child)
	return v
}

// judge decides, once it is known by which rules and which hash.
func (v *Finding) judge(f evidence.File, rules evidence.Rules, child common.Hash) {
	guilty, err := evidence.Judge(f, rules, f.Slasher, child)
	var excuse evidence.Excuse
	switch {
	case errors.As(err, &excuse):
		v.Verdict, v.Excuse = Acquitted, string(excuse)
	case err != nil:
		v.Verdict, v.Reason = Malformed, err.Error()
	default:
		v.ID = &guilty.ID
		v.Verdict = Guilty
		if v.HeadBlock > 0 && v.BlocksLeft == 0 && v.SlotsLeft == 0 {
			v.Verdict = TooLate
		}
		return
	}
	v.BlocksLeft, v.SlotsLeft = 0, 0
}

// ask learns from a node what the file is judged by: the rules of the contract it
// names, if there is one, the hash of the child's block, and how much time is left.
func (v *Finding) ask(ctx context.Context, f evidence.File, n Node) (rules evidence.Rules, child common.Hash, err error) {
	id, err := n.ChainID(ctx)
	if err != nil {
		return rules, child, err
	}
	book := rulebook{spec: specOf(f.Rules), node: n}
	rules, v.OnChain, err = book.of(ctx, f.Slasher, f.Rules.SigningID)
	if err != nil {
		return rules, child, err
	}
	if !v.OnChain {
		rules = f.Rules
	}
	rules.ChainID = id // a file of another chain promises nothing on this one
	head, timestamp, err := n.HeadNumber(ctx)
	if err != nil {
		return rules, child, err
	}
	v.HeadBlock = head
	if f.Absence == nil {
		v.SlotsLeft = slotsLeft(f, rules, timestamp)
		return rules, common.Hash{}, nil
	}
	v.VouchedBy = ByNode
	if last := v.BlockNumber + evidence.Window; head < last { // a transaction comes into a later block than the head
		v.BlocksLeft = last - head
	}
	_, hash, err := n.CanonicalHeader(ctx, v.BlockNumber)
	switch {
	case errors.Is(err, execution.ErrUnknownBlock) && head < v.BlockNumber:
		return rules, child, ErrUndecided.With("the node is at block %d", head)
	case errors.Is(err, execution.ErrUnknownBlock):
		return rules, common.Hash{}, nil // no hash is that: the child is unknown
	case err != nil:
		return rules, child, err
	}
	return rules, common.Hash(hash), nil
}

// slotsLeft is how many slots from a time on still take two promises.
func slotsLeft(f evidence.File, rules evidence.Rules, timestamp uint64) uint64 {
	if f.Derived == nil || timestamp < rules.GenesisTime || rules.SlotMillis == 0 {
		return 1
	}
	now := (timestamp - rules.GenesisTime) * 1000 / rules.SlotMillis
	if last := f.Derived.DeadlineSlot; now <= last {
		return last - now + 1
	}
	return 0
}

// specOf is as much of a chain as rules say.
func specOf(r evidence.Rules) chain.Spec {
	return chain.Spec{
		ChainID: r.ChainID, GenesisTime: time.Unix(int64(min(r.GenesisTime, 1<<40)), 0), // #nosec G115 -- bounded
		SlotDuration:  time.Duration(max(min(r.SlotMillis, 1<<32), 1)) * time.Millisecond, // #nosec G115 -- bounded
		SlotsPerEpoch: 32,
	}
}

// Dial reads one execution node of the chain with these rules.
func Dial(url string) func(evidence.Rules) (Node, error) {
	return func(r evidence.Rules) (Node, error) {
		spec := specOf(r)
		return execution.New(execution.Config{URL: url, Spec: spec, Clock: chain.NewClock(spec, nil), Timeout: 10 * time.Second})
	}
}

// String is the finding for people.
func (v *Finding) String() string {
	who := fmt.Sprintf("validator %s, slasher %s", v.Validator, v.Slasher)
	if d := v.Derived; d != nil {
		who += fmt.Sprintf("\n  slot %d, sender %s, nonce %d, transactions %v", d.Slot, d.Sender, d.Nonce, d.TxHashes)
	}
	switch v.Verdict {
	case Malformed:
		return "MALFORMED: " + v.Reason + "\n"
	case Undecided:
		return "UNDECIDED: the node does not answer: " + v.Reason + "\n"
	case Acquitted:
		return fmt.Sprintf("ACQUITTED: %s\n  %s\n", v.Excuse, who)
	case TooLate:
		return fmt.Sprintf("TOO LATE: guilty (%s), and the chain cannot check it any more\n  %s\n  fault %s\n", v.Fault, who, v.ID)
	}
	text := fmt.Sprintf("GUILTY (%s)%s\n  %s\n  fault %s\n", v.Fault, v.condition(), who, v.ID)
	if !v.OnChain {
		text += "  provided the contract has the file's rules: no contract was asked\n"
	}
	switch {
	case v.BlocksLeft > 0:
		text += fmt.Sprintf("  %d blocks left to submit it\n", v.BlocksLeft)
	case v.SlotsLeft > 0:
		text += fmt.Sprintf("  %d slots left to submit it\n", v.SlotsLeft)
	case v.Derived != nil && v.Derived.DeadlineBlock > 0:
		text += fmt.Sprintf("  until block %d\n", v.Derived.DeadlineBlock)
	case v.Derived != nil:
		text += fmt.Sprintf("  until slot %d\n", v.Derived.DeadlineSlot)
	}
	return text
}

func (v *Finding) condition() string {
	switch v.VouchedBy {
	case ByNobody:
		return fmt.Sprintf(", provided block %d has hash %s", v.BlockNumber, v.BlockHash)
	case ByHash:
		return fmt.Sprintf(": block %d has the trusted hash", v.BlockNumber)
	case ByNode:
		return fmt.Sprintf(": block %d has hash %s, says the node", v.BlockNumber, v.BlockHash)
	}
	return ""
}
