package ledger

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/bls"
	"sidecar/internal/ecdsa"
)

// Faults of an interchange.
var (
	ErrInterchange = fault.Define("interchange_invalid", fault.Invalid, "The file is not a sound interchange of signatures.")
	ErrConflict    = fault.Define("interchange_conflict", fault.Conflict, "The file and the ledger, or two lines of the file, have different digests for one resource; nothing was imported.")
)

// The formats that this sidecar reads. It writes the first unless a signature has
// a proxy's beside it.
const (
	InterchangeFormat      = "sidecar-interchange/1"
	InterchangeFormatProxy = "sidecar-interchange/2" // with the field proxy
)

// Limits of an interchange.
const (
	interchangeLimit = 256 << 20 // bytes of the file
	interchangeItems = 1_000_000
)

// Interchange is what a ledger signed, without the objects: enough for another
// not to contradict it. docs/interchange.md describes it.
type Interchange struct {
	Metadata InterchangeMetadata `json:"metadata"`
	Data     []InterchangeKey    `json:"data"`
}

// InterchangeMetadata says of which chain the file is.
type InterchangeMetadata struct {
	Format             string   `json:"interchange_format"`
	Network            string   `json:"network"`
	GenesisForkVersion hexBytes `json:"genesis_fork_version"` // 4 bytes
}

// InterchangeKey is everything one key signed.
type InterchangeKey struct {
	Key hexBytes `json:"key"` // 48 bytes of a BLS key or 20 of an address
	// MinSlot: the key signs nothing new for earlier slots. Optional.
	MinSlot decimal            `json:"min_slot,omitempty"`
	Signed  []InterchangeEntry `json:"signed"`
}

// InterchangeEntry is one signing root and every resource it took.
type InterchangeEntry struct {
	Resources []string `json:"resources"`
	Digest    hexBytes `json:"digest"` // the 32 bytes that were, or were to be, signed
	Kind      string   `json:"kind"`
	Slot      decimal  `json:"slot"`
	Signature hexBytes `json:"signature,omitempty"` // absent if it was never made, or is not known
	// Proxy is the delegate's signature of a commitment, beside Signature. It cannot
	// be verified without the commitment: whoever gives it out verifies it then.
	Proxy *InterchangeProxy `json:"proxy,omitempty"`
}

// InterchangeProxy is a proxy signature. See commitments.ProxySignature.
type InterchangeProxy struct {
	Nonce     decimal    `json:"nonce"`
	Signature hexBytes   `json:"signature"`
	Branch    []hexBytes `json:"branch"`
}

// decimal is a slot as a JSON string, as in the Beacon API.
type decimal uint64

// MarshalText writes decimal digits.
func (d decimal) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(d), 10), nil }

// UnmarshalText reads decimal digits.
func (d *decimal) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || string(strconv.AppendUint(nil, n, 10)) != string(text) {
		return errors.New("not a decimal number")
	}
	*d = decimal(n)
	return nil
}

// item is one thing to take over: a digest with its resources, or a limit.
type item struct {
	entry Entry // of KindImport
	slot  phase0.Slot
	ink   Ink
}

// ReadInterchange reads a file, strictly: no unknown field, no trailing bytes, at
// most 256 MiB. Fault: ErrInterchange.
func ReadInterchange(r io.Reader) (f Interchange, err error) {
	limited := &io.LimitedReader{R: r, N: interchangeLimit + 1}
	dec := json.NewDecoder(limited)
	dec.DisallowUnknownFields()
	err = dec.Decode(&f)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("trailing bytes")
		}
	}
	switch {
	case limited.N <= 0:
		return f, ErrInterchange.With("more than %d MiB", interchangeLimit>>20)
	case err != nil:
		return f, ErrInterchange.Wrap(err)
	}
	_, err = f.items()
	return f, err
}

// Write writes the file, indented, as ReadInterchange reads it.
func (f Interchange) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(f)
}

