package onchain

import (
	"context"
	"errors"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/contracts/bindings"
	"sidecar/slashing/evidence"
)

// Claim is what the Universal Registry Contract wants beside the evidence of a
// promise whose slasher is a UrcInclusionSlasher.
type Claim struct {
	// Generation is "main" or "signing-domain".
	Generation string `json:"generation"`
	// OptedIn is the committer with which the operator opted in to the slasher; of
	// the registration then only the root counts. None: the delegation names it.
	OptedIn common.Address `json:"opted_in,omitzero"`
	bindings.Registered
}

// input is the registry's calldata. Fault: evidence.ErrMalformed.
func (c Claim) input(f evidence.File) ([]byte, error) {
	g, ok := map[string]bindings.Generation{"main": bindings.RegistryMain, "signing-domain": bindings.RegistrySigningDomain}[c.Generation]
	switch {
	case !ok:
		return nil, evidence.ErrMalformed.With("generation %.20q of the registry: main or signing-domain", c.Generation)
	case c.OptedIn != common.Address{}:
		return bindings.SlashOptedIn(f, g, c.Root, c.OptedIn, c.Committer)
	}
	return bindings.SlashCommitment(f, g, c.Registered)
}

// Punishment is what the registry does, or did, about a fault.
type Punishment struct {
	ID        common.Hash    `json:"id"` // the slasher's: of committer, slot, sender and nonce
	Slot      uint64         `json:"slot"`
	TxHash    common.Hash    `json:"promised_transaction"`
	Slasher   common.Address `json:"slasher"`
	Registry  common.Address `json:"registry"`
	Committer common.Address `json:"committer"`
	Wei       Amount         `json:"slash_wei"` // of the operator's collateral, burnt
	Punished  bool           `json:"punished"`
	Deadline  Deadline       `json:"deadline"`
	Gas       uint64         `json:"gas,omitempty"`   // estimated
	Slash     *Receipt       `json:"slash,omitempty"` // nil: somebody else's, or none yet

	slasher  Contract
	promised evidence.Promised
	input    []byte
}

// ExamineClaim judges a file here, asks slasher and registry by eth_call, and
// changes nothing. Faults: those of Examine.
func (p *Prover) ExamineClaim(ctx context.Context, f evidence.File, c Claim, from common.Address) (*Punishment, error) {
	// 1. Here: a node that lies about guilt is not believed.
	fault, err := judged(f)
	if err != nil {
		return nil, err
	}
	x := &Punishment{Slot: uint64(fault.Slot), TxHash: fault.Promised.TxHash, Slasher: f.Slasher, promised: fault.Promised}
	if x.Committer = c.OptedIn; c.OptedIn == (common.Address{}) {
		x.Committer = common.Address(f.Delegation.Message.Committer)
	}
	x.ID = punishmentID(x.Committer, fault.Promised)
	if x.input, err = c.input(f); err != nil {
		return nil, err
	}
	// 2. There: the slasher, its registry and its verifier.
	if err := p.slasherOf(ctx, x, f, from); err != nil {
		return nil, err
	}
	head, err := p.Node.Block(ctx, Latest)
	if err != nil {
		return nil, err
	}
	x.Deadline = NewDeadline(f, x.promised, head)
	if x.Punished, err = x.punished(ctx, Latest); err != nil || x.Punished {
		return x, err
	}
	switch {
	case head.Number <= f.Absence.ChildNumber:
		return x, ErrNotYet.With("head %d, last block of the evidence %d", head.Number, f.Absence.ChildNumber)
	case x.Deadline.Over():
		return x, ErrTooLate.With("%s", x.Deadline)
	}
	// 3. The registry's own answer.
	if _, err = p.Node.Call(ctx, from, x.Registry, x.input, Latest); err == nil {
		x.Gas, err = p.Node.Gas(ctx, from, x.Registry, x.input)
	}
	if known(err) { // since step 2 somebody else was faster
		x.Punished = true
		return x, nil
	}
	return x, acquittal(err)
}

// punishmentID names a fault as UrcInclusionSlasher does.
func punishmentID(committer common.Address, p evidence.Promised) common.Hash {
	word := func(n uint64) []byte { return common.BigToHash(new(big.Int).SetUint64(n)).Bytes() }
	return crypto.Keccak256Hash(common.LeftPadBytes(committer[:], 32), word(p.Slot), common.LeftPadBytes(p.Sender[:], 32), word(p.Nonce))
}

// slasherOf reads the slasher that a file names, and compares its rules.
func (p *Prover) slasherOf(ctx context.Context, x *Punishment, f evidence.File, from common.Address) error {
	slasher, err := bindings.Load(bindings.UrcInclusionSlasher)
	if err != nil {
		return err
	}
	look := &Finding{}
	if err := p.sameChain(ctx, look, f, from); err != nil { // verifier() is the same call of both
		return err
	}
	x.slasher = Contract{p.Node, f.Slasher, &slasher.ABI, from}
	registry, err := x.slasher.Read(ctx, Latest, "registry")
	if err != nil {
		return err
	}
	wei, err := x.slasher.Read(ctx, Latest, "slashWei")
	if err != nil {
		return err
	}
	x.Registry, _ = registry[0].(common.Address)
	x.Wei.Int, _ = wei[0].(*big.Int)
	return nil
}

func (x *Punishment) punished(ctx context.Context, at string) (bool, error) {
	values, err := x.slasher.Read(ctx, at, "punished", [32]byte(x.ID))
	if err != nil {
		return false, err
	}
	is, _ := values[0].(bool)
	return is, nil
}

// acquittal makes of a revert the acquittal it is, if it is the verifier's.
func acquittal(err error) error {
	var r *Revert
	if !errors.As(err, &r) {
		return err
	}
	verifier, failed := bindings.Load(bindings.FaultVerifier)
	if failed != nil || verifier.Excuse(r.Data) == "" {
		return err // the registry's, or the slasher's
	}
	return excuse(err)
}

// Punish has the registry slash an operator's collateral for a file's fault, and
// returns when that is deep enough, at once if it is. It may be interrupted
// anywhere and run again. Faults: those of ExamineClaim and Sender.Do.
func (p *Prover) Punish(ctx context.Context, f evidence.File, c Claim) (*Punishment, error) {
	told := ""
	x, err := p.ExamineClaim(ctx, f, c, p.Sender.from)
	for err != nil && passing(err) {
		if told != err.Error() {
			told = err.Error()
			p.Sender.Report(Event{Kind: "waiting", Action: string(f.Kind), Text: told})
		}
		if !p.Sender.pause(ctx) {
			return nil, ErrUnfinished.Wrap(err)
		}
		x, err = p.ExamineClaim(ctx, f, c, p.Sender.from)
	}
	if err != nil {
		return nil, err
	}
	watch := p.late(f, x.promised)
	x.Slash, err = p.Sender.Do(ctx, Action{
		Name: "punish:" + x.Slasher.Hex() + ":" + x.ID.Hex(), To: x.Registry, Input: x.input, MaxGas: proofGas,
		Check: watch, Watch: func(h Block) { _ = watch(ctx, h) }, Done: x.punished,
	})
	if err != nil {
		return nil, acquittal(err)
	}
	if x.Punished = true; x.Slash != nil && !x.Slash.OK {
		x.Slash = nil
	}
	return x, nil
}
