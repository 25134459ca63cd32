package restake

import (
	"context"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"

	"sidecar/contracts/eigenlayer"
	"sidecar/slashing/onchain"
)

// Status is what is at stake in the state after one block.
type Status struct {
	Block     uint64         `json:"block"`
	BlockHash common.Hash    `json:"block_hash"`
	Time      uint64         `json:"time"` // Unix seconds
	Manager   common.Address `json:"manager"`
	Operator  common.Address `json:"operator"`

	IsOperator bool `json:"is_operator"`
	Member     bool `json:"member"`
	Slashable  bool `json:"slashable"` // also for a while after it left

	Stakes   []Stake  `json:"stakes"`
	Keys     []Key    `json:"keys,omitempty"`
	Terms    Terms    `json:"terms"`
	Warnings []string `json:"warnings"`
}

// Stake is an operator's in one strategy. Amounts are shares.
type Stake struct {
	Strategy  common.Address `json:"strategy"`
	Shares    onchain.Amount `json:"shares"`    // delegated to the operator
	Leaving   onchain.Amount `json:"leaving"`   // in the queue of withdrawals, slashable
	Allocated onchain.Amount `json:"allocated"` // behind the set
	AtStake   onchain.Amount `json:"at_stake"`  // of that, what can be slashed now
	// Magnitude is the share that is behind the set now, and what it will be
	// from EffectBlock on; of 1e18.
	Magnitude   uint64 `json:"magnitude"`
	Becomes     uint64 `json:"becomes"`
	EffectBlock uint32 `json:"effect_block,omitempty"`
}

// Key is a validator's, in the manager.
type Key struct {
	ID       common.Hash    `json:"validator"`
	Operator common.Address `json:"operator"`
	Since    uint64         `json:"since"`           // slot
	Until    uint64         `json:"until,omitempty"` // slot; 0: no end
}

// Terms are what the manager was made with.
type Terms struct {
	AbsentWad    onchain.Amount `json:"absent_wad"` // of 1e18 of the allocation, for F1
	DoubleWad    onchain.Amount `json:"double_wad"` // for F2
	DailyWad     onchain.Amount `json:"daily_wad"`
	DelaySeconds uint64         `json:"delay_seconds"`
	Guardian     common.Address `json:"guardian"`
	Paused       bool           `json:"paused"`
	EndSlot      uint64         `json:"end_slot"` // the first the verifier does not judge
	GoesTo       common.Address `json:"goes_to"`  // where slashed stake goes
	Pays         bool           `json:"pays"`     // that is somebody, who gains by it
	ExitBlocks   uint32         `json:"exit_blocks"`
}

// Status reads it all at one block: "finalized", "latest" or a number. Other
// slashers to look at may be named. Faults: onchain.ErrNode, ErrRefused,
// ErrReverted, ErrNoContract.
func (s *Service) Status(ctx context.Context, operator common.Address, at string, keys []common.Hash, slashers []common.Address) (*Status, error) {
	head, err := s.Manager.Node.Block(ctx, at)
	if err != nil {
		return nil, err
	}
	at = onchain.AtBlock(head.Number) // one block for every question
	st := &Status{
		Block: head.Number, BlockHash: head.Hash, Time: head.Time, Manager: s.Manager.At, Operator: operator, Warnings: []string{},
	}
	for into, ask := range map[*bool]func() (bool, error){
		&st.IsOperator: func() (bool, error) { return s.flag(ctx, s.delegation, at, "isOperator", operator) },
		&st.Member:     func() (bool, error) { return s.member(ctx, operator, at) },
		&st.Slashable:  func() (bool, error) { return s.flag(ctx, s.allocation, at, "isOperatorSlashable", operator, s.set()) },
	} {
		if *into, err = ask(); err != nil {
			return nil, err
		}
	}
	for _, strategy := range s.Strategies {
		stake, err := s.stake(ctx, operator, strategy, at, head.Number)
		if err != nil {
			return nil, err
		}
		st.Stakes = append(st.Stakes, stake)
	}
	for _, id := range keys {
		k, err := s.key(ctx, id, at)
		if err != nil {
			return nil, err
		}
		st.Keys = append(st.Keys, k)
	}
	if st.Terms, err = s.terms(ctx, at); err != nil {
		return nil, err
	}
	return st, s.warn(ctx, st, at, slashers)
}

