package onchain

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/contracts/bindings"
	"sidecar/slashing/evidence"
)

// proofGas is the most gas that any step of a proof is given: whose contract it is
// that a file names, nobody knows, and twice what ours need is enough.
const proofGas = 6_000_000

// Prover brings one file's fault from proof to slash.
type Prover struct {
	Node   *Node
	Sender *Sender // nil: only Examine
}

// Finding is what the contract would say now.
type Finding struct {
	Kind      evidence.Kind  `json:"fault"`
	ID        common.Hash    `json:"id"`
	Slot      uint64         `json:"slot"`
	TxHash    common.Hash    `json:"promised_transaction"`
	Validator common.Hash    `json:"validator"`
	Manager   common.Address `json:"manager"`
	Status    string         `json:"status"` // none, pending, vetoed, executed
	Case      *Case          `json:"case,omitempty"`
	Deadline  Deadline       `json:"deadline"`
	Gas       uint64         `json:"gas,omitempty"`      // of the submission, estimated
	CostWei   *Amount        `json:"cost_wei,omitempty"` // at today's fees, at most

	manager  Manager
	promised evidence.Promised
	input    []byte
}

// Examine judges a file here and by eth_call, and changes nothing. A fault that
// was submitted already is not asked about again. Faults: ErrAcquitted,
// ErrTooLate, ErrOtherChain, ErrNoContract, ErrNode, ErrRefused, ErrReverted,
// evidence.ErrMalformed.
func (p *Prover) Examine(ctx context.Context, f evidence.File, from common.Address) (*Finding, error) {
	// 1. Here: a node that lies about guilt is not believed.
	fault, err := judged(f)
	if err != nil {
		return nil, err
	}
	x := &Finding{
		Kind: f.Kind, ID: fault.ID, Slot: uint64(fault.Slot), TxHash: fault.Promised.TxHash, Validator: fault.Validator, Manager: f.Slasher,
		promised: fault.Promised,
	}
	if x.input, err = bindings.Submit(f); err != nil {
		return nil, err
	}
	// 2. There: the chain, the contract and its rules are those of the file.
	if err := p.sameChain(ctx, x, f, from); err != nil {
		return nil, err
	}
	head, err := p.Node.Block(ctx, Latest)
	if err != nil {
		return nil, err
	}
	x.Deadline = NewDeadline(f, x.promised, head)
	if err := p.look(ctx, x); err != nil || x.Case != nil {
		return x, err
	}
	if f.Absence != nil && head.Number <= f.Absence.ChildNumber {
		return x, ErrNotYet.With("head %d, last block of the evidence %d", head.Number, f.Absence.ChildNumber)
	}
	// 3. The contract's own verdict, and what it costs to have it written down.
	if x.Deadline.Over() {
		return x, ErrTooLate.With("%s", x.Deadline)
	}
	if _, err = p.Node.Call(ctx, from, f.Slasher, x.input, Latest); err == nil {
		x.Gas, err = p.Node.Gas(ctx, from, f.Slasher, x.input)
	}
	if known(err) { // since step 2 somebody else was faster
		return x, p.look(ctx, x)
	}
	if err != nil {
		return x, excuse(err)
	}
	x.CostWei = &Amount{Cost(x.Gas, new(big.Int).Lsh(head.BaseFee, 1))}
	return x, nil
}

// judged is the fault that a file proves, as we see it. Faults: ErrAcquitted,
// evidence.ErrMalformed.
func judged(f evidence.File) (evidence.Fault, error) {
	fault, err := evidence.Judge(f, f.Rules, f.Slasher, f.ChildHash())
	var why evidence.Excuse
	if errors.As(err, &why) {
		return fault, ErrAcquitted.Wrap(why)
	}
	return fault, err
}

// look reads how far the fault's case is.
func (p *Prover) look(ctx context.Context, x *Finding) error {
	c, err := x.manager.Case(ctx, x.ID, Latest)
	if err != nil {
		return err
	}
	if x.Status = c.Status.String(); c.Status != None {
		x.Case = &c
	}
	return nil
}

func (p *Prover) sameChain(ctx context.Context, x *Finding, f evidence.File, from common.Address) error {
	id, err := p.Node.ChainID(ctx)
	if err != nil {
		return err
	}
	if id != f.Rules.ChainID {
		return ErrOtherChain.With("the evidence is of chain %d, the node on %d", f.Rules.ChainID, id)
	}
	if x.manager, err = NewManager(p.Node, f.Slasher, from); err != nil {
		return err
	}
	code, err := p.Node.Code(ctx, f.Slasher)
	if err != nil {
		return err
	}
	if len(code) == 0 {
		return ErrNoContract.With("nothing at %s, which the promise names as its slasher", f.Slasher)
	}
	rules, err := x.manager.Rules(ctx)
	if err != nil {
		return err
	}
	if rules != f.Rules {
		return ErrNoContract.With("the verifier of %s judges by other rules than the evidence was made for", f.Slasher)
	}
	return nil
}

// Result is what came of a proof.
type Result struct {
	Finding
	Submit  *Receipt       `json:"submit,omitempty"`  // nil: somebody else's, or an earlier run's
	Execute *Receipt       `json:"execute,omitempty"` // likewise
	SlashID *Amount        `json:"slash_id,omitempty"`
	Wads    []Amount       `json:"wads,omitempty"` // shares of the allocation slashed, of 1e18, by strategy
	Taken   []Taken        `json:"taken,omitempty"`
	To      common.Address `json:"goes_to,omitzero"` // where the stake goes: the burn address
	Burn    *Receipt       `json:"burn,omitempty"`
}

