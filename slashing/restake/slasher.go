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
	switch what := Undefendable(code); {
	case len(code) == 0:
		say("%s: an account without code: whoever has its key slashes at will", name)
	case what != "":
		say("%s: cannot be defended: it has %s, a game in which silence is guilt and an honest answer can come too late", name, what)
	}
	return nil
}
