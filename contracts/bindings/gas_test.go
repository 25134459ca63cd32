package bindings

import (
	"fmt"
	"testing"
)

// TestGas holds each step to a ceiling, in gas of a whole transaction under
// Osaka's rules: base, calldata and execution. Depth is the nodes of one
// account proof, all branches full; mainnet has about 9.
func TestGas(t *testing.T) {
	type row struct {
		step    string
		gas     uint64
		ceiling uint64
	}
	var rows []row
	for _, c := range []struct {
		depth   int
		ceiling uint64
	}{{3, 720_000}, {6, 900_000}, {9, 1_150_000}} {
		s := guilty()
		s.depth = c.depth
		court := newCourt(t, false)
		_, gas, why := court.absent(s.tell(t))
		if why != "" {
			t.Fatal(why)
		}
		rows = append(rows, row{fmt.Sprintf("F1 check, depth %d", c.depth), gas, c.ceiling})
	}
	s := newService(t, false)
	rows = append(rows, row{"join with one key", s.join(1), 300_000})
	rows = append(rows, row{"one more key", s.addKey(2), 280_000})
	id, gas := s.submitAbsent(guilty())
	rows = append(rows, row{"submit F1, depth 3", gas, 760_000})
	deep := nonce(9)
	deep.depth = 6
	_, gas = s.submitAbsent(deep)
	rows = append(rows, row{"submit F1, depth 6", gas, 950_000})
	_, double := s.submitDouble(guilty(), another())
	rows = append(rows, row{"submit F2", double, 700_000})
	s.pass(delay)
	rows = append(rows, row{"execute, core not counted", s.execute(id), 80_000})
	for _, r := range rows {
		t.Logf("| %-26s | %9d | %9d |", r.step, r.gas, r.ceiling)
		if r.gas > r.ceiling {
			t.Errorf("%s costs %d gas, at most %d", r.step, r.gas, r.ceiling)
		}
	}
}
