package devnet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/commitments"
	"sidecar/internal/ecdsa"
	"sidecar/slashing/evidence"
	"sidecar/slashing/onchain"
)

// Request asks for a place in a slot that the manager's stake backs.
func (s *Stake) Request(slot phase0.Slot, tx *types.Transaction) (commitments.Request, error) {
	raw, err := tx.MarshalBinary()
	return commitments.Request{
		Type:    commitments.TypeProvableInclusion,
		Payload: commitments.EncodeProvableInclusion(slot, s.net.ProposerOf(slot).Index, raw), Slasher: bellatrix.ExecutionAddress(s.Manager),
	}, err
}

// Evidence waits for the file that the sidecar's auditor keeps of a broken
// promise for a slot, under its directory of data.
func (s *Stake) Evidence(ctx context.Context, data string, slot phase0.Slot) (path string, f evidence.File, err error) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		names, err := filepath.Glob(filepath.Join(data, "audit", "evidence", "*.json"))
		if err != nil {
			return "", f, err
		}
		for _, name := range names {
			text, err := os.ReadFile(name) // #nosec G304 -- our own directory
			if err != nil {
				continue // it may be replaced just now
			}
			if f, err := evidence.Parse(text); err == nil && uint64(f.Delegation.Message.Slot) == uint64(slot) {
				return name, f, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", f, fmt.Errorf("wait for evidence of slot %d: %w", slot, ctx.Err())
		}
	}
}

// Prove has a file's fault slashed and burnt by the prover's account, as
// `sidecar prove --burn` does, with its journal in a directory.
func (s *Stake) Prove(ctx context.Context, f evidence.File, dir string, report func(onchain.Event)) (r *onchain.Result, err error) {
	n, err := onchain.NewNode(s.net.Execution.URL)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	key, err := ecdsa.ParseSecretKey(crypto.FromECDSA(s.Prover.Key))
	if err != nil {
		return nil, err
	}
	journal, err := onchain.OpenJournal(filepath.Join(dir, "prover.journal"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, journal.Close()) }()
	sender, err := onchain.NewSender(ctx, onchain.SenderConfig{
		Node: n, Key: key, Journal: journal, ChainID: s.net.Spec.ChainID, Confirmations: 2, Poll: 200 * time.Millisecond, Report: report,
	})
	if err != nil {
		return nil, err
	}
	p := &onchain.Prover{Node: n, Sender: sender}
	if r, err = p.Run(ctx, f); err != nil {
		return r, err
	}
	return r, p.Burn(ctx, r)
}
