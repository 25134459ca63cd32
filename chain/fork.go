package chain

import "strings"

// Fork is a consensus fork that the Builder API knows, in order of activation.
type Fork uint8

// The forks. The sidecar serves blocks of Deneb, Electra and Fulu; the others
// are named so that a message about them can be refused by name.
const (
	UnknownFork Fork = iota
	Phase0
	Altair
	Bellatrix
	Capella
	Deneb
	Electra
	Fulu
	Gloas
)

var forkNames = [...]string{"unknown", "phase0", "altair", "bellatrix", "capella", "deneb", "electra", "fulu", "gloas"}

// String is the value of Eth-Consensus-Version: the lower-case fork name.
func (f Fork) String() string {
	if int(f) < len(forkNames) {
		return forkNames[f]
	}
	return forkNames[0]
}

// ParseFork reads a fork name in any case. It returns UnknownFork for a name it
// does not know.
func ParseFork(name string) Fork {
	for i, n := range forkNames {
		if i > 0 && strings.EqualFold(n, name) {
			return Fork(i) // #nosec G115 -- the table is short
		}
	}
	return UnknownFork
}

// Served says whether the sidecar proposes blocks of this fork.
func (f Fork) Served() bool { return f == Deneb || f == Electra || f == Fulu }
