package slashing

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/contracts/bindings"
	"sidecar/internal/beacon"
	"sidecar/internal/bls"
	"sidecar/internal/execution"
	"sidecar/internal/ledger"
	"sidecar/internal/simnet"
	"sidecar/modules"
	"sidecar/modules/inclusion"
	"sidecar/signer"
	"sidecar/slashing/evidence"
)

// trial is an auditor beside a whole chain: real geth, a real Beacon API, real
// keys, a real ledger. Between it and geth is a relay of JSON-RPC with knobs.
type trial struct {
	*testing.T
	ctx      context.Context
	net      *simnet.Net
	ledger   *ledger.Ledger
	delegate *bls.SecretKey
	relay    *rpcRelay
	audit    *Auditor
	dir      string
	log      *syncBuffer

	verifier, slasher common.Address // on the chain, once deployed
}

// rpcRelay passes JSON-RPC on; its knobs make an old node of a good one.
type rpcRelay struct {
	*httptest.Server
	to string

	mu     sync.Mutex
	pruned bool   // eth_getProof fails as geth's does
	head   string // what "latest" is; empty: the latest
}

func (r *rpcRelay) set(turn func(*rpcRelay)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	turn(r)
}

func (r *rpcRelay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(req.Body, 1<<20))
	r.mu.Lock()
	pruned, head := r.pruned, r.head
	r.mu.Unlock()
	if pruned && bytes.Contains(body, []byte("eth_getProof")) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"historical state 00 is not available"}}`)
		return
	}
	if head != "" {
		body = bytes.ReplaceAll(body, []byte(`"latest"`), []byte(`"`+head+`"`))
	}
	res, err := http.Post(r.to, "application/json", bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.Copy(w, res.Body)
}

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newTrial(t *testing.T) *trial {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	n, err := simnet.Start(ctx, simnet.Options{
		Seed: t.Name(), SlotDuration: time.Second, SlotsPerEpoch: 3, Accounts: 12, Relays: []simnet.RelayOptions{}, Builders: []simnet.BuilderOptions{},
	})
	t.Cleanup(cancel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Stop() })
	c := &trial{T: t, ctx: ctx, net: n, dir: t.TempDir(), log: &syncBuffer{}, relay: &rpcRelay{to: n.Execution.URL}}
	c.relay.Server = httptest.NewServer(c.relay)
	t.Cleanup(c.relay.Close)
	secret := [32]byte{31: 77}
	if c.delegate, err = bls.ParseSecretKey(secret[:]); err != nil {
		t.Fatal(err)
	}
	c.open()
	c.start()
	return c
}

func (c *trial) open() {
	c.Helper()
	book := ledger.Config{
		Path: filepath.Join(c.TempDir(), "ledger.db"), Network: c.net.Spec.Name, GenesisForkVersion: c.net.Spec.GenesisForkVersion, Clock: c.net.Clock, NewKeys: true,
	}
	if err := ledger.Create(book); err != nil {
		c.Fatal(err)
	}
	l, err := ledger.Open(book)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = l.Close() })
	c.ledger = l
}

// start runs an auditor with the real module over real clients.
func (c *trial) start() {
	c.Helper()
	el, err := execution.New(execution.Config{URL: c.relay.URL, Spec: c.net.Spec, Clock: c.net.Clock})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(el.Close)
	cl, err := beacon.New(beacon.Config{URL: c.net.Beacon.URL, Spec: c.net.Spec, Clock: c.net.Clock})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(cl.Close)
	module, err := inclusion.New(modules.Host{ID: "INCLUSION", Spec: c.net.Spec, State: el}, nil)
	if err != nil {
		c.Fatal(err)
	}
	c.audit, err = New(Config{
		Clock: c.net.Clock, Spec: c.net.Spec, Book: c.ledger, Signer: &signer.Signer{Ledger: c.ledger}, Module: module, Beacon: cl, Execution: el,
		After: 1, Store: NewStore(c.dir), Log: slog.New(slog.NewTextHandler(c.log, nil)),
	})
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = c.audit.Run(ctx) }()
	c.Cleanup(func() { cancel(); <-done })
}

// transfer is a signed transfer of a funded account.
func (c *trial) transfer(account int, nonce, wei uint64) []byte {
	c.Helper()
	return c.sign(c.net.Accounts[account].Key, &types.DynamicFeeTx{
		Nonce: nonce, GasTipCap: big.NewInt(2e9), GasFeeCap: big.NewInt(100e9), Gas: 21_000, To: &common.Address{0xbe}, Value: new(big.Int).SetUint64(wei),
	})
}

func (c *trial) sign(key *ecdsa.PrivateKey, tx *types.DynamicFeeTx) []byte {
	c.Helper()
	tx.ChainID = new(big.Int).SetUint64(c.net.Spec.ChainID)
	signed, err := types.SignNewTx(key, types.LatestSignerForChainID(tx.ChainID), tx)
	if err != nil {
		c.Fatal(err)
	}
	raw, err := signed.MarshalBinary()
	if err != nil {
		c.Fatal(err)
	}
	return raw
}

// send puts a transaction into geth's pool, from where it comes into the next block.
func (c *trial) send(raw []byte) {
	c.Helper()
	var tx types.Transaction
	if err := errors.Join(tx.UnmarshalBinary(raw), c.net.Execution.Send(c.ctx, &tx)); err != nil {
		c.Fatal(err)
	}
}

var trialSigningID = phase0.Root{0x5c}

// promise writes a promise of type "incl", and the slot's delegation, into the
// ledger, signed by the keys that would.
func (c *trial) promise(slot phase0.Slot, raw []byte) phase0.Hash32 {
	c.Helper()
	who := c.net.ProposerOf(slot)
	id := commitments.PageID{Slot: slot, Proposer: who.Pubkey}
	sign := func(k *bls.SecretKey, object phase0.Root, nonce uint64) []byte {
		s := k.Sign(commitments.SigningRoot(c.net.Spec.Domain(chain.DomainCommitBoost), c.net.Spec.ChainID, object, trialSigningID, nonce))
		return s[:]
	}
	write := func(e ledger.Entry, ink ledger.Ink) {
		r, err := c.ledger.Append(c.ctx, id, func(commitments.View) (ledger.Entry, error) { return e, nil })
		if err == nil && len(r.Signature) == 0 {
			_, err = c.ledger.Seal(c.ctx, r, ink)
		}
		if err != nil {
			c.Fatal(err)
		}
	}
	d := commitments.Delegation{Proposer: who.Pubkey, Delegate: c.delegate.PublicKey(), Committer: bellatrix.ExecutionAddress{0xc0}, Slot: slot}
	object, err := d.Root()
	if err != nil {
		c.Fatal(err)
	}
	write(ledger.Entry{
		Kind: ledger.KindDelegation, Module: "gateway", Key: commitments.BLSKey(who.Pubkey), Root: object, Nonce: 1, SigningID: trialSigningID,
		Resources: []string{commitments.ResourceDelegation(slot, who.Pubkey)}, Delegation: &d,
	}, ledger.Ink{Signature: sign(who.Key, object, 1)})
	req := commitments.Request{Type: commitments.TypeProvableInclusion, Payload: commitments.EncodeProvableInclusion(slot, who.Index, raw)}
	draft := commitments.Commitment{Type: req.Type, Payload: req.Payload, RequestHash: req.Hash(), Slasher: bellatrix.ExecutionAddress(c.slasher)}
	// The delegate signs a group of two; the committer's signature no contract of
	// ours looks at.
	group, branches := commitments.Group([]phase0.Root{draft.Root(), {1}})
	proxy := commitments.ProxySignature{Signature: phase0.BLSSignature(sign(c.delegate, group, 7)), Nonce: 7, Branch: branches[0]}
	write(ledger.Entry{
		Kind: ledger.KindCommitment, Module: "INCLUSION", Key: commitments.ECDSAKey(d.Committer), Delegate: d.Delegate, Root: draft.Root(), Nonce: 7, SigningID: trialSigningID,
		Resources: []string{req.Hash().String()}, Draft: &commitments.Draft{Commitment: draft},
	}, ledger.Ink{Signature: make([]byte, 65), Proxy: proxy})
	return req.Hash()
}

// lastSlot is where the deployed verifier's knowledge of forks ends.
const lastSlot = 1 << 30

// deploy puts a verifier on the chain, and a slasher that names it.
func (c *trial) deploy() {
	c.Helper()
	from := c.net.Accounts[11]
	create := func(nonce uint64, contract string, arguments ...any) common.Address {
		k, err := bindings.Load(contract)
		if err != nil {
			c.Fatal(err)
		}
		input, err := k.Deploy(arguments...)
		if err != nil {
			c.Fatal(err)
		}
		c.send(c.sign(from.Key, &types.DynamicFeeTx{Nonce: nonce, GasTipCap: big.NewInt(2e9), GasFeeCap: big.NewInt(100e9), Gas: 5_000_000, Data: input}))
		return crypto.CreateAddress(from.Address, nonce)
	}
	c.verifier = create(0, bindings.FaultVerifier, bindings.VerifierConfig{
		GenesisTime: uint64(c.net.Spec.GenesisTime.Unix()), SlotMillis: uint64(c.net.Spec.SlotDuration.Milliseconds()), FirstSlot: 1, EndSlot: lastSlot,
		SigningDomain: c.net.Spec.Domain(chain.DomainCommitBoost), SigningId: trialSigningID,
	})
	c.slasher = create(1, bindings.UrcInclusionSlasher, common.Address{1}, c.verifier, big.NewInt(1))
	for {
		if nonce, _, err := c.net.Execution.Account(from.Address, c.net.Execution.Head()); err == nil && nonce == 2 {
			return
		}
		if c.ctx.Err() != nil {
			c.Fatal("the contracts are not on the chain")
		}
		c.next()
	}
}

// onChain wants the contract's word on a file, by eth_call.
func (c *trial) onChain(f evidence.File, want evidence.Fault) {
	c.Helper()
	input, err := bindings.Judge(f)
	if err != nil {
		c.Fatal(err)
	}
	el, err := execution.New(execution.Config{URL: c.net.Execution.URL, Spec: c.net.Spec, Clock: c.net.Clock})
	if err != nil {
		c.Fatal(err)
	}
	defer el.Close()
	out, err := el.Call(c.ctx, c.verifier, input)
	if err != nil || len(out) != 96 || common.BytesToHash(out[:32]) != want.ID {
		c.Errorf("the contract says %x, %v, want fault %s", out, err, want.ID)
	}
}

// until waits for a verdict that reads so, and returns it.
func (c *trial) until(hash phase0.Hash32, want string) (v commitments.Verdict) {
	c.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if v, ok := c.audit.Result(hash); ok && strings.HasPrefix(said(v), want) {
			return v
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			v, ok := c.audit.Result(hash)
			c.Fatalf("got %q (%t), want %q\n%s", said(v), ok, want, c.log)
		}
	}
}

// history is all the ledger ever had on a promise.
func (c *trial) history(hash phase0.Hash32) (all []string) {
	_ = c.ledger.Records(func(r ledger.Record) error {
		if r.Entry != nil && r.Entry.Verdict != nil && r.Entry.Verdict.RequestHash == hash {
			all = append(all, said(*r.Entry.Verdict))
		}
		return nil
	})
	return all
}

// next waits for the beginning of the next slot and returns the one after it.
func (c *trial) next() phase0.Slot {
	c.Helper()
	slot := c.net.Clock.Slot() + 1
	if err := c.net.WaitSlot(c.ctx, slot); err != nil {
		c.Fatal(err)
	}
	return slot + 1
}

// evidenceFiles are the files kept, by kind.
func (c *trial) evidenceFiles() (files []evidence.File) {
	c.Helper()
	paths, _ := filepath.Glob(filepath.Join(c.dir, "evidence", "*.json"))
	for _, path := range paths {
		text, err := os.ReadFile(path) // #nosec G304 -- a test's own
		if err != nil {
			c.Fatal(err)
		}
		f, err := evidence.Parse(text)
		if err != nil {
			c.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}
