package commitments

import (
	"encoding/json"
	"strings"

	"github.com/holiman/uint256"
)

// PaidByTip says how a promise is paid for: by the effective tip of the promised
// transaction, which goes to the fee recipient of the block that holds it. That
// is the builder, as a rule; it reaches the proposer as a part of the builder's
// bid. Nothing is paid for a promise whose transaction does not get in.
const PaidByTip = "tip"

// Price is what a promise costs its sender, in wei.
type Price struct {
	// Mode says how it is paid: PaidByTip, or a word of the module's own.
	Mode string

	// Tip is the least effective tip per gas, at every base fee that the slot may
	// have: min(max_priority_fee_per_gas, max_fee_per_gas − base fee).
	Tip uint256.Int

	// Total is the tip for all of the gas that the promise reserves; for blobs and
	// gas that may stay unused the tip makes up, see the module.
	Total uint256.Int

	// BaseFee is the highest base fee per gas that the slot may have, as of now. A
	// fee cap of BaseFee + Tip is enough.
	BaseFee uint256.Int
}

// maxMode bounds a price's mode.
const maxMode = 32

type priceJSON struct {
	Mode    *string      `json:"mode"`
	Tip     *weiDecimals `json:"tip_wei_per_gas"`
	Total   *weiDecimals `json:"total_wei"`
	BaseFee *weiDecimals `json:"worst_base_fee_wei"`
}

// MarshalJSON writes {mode, tip_wei_per_gas, total_wei, worst_base_fee_wei}: the
// numbers as decimal strings, since they exceed what JSON readers keep exact.
func (p Price) MarshalJSON() ([]byte, error) {
	return json.Marshal(priceJSON{&p.Mode, (*weiDecimals)(&p.Tip), (*weiDecimals)(&p.Total), (*weiDecimals)(&p.BaseFee)})
}

// UnmarshalJSON reads what MarshalJSON writes. Fault: ErrEncoding.
func (p *Price) UnmarshalJSON(text []byte) error {
	var j priceJSON
	if err := object(text, &j); err != nil {
		return err
	}
	var in reader
	out := Price{Tip: in.wei("tip_wei_per_gas", j.Tip), Total: in.wei("total_wei", j.Total), BaseFee: in.wei("worst_base_fee_wei", j.BaseFee)}
	if j.Mode == nil || *j.Mode == "" || len(*j.Mode) > maxMode || strings.Trim(*j.Mode, "abcdefghijklmnopqrstuvwxyz_") != "" {
		in.fail("mode is missing, or not lower-case letters and _, %d at most", maxMode)
	} else {
		out.Mode = *j.Mode
	}
	if in.err == nil {
		*p = out
	}
	return in.err
}

// weiDecimals is an amount in JSON: a string of decimal digits.
type weiDecimals uint256.Int

// MarshalText writes decimal digits.
func (w *weiDecimals) MarshalText() ([]byte, error) { return []byte((*uint256.Int)(w).Dec()), nil }

// UnmarshalText reads decimal digits, at most 2^256 − 1.
func (w *weiDecimals) UnmarshalText(text []byte) error {
	if len(text) == 0 || text[0] < '0' || text[0] > '9' {
		return ErrEncoding.With("an amount is a string of decimal digits")
	}
	if err := (*uint256.Int)(w).SetFromDecimal(string(text)); err != nil {
		return ErrEncoding.With("an amount is a string of decimal digits: %v", err)
	}
	return nil
}

func (r *reader) wei(name string, w *weiDecimals) uint256.Int {
	if w == nil {
		r.fail("%s is missing", name)
		return uint256.Int{}
	}
	return uint256.Int(*w)
}
