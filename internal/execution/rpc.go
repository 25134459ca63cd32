package execution

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"

	"github.com/holiman/uint256"

	"sidecar/internal/fetch"
)

// call is one request of a batch: its answer is decoded into into.
type call struct {
	method string
	params []any
	into   any
}

type request struct {
	Version string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  []any  `json:"params"`
}

type response struct {
	ID     *int            `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// call sends the calls as one request, a batch if there are several, and
// decodes every answer. The first failure is returned.
func (c *Client) call(ctx context.Context, limit int64, calls ...call) error {
	start := c.clock.Now()
	err := c.exchange(ctx, limit, calls)
	c.metrics.request(calls[len(calls)-1].method, c.clock.Now().Sub(start), err)
	return err
}

func (c *Client) exchange(ctx context.Context, limit int64, calls []call) error {
	requests := make([]request, len(calls))
	for i, k := range calls {
		requests[i] = request{"2.0", i, k.method, k.params}
		if k.params == nil {
			requests[i].Params = []any{}
		}
	}
	var text []byte
	var err error
	if len(calls) == 1 {
		text, err = json.Marshal(requests[0])
	} else {
		text, err = json.Marshal(requests)
	}
	if err != nil {
		return fmt.Errorf("encode %s: %w", calls[0].method, err)
	}
	body, err := c.post(ctx, text, limit)
	if err != nil {
		return err
	}
	answers := make([]response, 1)
	if len(calls) == 1 {
		err = json.Unmarshal(body, &answers[0])
	} else {
		err = json.Unmarshal(body, &answers)
	}
	if err != nil {
		return ErrBadAnswer.Wrap(err)
	}
	return match(calls, answers)
}

// match gives every call its answer by id: a batch may be answered in any order.
func match(calls []call, answers []response) error {
	if len(answers) != len(calls) {
		return ErrBadAnswer.With("%d answers to %d calls", len(answers), len(calls))
	}
	seen := make([]bool, len(calls))
	for _, a := range answers {
		if a.Error != nil {
			return ErrRefused.With("code %d: %s", a.Error.Code, clip(a.Error.Message))
		}
		if a.ID == nil || *a.ID < 0 || *a.ID >= len(calls) || seen[*a.ID] {
			return ErrBadAnswer.With("answer to no call")
		}
		seen[*a.ID] = true
		k := calls[*a.ID]
		if len(a.Result) == 0 {
			return ErrBadAnswer.With("%s: neither result nor error", k.method)
		}
		if _, keeps := k.into.(*raw); !keeps && string(a.Result) == "null" {
			return ErrBadAnswer.With("%s: null", k.method)
		}
		if err := json.Unmarshal(a.Result, k.into); err != nil {
			return ErrBadAnswer.Wrap(fmt.Errorf("%s: %w", k.method, err))
		}
	}
	return nil
}

// post sends one body and reads one, both bounded in time, the answer in size.
func (c *Client) post(ctx context.Context, text []byte, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(text))
	if err != nil {
		return nil, ErrUnavailable.With("make a request")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	status, _, body, err := fetch.Do(ctx, c.http, req, limit)
	switch {
	case errors.Is(err, fetch.ErrTooLarge):
		return nil, ErrBadAnswer.Wrap(err)
	case err != nil:
		return nil, ErrUnavailable.Wrap(err)
	case status != http.StatusOK:
		return nil, ErrUnavailable.With("status %d", status)
	}
	return body, nil
}

// clip shortens what a node says, and keeps it printable.
func clip(s string) string {
	if len(s) > 120 {
		s = s[:120]
	}
	return strings.Trim(strconv.QuoteToASCII(s), `"`)
}

// quantity is a number in JSON-RPC: 0x and hex digits without leading zeros.
type quantity uint64

func (q *quantity) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), "0x")
	n, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil {
		return errors.New("not a quantity of 64 bits")
	}
	*q = quantity(n)
	return nil
}

// amount is a quantity of 256 bits.
type amount uint256.Int

func (a *amount) UnmarshalText(text []byte) error {
	digits, ok := strings.CutPrefix(string(text), "0x")
	n, valid := new(big.Int).SetString(digits, 16)
	if !ok || !valid || n.Sign() < 0 || n.BitLen() > 256 {
		return errors.New("not a quantity of 256 bits")
	}
	(*uint256.Int)(a).SetFromBig(n)
	return nil
}

// hexBytes are bytes of any number: 0x and two digits each.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode([]byte("0x"), h), nil }

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	digits, ok := bytes.CutPrefix(text, []byte("0x"))
	if !ok {
		return errors.New("hex without 0x")
	}
	*h, err = hex.AppendDecode(nil, digits)
	return err
}

// hexNumber is n as JSON-RPC writes it.
func hexNumber(n uint64) string { return "0x" + strconv.FormatUint(n, 16) }

// hash32 is 32 bytes.
type hash32 [32]byte

func (h hash32) MarshalText() ([]byte, error) { return hexBytes(h[:]).MarshalText() }

func (h *hash32) UnmarshalText(text []byte) error {
	var b hexBytes
	if err := b.UnmarshalText(text); err != nil || len(b) != 32 {
		return errors.New("not 32 bytes of hex")
	}
	copy(h[:], b)
	return nil
}
