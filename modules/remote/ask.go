package remote

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// What the sidecar sends. A module ignores fields it does not know: within one
// version the sidecar may add some, and never takes any away.

type (
	infoAsk struct {
		Versions []int `json:"versions"` // that the sidecar speaks
	}
	slotAsk struct {
		Request commitments.Request `json:"request"`
	}
	commitAsk struct {
		View        viewJSON            `json:"view"`
		Request     commitments.Request `json:"request"`
		RequestHash hexBytes            `json:"request_hash"` // of Request, so that nobody needs keccak256
	}
	verifyAsk struct {
		Page      pageJSON      `json:"page"`
		Candidate candidateJSON `json:"candidate"`
	}
	auditAsk struct {
		Page  pageJSON  `json:"page"`
		Block blockJSON `json:"block"`
	}
)

// hexBytes are bytes as 0x and lower-case hexadecimal.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode([]byte("0x"), h), nil }

func (h *hexBytes) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), "0x")
	if !ok {
		return errors.New("hexadecimal without 0x")
	}
	b, err := hex.DecodeString(digits)
	*h = b
	return err
}

// fixed copies bytes of an exact length.
func fixed(name string, dst []byte, h hexBytes) error {
	if len(h) != len(dst) {
		return fmt.Errorf("%s has %d bytes, want %d", name, len(h), len(dst))
	}
	copy(dst, h)
	return nil
}

type viewJSON struct {
	Page   pageJSON           `json:"page"`
	Open   []pageJSON         `json:"open"`
	Seq    uint64             `json:"seq"`
	Used   costJSON           `json:"used"`
	Limit  costJSON           `json:"limit"`
	Quoted *commitments.Price `json:"quoted,omitempty"`
}

type pageJSON struct {
	Slot        uint64                         `json:"slot"`
	Proposer    hexBytes                       `json:"proposer"`
	Closed      bool                           `json:"closed"`
	Delegation  *commitments.SignedDelegation  `json:"delegation,omitempty"`
	Promises    []promiseJSON                  `json:"promises"`
	Constraints *commitments.SignedConstraints `json:"constraints,omitempty"`
	Verdicts    []verdictJSON                  `json:"verdicts,omitempty"`
}

type promiseJSON struct {
	Commitment  commitments.Commitment   `json:"commitment"`
	Nonce       uint64                   `json:"nonce"`
	SigningID   hexBytes                 `json:"signing_id"`
	Signature   hexBytes                 `json:"signature"` // "0x" between entry and ink
	Constraints []commitments.Constraint `json:"constraints"`
	Cost        costJSON                 `json:"cost"`
	Touches     []string                 `json:"touches"`
	Seq         uint64                   `json:"seq"`
}

type costJSON struct {
	Gas   uint64 `json:"gas"`
	Blobs uint64 `json:"blobs"`
	Bytes uint64 `json:"bytes"`
}

type candidateJSON struct {
	Slot       uint64                   `json:"slot"`
	ParentHash hexBytes                 `json:"parent_hash"`
	BlockHash  hexBytes                 `json:"block_hash"`
	Source     string                   `json:"source"`
	Header     json.RawMessage          `json:"header,omitempty"` // as the Beacon API writes it
	Proofs     []commitments.Constraint `json:"proofs"`
}

type blockJSON struct {
	Slot      uint64     `json:"slot"`
	Number    uint64     `json:"number"`
	Hash      hexBytes   `json:"hash"`
	HeaderRLP hexBytes   `json:"header_rlp"`
	Txs       []hexBytes `json:"txs"`
	Missed    bool       `json:"missed"`
}

// viewOf is a view with the promises of some types only: a module need not know
// what others promise.
func viewOf(v commitments.View, types []uint64) viewJSON {
	own := func(p commitments.Page) pageJSON {
		p.Promises = slices.DeleteFunc(slices.Clone(p.Promises), func(x commitments.Promise) bool { return !slices.Contains(types, x.Commitment.Type) })
		return pageOf(p)
	}
	out := viewJSON{Page: own(v.Page), Open: []pageJSON{}, Seq: v.Seq, Used: costJSON(v.Used), Limit: costJSON(v.Limit), Quoted: v.Quoted}
	for _, p := range v.Open {
		out.Open = append(out.Open, own(p))
	}
	return out
}

