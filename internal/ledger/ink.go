package ledger

import (
	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Ink is what an entry is sealed with.
type Ink struct {
	Signature []byte                     // of the entry's key
	Proxy     commitments.ProxySignature // of its delegate, if it has one
}

type sealBody struct {
	Seq       uint64         `json:"seq"`
	Signature hexBytes       `json:"signature"`
	Proxy     *proxySealBody `json:"proxy,omitempty"`
}

type proxySealBody struct {
	Nonce     uint64     `json:"nonce"`
	Signature hexBytes   `json:"signature"`
	Branch    []hexBytes `json:"branch,omitempty"`
}

// ink is what a seal holds.
func (b *sealBody) ink() (Ink, error) {
	ink := Ink{Signature: b.Signature}
	var f fixed
	if p := b.Proxy; p != nil {
		ink.Proxy.Nonce = p.Nonce
		f.must(ink.Proxy.Signature[:], p.Signature)
		for _, h := range p.Branch {
			var sibling phase0.Root
			f.must(sibling[:], h)
			ink.Proxy.Branch = append(ink.Proxy.Branch, sibling)
		}
		if f.err == nil {
			f.err = ink.check()
		}
	}
	return ink, f.err
}

// check refuses ink that could not be read back.
func (i *Ink) check() error {
	switch p := &i.Proxy; {
	case len(i.Signature) == 0 || len(i.Signature) > maxSignature:
		return ErrEntry.With("signature of %d bytes", len(i.Signature))
	case p.IsZero() && (p.Nonce != 0 || len(p.Branch) > 0):
		return ErrEntry.With("a proxy's nonce or branch without its signature")
	case len(p.Branch) > commitments.MaxBranch:
		return ErrEntry.With("branch of %d", len(p.Branch))
	}
	return nil
}
