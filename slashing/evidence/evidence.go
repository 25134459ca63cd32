// Package evidence holds files that prove broken inclusion promises, and judges
// them as the contracts do (contracts/src/FaultVerifier.sol).
//
// It promises the contract's verdict, by the contract's name, for every proof:
// guilt only if every check holds, and else the first excuse. It reads no
// clock, no chain and no disk; the one thing it cannot know, whether a block is
// canonical, its caller brings.
package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"sidecar/commitments"
	"sidecar/fault"
)

// ErrMalformed is a file that is not evidence at all.
var ErrMalformed = fault.Define("evidence_malformed", fault.Invalid, "The file is not evidence in the one form it can have.")

// Format is the version of the file.
const Format = "preconf-evidence/1"

// MaxFile bounds a file, in bytes. Two account proofs of mainnet, three headers
// and a transaction at the gas cap make about a quarter of it.
const MaxFile = 1 << 20

// Kind is which promise was broken, as the contract numbers them.
type Kind string

// The kinds.
const (
	Absent Kind = "absent" // F1: promised, valid, and not in the block
	Double Kind = "double" // F2: two promises for one slot, sender and nonce
)

// Rules are what a FaultVerifier was created with. [contracts: FaultVerifier.Config]
type Rules struct {
	ChainID       uint64      `json:"chain_id"`
	GenesisTime   uint64      `json:"genesis_time"` // Unix seconds
	SlotMillis    uint64      `json:"slot_millis"`
	FirstSlot     uint64      `json:"first_slot"`
	EndSlot       uint64      `json:"end_slot"` // the first slot it does not judge
	SigningDomain common.Hash `json:"signing_domain"`
	SigningID     common.Hash `json:"signing_id"`
}

// Promise is a commitment with the delegate's signature, over its root or over
// the root of the group its branch leads to, and the committer's, which the
// Universal Registry Contract asks for and FaultVerifier does not look at.
type Promise struct {
	Commitment commitments.Commitment `json:"commitment"`
	Nonce      uint64                 `json:"nonce"`
	SigningID  phase0.Root            `json:"signing_id"`
	Signature  phase0.BLSSignature    `json:"signature"`
	Branch     []common.Hash          `json:"branch"`
	Committer  *Committer             `json:"committer,omitempty"`
}

// Committer is the committer's ECDSA signature over the commitment's root.
type Committer struct {
	Nonce     uint64        `json:"nonce"`
	Signature hexutil.Bytes `json:"signature"` // r‖s‖v, 65 bytes
}

// Headers are the execution headers of three blocks in a row, in RLP.
type Headers struct {
	Parent hexutil.Bytes `json:"parent"`
	Target hexutil.Bytes `json:"target"` // the promised block
	Child  hexutil.Bytes `json:"child"`
}

// BeaconHeader is the rest of the beacon block header of the slot.
type BeaconHeader struct {
	ParentRoot common.Hash `json:"parent_root"`
	StateRoot  common.Hash `json:"state_root"`
	BodyRoot   common.Hash `json:"body_root"`
}

// AccountProofs are proofs of the sender's account, root first.
type AccountProofs struct {
	Pre  []hexutil.Bytes `json:"pre"`  // in the state before the block
	Post []hexutil.Bytes `json:"post"` // in the state after it
}

// Absence is what F1 has beside the promise.
type Absence struct {
	ChildNumber   uint64        `json:"child_number"`
	Headers       Headers       `json:"headers"`
	BeaconHeader  BeaconHeader  `json:"beacon_header"`
	AccountProofs AccountProofs `json:"account_proofs"`
}

// File is evidence of one fault. Nothing in it is trusted: rules and slasher
// are those of the contract it is meant for, and a judge compares.
type File struct {
	Format     string                       `json:"format"`
	Kind       Kind                         `json:"fault"`
	Rules      Rules                        `json:"rules"`
	Slasher    common.Address               `json:"slasher"`
	Delegation commitments.SignedDelegation `json:"delegation"`
	Promises   []Promise                    `json:"promises"`          // one for absent, two for double
	Absence    *Absence                     `json:"absence,omitempty"` // of absent only
	Derived    *Derived                     `json:"derived,omitempty"` // what follows from the above; see Derive
	Digest     common.Hash                  `json:"sha256"`            // of the file with zeros here
}

