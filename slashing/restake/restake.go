// Package restake is an operator's side of EigenLayer: it joins the operator set
// of a PreconfServiceManager with its validators' keys, puts stake behind it,
// leaves, and reads what is at stake from the core at one block.
//
// It never computes stake from first principles: every number is the core's own
// view at a block it names. It warns of slashers that an honest validator cannot
// defend itself against.
package restake

import (
	"context"
	"math/big"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/contracts/bindings"
	"sidecar/contracts/eigenlayer"
	"sidecar/fault"
	"sidecar/slashing/evidence"
	"sidecar/slashing/onchain"
)

// Faults of this package.
var (
	ErrPossession  = fault.Define("possession_refused", fault.Invalid, "The contract does not accept a validator key's proof that it joins the operator.")
	ErrNotOperator = fault.Define("operator_missing", fault.Rejected, "The account is no operator of EigenLayer, or not in the operator set.")
	ErrOtherSlash  = fault.Define("operator_set_foreign", fault.Rejected, "The operator set has another slasher than the service manager, or will have.")
	ErrRecipient   = fault.Define("operator_set_pays", fault.Rejected, "Slashed stake of the operator set does not go where the operator agreed that it goes.")
	ErrNoDelay     = fault.Define("allocation_delay_pending", fault.Unavailable, "The operator's allocation delay has not taken effect yet; try again later.")
	ErrMagnitude   = fault.Define("allocation_invalid", fault.Invalid, "The allocation is no share of what the operator has.")
)

// whole is all of an operator's magnitude. [EigenLayer: WAD]
const whole uint64 = 1e18

// Service is a PreconfServiceManager and the core it is on.
type Service struct {
	Manager    onchain.Manager
	Rules      evidence.Rules
	Strategies []common.Address // of the set
	allocation onchain.Contract
	delegation onchain.Contract
}

// Open reads where things are. Faults: onchain.ErrNode, ErrRefused,
// ErrReverted, ErrNoContract.
func Open(ctx context.Context, n *onchain.Node, manager, from common.Address) (*Service, error) {
	code, err := n.Code(ctx, manager)
	if err != nil {
		return nil, err
	}
	if len(code) == 0 {
		return nil, onchain.ErrNoContract.With("nothing at %s", manager)
	}
	s := &Service{}
	if s.Manager, err = onchain.NewManager(n, manager, from); err != nil {
		return nil, err
	}
	if s.Rules, err = s.Manager.Rules(ctx); err != nil {
		return nil, err
	}
	values, err := s.Manager.Read(ctx, onchain.Latest, "allocationManager")
	if err != nil {
		return nil, err
	}
	s.allocation = onchain.Contract{Node: n, At: values[0].(common.Address), ABI: eigenlayer.ABI(), From: from}
	if values, err = s.allocation.Read(ctx, onchain.Latest, "delegation"); err != nil {
		return nil, err
	}
	s.delegation = s.allocation
	s.delegation.At = values[0].(common.Address)
	if values, err = s.Manager.Read(ctx, onchain.Latest, "strategies"); err != nil {
		return nil, err
	}
	s.Strategies, _ = values[0].([]common.Address)
	return s, nil
}

// set is the manager's one operator set.
func (s *Service) set() eigenlayer.OperatorSet { return eigenlayer.OperatorSet{Avs: s.Manager.At} }

// Possession is what a validator's key signs to join an operator at a manager,
// before the module's layer. [contracts: SigningRoot.ofRegistration]
func Possession(manager, operator common.Address) common.Hash {
	kind := common.LeftPadBytes([]byte("operator"), 32)
	return crypto.Keccak256Hash(kind, common.LeftPadBytes(manager[:], 32), common.LeftPadBytes(operator[:], 32))
}

// Membership is what Register needs beside the keys.
type Membership struct {
	MetadataURI     string // of a new operator
	AllocationDelay uint32 // blocks, of a new operator
	Registrations   []bindings.Registration
	// Recipient is whom the operator agrees that slashed stake is paid to; the zero
	// address: nobody, it is burnt.
	Recipient common.Address
}

// Register makes the sender's account an operator, unless it is one, puts it
// into the set with the keys, or adds the keys that are not there yet. It may be
// run again. Faults: those of onchain.Sender.Do, ErrPossession, ErrOtherSlash,
// ErrRecipient.
func (s *Service) Register(ctx context.Context, sender *onchain.Sender, m Membership) error {
	operator := sender.From()
	if err := s.ours(ctx, onchain.Latest); err != nil {
		return err
	}
	if err := s.agreed(ctx, m.Recipient); err != nil {
		return err
	}
	var missing []bindings.Registration
	for _, r := range m.Registrations {
		in, err := s.answers(ctx, KeyID(r.Pubkey), operator, onchain.Latest)
		if err != nil {
			return err
		}
		if in {
			continue
		}
		if err := s.possessed(ctx, operator, r); err != nil {
			return err
		}
		missing = append(missing, r)
	}
	if err := s.enlist(ctx, sender, m); err != nil {
		return err
	}
	member, err := s.member(ctx, operator, onchain.Latest)
	if err != nil {
		return err
	}
	if !member {
		return s.join(ctx, sender, missing)
	}
	if len(missing) == 0 {
		return nil
	}
	return s.addKeys(ctx, sender, missing)
}

