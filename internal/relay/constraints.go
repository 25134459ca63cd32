package relay

import (
	"context"
	"encoding/json"

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

// PostDelegation hands a signed delegation to the relay: nil for any 2xx.
func (c *Client) PostDelegation(ctx context.Context, d commitments.SignedDelegation) error {
	path, body, err := encodeDelegation(c.cfg.Dialect, d)
	if err != nil {
		return err
	}
	return c.postJSON(ctx, endDelegation, path, body)
}

// PostConstraints hands the slot's one constraints message to the relay: nil
// for any 2xx. Sending the same message again is harmless.
func (c *Client) PostConstraints(ctx context.Context, s commitments.SignedConstraints) error {
	path, body, err := encodeConstraints(c.cfg.Dialect, s)
	if err != nil {
		return err
	}
	return c.postJSON(ctx, endConstraints, path, body)
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
		Proofs    *struct {
			Types      []number `json:"constraintTypes"`
			TypesSnake []number `json:"constraint_types"`
			Payloads   []octets `json:"payloads"`
		} `json:"proofs"`
	} `json:"data"`
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
	if p := m.Data.Proofs; p != nil {
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
