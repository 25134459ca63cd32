package tests

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
)

// TestFeeRecipientStrict: by default a bid whose header pays another address than
// the validator registered wins all the same, for builders pay in their last
// transaction. With fee_recipient_strict it does not, and the lesser bid that
// pays the registered address wins.
func TestFeeRecipientStrict(t *testing.T) {
	t.Parallel()
	for line, winner := range map[string]uint64{"": 20, "fee_recipient_strict = false\n": 20, "fee_recipient_strict = true\n": 10} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(-nowSlot*slotTime-time.Second, 0)
			other, keeper := newRelay(t, n, "other", 1, 20), newRelay(t, n, "keeper", 2, 10)
			p := start(t, n.toml()+"[pbs]\nport = 0\n"+line+other.entry("relays")+keeper.entry("relays"))
			parent, registered := parentOf(t.Name()), bellatrix.ExecutionAddress{7}
			keeper.plan(parent, func(c *call) bool {
				return c.offer(c.bid(func(b *signedBid) { b.Message.Header.FeeRecipient = registered }))
			})
			ask := func() uint64 {
				t.Helper()
				got := p.must(t, http.MethodGet, headerPath(fuluSlot, parent, validator(1)), nil, "Accept", mediaSSZ)
				return decodeBid(t, got, mediaSSZ, n.fork(fuluSlot)).Message.Value.Uint64()
			}
			if got := ask(); got != 20 {
				t.Errorf("before a registration a bid of %d wins, want 20: there is nothing to compare with", got)
			}
			body := fmt.Sprintf(`[{"message":{"fee_recipient":"%s","gas_limit":"60000000","timestamp":"1","pubkey":"%s"},"signature":"0x%s"}]`,
				registered.String(), validator(1).String(), strings.Repeat("c0", 96))
			if a := p.must(t, http.MethodPost, "/eth/v1/builder/validators", []byte(body), "Content-Type", mediaJSON); a.status != 200 {
				t.Fatalf("registration: %d %s", a.status, a.body)
			}
			if got := ask(); got != winner {
				t.Errorf("a bid of %d wins, want %d", got, winner)
			}
		})
	}
}
