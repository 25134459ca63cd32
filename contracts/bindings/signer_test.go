package bindings

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
	"sidecar/internal/ledger"
	"sidecar/signer"
	"sidecar/slashing/evidence"
)

// desk is the sidecar's own signer, over a real ledger, with published keys: the
// sender's also is the committer's.
type desk struct {
	*signer.Signer
	book      *ledger.Ledger
	bls       map[phase0.BLSPubKey]*bls.SecretKey
	committer *ecdsa.SecretKey
	delegate  phase0.BLSPubKey
	id        commitments.PageID
	spec      chain.Spec
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{bls: map[phase0.BLSPubKey]*bls.SecretKey{}}
	d.spec, _ = chain.Named("hoodi")
	validator, delegate := secret(t, validatorSecret), secret(t, delegateSecret)
	d.delegate, d.id = delegate.PublicKey(), commitments.PageID{Slot: storySlot, Proposer: validator.PublicKey()}
	d.bls[d.delegate], d.bls[d.id.Proposer] = delegate, validator
	var err error
	if d.committer, err = ecdsa.ParseSecretKey(common.FromHex(senderSecret)); err != nil {
		t.Fatal(err)
	}
	clock := chain.NewClock(d.spec, func() time.Time { return d.spec.GenesisTime.Add((storySlot - 3) * d.spec.SlotDuration) })
	c := ledger.Config{Path: filepath.Join(t.TempDir(), "ledger.db"), Network: d.spec.Name, GenesisForkVersion: d.spec.GenesisForkVersion, Clock: clock, NewKeys: true}
	if err := ledger.Create(c); err != nil {
		t.Fatal(err)
	}
	if d.book, err = ledger.Open(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.book.Close() })
	d.Signer = &signer.Signer{Ledger: d.book, Keys: keyring{d}, Policy: everything{}, Message: signer.MessageOf(d.spec), Clock: clock}
	return d
}

type everything struct{}

func (everything) Allows(string, ledger.Kind, commitments.Key) bool { return true }

type keyring struct{ *desk }

func (k keyring) Sign(_ context.Context, key commitments.Key, m commitments.Message) ([]byte, error) {
	if key.IsECDSA() {
		sig, err := k.committer.Sign(m.Root())
		return sig[:], err
	}
	sig := k.bls[key.BLS].Sign(m.Root())
	return sig[:], nil
}

// sign takes the one road with an entry whose root is filled in.
func (d *desk) sign(t testing.TB, e ledger.Entry) ledger.Receipt {
	m, err := d.Message(e)
	if err != nil {
		t.Error(err)
		return ledger.Receipt{}
	}
	e.Module, e.Root = "inclusion", m.Root()
	r, err := d.Sign(t.Context(), d.id, func(commitments.View) (ledger.Entry, error) { return e, nil })
	if err != nil {
		t.Error(err)
	}
	return r
}

func (d *desk) delegation(t testing.TB) commitments.SignedDelegation {
	t.Helper()
	msg := commitments.Delegation{Proposer: d.id.Proposer, Delegate: d.delegate, Committer: d.committer.Address(), Slot: d.id.Slot}
	r := d.sign(t, ledger.Entry{Kind: ledger.KindDelegation, Key: commitments.BLSKey(d.id.Proposer), Nonce: storySlot, SigningID: signingID, Delegation: &msg})
	return commitments.SignedDelegation{Message: msg, Nonce: storySlot, SigningID: signingID, Signature: phase0.BLSSignature(r.Signature)}
}

// promise has a request answered under the given nonce.
func (d *desk) promise(t testing.TB, r commitments.Request, nonce uint64) commitments.SignedCommitment {
	c := commitments.Commitment{Type: r.Type, Payload: r.Payload, RequestHash: r.Hash(), Slasher: r.Slasher}
	got := d.sign(t, ledger.Entry{
		Kind: ledger.KindCommitment, Key: commitments.ECDSAKey(d.committer.Address()), Delegate: d.delegate, Nonce: nonce, SigningID: signingID,
		Draft: &commitments.Draft{Commitment: c},
	})
	return commitments.SignedCommitment{Commitment: c, Nonce: nonce, SigningID: signingID, Signature: got.Signature, Proxy: got.Proxy}
}

// together has requests answered as one group, in their order.
func (d *desk) together(t testing.TB, first uint64, requests ...commitments.Request) []commitments.SignedCommitment {
	t.Helper()
	g := &gathering{Ledger: d.book, want: len(requests), came: make(chan struct{}, len(requests)), full: make(chan struct{})}
	d.Ledger = g
	out := make([]commitments.SignedCommitment, len(requests))
	var group sync.WaitGroup
	for i := range requests {
		group.Go(func() { out[i] = d.promise(t, requests[i], first+uint64(i)) })
		<-g.came
	}
	group.Wait()
	d.Ledger = d.book
	return out
}

