package onchain

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/contracts/bindings"
	"sidecar/slashing/evidence"
)

// Contract is an ABI at an address, seen through a node.
type Contract struct {
	Node *Node
	At   common.Address
	ABI  *abi.ABI
	From common.Address // who asks
}

// Read calls a method on the state after a block and returns its values. Faults:
// ErrNode, ErrRefused, ErrReverted, ErrNoContract.
func (c Contract) Read(ctx context.Context, at, method string, arguments ...any) ([]any, error) {
	input, err := c.ABI.Pack(method, arguments...)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", method, err)
	}
	out, err := c.Node.Call(ctx, c.From, c.At, input, at)
	if err != nil {
		return nil, err
	}
	values, err := c.ABI.Unpack(method, out)
	if err != nil || len(values) == 0 {
		return nil, ErrNoContract.With("%s at %s answers %d bytes", method, c.At, len(out))
	}
	return values, nil
}

// Status is how far a case is. [contracts: PreconfServiceManager.Status]
type Status uint8

// The statuses.
const (
	None Status = iota
	Pending
	Vetoed
	Executed
)

// String is the status's name.
func (s Status) String() string { return [...]string{"none", "pending", "vetoed", "executed"}[s&3] }

// Case is a submitted fault. [contracts: PreconfServiceManager.Case]
type Case struct {
	Operator     common.Address `json:"operator"`
	Status       Status         `json:"-"`
	Slot         uint64         `json:"slot"`
	ExecutableAt uint64         `json:"executable_at"` // Unix seconds
}

// Manager is a PreconfServiceManager and its verifier.
type Manager struct {
	Contract
	verifier *abi.ABI
}

// NewManager is the manager at an address.
func NewManager(n *Node, at, from common.Address) (Manager, error) {
	manager, err := bindings.Load(bindings.PreconfServiceManager)
	if err != nil {
		return Manager{}, err
	}
	verifier, err := bindings.Load(bindings.FaultVerifier)
	if err != nil {
		return Manager{}, err
	}
	return Manager{Contract{n, at, &manager.ABI, from}, &verifier.ABI}, nil
}

// Case returns a fault's case in the state after a block.
func (m Manager) Case(ctx context.Context, id common.Hash, at string) (c Case, err error) {
	values, err := m.Read(ctx, at, "cases", [32]byte(id))
	if err != nil {
		return c, err
	}
	operator, ok1 := values[0].(common.Address)
	status, ok2 := values[2].(uint8)
	slot, ok3 := values[3].(*big.Int)
	when, ok4 := values[4].(*big.Int)
	if !ok1 || !ok2 || !ok3 || !ok4 || status > uint8(Executed) {
		return c, ErrNoContract.With("cases of %s", m.At)
	}
	return Case{operator, Status(status), slot.Uint64(), when.Uint64()}, nil
}

// Verifier is the manager's.
func (m Manager) Verifier(ctx context.Context) (Contract, error) {
	values, err := m.Read(ctx, Latest, "verifier")
	if err != nil {
		return Contract{}, err
	}
	at, _ := values[0].(common.Address)
	return Contract{m.Node, at, m.verifier, m.From}, nil
}

// Rules returns what the manager's verifier was made with.
func (m Manager) Rules(ctx context.Context) (r evidence.Rules, err error) {
	v, err := m.Verifier(ctx)
	if err != nil {
		return r, err
	}
	for name, into := range map[string]any{
		"chainId": &r.ChainID, "genesisTime": &r.GenesisTime, "slotMillis": &r.SlotMillis, "firstSlot": &r.FirstSlot, "endSlot": &r.EndSlot,
		"signingDomain": &r.SigningDomain, "signingId": &r.SigningID,
	} {
		values, err := v.Read(ctx, Latest, name)
		if err != nil {
			return r, err
		}
		switch into := into.(type) {
		case *uint64:
			*into, _ = values[0].(uint64)
		case *common.Hash:
			word, _ := values[0].([32]byte)
			*into = word
		}
	}
	return r, nil
}

// known says whether the manager has the fault already.
func known(err error) bool {
	var r *Revert
	return errors.As(err, &r) && r.Name() == "FaultKnown"
}

// excuse makes of a revert the acquittal it is. One without an error that our
// contracts have acquits nobody: the gas did not suffice, or it is another contract.
func excuse(err error) error {
	var r *Revert
	if errors.As(err, &r) && r.named() {
		return ErrAcquitted.Wrap(evidence.Excuse(r.Name()))
	}
	return err
}
