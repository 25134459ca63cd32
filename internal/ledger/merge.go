package ledger

import (
	"context"
	"slices"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
)

// Merged counts what an import changed.
type Merged struct {
	Added int // items of which at least one resource was free
	Known int // items that stood already, whole
	Limit int // keys whose limit rose
}

// Merge takes over what was signed elsewhere: its resources are taken from now
// on, by the same digest and by no other. It never frees a resource nor lowers a
// limit, and doing it twice changes nothing. If one item contradicts what stands,
// nothing of the file is taken over. The whole file is one durable step.
// Faults: ErrConflict, ErrChain, ErrPoisoned, ErrClosed, ErrInterchange.
func (l *Ledger) Merge(ctx context.Context, f Interchange) (Merged, error) {
	items, err := f.items()
	if err != nil {
		return Merged{}, err
	}
	var m Merged
	_, err = l.submit(ctx, &request{merge: items, merged: &m})
	return m, err
}

// merge takes an interchange's items into the batch.
func (w *writing) merge(r *request) error {
	*r.merged = Merged{}
	w.shown = nil // imports change any page
	for i := range r.merge {
		clash, err := w.clash(&r.merge[i])
		if r.err = clash; err != nil || clash != nil {
			return err
		}
	}
	for i := range r.merge {
		if err := w.take(&r.merge[i], r.merged); err != nil {
			return err
		}
	}
	return nil
}

// clash says whether an item contradicts what stands.
func (w *writing) clash(it *item) (conflict, err error) {
	e := &it.entry
	for _, name := range e.Resources {
		stored, held, err := w.held(name)
		if err != nil {
			return nil, err
		}
		if held && !stored.Entry.same(e) {
			return ErrConflict.With("%s: the ledger has digest %#x, the file %#x", name, stored.Entry.Root[:], e.Root[:]), nil
		}
		if held && len(it.ink.Signature) > 0 && len(stored.Signature) > 0 && !slices.Equal(it.ink.Signature, stored.Signature) {
			return ErrConflict.With("%s: digest %#x has two signatures", name, e.Root[:]), nil
		}
	}
	return nil, nil
}

// take puts an item's free resources, and a signature that was not known.
func (w *writing) take(it *item, m *Merged) error {
	e, ink := it.entry, it.ink
	if e.Root == (phase0.Root{}) { // a limit
		if e.Import.Least <= w.next.least[e.Key] {
			return nil
		}
		m.Limit++
		_, err := w.put(it.slot, &e)
		return err
	}
	e.Resources = nil
	var unsigned []Receipt
	for _, name := range it.entry.Resources {
		stored, held, err := w.held(name)
		if err != nil {
			return err
		}
		if !held {
			e.Resources = append(e.Resources, name)
		} else if len(stored.Signature) == 0 && len(ink.Signature) > 0 && !slices.ContainsFunc(unsigned, func(u Receipt) bool { return u.Seq == stored.Seq }) {
			unsigned = append(unsigned, stored)
		}
	}
	if len(e.Resources) == 0 && len(unsigned) == 0 {
		m.Known++
		return nil
	}
	m.Added++
	if len(e.Resources) > 0 {
		stored, err := w.put(it.slot, &e)
		if err != nil {
			return err
		}
		if len(ink.Signature) > 0 {
			unsigned = append(unsigned, stored)
		}
	}
	for _, u := range unsigned {
		at, err := w.spot(u.Seq)
		if err == nil {
			err = w.putNewSeal(u, at, Ink{slices.Clone(ink.Signature), ink.Proxy})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// put links an import to the chain, on the page of its slot and of no proposer.
func (w *writing) put(slot phase0.Slot, e *Entry) (Receipt, error) {
	id := commitments.PageID{Slot: slot}
	seq := w.end().Entries + 1
	body, err := encodeEntry(seq, id, *e)
	if err != nil {
		return Receipt{}, err
	}
	if err := w.recall(id); err != nil {
		return Receipt{}, err
	}
	if err := w.putEntry(id, e, body); err != nil {
		return Receipt{}, err
	}
	w.next.set(withEntry(w.next.latest(id), seq, e))
	w.next.forbid(e)
	w.next.seq, w.next.records = seq, w.end().Records
	w.touched[id] = true
	return Receipt{Seq: seq, Page: id, Entry: *e}, nil
}

// held is who holds a resource.
func (w *writing) held(name string) (Receipt, bool, error) {
	seq, err := w.holder(name)
	if err != nil || seq == 0 {
		return Receipt{}, false, err
	}
	r, _, err := w.receipt(seq, w.end().Records+1)
	return r, err == nil, err
}

// same says whether two entries have the same thing signed by the same key.
func (e *Entry) same(other *Entry) bool {
	return e.Root == other.Root && e.Key == other.Key && e.signedKind() == other.signedKind()
}

// signedKind is what was signed, here or elsewhere.
func (e *Entry) signedKind() Kind {
	if e.Kind == KindImport {
		return e.Import.Kind
	}
	return e.Kind
}

// checkImport refuses imports that say nothing, or two things.
func (e *Entry) checkImport() error {
	i := e.Import
	switch {
	case i == nil:
		return ErrEntry.With("%s without its object", e.Kind)
	case e.Key.Bytes() == nil:
		return ErrEntry.With("%s of no key", e.Kind)
	case e.Root == (phase0.Root{}) && (i.Kind != 0 || i.Least == 0 || len(e.Resources) > 0):
		return ErrEntry.With("%s without a digest", e.Kind)
	case e.Root != (phase0.Root{}) && (!i.Kind.Signed() || i.Least != 0 || len(e.Resources) == 0):
		return ErrEntry.With("%s of a %s with %d resources", e.Kind, i.Kind, len(e.Resources))
	}
	return e.checkResources()
}
