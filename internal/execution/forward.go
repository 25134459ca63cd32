package execution

import (
	"context"
	"encoding/json"
	"fmt"
)

// RPCError is a node's refusal, for a caller who passes it on as it came.
// errors.Is(err, ErrRefused) holds for it.
type RPCError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func (e *RPCError) Error() string {
	return fmt.Sprintf("%s: code %d: %s", ErrRefused.Code, e.Code, clip(e.Message))
}

// Unwrap makes it the fault it is.
func (e *RPCError) Unwrap() error { return ErrRefused }

// Forward hands the node one call with the parameters of somebody else, and
// returns the result as it came, of at most limit bytes; nothing of it was
// checked. The caller chooses the method: the node may be trusted with more than
// the somebody is. Faults: ErrUnavailable, ErrBadAnswer; a *RPCError.
func (c *Client) Forward(ctx context.Context, method string, params json.RawMessage, limit int64) (json.RawMessage, error) {
	start := c.clock.Now()
	result, err := c.forward(ctx, method, params, limit)
	c.metrics.request(method, c.clock.Now().Sub(start), err)
	return result, err
}

func (c *Client) forward(ctx context.Context, method string, params json.RawMessage, limit int64) (json.RawMessage, error) {
	if len(params) == 0 {
		params = json.RawMessage("[]")
	}
	text, err := json.Marshal(struct {
		Version string          `json:"jsonrpc"`
		ID      int             `json:"id"`
		Method  string          `json:"method"`
		Params  json.RawMessage `json:"params"`
	}{"2.0", 0, method, params})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", method, err)
	}
	body, err := c.post(ctx, text, limit)
	if err != nil {
		return nil, err
	}
	var answer struct {
		ID     *int            `json:"id"`
		Result json.RawMessage `json:"result"`
		Error  *RPCError       `json:"error"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil:
		return nil, ErrBadAnswer.Wrap(err)
	case answer.Error != nil:
		return nil, answer.Error
	case answer.ID == nil || *answer.ID != 0:
		return nil, ErrBadAnswer.With("answer to no call")
	case len(answer.Result) == 0:
		return nil, ErrBadAnswer.With("%s: neither result nor error", method)
	}
	return answer.Result, nil
}