// ours says that nobody but the manager slashes the set, now and soon.
func (s *Service) ours(ctx context.Context, at string) error {
	values, err := s.allocation.Read(ctx, at, "getSlasher", s.set())
	if err != nil {
		return err
	}
	if at, _ := values[0].(common.Address); at != s.Manager.At {
		return ErrOtherSlash.With("it is %s", at)
	}
	if values, err = s.allocation.Read(ctx, at, "getPendingSlasher", s.set()); err != nil {
		return err
	}
	if at, _ := values[0].(common.Address); at != (common.Address{}) {
		return ErrOtherSlash.With("it will be %s from block %v on", at, values[1])
	}
	return nil
}

// possessed asks the verifier about a proof of possession: a transaction that
// would revert costs gas, and names no key.
func (s *Service) possessed(ctx context.Context, operator common.Address, r bindings.Registration) error {
	verifier, err := s.Manager.Verifier(ctx)
	if err != nil {
		return err
	}
	values, err := verifier.Read(ctx, onchain.Latest, "registered", s.Manager.At, operator, r)
	if err != nil {
		return err
	}
	if ok, _ := values[0].(bool); !ok {
		return ErrPossession.With("key %s", KeyID(r.Pubkey))
	}
	return nil
}

// KeyID is what the manager calls a validator's key. [contracts: Fault.validator]
func KeyID(k bindings.G1) common.Hash {
	return crypto.Keccak256Hash(k.XHigh[:], k.XLow[:], k.YHigh[:], k.YLow[:])
}

// answers says whether a key is the operator's in the manager, and not retired.
func (s *Service) answers(ctx context.Context, key common.Hash, operator common.Address, at string) (bool, error) {
	k, err := s.key(ctx, key, at)
	return k.Operator == operator && k.Until == 0, err
}

func (s *Service) flag(ctx context.Context, c onchain.Contract, at, method string, arguments ...any) (bool, error) {
	values, err := c.Read(ctx, at, method, arguments...)
	if err != nil {
		return false, err
	}
	is, _ := values[0].(bool)
	return is, nil
}

func (s *Service) member(ctx context.Context, operator common.Address, at string) (bool, error) {
	return s.flag(ctx, s.allocation, at, "isMemberOfOperatorSet", operator, s.set())
}

// enlist makes the account an operator of EigenLayer.
func (s *Service) enlist(ctx context.Context, sender *onchain.Sender, m Membership) error {
	is, err := s.flag(ctx, s.delegation, onchain.Latest, "isOperator", sender.From())
	if err != nil || is {
		return err
	}
	input, err := s.delegation.ABI.Pack("registerAsOperator", common.Address{}, m.AllocationDelay, m.MetadataURI)
	if err != nil {
		return err
	}
	return s.do(ctx, sender, "operator", s.delegation.At, input, func(ctx context.Context, at string) (bool, error) {
		return s.flag(ctx, s.delegation, at, "isOperator", sender.From())
	})
}

// join enters the set, with keys.
func (s *Service) join(ctx context.Context, sender *onchain.Sender, keys []bindings.Registration) error {
	var list []byte
	if len(keys) > 0 {
		var err error
		if list, err = (abi.Arguments{s.Manager.ABI.Methods["registerKeys"].Inputs[0]}).Pack(keys); err != nil {
			return err
		}
	}
	input, err := s.allocation.ABI.Pack("registerForOperatorSets", sender.From(), eigenlayer.RegisterParams{
		Avs: s.Manager.At, OperatorSetIds: []uint32{0}, Data: list,
	})
	if err != nil {
		return err
	}
	return s.do(ctx, sender, "join", s.allocation.At, input, func(ctx context.Context, at string) (bool, error) {
		return s.member(ctx, sender.From(), at)
	})
}

// addKeys registers keys of a member.
func (s *Service) addKeys(ctx context.Context, sender *onchain.Sender, keys []bindings.Registration) error {
	input, err := s.Manager.ABI.Pack("registerKeys", keys)
	if err != nil {
		return err
	}
	// After a restart the proofs have other nonces; the action is the same.
	var ids []byte
	for _, k := range keys {
		id := KeyID(k.Pubkey)
		ids = append(ids, id[:]...)
	}
	name := "keys:" + crypto.Keccak256Hash(ids).Hex()
	return s.do(ctx, sender, name, s.Manager.At, input, func(ctx context.Context, at string) (bool, error) {
		for _, k := range keys {
			if in, err := s.answers(ctx, KeyID(k.Pubkey), sender.From(), at); err != nil || !in {
				return false, err
			}
		}
		return true, nil
	})
}