// gathering is a ledger whose entries become durable one by one and are shown as
// one batch.
type gathering struct {
	*ledger.Ledger
	want       int
	batch      ledger.Batch
	came, full chan struct{}
}

func (g *gathering) Append(ctx context.Context, id commitments.PageID, decide func(commitments.View) (ledger.Entry, error)) (ledger.Receipt, error) {
	r, err := g.Ledger.Append(ctx, id, decide)
	g.batch.Receipts = append(g.batch.Receipts, r)
	if len(g.batch.Receipts) == g.want {
		close(g.full)
	}
	g.came <- struct{}{}
	<-g.full
	r.Batch = &g.batch
	return r, err
}

// requests ask for the story's transaction, and for others like it.
func (s story) requests(t testing.TB, n int) (out []commitments.Request) {
	t.Helper()
	for i := range n {
		tx := *s.tx
		tx.Nonce += uint64(i)
		with := s
		with.tx = &tx
		out = append(out, commitments.Request{
			Type: commitments.TypeProvableInclusion, Slasher: bellatrix.ExecutionAddress(manager),
			Payload: commitments.EncodeProvableInclusion(phase0.Slot(s.slot), phase0.ValidatorIndex(s.index), with.signedTx(t)),
		})
	}
	return out
}

// TestSigner_Accepted: what the sidecar's own signer makes, alone or in a group,
// the contract takes as the delegate's word; and a member's branch is no other's.
func TestSigner_Accepted(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			d, s := newDesk(t), guilty()
			e := s.tell(t)
			e.file.Delegation = d.delegation(t)
			answers := d.together(t, 100, s.requests(t, n)...)
			c := newCourt(t, false)
			for i := range answers {
				if i > 0 { // only the first transaction is the one that the block lacks
					break
				}
				var err error
				if e.file.Promises[0], err = evidence.PromiseOf(answers[i]); err != nil {
					t.Fatal(err)
				}
				if e.delegation, err = NewSignedDelegation(e.file.Delegation); err != nil {
					t.Fatal(err)
				}
				if e.promise, err = NewSignedPromise(e.file.Promises[0]); err != nil {
					t.Fatal(err)
				}
				fault, _, excuse := c.absent(e)
				if excuse != "" || fault.Slot != storySlot {
					t.Errorf("the contract says %q", excuse)
				}
				if _, err := evidence.Judge(e.file, rules(), manager, e.childHash); err != nil {
					t.Errorf("Go says %v", err)
				}
			}
			if n == 1 {
				return
			}
			for i := 1; i < n; i++ {
				e.promise.Branch = nil
				for _, sibling := range answers[i].Proxy.Branch {
					e.promise.Branch = append(e.promise.Branch, sibling)
				}
				if _, _, excuse := c.absent(e); excuse != "PromiseSignature" {
					t.Errorf("with the branch of member %d: %q", i, excuse)
				}
			}
		})
	}
}

// TestSigner_EveryMember: each member of a group can be proven by itself: two
// promises for one nonce, both in one group.
func TestSigner_EveryMember(t *testing.T) {
	d, s, other := newDesk(t), guilty(), another()
	requests := append(s.requests(t, 3), other.requests(t, 1)...)
	for i := range requests { // the ledger of an honest sidecar would not take the last: it claims nothing here
		requests[i].Slasher = bellatrix.ExecutionAddress(manager)
	}
	delegation, err := NewSignedDelegation(d.delegation(t))
	if err != nil {
		t.Fatal(err)
	}
	answers := d.together(t, 7, requests...)
	var promises []SignedPromise
	for _, a := range []commitments.SignedCommitment{answers[0], answers[3]} {
		p, err := evidence.PromiseOf(a)
		if err != nil {
			t.Fatal(err)
		}
		tuple, err := NewSignedPromise(p)
		if err != nil {
			t.Fatal(err)
		}
		promises = append(promises, tuple)
	}
	if fault, _, excuse := newCourt(t, false).double(delegation, promises[0], promises[1]); excuse != "" || fault.Slot != storySlot {
		t.Errorf("the contract says %q", excuse)
	}
}

// vectors are signed promises with every step between, for whoever verifies them
// elsewhere. docs/commitments.md walks through the first.
type vectors struct {
	Comment            string         `json:"comment"`
	ChainID            uint64         `json:"chain_id"`
	GenesisForkVersion hexutil.Bytes  `json:"genesis_fork_version"`
	SigningDomain      hexutil.Bytes  `json:"signing_domain"`
	CommitterSecret    hexutil.Bytes  `json:"committer_secret"`
	Committer          common.Address `json:"committer"`
	DelegateSecret     hexutil.Bytes  `json:"delegate_secret"`
	Delegate           hexutil.Bytes  `json:"delegate"`
	Plain              vector         `json:"plain"`
	GroupRoot          common.Hash    `json:"group_root"`
	Group              []vector       `json:"group"`
}

