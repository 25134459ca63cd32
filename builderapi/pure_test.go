package builderapi

import (
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/internal/relay"
	"sidecar/internal/wire"
)

// TestBudget holds the worked example of Commit-Boost's documentation and the
// edges around the start of a slot.
func TestBudget(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name                        string
		timeout, late, into, caller time.Duration
		want                        time.Duration
	}{
		{"early in the slot", 950 * ms, 2000 * ms, 100 * ms, 0, 950 * ms},
		{"late shrinks the budget", 950 * ms, 2000 * ms, 1500 * ms, 0, 500 * ms},
		{"too late", 950 * ms, 2000 * ms, 2500 * ms, 0, -500 * ms},
		{"exactly late", 950 * ms, 2000 * ms, 2000 * ms, 0, 0},
		{"1 ms before the slot is on time", 950 * ms, 2000 * ms, -1 * ms, 0, 950 * ms},
		{"a whole slot early is on time", 950 * ms, 2000 * ms, -12 * time.Second, 0, 950 * ms},
		{"the caller is in a hurry", 950 * ms, 2000 * ms, 100 * ms, 300 * ms, 300 * ms},
		{"the caller has more time than we", 950 * ms, 2000 * ms, 100 * ms, 3000 * ms, 950 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := budget(tt.timeout, tt.late, tt.into, tt.caller); got != tt.want {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestCallerTimeout(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "950": 950 * time.Millisecond, "-1": 0, "1.5": 0, "0x10": 0, "abc": 0,
		"9223372036854775807": 0, "99999999999999999999": 0, "9223372036854": 9223372036854 * time.Millisecond,
	} {
		if got := callerTimeout(header); got != want {
			t.Errorf("%q: got %v, want %v", header, got, want)
		}
	}
}

// TestExpectedGasLimit: the step is parent/1024 − 1, as execution clients take it.
func TestExpectedGasLimit(t *testing.T) {
	for _, tt := range []struct{ parent, target, want uint64 }{
		{30_000_000, 30_000_000, 30_000_000},
		{30_000_000, 36_000_000, 30_029_295},
		{30_000_000, 20_000_000, 29_970_705},
		{30_000_000, 30_000_010, 30_000_010},
		{1023, 2000, 1023},
		{0, 10, 0},
	} {
		if got := expectedGasLimit(tt.parent, tt.target); got != tt.want {
			t.Errorf("%d toward %d: got %d, want %d", tt.parent, tt.target, got, tt.want)
		}
	}
}

func aLot(order int, wei uint64, hash byte, started int) *lot {
	b := &wire.Bid{Value: *uint256.NewInt(wei)}
	b.Header.BlockHash[0] = hash
	return &lot{order: order, bid: b, offer: relay.Offer{Bid: b, Started: time.Unix(int64(started), 0)}}
}

func TestTable_Best(t *testing.T) {
	tab := &table{lots: make([][]*lot, 3)}
	for _, l := range []*lot{aLot(0, 5, 9, 1), aLot(1, 7, 8, 1), aLot(2, 7, 3, 1)} {
		tab.add(l)
	}
	if got := tab.best(fresh, true); got.order != 2 {
		t.Fatalf("equal values: got relay %d, want the lower hash of relay 2", got.order)
	}
	tab.lots[2][0].state = refused
	if got := tab.best(fresh, true); got.order != 1 {
		t.Fatalf("after a refusal: got relay %d, want 1", got.order)
	}
	if got := tab.best(sound, false); got != nil {
		t.Fatalf("nothing is sound yet, got relay %d", got.order)
	}
}

// TestTable_NewerReplaces: cancellation by the same relay counts, unless the
// newer bid is bad; an answer that overtakes an older one on the wire does not.
func TestTable_NewerReplaces(t *testing.T) {
	tab := &table{lots: make([][]*lot, 1)}
	old := aLot(0, 9, 1, 1)
	tab.add(old)
	old.state = sound
	newer := aLot(0, 4, 2, 2)
	tab.add(newer)
	if got := tab.best(fresh, true); got != newer {
		t.Fatalf("got value %s, want the newer bid", got.bid.Value.Dec())
	}
	newer.state = refused
	if got := tab.best(fresh, true); got != old {
		t.Fatal("a bad newer bid displaced a good older one")
	}
	newer.state = sound
	tab.add(aLot(0, 99, 3, 0)) // started before both
	if got := tab.best(fresh, true); got != newer {
		t.Fatalf("got value %s, want the latest started", got.bid.Value.Dec())
	}
}

func TestSubmissions(t *testing.T) {
	var s submissions
	s.init()
	block := func(sig byte) *wire.BlindedBlock {
		return &wire.BlindedBlock{Slot: 7, ProposerIndex: 3, Signature: phase0.BLSSignature{sig}}
	}
	d, first, err := s.join(block(1), true)
	if err != nil || !first {
		t.Fatalf("first: %v %v", first, err)
	}
	if again, first, err := s.join(block(1), true); again != d || first || err != nil {
		t.Fatal("the same block does not join its delivery")
	}
	if _, _, err := s.join(block(2), true); err == nil {
		t.Fatal("a second block of the slot was let through")
	}
	if other, first, err := s.join(block(1), false); other == d || !first || err != nil {
		t.Fatal("v1 and v2 of one block are two deliveries")
	}
	d.finish(nil, ErrNoPayload)
	if retry, first, _ := s.join(block(1), true); retry == d || !first {
		t.Fatal("a failed delivery cannot be tried again")
	}
}

func TestEther(t *testing.T) {
	for wei, want := range map[string]string{
		"0": "0.000000000", "1": "0.000000000", "1000000000": "0.000000001",
		"1234567890123456789": "1.234567890",
		"115792089237316195423570985008687907853269984665640564039457584007913129639935": "115792089237316195423570985008687907853269984665640564039457.584007913",
	} {
		if got := ether(uint256.MustFromDecimal(wei)); got != want {
			t.Errorf("%s: got %s, want %s", wei, got, want)
		}
	}
}
