package onchain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/internal/ecdsa"
)

// Defaults of a Sender.
const (
	DefaultConfirmations = 12
	MaxConfirmations     = 64 // nodes keep the state of 128 blocks
	DefaultBumpAfter     = 3
	DefaultPoll          = 4 * time.Second
	DefaultMaxFeeGwei    = 200
)

// txGasCap is the most gas a transaction may have. [EIP-7825]
const txGasCap = 1 << 24

// SenderConfig is what NewSender needs.
type SenderConfig struct {
	Node    *Node
	Key     *ecdsa.SecretKey
	Journal *Journal
	ChainID uint64
	// Confirmations is how many blocks an effect must have lasted, the one it
	// came with included. Default 12, at most 64.
	Confirmations uint64
	// MaxFee caps base fee and tip together, in wei per gas. Default 200 gwei.
	MaxFee *big.Int
	// BumpAfter is how many blocks may pass a transaction by until its fee is
	// raised. Default 3.
	BumpAfter uint64
	Poll      time.Duration // between looks at the chain. Default 4 s
	Report    func(Event)   // Optional.
}

// Event is something the operator may want to see.
type Event struct {
	Kind   string `json:"event"` // snake_case
	Action string `json:"action,omitempty"`
	Text   string `json:"text"`
	Alarm  bool   `json:"alarm,omitempty"` // a human should look
}

// Sender sends one key's transactions, one action at a time.
type Sender struct {
	SenderConfig
	from common.Address
}

// NewSender fills in the defaults, and asks the node for its chain. Faults:
// ErrNode, ErrOtherChain.
func NewSender(ctx context.Context, c SenderConfig) (*Sender, error) {
	if c.Node == nil || c.Key == nil || c.Journal == nil {
		return nil, errors.New("sender: node, key and journal are required")
	}
	if c.Confirmations == 0 {
		c.Confirmations = DefaultConfirmations
	}
	c.Confirmations = min(c.Confirmations, MaxConfirmations)
	if c.MaxFee == nil {
		c.MaxFee = new(big.Int).Mul(big.NewInt(DefaultMaxFeeGwei), gwei)
	}
	if c.BumpAfter == 0 {
		c.BumpAfter = DefaultBumpAfter
	}
	if c.Poll <= 0 {
		c.Poll = DefaultPoll
	}
	if c.Report == nil {
		c.Report = func(Event) {}
	}
	id, err := c.Node.ChainID(ctx)
	if err != nil {
		return nil, err
	}
	if id != c.ChainID {
		return nil, ErrOtherChain.With("it is on chain %d, not %d", id, c.ChainID)
	}
	return &Sender{c, common.Address(c.Key.Address())}, nil
}

// From is the account that pays.
func (s *Sender) From() common.Address { return s.from }

// Action is something that a transaction is to bring about.
type Action struct {
	Name  string // the same after a restart, and no other action's
	To    common.Address
	Input []byte
	// MaxGas is the most gas its transaction may have. Default: the protocol's.
	MaxGas uint64
	// Done says whether the effect is there in the state after a block, whoever
	// brought it about.
	Done func(ctx context.Context, at string) (bool, error)
	// Check stops the action before a new transaction is signed, if it comes too
	// late. Optional.
	Check func(ctx context.Context, head Block) error
	// Watch sees every head while the action is not done. Optional.
	Watch func(head Block)
}

// Do brings an action about and returns when its effect has lasted long enough:
// with the receipt of our transaction, or nil if somebody else was first. While
// the node fails, or the base fee is above the cap, it goes on asking until ctx
// ends. Faults: ErrReverted, ErrFunds, ErrGas, ErrWasted, ErrJournal,
// ErrUnfinished, those of Check.
func (s *Sender) Do(ctx context.Context, a Action) (*Receipt, error) {
	if a.MaxGas == 0 {
		a.MaxGas = txGasCap
	}
	w := work{Sender: s, Action: a}
	for {
		done, receipt, err := w.step(ctx)
		switch {
		case done || err != nil && !passing(err) && !errors.Is(err, ErrNoContract): // it was there: the node lags
			return receipt, err
		case err != nil && ctx.Err() == nil:
			w.tell("waiting", err.Error())
		}
		if !s.pause(ctx) {
			return nil, ErrUnfinished.With("%s", a.Name)
		}
	}
}

// passing says whether an error may be over at the next look.
func passing(err error) bool {
	return errors.Is(err, ErrNode) || errors.Is(err, ErrRefused) || errors.Is(err, ErrFee) || errors.Is(err, ErrNotYet)
}

