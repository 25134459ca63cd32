package app

import (
	"context"
	"log/slog"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/config"
)

// Possession is a validator key's signature that it joins an operator.
type Possession struct {
	Pubkey    phase0.BLSPubKey
	Nonce     uint64
	Signature phase0.BLSSignature
}

// ProvePossession has every validator's key that the file names, or those of
// only, sign an object as the module with a signing id: that they join an
// operator at a service manager. It contradicts nothing that is ever promised,
// so no ledger is asked. Faults: those of the keystore.
func ProvePossession(ctx context.Context, c *config.Config, object, signingID phase0.Root, nonce uint64, only []phase0.BLSPubKey) (all []Possession, err error) {
	spec := c.Chain()
	holders, err := openHolders(ctx, c, chain.NewClock(spec, nil), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer holders.Close()
	m := commitments.Message{
		Object: commitments.ModuleObject(spec.ChainID, object, signingID, nonce), Domain: spec.Domain(chain.DomainCommitBoost),
	}
	for _, key := range holders.Consensus() {
		if len(only) > 0 && !slices.Contains(only, key) {
			continue
		}
		sig, err := holders.Sign(ctx, commitments.BLSKey(key), m)
		if err != nil {
			return nil, err
		}
		p := Possession{Pubkey: key, Nonce: nonce}
		copy(p.Signature[:], sig)
		all = append(all, p)
	}
	return all, nil
}