type vector struct {
	Request          commitments.Request          `json:"request"`
	RequestHash      common.Hash                  `json:"request_hash"`
	CommitmentRoot   common.Hash                  `json:"commitment_root"`
	SigningRoot      common.Hash                  `json:"signing_root"`       // the committer signed it
	ProxySigningRoot common.Hash                  `json:"proxy_signing_root"` // the delegate signed it
	Answer           commitments.SignedCommitment `json:"answer"`
}

// TestVectors writes the vectors, and computes each step again without the
// packages that made it: go-ethereum's ABI and secp256k1, and the contract.
func TestVectors(t *testing.T) {
	d, s := newDesk(t), guilty()
	domain := d.spec.Domain(chain.DomainCommitBoost)
	requests := s.requests(t, 4)
	requests[3] = commitments.Request{Type: commitments.TypeInclusion, Payload: commitments.EncodeInclusion(storySlot, []byte{2, 0xc0}), Slasher: requests[0].Slasher}
	committer := d.committer.Address()
	v := vectors{
		Comment: "docs/commitments.md; keys are published test keys of Commit-Boost", ChainID: d.spec.ChainID, GenesisForkVersion: d.spec.GenesisForkVersion[:], SigningDomain: domain[:],
		CommitterSecret: common.FromHex(senderSecret), Committer: common.Address(committer), DelegateSecret: common.FromHex(delegateSecret), Delegate: d.delegate[:],
		Plain: step(t, d, requests[0], d.promise(t, requests[0], 41)),
	}
	for i, a := range d.together(t, 42, requests[1:]...) {
		one := step(t, d, requests[1+i], a)
		root := commitments.GroupRoot(phase0.Root(one.CommitmentRoot), a.Proxy.Branch)
		if v.Group = append(v.Group, one); i > 0 && common.Hash(root) != v.GroupRoot {
			t.Errorf("member %d leads to %s", i, root)
		}
		v.GroupRoot = common.Hash(root)
	}
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	keep(t, filepath.Join(source, "..", "commitments", "testdata", "promises.json"), append(text, '\n'))
}

// step checks an answer step by step.
func step(t testing.TB, d *desk, r commitments.Request, a commitments.SignedCommitment) vector {
	t.Helper()
	v := vector{Request: r, RequestHash: common.Hash(r.Hash()), CommitmentRoot: common.Hash(a.Commitment.Root()), Answer: a}
	type tuple struct {
		CommitmentType uint64
		Payload        []byte
		RequestHash    [32]byte
		Slasher        common.Address
	}
	kind, _ := abi.NewType("uint256", "", nil)
	of, err := abi.NewType("tuple", "", []abi.ArgumentMarshaling{
		{Name: "commitmentType", Type: "uint64"}, {Name: "payload", Type: "bytes"}, {Name: "requestHash", Type: "bytes32"}, {Name: "slasher", Type: "address"},
	})
	if err != nil {
		t.Fatal(err)
	}
	packed, err := abi.Arguments{{Type: kind}, {Type: of}}.Pack(big.NewInt(3), tuple{a.Commitment.Type, a.Commitment.Payload, a.Commitment.RequestHash, common.Address(a.Commitment.Slasher)})
	if err != nil || crypto.Keccak256Hash(packed) != v.CommitmentRoot {
		t.Errorf("go-ethereum's commitment root is %s, %v, ours %s", crypto.Keccak256Hash(packed), err, v.CommitmentRoot)
	}
	domain := d.spec.Domain(chain.DomainCommitBoost)
	v.SigningRoot = common.Hash(commitments.SigningRoot(domain, d.spec.ChainID, phase0.Root(v.CommitmentRoot), a.SigningID, a.Nonce))
	sig := append([]byte(nil), a.Signature...)
	sig[64] -= 27
	public, err := crypto.SigToPub(v.SigningRoot[:], sig)
	if err != nil || crypto.PubkeyToAddress(*public) != common.Address(d.committer.Address()) {
		t.Errorf("go-ethereum does not recover the committer: %v", err)
	}
	group := phase0.Root(v.CommitmentRoot)
	for _, sibling := range a.Proxy.Branch {
		group = groupNode(group, sibling)
	}
	v.ProxySigningRoot = common.Hash(commitments.SigningRoot(domain, d.spec.ChainID, group, a.SigningID, a.Proxy.Nonce))
	if !bls.Verify(d.delegate, phase0.Root(v.ProxySigningRoot), a.Proxy.Signature) {
		t.Error("the delegate's signature does not verify")
	}
	return v
}