// Encode returns the one form of f: what is derived and the digest filled in, no
// space, one newline at the end. Fault: ErrMalformed.
func Encode(f File) ([]byte, error) {
	f.Derived, f.Digest = f.Derive(), common.Hash{}
	f.Promises = slices.Clone(f.Promises)
	for i := range f.Promises {
		if f.Promises[i].Branch == nil {
			f.Promises[i].Branch = []common.Hash{} // [] and not null
		}
	}
	body, err := json.Marshal(f)
	if err != nil {
		return nil, ErrMalformed.Wrap(err)
	}
	f.Digest = sha256.Sum256(body)
	text, err := json.Marshal(f)
	if err != nil {
		return nil, ErrMalformed.Wrap(err)
	}
	return append(text, '\n'), nil
}

// Parse reads what Encode wrote, and nothing else: another order, a space, an
// unknown field, or what is derived or a digest that does not match, is
// ErrMalformed. So one file has one sequence of bytes.
func Parse(text []byte) (File, error) {
	if len(text) > MaxFile {
		return File{}, ErrMalformed.With("%d bytes, at most %d", len(text), MaxFile)
	}
	var f File
	if err := json.Unmarshal(text, &f); err != nil {
		return File{}, ErrMalformed.Wrap(err)
	}
	if err := f.shape(); err != nil {
		return File{}, err
	}
	if a := f.Absence; a != nil && (a.AccountProofs.Pre == nil || a.AccountProofs.Post == nil) {
		return File{}, ErrMalformed.With("null is no proof") // [] is the one form of none
	}
	again, err := Encode(f)
	if err != nil {
		return File{}, err
	}
	if !bytes.Equal(again, text) {
		return File{}, ErrMalformed.With("not the canonical form, or what is derived or the digest is wrong")
	}
	return f, nil
}

// shape checks that f has the parts its kind needs, and no others.
func (f File) shape() error {
	switch {
	case f.Format != Format:
		return ErrMalformed.With("format %q, want %q", f.Format, Format)
	case f.Kind == Absent && len(f.Promises) == 1 && f.Absence != nil:
	case f.Kind == Double && len(f.Promises) == 2 && f.Absence == nil:
	default:
		return ErrMalformed.With("fault %q with %d promises", f.Kind, len(f.Promises))
	}
	for _, p := range f.Promises {
		if p.Committer != nil && len(p.Committer.Signature) != lenECDSA {
			return ErrMalformed.With("committer's signature of %d bytes", len(p.Committer.Signature))
		}
	}
	return nil
}

// lenECDSA is the length of a secp256k1 signature with its recovery byte.
const lenECDSA = 65

// PromiseOf is what evidence needs of a signed commitment: the delegate's
// signature with its nonce and branch, and beside it the committer's. Fault:
// ErrMalformed for one without the delegate's.
func PromiseOf(s commitments.SignedCommitment) (Promise, error) {
	p := Promise{Commitment: s.Commitment, Nonce: s.Nonce, SigningID: s.SigningID, Branch: []common.Hash{}}
	switch {
	case !s.Proxy.IsZero():
		p.Signature, p.Nonce = s.Proxy.Signature, s.Proxy.Nonce
		for _, sibling := range s.Proxy.Branch {
			p.Branch = append(p.Branch, common.Hash(sibling))
		}
		if len(s.Signature) == lenECDSA {
			p.Committer = &Committer{s.Nonce, s.Signature}
		}
	case len(s.Signature) == len(p.Signature): // of an earlier version
		copy(p.Signature[:], s.Signature)
	default:
		return Promise{}, ErrMalformed.With("signature of %d bytes, want the delegate's", len(s.Signature))
	}
	return p, nil
}
