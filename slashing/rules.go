package slashing

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/chain"
	"sidecar/fault"
	"sidecar/internal/execution"
	"sidecar/slashing/evidence"
)

// ErrRules is a contract that does not say what a FaultVerifier says.
var ErrRules = fault.Define("verifier_unreadable", fault.Upstream, "The contract a promise names as its slasher has no verifier whose rules can be read.")

// rulebook knows the rules of the contracts that promises name.
type rulebook struct {
	spec chain.Spec
	node interface {
		Call(ctx context.Context, to [20]byte, data []byte) ([]byte, error)
	}
	mu    sync.Mutex
	rules map[common.Address]evidence.Rules // of contracts that answered: they are immutable
}

// of returns the rules of a slasher's verifier, and whether the chain said so:
// without such a contract they are those that a verifier for this chain and
// signing id would be created with. Faults: those of the node, ErrRules.
func (r *rulebook) of(ctx context.Context, slasher common.Address, signingID common.Hash) (rules evidence.Rules, onChain bool, err error) {
	r.mu.Lock()
	rules, ok := r.rules[slasher]
	r.mu.Unlock()
	if ok {
		return rules, true, nil
	}
	out, err := r.node.Call(ctx, slasher, selector("verifier()"))
	switch {
	case errors.Is(err, execution.ErrRefused) || err == nil && len(out) == 0: // reverted, or no contract
		return usualRules(r.spec, signingID), false, nil
	case err != nil:
		return rules, false, err
	case len(out) != 32:
		return rules, false, ErrRules.With("%d bytes for verifier()", len(out))
	}
	if rules, err = r.read(ctx, common.BytesToAddress(out)); err != nil {
		return rules, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rules == nil || len(r.rules) >= 64 {
		r.rules = map[common.Address]evidence.Rules{}
	}
	r.rules[slasher] = rules
	return rules, true, nil
}

// read asks a FaultVerifier for its configuration.
func (r *rulebook) read(ctx context.Context, verifier common.Address) (rules evidence.Rules, err error) {
	word := func(method string) (w common.Hash) {
		if err != nil {
			return w
		}
		var out []byte
		if out, err = r.node.Call(ctx, verifier, selector(method)); err == nil && len(out) != len(w) {
			err = ErrRules.With("%d bytes for %s", len(out), method)
		}
		if errors.Is(err, execution.ErrRefused) {
			err = ErrRules.Wrap(err)
		}
		return common.BytesToHash(out)
	}
	number := func(method string) uint64 { w := word(method); return binary.BigEndian.Uint64(w[24:]) }
	rules = evidence.Rules{
		ChainID: number("chainId()"), GenesisTime: number("genesisTime()"), SlotMillis: number("slotMillis()"),
		FirstSlot: number("firstSlot()"), EndSlot: number("endSlot()"), SigningDomain: word("signingDomain()"), SigningID: word("signingId()"),
	}
	return rules, err
}

// usualRules are those of a verifier for this chain: it knows the forks from
// Deneb to the one before Gloas, which changes what a proof shows.
func usualRules(spec chain.Spec, signingID common.Hash) evidence.Rules {
	const noEnd = 1<<40 - 1 // the contract's callers keep slots in 40 bits
	rules := evidence.Rules{
		ChainID: spec.ChainID, GenesisTime: uint64(spec.GenesisTime.Unix()), SlotMillis: uint64(spec.SlotDuration.Milliseconds()), // #nosec G115 -- after 1970, positive
		EndSlot: noEnd, SigningDomain: common.Hash(spec.Domain(chain.DomainCommitBoost)), SigningID: signingID,
	}
	for _, f := range spec.Forks {
		first := min(uint64(f.Epoch), noEnd/spec.SlotsPerEpoch)*spec.SlotsPerEpoch + f.Within
		switch {
		case f.Fork == chain.Deneb:
			rules.FirstSlot = first
		case f.Fork > chain.Fulu:
			rules.EndSlot = min(rules.EndSlot, first)
		}
	}
	return rules
}

func selector(method string) []byte { return crypto.Keccak256([]byte(method))[:4] }