// Promises counts the commitments for a slot and later ones, and says which is the
// last slot.
func (f *Interchange) Promises(from phase0.Slot) (n int, last phase0.Slot) {
	for i := range f.Data {
		for j := range f.Data[i].Signed {
			if e := &f.Data[i].Signed[j]; e.Kind == KindCommitment.String() && phase0.Slot(e.Slot) >= from {
				n, last = n+1, max(last, phase0.Slot(e.Slot))
			}
		}
	}
	return n, last
}

// Fits says whether the file is of a chain. Fault: ErrChain.
func (f Interchange) Fits(network string, version phase0.Version) error {
	if f.Metadata.Network != network || !bytes.Equal(f.Metadata.GenesisForkVersion, version[:]) {
		return ErrChain.With("interchange of %.40q (genesis fork version %#x)", f.Metadata.Network, []byte(f.Metadata.GenesisForkVersion))
	}
	return nil
}

// items checks everything that can be checked without a ledger.
func (f Interchange) items() (out []item, err error) {
	if f.Metadata.Format != InterchangeFormat && f.Metadata.Format != InterchangeFormatProxy {
		return nil, ErrInterchange.With("format %.40q, this sidecar reads up to %q", f.Metadata.Format, InterchangeFormatProxy)
	}
	if f.Metadata.Network == "" || len(f.Metadata.GenesisForkVersion) != 4 {
		return nil, ErrInterchange.With("it does not say of which chain it is")
	}
	taken := map[string]*Entry{}
	for i := range f.Data {
		k := &f.Data[i]
		key, err := commitments.ParseKey(k.Key)
		if err != nil || key.IsZero() {
			return nil, ErrInterchange.With("data %d: no key", i)
		}
		if k.MinSlot > 0 {
			out = append(out, item{entry: Entry{Kind: KindImport, Key: key, Import: &Imported{Least: phase0.Slot(k.MinSlot)}}, slot: phase0.Slot(k.MinSlot)})
		}
		for j := range k.Signed {
			it, err := k.Signed[j].item(key)
			if err == nil && !it.ink.Proxy.IsZero() && f.Metadata.Format != InterchangeFormatProxy {
				err = errors.New("a proxy in a format without")
			}
			if err != nil {
				return nil, ErrInterchange.With("data %d, signed %d: %v", i, j, err)
			}
			for _, name := range it.entry.Resources {
				if other := taken[name]; other != nil && !other.same(&it.entry) {
					return nil, ErrConflict.With("%s: the file has digests %#x and %#x", name, other.Root[:], it.entry.Root[:])
				}
				taken[name] = &it.entry
			}
			if out = append(out, it); len(out) > interchangeItems {
				return nil, ErrInterchange.With("more than %d items", interchangeItems)
			}
		}
	}
	return out, nil
}

func (e *InterchangeEntry) item(key commitments.Key) (it item, err error) {
	kind := kindNamed(e.Kind)
	if !kind.Signed() {
		return it, errors.New("kind is not one that is signed")
	}
	if len(e.Digest) != 32 || phase0.Root(e.Digest) == (phase0.Root{}) {
		return it, errors.New("digest is not 32 bytes")
	}
	it = item{
		entry: Entry{Kind: KindImport, Key: key, Root: phase0.Root(e.Digest), Resources: e.Resources, Import: &Imported{Kind: kind}},
		slot:  phase0.Slot(e.Slot), ink: Ink{Signature: e.Signature},
	}
	if err := it.entry.check(); err != nil {
		return it, errors.New("resources: none, too many, too long, or one twice")
	}
	if len(e.Signature) > 0 && !verifies(key, it.entry.Root, e.Signature) {
		return it, errors.New("signature does not verify")
	}
	if e.Proxy != nil {
		it.ink, err = e.Proxy.beside(e.Signature)
		if err == nil && (kind != KindCommitment || !key.IsECDSA()) {
			err = errors.New("proxy of something else than a committer's commitment")
		}
	}
	return it, err
}