func (v viewJSON) view() (out commitments.View, err error) {
	if out.Page, err = v.Page.page(); err != nil {
		return out, err
	}
	for i := range v.Open {
		p, err := v.Open[i].page()
		if err != nil {
			return out, err
		}
		out.Open = append(out.Open, p)
	}
	out.Seq, out.Used, out.Limit, out.Quoted = v.Seq, commitments.Cost(v.Used), commitments.Cost(v.Limit), v.Quoted
	return out, nil
}

func pageOf(p commitments.Page) pageJSON {
	out := pageJSON{
		Slot: uint64(p.Slot), Proposer: p.Proposer[:], Closed: p.Closed, Delegation: p.Delegation, Constraints: p.Constraints,
		Promises: make([]promiseJSON, len(p.Promises)),
	}
	for i := range p.Promises {
		x := &p.Promises[i]
		out.Promises[i] = promiseJSON{
			Commitment: x.Commitment, Nonce: x.Nonce, SigningID: x.SigningID[:], Signature: x.Signature, Constraints: orEmpty(x.Constraints),
			Cost: costJSON(x.Cost), Touches: orEmpty(x.Touches), Seq: x.Seq,
		}
	}
	for _, v := range p.Verdicts {
		out.Verdicts = append(out.Verdicts, verdictOf(v))
	}
	return out
}

func (p pageJSON) page() (out commitments.Page, err error) {
	out = commitments.Page{Closed: p.Closed, Delegation: p.Delegation, Constraints: p.Constraints}
	out.Slot = phase0.Slot(p.Slot)
	if err := fixed("proposer", out.Proposer[:], p.Proposer); err != nil {
		return out, err
	}
	for i := range p.Promises {
		x := &p.Promises[i]
		promise := commitments.Promise{
			SignedCommitment: commitments.SignedCommitment{Commitment: x.Commitment, Nonce: x.Nonce, Signature: x.Signature},
			Constraints:      x.Constraints, Cost: commitments.Cost(x.Cost), Touches: x.Touches, Seq: x.Seq,
		}
		if err := fixed("signing_id", promise.SigningID[:], x.SigningID); err != nil {
			return out, err
		}
		out.Promises = append(out.Promises, promise)
	}
	for _, v := range p.Verdicts {
		verdict, err := v.verdict()
		if err != nil {
			return out, err
		}
		out.Verdicts = append(out.Verdicts, verdict)
	}
	return out, nil
}

func verifyAskOf(page commitments.Page, c commitments.Candidate) (verifyAsk, error) {
	out := verifyAsk{Page: pageOf(page), Candidate: candidateJSON{
		Slot: uint64(c.Slot), ParentHash: c.ParentHash[:], BlockHash: c.BlockHash[:], Source: c.Source, Proofs: orEmpty(c.Proofs),
	}}
	if c.Header == nil {
		return out, nil
	}
	if c.Header.BaseFeePerGas == nil {
		return out, errors.New("candidate header without a base fee")
	}
	text, err := c.Header.MarshalJSON()
	out.Candidate.Header = text
	return out, err
}

func (c candidateJSON) candidate() (out commitments.Candidate, err error) {
	out = commitments.Candidate{Slot: phase0.Slot(c.Slot), Source: c.Source, Proofs: c.Proofs}
	if err := errors.Join(fixed("parent_hash", out.ParentHash[:], c.ParentHash), fixed("block_hash", out.BlockHash[:], c.BlockHash)); err != nil {
		return out, err
	}
	if len(c.Header) > 0 && string(c.Header) != "null" {
		out.Header = new(deneb.ExecutionPayloadHeader)
		err = out.Header.UnmarshalJSON(c.Header)
	}
	return out, err
}

func blockOf(b commitments.Block) blockJSON {
	out := blockJSON{Slot: uint64(b.Slot), Number: b.Number, Hash: b.Hash[:], HeaderRLP: b.HeaderRLP, Txs: make([]hexBytes, len(b.Txs)), Missed: b.Missed}
	for i := range b.Txs {
		out.Txs[i] = b.Txs[i]
	}
	return out
}

func (b blockJSON) block() (out commitments.Block, err error) {
	out = commitments.Block{Slot: phase0.Slot(b.Slot), Number: b.Number, HeaderRLP: b.HeaderRLP, Missed: b.Missed}
	for _, tx := range b.Txs {
		out.Txs = append(out.Txs, tx)
	}
	return out, fixed("hash", out.Hash[:], b.Hash)
}

// orEmpty makes a nil slice one that JSON writes as [].
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