// Taken is stake that was slashed.
type Taken struct {
	Strategy common.Address `json:"strategy"`
	Shares   Amount         `json:"shares"`
}

// Submit examines a file, and has its fault written down by the contract. It
// returns when that is deep enough, at once if it is.
func (p *Prover) Submit(ctx context.Context, f evidence.File) (*Result, error) {
	x, err := p.examine(ctx, f)
	if err != nil {
		return nil, err
	}
	r := &Result{Finding: *x}
	if x.Case == nil {
		p.Sender.Report(Event{Kind: "deadline", Action: string(f.Kind), Text: x.Deadline.String()})
	}
	err = p.submit(ctx, f, r)
	return r, err
}

// examine asks until the node answers.
func (p *Prover) examine(ctx context.Context, f evidence.File) (*Finding, error) {
	told := ""
	for {
		x, err := p.Examine(ctx, f, p.Sender.from)
		if err == nil || !passing(err) {
			return x, err
		}
		if told != err.Error() && ctx.Err() == nil {
			told = err.Error()
			p.Sender.Report(Event{Kind: "waiting", Action: string(f.Kind), Text: told})
		}
		if !p.Sender.pause(ctx) {
			return nil, ErrUnfinished.Wrap(err)
		}
	}
}

func (p *Prover) submit(ctx context.Context, f evidence.File, r *Result) (err error) {
	watch := p.late(f, r.promised)
	a := Action{
		Name: "submit:" + r.ID.Hex(), To: f.Slasher, Input: r.input, MaxGas: proofGas, Check: watch, Watch: func(h Block) { _ = watch(ctx, h) },
		Done: func(ctx context.Context, at string) (bool, error) {
			c, err := r.manager.Case(ctx, r.ID, at)
			return c.Status != None, err
		},
	}
	receipt, err := p.Sender.Do(ctx, a)
	for known(err) { // somebody else's came between two questions: wait until it is deep enough
		if !p.Sender.pause(ctx) {
			return ErrUnfinished.Wrap(err)
		}
		receipt, err = p.Sender.Do(ctx, a)
	}
	if err != nil {
		return excuse(err)
	}
	if receipt != nil && receipt.OK {
		r.Submit = receipt
	}
	c, err := r.manager.Case(ctx, r.ID, Latest)
	if err != nil {
		return err
	}
	r.Case, r.Status = &c, c.Status.String()
	p.Sender.Report(Event{Kind: "submitted", Action: string(r.Kind), Text: fmt.Sprintf(
		"case %s against operator %s; may be executed from %s on", r.ID, c.Operator, time.Unix(int64(c.ExecutableAt), 0).UTC().Format(time.RFC3339))}) // #nosec G115 -- 40 bits
	return nil
}

// Run is Submit, the delay, execute, and what became of the stake. It may be
// interrupted anywhere and run again. Faults: those of Examine and Sender.Do,
// ErrVetoed, ErrUnfinished.
func (p *Prover) Run(ctx context.Context, f evidence.File) (*Result, error) {
	r, err := p.Submit(ctx, f)
	told := ""
	for err == nil {
		if err = p.await(ctx, r); err == nil {
			err = p.execute(ctx, r)
		}
		var revert *Revert
		if !errors.As(err, &revert) {
			break
		}
		name := revert.Name()
		switch name {
		case "NotPending": // taken back by a reorg, vetoed, or executed: the chain says which
			err = p.submit(ctx, f, r)
		case "TooEarly", "DailyCapReached", "Paused": // it may take days: said once
			if err = nil; told != name {
				told = name
				p.Sender.Report(Event{Kind: "waiting", Action: "execute:" + r.ID.Hex(), Text: name, Alarm: name == "Paused"})
			}
		}
		if err == nil && !p.Sender.pause(ctx) {
			err = ErrUnfinished.With("%s", name)
		}
	}
	if err != nil {
		return r, err
	}
	return r, p.outcome(ctx, r)
}

// await waits until the case's delay has passed on the chain.
func (p *Prover) await(ctx context.Context, r *Result) error {
	told := ""
	for {
		head, err := p.Node.Block(ctx, Latest)
		var c Case
		if err == nil {
			c, err = r.manager.Case(ctx, r.ID, Latest)
		}
		if err != nil && !passing(err) && !errors.Is(err, ErrNoContract) { // it was there: the node lags
			return err
		}
		if err == nil {
			r.Case, r.Status = &c, c.Status.String()
			switch {
			case c.Status == Vetoed:
				return ErrVetoed.With("case %s", r.ID)
			case c.Status != Pending, head.Time >= c.ExecutableAt:
				return nil
			}
		} else if told != err.Error() && ctx.Err() == nil {
			told = err.Error()
			p.Sender.Report(Event{Kind: "waiting", Action: "execute:" + r.ID.Hex(), Text: told})
		}
		if !p.Sender.pause(ctx) {
			return ErrUnfinished.With("the delay of case %s has not passed", r.ID)
		}
	}
}

func (p *Prover) execute(ctx context.Context, r *Result) error {
	input, err := bindings.Execute(r.ID)
	if err != nil {
		return err
	}
	receipt, err := p.Sender.Do(ctx, Action{
		Name: "execute:" + r.ID.Hex(), To: r.Manager, Input: input, MaxGas: proofGas,
		Done: func(ctx context.Context, at string) (bool, error) {
			c, err := r.manager.Case(ctx, r.ID, at)
			return c.Status == Executed, err
		},
	})
	if err != nil {
		return err
	}
	if r.Status = Executed.String(); receipt != nil && receipt.OK {
		r.Execute = receipt
	}
	return nil
}
