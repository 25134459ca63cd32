package simnet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	builderv1 "github.com/attestantio/go-builder-client/api/v1"
	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// runRegistrar registers when the builder URL is set and at every epoch's
// start, as beacon nodes do; after a failure again in the next slot.
func (p *Proposer) runRegistrar(ctx context.Context) {
	clock := p.beacon.clock
	for {
		url, kicked := p.builder()
		next := clock.Start(phase0.Slot((uint64(p.beacon.spec.Epoch(clock.Slot())) + 1) * p.beacon.spec.SlotsPerEpoch))
		if url != "" {
			if err := p.register(ctx, url); err != nil && ctx.Err() == nil {
				p.log.Info("Registered nothing", "error", err)
				next = clock.Start(clock.Slot() + 1)
			}
		}
		timer := time.NewTimer(max(clock.Until(next), time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-kicked:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// register asks for the status and posts the registrations of all validators.
func (p *Proposer) register(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if status, _, _, err := exchange(ctx, p.client, http.MethodGet, url+"/eth/v1/builder/status", p.header(), nil); err != nil || status != http.StatusOK {
		p.log.Debug("Builder is not well", "status", status, "error", err) // no effect, as in Prysm
	}
	d := domain(chain.DomainBuilder, p.beacon.spec.GenesisForkVersion, phase0.Root{})
	all := &builderv1.SignedValidatorRegistrations{}
	for _, v := range p.beacon.validators {
		m := &builderv1.ValidatorRegistration{
			FeeRecipient: bellatrix.ExecutionAddress(v.FeeRecipient), GasLimit: gasLimit,
			Timestamp: time.Unix(p.beacon.clock.Now().Unix(), 0), Pubkey: v.Pubkey,
		}
		sig := v.Key.Sign(signingRoot(must(m.HashTreeRoot()), d))
		all.Registrations = append(all.Registrations, &builderv1.SignedValidatorRegistration{Message: m, Signature: sig})
	}
	h, body := p.header(), []byte(nil)
	var err error
	if p.opts.SSZ {
		h.Set("Content-Type", octets)
		body, err = all.MarshalSSZ()
	} else {
		h.Set("Content-Type", jsonType)
		body, err = json.Marshal(all.Registrations)
	}
	if err != nil {
		return err
	}
	status, _, answer, err := exchange(ctx, p.client, http.MethodPost, url+"/eth/v1/builder/validators", h, body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d: %.200s", status, answer)
	}
	return err
}
