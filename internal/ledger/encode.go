package ledger

import (
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// What a ledger writes by the thousand, commitments and seals, is encoded by
// hand: the same bytes as encoding/json makes of entryBody and sealBody.

// encodeSeal is encodeBody of a sealBody.
func encodeSeal(seq uint64, ink Ink) ([]byte, error) {
	p := &ink.Proxy
	b := jsonWriter(make([]byte, 0, 512+2*len(ink.Signature)+72*len(p.Branch)))
	b.number(`{"seq":`, seq)
	b.hex(`,"signature":`, ink.Signature)
	if !p.IsZero() {
		b.number(`,"proxy":{"nonce":`, p.Nonce)
		b.hex(`,"signature":`, p.Signature[:])
		before := `,"branch":[`
		for i := range p.Branch {
			b.hex(before, p.Branch[i][:])
			before = ","
		}
		if len(p.Branch) > 0 {
			b = append(b, ']')
		}
		b = append(b, '}')
	}
	return b.end()
}

// alone says whether an entry holds a draft and nothing else.
func (e *Entry) alone() bool {
	return e.Draft != nil && len(e.Note) == 0 && e.Delegation == nil && e.Constraints == nil && e.Verdict == nil && e.Request == nil && e.Proxy == nil && e.Import == nil
}

// encodeDraft is encodeBody of the entryBody of an entry that holds a draft alone.
func encodeDraft(seq uint64, id commitments.PageID, e *Entry) ([]byte, error) {
	d := e.Draft
	size := 1024 + 2*len(d.Commitment.Payload)
	for _, names := range [][]string{e.Resources, d.Touches, d.Claims} {
		for _, name := range names {
			size += len(name) + 3
		}
	}
	for i := range d.Constraints {
		size += 64 + 2*len(d.Constraints[i].Payload)
	}
	b := jsonWriter(make([]byte, 0, size))
	b.number(`{"seq":`, seq)
	b.number(`,"slot":`, uint64(id.Slot))
	b.hex(`,"proposer":`, id.Proposer[:])
	b.number(`,"kind":`, uint64(e.Kind))
	if e.Module != "" {
		b.text(`,"module":`, e.Module)
	}
	if key := e.Key.Bytes(); len(key) > 0 {
		b.hex(`,"key":`, key)
	}
	if !e.Delegate.IsZero() {
		b.hex(`,"delegate":`, e.Delegate[:])
	}
	if e.Root != (phase0.Root{}) {
		b.hex(`,"root":`, e.Root[:])
	}
	b.texts(`,"resources":`, e.Resources)
	b.positive(`,"nonce":`, e.Nonce)
	if e.SigningID != (phase0.Root{}) {
		b.hex(`,"signing_id":`, e.SigningID[:])
	}
	b.draft(d)
	return b.end()
}

func (b *jsonWriter) draft(d *commitments.Draft) {
	b.number(`,"draft":{"type":`, d.Commitment.Type)
	b.hex(`,"payload":`, d.Commitment.Payload)
	b.hex(`,"request_hash":`, d.Commitment.RequestHash[:])
	b.hex(`,"slasher":`, d.Commitment.Slasher[:])
	before := `,"constraints":[{"type":`
	for _, c := range d.Constraints {
		b.number(before, c.Type)
		b.hex(`,"payload":`, c.Payload)
		before = `},{"type":`
	}
	if len(d.Constraints) > 0 {
		*b = append(*b, "}]"...)
	}
	b.positive(`,"gas":`, d.Cost.Gas)
	b.positive(`,"blobs":`, d.Cost.Blobs)
	b.positive(`,"bytes":`, d.Cost.Bytes)
	b.texts(`,"touches":`, d.Touches)
	b.texts(`,"claims":`, d.Claims)
	*b = append(*b, '}')
}

// jsonWriter appends values, each after the text that stands before it.
type jsonWriter []byte

func (b *jsonWriter) number(before string, n uint64) {
	*b = strconv.AppendUint(append(*b, before...), n, 10)
}

// positive leaves zero out.
func (b *jsonWriter) positive(before string, n uint64) {
	if n > 0 {
		b.number(before, n)
	}
}

func (b *jsonWriter) hex(before string, value []byte) {
	*b = append(append(*b, before...), `"0x`...)
	*b = append(hex.AppendEncode(*b, value), '"')
}

// text leaves what needs escaping to encoding/json.
func (b *jsonWriter) text(before, value string) {
	*b = append(*b, before...)
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			escaped, _ := json.Marshal(value) // a string always encodes
			*b = append(*b, escaped...)
			return
		}
	}
	*b = append(append(append(*b, '"'), value...), '"')
}

// texts leaves an empty list out.
func (b *jsonWriter) texts(before string, values []string) {
	if len(values) == 0 {
		return
	}
	*b = append(*b, before...)
	before = "["
	for _, value := range values {
		b.text(before, value)
		before = ","
	}
	*b = append(*b, ']')
}

func (b *jsonWriter) end() ([]byte, error) {
	*b = append(*b, '}')
	return bounded(*b)
}
