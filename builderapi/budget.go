package builderapi

import (
	"math"
	"strconv"
	"time"
)

// budget says how long a getHeader call may take that came in `into` the slot:
// min(timeout, late − into, X-Timeout-Ms), in signed arithmetic. into is
// negative before the slot begins, which makes nobody late. Zero or less means
// that no relay is asked. [Commit-Boost §6.1 steps 3–6]
func budget(timeout, late, into, caller time.Duration) time.Duration {
	left := min(timeout, late-into)
	if caller > 0 {
		left = min(left, caller)
	}
	return left
}

// callerTimeout reads X-Timeout-Ms. Zero means absent or unusable, which is not
// an error: the beacon node still wants a block.
func callerTimeout(header string) time.Duration {
	ms, err := strconv.ParseUint(header, 10, 63)
	if err != nil || ms > math.MaxInt64/uint64(time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond // #nosec G115 -- bounded above
}

// reserve is the part of a budget kept back from the relays, so that the last
// bid can be verified and the answer be written before the budget ends.
func reserve(left time.Duration) time.Duration { return min(20*time.Millisecond, left/4) }