// allocation is the core's tuple, with what it will be.
type allocated struct{ eigenlayer.Allocation }

func (a allocated) target() uint64 {
	sum := new(big.Int).SetUint64(a.CurrentMagnitude)
	if a.PendingDiff != nil {
		sum.Add(sum, a.PendingDiff)
	}
	if !sum.IsUint64() {
		return 0 // less than nothing, which no honest core says
	}
	return sum.Uint64()
}

func (s *Service) allocated(ctx context.Context, operator, strategy common.Address, at string) (a allocated, err error) {
	values, err := s.allocation.Read(ctx, at, "getAllocation", operator, s.set(), strategy)
	if err != nil {
		return a, err
	}
	a.Allocation = *abi.ConvertType(values[0], new(eigenlayer.Allocation)).(*eigenlayer.Allocation)
	return a, nil
}

func (s *Service) amount(ctx context.Context, c onchain.Contract, at, method string, arguments ...any) (onchain.Amount, error) {
	values, err := c.Read(ctx, at, method, arguments...)
	if err != nil {
		return onchain.Amount{}, err
	}
	switch v := values[0].(type) {
	case *big.Int:
		return onchain.Amount{Int: v}, nil
	case [][]*big.Int: // by operator and strategy: we ask about one of each
		if len(v) == 1 && len(v[0]) == 1 {
			return onchain.Amount{Int: v[0][0]}, nil
		}
	}
	return onchain.Amount{}, onchain.ErrNoContract.With("%s at %s answers no amount", method, c.At)
}

func (s *Service) stake(ctx context.Context, operator, strategy common.Address, at string, number uint64) (st Stake, err error) {
	st.Strategy = strategy
	a, err := s.allocated(ctx, operator, strategy, at)
	if err != nil {
		return st, err
	}
	st.Magnitude, st.Becomes, st.EffectBlock = a.CurrentMagnitude, a.target(), a.EffectBlock
	one, which := []common.Address{operator}, []common.Address{strategy}
	for into, ask := range map[*onchain.Amount]func() (onchain.Amount, error){
		&st.Shares: func() (onchain.Amount, error) {
			return s.amount(ctx, s.delegation, at, "operatorShares", operator, strategy)
		},
		&st.Leaving: func() (onchain.Amount, error) {
			return s.amount(ctx, s.delegation, at, "getSlashableSharesInQueue", operator, strategy)
		},
		&st.Allocated: func() (onchain.Amount, error) {
			return s.amount(ctx, s.allocation, at, "getAllocatedStake", s.set(), one, which)
		},
		&st.AtStake: func() (onchain.Amount, error) {
			return s.amount(ctx, s.allocation, at, "getMinimumSlashableStake", s.set(), one, which, uint32(number)) // #nosec G115 -- block numbers of this century
		},
	} {
		if *into, err = ask(); err != nil {
			return st, err
		}
	}
	return st, nil
}

func (s *Service) key(ctx context.Context, id common.Hash, at string) (k Key, err error) {
	values, err := s.Manager.Read(ctx, at, "validators", [32]byte(id))
	if err != nil {
		return k, err
	}
	k.ID = id
	k.Operator, _ = values[0].(common.Address)
	k.Since, _ = values[2].(uint64)
	k.Until, _ = values[3].(uint64)
	term, _ := values[1].(uint64)
	left, err := s.Manager.Read(ctx, at, "termEnds", k.Operator, term)
	if err != nil {
		return k, err
	}
	if end, _ := left[0].(uint64); end != 0 && (k.Until == 0 || end < k.Until) {
		k.Until = end
	}
	return k, nil
}

