//go:build tools

// Package peer pins the program that the benchmark compares with. Only its
// binary is built, from the module proxy; nothing of it is part of this project.
package peer

import _ "github.com/flashbots/mev-boost"
