package restake

import (
	"bytes"
	"context"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// game is a call of a slasher that decides by challenge and silence.
type game struct {
	selector []byte
	what     string
}

func selector(signature string) []byte { return crypto.Keccak256([]byte(signature))[:4] }

// games are the published contracts in which whoever does not answer is guilty:
// the challenge stays open longer than the chain remembers the hashes the answer
// needs, so that an honest validator can lose. [URC: InclusionPreconfSlasher;
// Bolt: BoltChallengerV1]
var games = []game{
	{common.FromHex("0xccfa336f"), "createChallenge of the registry's example slasher"},
	{common.FromHex("0x6ef8d437"), "proveChallengeFraudulent of the registry's example slasher"},
	{selector("resolveExpiredChallenge(bytes32)"), "resolveExpiredChallenge of Bolt's challenger"},
	{selector("openChallenge((uint64,bytes,bytes)[])"), "openChallenge of Bolt's challenger"},
}

// Undefendable names the challenge game whose call a contract's code dispatches,
// "" for none known. It finds what is published, and nothing that hides.
func Undefendable(code []byte) string {
	const push4 = 0x63
	for _, g := range games {
		if bytes.Contains(code, append([]byte{push4}, g.selector...)) {
			return g.what
		}
	}
	return ""
}

// judgeSlasher says what is known of a slasher.
func (s *Service) judgeSlasher(ctx context.Context, at common.Address, name string, say func(string, ...any)) error {
	if at == s.Manager.At {
		return nil
	}
	code, err := s.Manager.Node.Code(ctx, at)
	if err != nil {
		return err
	}
	// What a proxy does is in the code of another.
	behind, fixed, err := s.behind(ctx, at, code)
	if err != nil {
		return err
	}
	if behind != (common.Address{}) {
		if code, err = s.Manager.Node.Code(ctx, behind); err != nil {
			return err
		}
		if !fixed {
			say("%s: a proxy of %s: whoever may upgrade it can make it slash at will", name, behind)
		}
	}
	switch what := Undefendable(code); {
	case len(code) == 0:
		say("%s: an account without code: whoever has its key slashes at will", name)
	case what != "":
		say("%s: cannot be defended: it has %s, a game in which silence is guilt and an honest answer can come too late", name, what)
	}
	return nil
}

// implementation is where an upgradeable proxy keeps what it is a proxy of. [EIP-1967]
var implementation = common.HexToHash("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc")

// minimal is the code of a proxy of one contract for ever, before its address and
// after it. [EIP-1167]
var minimal = [2][]byte{common.FromHex("0x363d3d373d3d3d363d73"), common.FromHex("0x5af43d82803e903d91602b57fd5bf3")}

// behind is the contract that another is a proxy of, zero if it is none, and
// whether that is so for ever.
func (s *Service) behind(ctx context.Context, at common.Address, code []byte) (to common.Address, fixed bool, err error) {
	if address, ok := bytes.CutPrefix(code, minimal[0]); ok && len(address) == len(to)+len(minimal[1]) && bytes.HasSuffix(address, minimal[1]) {
		return common.Address(address[:len(to)]), true, nil
	}
	if len(code) == 0 {
		return to, false, nil
	}
	word, err := s.Manager.Node.Storage(ctx, at, implementation)
	return common.BytesToAddress(word[:]), false, err
}
