//go:build !race

package simnet

import "time"

const slotDuration = time.Second
