package answer_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/commitments/answer"
)

// vector is one line of the vectors, which contracts/bindings makes and has the
// contract, and go-ethereum, compute again.
type vector struct {
	Request     commitments.Request          `json:"request"`
	RequestHash string                       `json:"request_hash"`
	Root        string                       `json:"commitment_root"`
	SigningRoot string                       `json:"signing_root"`
	ProxyRoot   string                       `json:"proxy_signing_root"`
	Answer      commitments.SignedCommitment `json:"answer"`
}

type file struct {
	ChainID     uint64   `json:"chain_id"`
	ForkVersion string   `json:"genesis_fork_version"`
	Domain      string   `json:"signing_domain"`
	Committer   string   `json:"committer"`
	Delegate    string   `json:"delegate"`
	Plain       vector   `json:"plain"`
	GroupRoot   string   `json:"group_root"`
	Group       []vector `json:"group"`
}

func read(t testing.TB) (f file, spec chain.Spec, by answer.Signers) {
	t.Helper()
	text, err := os.ReadFile("../testdata/promises.json")
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	spec, _ = chain.Named("hoodi")
	by.Committer, by.Delegate = bellatrix.ExecutionAddress(unhex(t, f.Committer)), phase0.BLSPubKey(unhex(t, f.Delegate))
	return f, spec, by
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	f, spec, by := read(t)
	domain := spec.Domain(chain.DomainCommitBoost)
	if fmt.Sprintf("%#x", domain[:]) != f.Domain || spec.ChainID != f.ChainID {
		t.Fatalf("the vectors are of another chain: %s", f.Domain)
	}
	for i, v := range append([]vector{f.Plain}, f.Group...) {
		root := v.Answer.Commitment.Root()
		group := commitments.GroupRoot(root, v.Answer.Proxy.Branch)
		for name, c := range map[string][2]string{
			"request hash":    {v.Request.Hash().String(), v.RequestHash},
			"commitment root": {root.String(), v.Root},
			"signing root":    {commitments.SigningRoot(domain, spec.ChainID, root, v.Answer.SigningID, v.Answer.Nonce).String(), v.SigningRoot},
			"proxy root":      {commitments.SigningRoot(domain, spec.ChainID, group, v.Answer.SigningID, v.Answer.Proxy.Nonce).String(), v.ProxyRoot},
		} {
			if c[0] != c[1] {
				t.Errorf("%d: %s: got %s, want %s", i, name, c[0], c[1])
			}
		}
		if i > 0 && group.String() != f.GroupRoot {
			t.Errorf("%d: group root %s, want %s", i, group, f.GroupRoot)
		}
		if err := answer.Verify(spec, v.Request, v.Answer, by); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	var leaves []phase0.Root
	for _, v := range f.Group {
		leaves = append(leaves, v.Answer.Commitment.Root())
	}
	if root, branches := commitments.Group(leaves); root.String() != f.GroupRoot || fmt.Sprint(branches[1]) != fmt.Sprint(f.Group[1].Answer.Proxy.Branch) {
		t.Errorf("the group comes to %s, want %s", root, f.GroupRoot)
	}
}

func TestVerify_Refuses(t *testing.T) {
	f, spec, by := read(t)
	good := f.Group[1]
	for name, c := range map[string]struct {
		change func(*commitments.Request, *commitments.SignedCommitment, *answer.Signers)
		want   error
	}{
		"another payload": {func(r *commitments.Request, _ *commitments.SignedCommitment, _ *answer.Signers) {
			r.Payload = append(bytes.Clone(r.Payload), make([]byte, 32)...)
		}, answer.ErrOther},
		"another type":    {func(r *commitments.Request, _ *commitments.SignedCommitment, _ *answer.Signers) { r.Type = 1 }, answer.ErrOther},
		"another slasher": {func(r *commitments.Request, _ *commitments.SignedCommitment, _ *answer.Signers) { r.Slasher[0] = 1 }, answer.ErrOther},
		"another request hash": {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) {
			s.Commitment.RequestHash[0] ^= 1
		}, answer.ErrOther},
		"another committer": {func(_ *commitments.Request, _ *commitments.SignedCommitment, by *answer.Signers) {
			by.Committer[0] ^= 1
		}, answer.ErrCommitter},
		"another nonce":      {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) { s.Nonce++ }, answer.ErrCommitter},
		"another signing id": {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) { s.SigningID[0] ^= 1 }, answer.ErrCommitter},
		"of another version": {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) {
			s.Signature = s.Proxy.Signature[:]
		}, answer.ErrCommitter},
		"a flipped bit": {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) {
			s.Signature = bytes.Clone(s.Signature)
			s.Signature[40] ^= 1
		}, answer.ErrCommitter},
		"no proxy": {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) {
			s.Proxy = commitments.ProxySignature{}
		}, answer.ErrProxy},
		"another delegate":    {func(_ *commitments.Request, _ *commitments.SignedCommitment, by *answer.Signers) { by.Delegate[5] ^= 1 }, answer.ErrProxy},
		"another proxy nonce": {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) { s.Proxy.Nonce++ }, answer.ErrProxy},
		"no branch":           {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) { s.Proxy.Branch = nil }, answer.ErrProxy},
		"another's branch": {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) {
			s.Proxy.Branch = f.Group[0].Answer.Proxy.Branch
		}, answer.ErrProxy},
		"a branch without end": {func(_ *commitments.Request, s *commitments.SignedCommitment, _ *answer.Signers) {
			s.Proxy.Branch = make([]phase0.Root, 1000)
		}, answer.ErrProxy},
	} {
		r, s, by := good.Request, good.Answer, by
		c.change(&r, &s, &by)
		if err := answer.Verify(spec, r, s, by); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	other, _ := chain.Named("mainnet")
	if err := answer.Verify(other, good.Request, good.Answer, by); !errors.Is(err, answer.ErrCommitter) {
		t.Errorf("another chain: got %v", err)
	}
}

// The slot's delegation, which relays serve and `capabilities` names, says who
// must have signed.
func ExampleVerify() {
	text, err := os.ReadFile("../testdata/promises.json")
	if err != nil {
		panic(err)
	}
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		panic(err)
	}
	request, signed := f.Plain.Request, f.Plain.Answer
	hoodi, _ := chain.Named("hoodi")
	var by answer.Signers
	_, _ = hex.Decode(by.Committer[:], []byte(f.Committer[2:]))
	_, _ = hex.Decode(by.Delegate[:], []byte(f.Delegate[2:]))
	fmt.Println(answer.Verify(hoodi, request, signed, by))
	signed.Commitment.Payload[63]++ // another proposer
	fmt.Println(errors.Is(answer.Verify(hoodi, request, signed, by), answer.ErrOther))
	// Output:
	// <nil>
	// true
}
