//go:build race

package simnet

import "time"

// slotDuration leaves the race detector its time.
const slotDuration = 2 * time.Second
