package relay

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/valyala/fasthttp"

	"sidecar/commitments"
	"sidecar/internal/wire"
)

// pathCapabilities is the same in both dialects.
const pathCapabilities = "/constraints/v0/builder/capabilities"

// Capabilities returns the constraint types the relay honours; none for a 404,
// which is how relays without the Constraints API answer. [Constraints API: capabilities]
func (c *Client) Capabilities(ctx context.Context) (types []uint64, err error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	t := c.newTry(endCapabilities, fasthttp.MethodGet, pathCapabilities, "", listLimit)
	defer t.release()
	t.req.Header.Set(fasthttp.HeaderAccept, acceptJSON)
	err = c.runChecked(ctx, t, func(err error) error {
		if t.status == fasthttp.StatusNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		types, err = decodeCapabilities(t.resp.Body())
		return err
	})
	return types, err
}

// ServesProofs says whether the relay's bids come with proofs: whether it serves
// header_with_proofs at all. It asks for a page's bid long before there is one; any
// answer but one for a path that is not there will do. A relay in front of another
// answers what that one does.
func (c *Client) ServesProofs(ctx context.Context, id commitments.PageID) (yes bool, err error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	r := HeaderRequest{Slot: id.Slot, Pubkey: id.Proposer}
	t := c.newTry(endProofs, fasthttp.MethodGet, headerPath(pathProofs, &r), "", headerLimit)
	defer t.release()
	t.req.Header.Set(fasthttp.HeaderAccept, acceptJSON)
	err = c.runChecked(ctx, t, func(err error) error {
		switch t.status {
		case fasthttp.StatusNotFound, fasthttp.StatusMethodNotAllowed, fasthttp.StatusNotImplemented:
			return nil
		case fasthttp.StatusUnauthorized, fasthttp.StatusForbidden, fasthttp.StatusRequestTimeout, fasthttp.StatusTooManyRequests:
			return err // somebody in front of the endpoint says so, or nobody
		}
		if yes = err == nil || errors.Is(err, Err4xx); yes {
			return nil
		}
		return err
	})
	return yes, err
}

// maxDelegations bounds a list of delegations: at most one a slot and proposer is
// of use, and relays do not sort out those that are of none.
const maxDelegations = 1024

// Delegations returns the delegations the relay knows for a slot; none for a 404,
// which is how relays without the endpoint answer.
func (c *Client) Delegations(ctx context.Context, slot phase0.Slot) (list []commitments.SignedDelegation, err error) {
	path := pathDelegations
	if c.cfg.Dialect == DialectFabric {
		path = pathFabricDelegations
	}
	found, err := c.getJSON(ctx, endDelegations, path+strconv.FormatUint(uint64(slot), 10), func(body []byte) error {
		list, err = decodeDelegations(c.cfg.Dialect, body)
		return err
	})
	if !found {
		list = nil
	}
	return list, err
}

// getJSON gets a list. found is false for a 404.
func (c *Client) getJSON(ctx context.Context, endpoint, path string, read func(body []byte) error) (found bool, err error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	t := c.newTry(endpoint, fasthttp.MethodGet, path, "", delegationsLimit)
	defer t.release()
	t.req.Header.Set(fasthttp.HeaderAccept, acceptJSON)
	err = c.runChecked(ctx, t, func(err error) error {
		switch {
		case t.status == fasthttp.StatusNotFound:
			return nil
		case err != nil:
			return err
		case t.status == fasthttp.StatusNoContent:
			return nil
		}
		found = true
		return read(t.resp.Body())
	})
	return found && err == nil, err
}

// PostDelegation hands a signed delegation to the relay: nil for any 2xx. A fabric
// relay takes a slot's delegation once and answers 500 to the same bytes again, as
// after an answer that was lost; then what it holds decides.
func (c *Client) PostDelegation(ctx context.Context, d commitments.SignedDelegation) error {
	path, body, err := encodeDelegation(c.cfg.Dialect, d)
	if err != nil {
		return err
	}
	err = c.postJSON(ctx, endDelegation, path, body)
	if c.cfg.Dialect != DialectFabric || !errors.Is(err, Err5xx) {
		return err
	}
	held, _ := c.Delegations(ctx, d.Message.Slot)
	if slices.ContainsFunc(held, func(h commitments.SignedDelegation) bool { return h.Signature == d.Signature }) {
		return nil
	}
	return err
}