// Allocate puts a share of the operator's stake behind the set, in every
// strategy of it: parts of 1e18 of what is left after earlier slashes. It returns when the core has it on
// its books; when it takes effect, Status says. Faults: those of
// onchain.Sender.Do, ErrNotOperator, ErrNoDelay, ErrMagnitude, ErrOtherSlash.
func (s *Service) Allocate(ctx context.Context, sender *onchain.Sender, share uint64) error {
	if share > whole {
		return ErrMagnitude.With("%d of %d", share, whole)
	}
	if share > 0 {
		if err := s.ours(ctx, onchain.Latest); err != nil {
			return err
		}
	}
	operator := sender.From()
	values, err := s.allocation.Read(ctx, onchain.Latest, "getAllocationDelay", operator)
	if err != nil {
		return err
	}
	if set, _ := values[0].(bool); !set {
		is, err := s.flag(ctx, s.delegation, onchain.Latest, "isOperator", operator)
		if err == nil && !is {
			return ErrNotOperator.With("%s", operator)
		}
		return ErrNoDelay.With("it takes the core's configuration delay from the operator's registration on")
	}
	params := eigenlayer.AllocateParams{OperatorSet: s.set()}
	for _, strategy := range s.Strategies {
		a, err := s.allocated(ctx, operator, strategy, onchain.Latest)
		if err != nil {
			return err
		}
		magnitude, err := s.magnitude(ctx, operator, strategy, share)
		if err != nil {
			return err
		}
		if a.target() != magnitude {
			params.Strategies, params.NewMagnitudes = append(params.Strategies, strategy), append(params.NewMagnitudes, magnitude)
		}
	}
	if len(params.Strategies) == 0 {
		return nil
	}
	input, err := s.allocation.ABI.Pack("modifyAllocations", operator, []eigenlayer.AllocateParams{params})
	if err != nil {
		return err
	}
	name := "allocate:" + new(big.Int).SetUint64(share).String()
	return s.do(ctx, sender, name, s.allocation.At, input, func(ctx context.Context, at string) (bool, error) {
		for i, strategy := range params.Strategies {
			if a, err := s.allocated(ctx, operator, strategy, at); err != nil || a.target() != params.NewMagnitudes[i] {
				return false, err
			}
		}
		return true, nil
	})
}

// magnitude is a share of what the operator has in a strategy: a slash takes a
// part of the whole away for good. [EigenLayer: maxMagnitude]
func (s *Service) magnitude(ctx context.Context, operator, strategy common.Address, share uint64) (uint64, error) {
	values, err := s.allocation.Read(ctx, onchain.Latest, "getMaxMagnitude", operator, strategy)
	if err != nil {
		return 0, err
	}
	most, ok := values[0].(uint64)
	if !ok || most > whole {
		return 0, onchain.ErrNoContract.With("getMaxMagnitude at %s", s.allocation.At)
	}
	n := new(big.Int).SetUint64(share)
	return n.Mul(n, new(big.Int).SetUint64(most)).Div(n, new(big.Int).SetUint64(whole)).Uint64(), nil
}

// Exit leaves the set and takes the allocation back. Both can be slashed until
// the core's delay is over. Faults: those of onchain.Sender.Do.
func (s *Service) Exit(ctx context.Context, sender *onchain.Sender) error {
	operator := sender.From()
	member, err := s.member(ctx, operator, onchain.Latest)
	if err != nil {
		return err
	}
	if member {
		input, err := s.allocation.ABI.Pack("deregisterFromOperatorSets", eigenlayer.DeregisterParams{
			Operator: operator, Avs: s.Manager.At, OperatorSetIds: []uint32{0},
		})
		if err != nil {
			return err
		}
		if err := s.do(ctx, sender, "leave", s.allocation.At, input, func(ctx context.Context, at string) (bool, error) {
			member, err := s.member(ctx, operator, at)
			return !member, err
		}); err != nil {
			return err
		}
	}
	return s.Allocate(ctx, sender, 0)
}

// do brings one action about for this manager and account.
func (s *Service) do(ctx context.Context, sender *onchain.Sender, name string, to common.Address, input []byte, done func(context.Context, string) (bool, error)) error {
	_, err := sender.Do(ctx, onchain.Action{Name: "avs:" + s.Manager.At.Hex() + ":" + name, To: to, Input: input, Done: done})
	return err
}
