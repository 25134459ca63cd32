package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/commitments"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// story tells what happens on the chain, act by act.
type story struct {
	net     *simnet.Net
	sidecar *devnet.Sidecar
	dir     string // for files
	// request makes of a transaction what the gateway is asked.
	request func(phase0.Slot, *types.Transaction) (commitments.Request, error)

	standIn bool // no real core
	stake   *devnet.Stake
}

func (t *story) say(who, format string, args ...any) {
	into := t.net.Clock.Into(0)
	fmt.Printf("%7.2fs  %-9s %s\n", max(0, into.Seconds()), who, fmt.Sprintf(format, args...))
}

// propose waits for the first block that went through the sidecar.
func (t *story) propose(ctx context.Context) error {
	fmt.Println("\n1. A block through the sidecar")
	o, err := t.net.WaitOutcome(ctx, func(o simnet.Outcome) bool { return o.Source == simnet.FromBuilder })
	if err != nil {
		return err
	}
	t.say("proposer", "slot %d: header in %v from relay %s, %s", o.Slot, o.HeaderTook.Round(100*time.Microsecond), o.Relay, eth(o.Value.ToBig()))
	t.say("proposer", "slot %d: signed blinded block answered %d in %v; block %.18s… with %d transactions is canonical", o.Slot, o.BlockStatus, o.BlockTook.Round(100*time.Microsecond), o.BlockHash.String(), o.Txs)
	return nil
}

// ask lets the searcher ask for a place in the slot after next, and checks the answer.
func (t *story) ask(ctx context.Context) (commitments.Request, *types.Transaction, phase0.Slot, error) {
	now := t.net.Clock.Slot()
	if t.net.Clock.Into(now) > t.net.Spec.SlotDuration/4 { // begin with a slot, for the reader
		now++
		if err := t.net.WaitSlot(ctx, now); err != nil {
			return commitments.Request{}, nil, 0, err
		}
	}
	slot := now + 2
	tx, err := t.net.Searcher.Transaction(common.HexToAddress("0x5EA5c4e85ea5C4E85EA5c4E85Ea5c4e85Ea5C4e8"), big.NewInt(1e15))
	if err != nil {
		return commitments.Request{}, nil, 0, err
	}
	req, err := t.request(slot, tx)
	if err != nil {
		return commitments.Request{}, nil, 0, err
	}
	start := t.net.Clock.Now()
	signed, err := t.net.Searcher.AskRPC(ctx, req)
	if err != nil {
		return req, tx, slot, fmt.Errorf("ask for a promise: %w", err)
	}
	took := t.net.Clock.Now().Sub(start)
	if err := t.net.Searcher.Verify(req, signed, t.sidecar.Signers); err != nil {
		return req, tx, slot, fmt.Errorf("the promise does not verify: %w", err)
	}
	t.say("searcher", "commitmentRequest: transaction %.18s… in slot %d", tx.Hash().String(), slot)
	t.say("sidecar", "promised in %v: on disk, signed, signature on disk; it verifies under both proxy keys", took.Round(100*time.Microsecond))
	return req, tx, slot, nil
}

// keepPromise plays an honest builder.
func (t *story) keepPromise(ctx context.Context) error {
	fmt.Println("\n2. A promise that is kept")
	req, tx, slot, err := t.ask(ctx)
	if err != nil {
		return err
	}
	o, err := t.net.OutcomeOf(ctx, slot)
	if err != nil {
		return err
	}
	t.say("sidecar", "cut-off: one constraints message, taken by %d relay", boolean(t.net.Relays[0].HasConstraints(slot) > 0))
	if o.Source != simnet.FromBuilder {
		return fmt.Errorf("slot %d is %s, not the builder's: %w", slot, o.Source, errors.Join(o.Err, errors.New("no proven bid")))
	}
	t.say("sidecar", "slot %d: the bid of relay %s proves the transaction (MPT under its block hash, SSZ under its header)", slot, o.Relay)
	t.say("proposer", "slot %d: block %.18s… proposed; %s of %d", slot, o.BlockHash.String(), t.where(slot, tx), o.Txs)
	return t.verdict(ctx, req, "kept")
}

// breakPromise plays a builder that leaves the transaction out, pays double and
// sends a proof of another header.
func (t *story) breakPromise(ctx context.Context) error {
	fmt.Println("\n3. A builder that lies")
	t.net.Builders[0].Set(func(k *simnet.BuilderKnobs) { k.Lie = simnet.OtherHeader })
	req, tx, slot, err := t.ask(ctx)
	if err != nil {
		return err
	}
	o, err := t.net.OutcomeOf(ctx, slot)
	if err != nil {
		return err
	}
	best := t.net.Relays[0].BestValue(slot)
	if best == nil {
		return fmt.Errorf("slot %d: the builder made no bid", slot)
	}
	t.say("builder", "slot %d: leaves the transaction out, bids %s and proves another block's", slot, eth(best.ToBig()))
	if o.HeaderStatus != 204 {
		return fmt.Errorf("slot %d: the lying bid was answered with %d", slot, o.HeaderStatus)
	}
	t.say("sidecar", "slot %d: bid refused (bid_promises), header answered 204", slot)
	t.say("proposer", "slot %d: builds its own block %.18s…; %s", slot, o.BlockHash.String(), t.where(slot, tx))
	return t.verdict(ctx, req, "broken")
}

// verdict waits for the audit of the canonical block.
func (t *story) verdict(ctx context.Context, req commitments.Request, want string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*t.net.Spec.SlotDuration)
	defer cancel()
	got, reason, err := t.sidecar.Verdict(ctx, req.Hash())
	if err != nil {
		return fmt.Errorf("wait for the audit: %w", err)
	}
	if reason != "" {
		reason = " (" + reason + ")"
	}
	t.say("audit", "promise %.18s…: %s%s", req.Hash().String(), got, reason)
	if got != want {
		return fmt.Errorf("the verdict is %s, want %s", got, want)
	}
	return nil
}

// index is where a transaction is in a slot's block, -1 if nowhere.
func (t *story) index(slot phase0.Slot, tx *types.Transaction) int {
	for i, have := range t.net.Transactions(slot) {
		if have.Hash() == tx.Hash() {
			return i
		}
	}
	return -1
}

// where says where in a block a transaction is.
func (t *story) where(slot phase0.Slot, tx *types.Transaction) string {
	if i := t.index(slot, tx); i >= 0 {
		return fmt.Sprintf("the transaction is number %d", i+1)
	}
	return "the transaction is not in it"
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// eth writes wei for people.
func eth(wei *big.Int) string {
	f, _ := new(big.Rat).SetFrac(wei, big.NewInt(1e18)).Float64()
	return fmt.Sprintf("%.6f ETH", f)
}