func (s *Service) terms(ctx context.Context, at string) (t Terms, err error) {
	m := s.Manager.Contract
	for into, method := range map[*onchain.Amount]string{&t.AbsentWad: "absentWad", &t.DoubleWad: "doubleWad", &t.DailyWad: "dailyWad"} {
		if *into, err = s.amount(ctx, m, at, method); err != nil {
			return t, err
		}
	}
	t.EndSlot = s.Rules.EndSlot
	for method, take := range map[string]func(any){
		"delay":    func(v any) { t.DelaySeconds, _ = v.(uint64) },
		"guardian": func(v any) { t.Guardian, _ = v.(common.Address) },
		"paused":   func(v any) { t.Paused, _ = v.(bool) },
	} {
		values, err := m.Read(ctx, at, method)
		if err != nil {
			return t, err
		}
		take(values[0])
	}
	if t.GoesTo, t.Pays, err = s.recipient(ctx, at); err != nil {
		return t, err
	}
	values, err := s.allocation.Read(ctx, at, "DEALLOCATION_DELAY")
	if err != nil {
		return t, err
	}
	t.ExitBlocks, _ = values[0].(uint32)
	return t, nil
}

// warn says what an operator should look at.
func (s *Service) warn(ctx context.Context, st *Status, at string, slashers []common.Address) error {
	say := func(format string, arguments ...any) {
		st.Warnings = append(st.Warnings, fmt.Sprintf(format, arguments...))
	}
	if err := s.ours(ctx, at); err != nil {
		say("%s", err)
	}
	st.gains(say)
	if st.Terms.Paused {
		say("the guardian has paused execution: faults wait, and are not forgiven")
	}
	slot := (st.Time - min(st.Time, s.Rules.GenesisTime)) * 1000 / max(s.Rules.SlotMillis, 1)
	if week := 7 * 86_400_000 / max(s.Rules.SlotMillis, 1); slot+week >= st.Terms.EndSlot {
		say("the verifier judges no slot from %d on, the present one is %d: promises after it are not backed by stake", st.Terms.EndSlot, slot)
	}
	for _, stake := range st.Stakes {
		switch {
		case st.Member && stake.AtStake.Sign() == 0 && stake.Becomes == 0:
			say("strategy %s: nothing is allocated; promises are backed by nothing", stake.Strategy)
		case stake.Becomes != stake.Magnitude:
			say("strategy %s: the allocation changes from %d to %d at block %d", stake.Strategy, stake.Magnitude, stake.Becomes, stake.EffectBlock)
		}
	}
	if !st.Member && st.Slashable {
		say("the operator left; it can be slashed for up to %d blocks after that", st.Terms.ExitBlocks)
	}
	for _, at := range slashers {
		if err := s.judgeSlasher(ctx, at, fmt.Sprintf("slasher %s", at), say); err != nil {
			return err
		}
	}
	return s.others(ctx, st, at, say)
}

// others looks at the sets of other services that the operator has stake behind.
func (s *Service) others(ctx context.Context, st *Status, at string, say func(string, ...any)) error {
	values, err := s.allocation.Read(ctx, at, "getAllocatedSets", st.Operator)
	if err != nil {
		return err
	}
	sets := *abi.ConvertType(values[0], new([]eigenlayer.OperatorSet)).(*[]eigenlayer.OperatorSet)
	for _, set := range sets {
		if set == s.set() {
			continue
		}
		values, err := s.allocation.Read(ctx, at, "getSlasher", set)
		if err != nil {
			return err
		}
		slasher, _ := values[0].(common.Address)
		name := fmt.Sprintf("set %d of %s, slasher %s", set.Id, set.Avs, slasher)
		say("%s: this program does not know its rules; it can take what is allocated there", name)
		if err := s.judgeSlasher(ctx, slasher, name, say); err != nil {
			return err
		}
	}
	return nil
}