// PostConstraints hands the slot's one constraints message to the relay: nil for any
// 2xx. Sending the same message again is harmless; a fabric relay answers 500 to
// it, and then what it holds decides.
func (c *Client) PostConstraints(ctx context.Context, s commitments.SignedConstraints) error {
	path, body, err := encodeConstraints(c.cfg.Dialect, s)
	if err != nil {
		return err
	}
	err = c.postJSON(ctx, endConstraints, path, body)
	if c.cfg.Dialect != DialectFabric || !errors.Is(err, Err5xx) {
		return err
	}
	held := false
	_, _ = c.getJSON(ctx, endHeld, pathHeld+strconv.FormatUint(uint64(s.Message.Slot), 10), func(body []byte) error {
		held = holds(body, s.Signature)
		return nil
	})
	if held {
		return nil
	}
	return err
}

func (c *Client) postJSON(ctx context.Context, endpoint, path string, body []byte) error {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	t := c.newTry(endpoint, fasthttp.MethodPost, path, "", smallLimit)
	defer t.release()
	t.insist = true
	t.req.Header.SetContentType(wire.JSON.ContentType())
	t.req.SetBodyRaw(body)
	c.stamp(ctx, t, false)
	return c.run(ctx, t, nil)
}

// maxProofs is how many constraints a slot may have. [Constraints API: MAX_CONSTRAINTS_PER_SLOT]
const maxProofs = 256

// bidWithProofs is the answer of header_with_proofs.
type bidWithProofs struct {
	Version json.RawMessage `json:"version"`
	Data    struct {
		Message   json.RawMessage `json:"message"`
		Signature json.RawMessage `json:"signature"`
		Proofs    json.RawMessage `json:"proofs"`
	} `json:"data"`
}

// proofList is what proofs may be: a list of the Constraints API, in either
// spelling, or Bolt's one multiproof, which names its transactions.
type proofList struct {
	Types      []number        `json:"constraintTypes"`
	TypesSnake []number        `json:"constraint_types"`
	Payloads   []octets        `json:"payloads"`
	Hashes     json.RawMessage `json:"transaction_hashes"`
}

// readProofList fills o's proofs. Bolt's object is handed on as it is, once for each
// transaction that it names: the module that knows what was promised reads it.
func (o *Offer) readProofList(text json.RawMessage) error {
	var p *proofList
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, &p); err != nil || p == nil {
		return nullOr(err)
	}
	if p.Hashes != nil {
		bolt, err := commitments.DecodeBoltProofs(text)
		if err != nil {
			return ErrDecode.Wrap(err)
		}
		one := commitments.Constraint{Type: commitments.TypeInclusion, Payload: text}
		o.Proofs = slices.Repeat([]commitments.Constraint{one}, len(bolt.Hashes))
		return nil
	}
	types := p.Types
	if types == nil {
		types = p.TypesSnake
	}
	if len(types) != len(p.Payloads) || len(types) > maxProofs {
		return ErrDecode.With("%d proof types, %d payloads", len(types), len(p.Payloads))
	}
	for i := range types {
		o.Proofs = append(o.Proofs, commitments.Constraint{Type: uint64(types[i]), Payload: p.Payloads[i]})
	}
	return nil
}

func nullOr(err error) error {
	if err == nil {
		return nil
	}
	return ErrDecode.Wrap(err)
}

// readProofs fills o from a JSON body of header_with_proofs. The bid is decoded
// from what remains without the proofs, which is what a beacon node may see.
func (o *Offer) readProofs(r *HeaderRequest, enc wire.Encoding, body []byte) error {
	if enc != wire.JSON {
		return ErrType.With("header_with_proofs is JSON")
	}
	var m bidWithProofs
	if err := json.Unmarshal(body, &m); err != nil {
		return ErrDecode.Wrap(err)
	}
	if err := o.readProofList(m.Data.Proofs); err != nil {
		return err
	}
	plain, err := json.Marshal(map[string]any{
		"version": m.Version,
		"data":    map[string]json.RawMessage{"message": m.Data.Message, "signature": m.Data.Signature},
	})
	if err != nil {
		return ErrDecode.Wrap(err)
	}
	bid, err := wire.DecodeBid(r.Fork, wire.JSON, plain)
	if err != nil {
		return decodeFault(err)
	}
	o.Bid = bid
	return nil
}