// pause waits for the next look at the chain; false means ctx has ended.
func (s *Sender) pause(ctx context.Context) bool {
	t := time.NewTimer(s.Poll)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// work is an action under way.
type work struct {
	*Sender
	Action
	told string // the last that was reported
}

// tell reports what lasts once.
func (w *work) tell(kind, text string) {
	if w.told != text {
		w.told = text
		w.Report(Event{Kind: kind, Action: w.Name, Text: text})
	}
}

// step is one look at the chain, and what follows from it.
func (w *work) step(ctx context.Context) (done bool, _ *Receipt, err error) {
	head, err := w.Node.Block(ctx, Latest)
	if err != nil {
		return false, nil, err
	}
	// 1. Is it there, and deep enough?
	deep := AtBlock(head.Number - min(head.Number, w.Confirmations-1))
	if done, err = w.Done(ctx, deep); err != nil && !errors.Is(err, ErrNoContract) { // it may be younger than that
		return false, nil, err
	}
	if done {
		receipt, err := w.settle(ctx, deep)
		return err == nil, receipt, err
	}
	there, err := w.Done(ctx, Latest)
	if err != nil {
		return false, nil, err
	}
	if there {
		w.tell("included", fmt.Sprintf("in the chain; waiting until it is %d blocks deep", w.Confirmations))
		return false, nil, nil
	}
	if w.Watch != nil {
		w.Watch(head)
	}
	// 2. Push what was written before, of other actions, too: nonces are mined in
	//    order. Begin, if nothing of this action was written.
	if err := w.push(ctx, deep); err != nil {
		return false, nil, err
	}
	mine := false
	for _, records := range w.ordered() {
		if err := w.nurse(ctx, head, records); err != nil {
			return false, nil, err
		}
		mine = mine || records[0].Action == w.Name
	}
	if !mine {
		err = w.begin(ctx, head)
	}
	return false, nil, err
}

// settle closes the action in the journal, and finds its transaction on the
// chain, of this run or an earlier one. One that waits still, because somebody
// else was first, stays open: its nonce is not used up.
func (w *work) settle(ctx context.Context, deep string) (ours *Receipt, err error) {
	used, err := w.Node.Nonce(ctx, w.from, deep)
	if err != nil {
		return nil, err
	}
	all := w.Journal.written(w.ChainID, w.from, w.Name)
	for _, r := range all {
		receipt, err := w.Node.receipt(ctx, r.Hash)
		if err != nil {
			return nil, err
		}
		if receipt != nil && !r.Void && (receipt.OK || ours == nil) {
			ours = receipt
		}
	}
	if w.Journal.spent(w.ChainID, w.from, w.Name) == 0 || all[len(all)-1].Nonce >= used {
		return ours, nil
	}
	last := all[len(all)-1]
	return ours, w.Journal.append(Record{State: Settled, Action: w.Name, ChainID: w.ChainID, From: w.from, Nonce: last.Nonce, Hash: last.Hash})
}

// ordered are this key's open transactions, by rising nonce.
func (w *work) ordered() (all [][]Record) {
	open := w.Journal.open(w.ChainID, w.from)
	for _, nonce := range slices.Sorted(maps.Keys(open)) {
		all = append(all, open[nonce])
	}
	return all
}

// push sends every open transaction again: the chain may have lost it. Those
// whose nonce is used up, deep enough, are closed.
func (w *work) push(ctx context.Context, deep string) error {
	used, err := w.Node.Nonce(ctx, w.from, deep)
	if err != nil {
		return err
	}
	for _, records := range w.ordered() {
		last := records[len(records)-1]
		if last.Nonce < used {
			if err := w.used(ctx, records); err != nil {
				return err
			}
			continue
		}
		if err := w.Node.send(ctx, last.Raw); err != nil && !errors.Is(err, ErrRefused) { // refused: its nonce is in a block just now, or its fee too low to replace
			return err
		}
	}
	return nil
}

// used closes transactions whose nonce is used up: by one of them, which then
// has a receipt, or by somebody else's.
func (w *work) used(ctx context.Context, records []Record) error {
	last := records[len(records)-1]
	state := Lost
	for _, r := range records {
		receipt, err := w.Node.receipt(ctx, r.Hash)
		if err != nil {
			return err
		}
		if receipt == nil {
			continue
		}
		state = Used
		if !receipt.OK {
			w.Report(Event{Kind: "failed", Action: r.Action, Text: fmt.Sprintf("transaction %s reverted in block %d", r.Hash, receipt.Block), Alarm: true})
		}
	}
	if state == Lost {
		w.Report(Event{Kind: "nonce_lost", Action: last.Action, Text: fmt.Sprintf("nonce %d was used by another transaction of this key", last.Nonce), Alarm: true})
	}
	return w.Journal.append(Record{State: state, Action: last.Action, ChainID: w.ChainID, From: w.from, Nonce: last.Nonce, Hash: last.Hash})
}