// beside is the ink of a signature and the proxy's.
func (p *InterchangeProxy) beside(signature []byte) (Ink, error) {
	body := sealBody{Signature: signature, Proxy: &proxySealBody{Nonce: uint64(p.Nonce), Signature: p.Signature, Branch: p.Branch}}
	ink, err := body.ink()
	if err != nil || ink.Proxy.IsZero() {
		return Ink{}, errors.New("proxy without both signatures, or of another shape")
	}
	return ink, nil
}

func interchangeProxy(p commitments.ProxySignature) *InterchangeProxy {
	if p.IsZero() {
		return nil
	}
	out := &InterchangeProxy{Nonce: decimal(p.Nonce), Signature: p.Signature[:], Branch: []hexBytes{}}
	for i := range p.Branch {
		out.Branch = append(out.Branch, p.Branch[i][:])
	}
	return out
}

// verifies checks a signature that would be given out as our own.
func verifies(key commitments.Key, root phase0.Root, sig []byte) bool {
	if len(sig) != key.SignatureLength() {
		return false
	}
	if key.IsBLS() {
		return bls.Verify(key.BLS, root, phase0.BLSSignature(sig))
	}
	address, err := ecdsa.Recover(root, [65]byte(sig))
	return err == nil && address == key.Address
}

// kindNamed is the kind of a name; 0 if there is none.
func kindNamed(name string) Kind {
	return Kind(max(0, slices.Index(kindNames[:], name))) // #nosec G115 -- a dozen names
}

// Collect makes an interchange of records, as Walk shows them.
type Collect struct {
	items []item
	bySeq map[uint64]int // position in items
	least map[commitments.Key]phase0.Slot
}

// Add takes a record.
func (c *Collect) Add(r Record) {
	if c.bySeq == nil {
		c.bySeq, c.least = map[uint64]int{}, map[commitments.Key]phase0.Slot{}
	}
	e := r.Entry
	switch {
	case e == nil:
		if at, ok := c.bySeq[r.Seq]; ok {
			c.items[at].ink = Ink{r.Seal, r.Proxy}
		}
	case e.Kind == KindImport && e.Import.Least > 0:
		c.least[e.Key] = max(c.least[e.Key], e.Import.Least)
	case len(e.Resources) > 0 && e.signedKind().Signed():
		c.bySeq[r.Seq] = len(c.items)
		c.items = append(c.items, item{
			entry: Entry{Kind: KindImport, Key: e.Key, Root: e.Root, Resources: e.Resources, Import: &Imported{Kind: e.signedKind()}}, slot: r.Page.Slot,
		})
	}
}

// Interchange returns what was added: keys ascending; of a key, slots ascending,
// then resources.
func (c *Collect) Interchange(network string, version phase0.Version) Interchange {
	f := Interchange{Metadata: InterchangeMetadata{InterchangeFormat, network, version[:]}, Data: []InterchangeKey{}}
	byKey := map[commitments.Key]*InterchangeKey{}
	of := func(key commitments.Key) *InterchangeKey {
		if byKey[key] == nil {
			byKey[key] = &InterchangeKey{Key: key.Bytes(), Signed: []InterchangeEntry{}}
		}
		return byKey[key]
	}
	for key, least := range c.least {
		of(key).MinSlot = decimal(least)
	}
	for i := range c.items {
		it := &c.items[i]
		k := of(it.entry.Key)
		names := slices.Clone(it.entry.Resources)
		slices.Sort(names)
		proxy := interchangeProxy(it.ink.Proxy)
		if proxy != nil {
			f.Metadata.Format = InterchangeFormatProxy
		}
		k.Signed = append(k.Signed, InterchangeEntry{names, it.entry.Root[:], it.entry.Import.Kind.String(), decimal(it.slot), it.ink.Signature, proxy})
	}
	for _, k := range byKey {
		slices.SortFunc(k.Signed, func(x, y InterchangeEntry) int {
			return cmp.Or(cmp.Compare(x.Slot, y.Slot), cmp.Compare(x.Resources[0], y.Resources[0]))
		})
		f.Data = append(f.Data, *k)
	}
	slices.SortFunc(f.Data, func(x, y InterchangeKey) int { return bytes.Compare(x.Key, y.Key) })
	return f
}
