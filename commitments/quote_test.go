package commitments

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/chain"
)

func quote() Quote {
	return Quote{
		RequestHash: phase0.Hash32(repeat(0x11)), Type: 1, Slot: 12345, ValidUntil: 1_790_000_000_000,
		Price: Price{Mode: PaidByTip, Tip: *uint256.NewInt(1_500_000_000), Total: *uint256.NewInt(31_500_000_000_000), BaseFee: *uint256.NewInt(10_125_000_002)},
	}
}

// TestQuote_Vector: the hashes were computed from docs/price.md by a program that
// shares nothing with this one.
func TestQuote_Vector(t *testing.T) {
	q := quote()
	if got, want := q.Root(), root(t, "0xb8a5dbbd493c6443e84992622b58824ee683888fad5cebfa1b87dbfeea6def22"); got != want {
		t.Errorf("root: got %s, want %s", got, want)
	}
	if want := root(t, "0xaafab20cb578aeae96cd829e4537e17ec552a8363206276c4679ac2a208b056a"); QuoteSigningID != want {
		t.Errorf("signing id: got %s, want %s", QuoteSigningID, want)
	}
	hoodi, _ := chain.Named("hoodi")
	got := q.Message(hoodi.Domain(chain.DomainCommitBoost), hoodi.ChainID).Root()
	if want := root(t, "0x85dec9c2ea48334ee2af9e555f6fa8a9465d9f9c1b47f881d21615508a9f27f0"); got != want {
		t.Errorf("signing root: got %s, want %s", got, want)
	}
}

// TestQuote_RootCoversAll: every field counts.
func TestQuote_RootCoversAll(t *testing.T) {
	seen := map[phase0.Root]string{quote().Root(): "nothing"}
	for name, change := range map[string]func(*Quote){
		"request": func(q *Quote) { q.RequestHash[31]++ }, "type": func(q *Quote) { q.Type++ }, "slot": func(q *Quote) { q.Slot++ },
		"mode": func(q *Quote) { q.Price.Mode = "tips" }, "tip": func(q *Quote) { q.Price.Tip.SetAllOne() }, "total": func(q *Quote) { q.Price.Total.Clear() },
		"base fee": func(q *Quote) { q.Price.BaseFee.AddUint64(&q.Price.BaseFee, 1) }, "end": func(q *Quote) { q.ValidUntil++ },
	} {
		q := quote()
		change(&q)
		if other, taken := seen[q.Root()]; taken {
			t.Errorf("%s and %s: one root", name, other)
		}
		seen[q.Root()] = name
	}
}

func TestQuote_JSON(t *testing.T) {
	s := SignedQuote{Quote: quote(), Committer: bellatrix.ExecutionAddress{0xcc}, Signature: make([]byte, 65)}
	s.Quote.Price.Total = *uint256.MustFromBig(new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)))
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again SignedQuote
	if err := json.Unmarshal(text, &again); err != nil || again.Quote != s.Quote || again.Committer != s.Committer || len(again.Signature) != 65 {
		t.Errorf("%s: got %+v, %v", text, again, err)
	}
	for name, c := range map[string][2]string{
		"another id":      {`"quote_id":"0x`, `"quote_id":"0x00`},
		"another price":   {`"tip_wei_per_gas":"1500000000"`, `"tip_wei_per_gas":"1400000000"`},
		"hex amount":      {`"tip_wei_per_gas":"1500000000"`, `"tip_wei_per_gas":"0x59682f00"`},
		"number":          {`"tip_wei_per_gas":"1500000000"`, `"tip_wei_per_gas":1500000000`},
		"257 bits":        {`"total_wei":"`, `"total_wei":"9`},
		"negative":        {`"total_wei":"`, `"total_wei":"-`},
		"no price":        {`"price":`, `"prize":`},
		"a nonce":         {`"nonce":0`, `"nonce":1`},
		"no mode":         {`"mode":"tip"`, `"mode":""`},
		"a strange mode":  {`"mode":"tip"`, `"mode":"TIP"`},
		"a long mode":     {`"mode":"tip"`, `"mode":"` + strings.Repeat("t", 33) + `"`},
		"short signature": {`"signature":"0x00`, `"signature":"0x`},
		"other id":        {QuoteSigningID.String(), repeat(0).String()},
	} {
		bad := strings.Replace(string(text), c[0], c[1], 1)
		if bad == string(text) {
			t.Fatalf("%s: nothing to replace in %s", name, text)
		}
		if err := json.Unmarshal([]byte(bad), &again); !errors.Is(err, ErrEncoding) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
