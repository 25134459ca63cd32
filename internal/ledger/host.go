package ledger

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
)

// hostID names this machine without giving its machine id away; "" if it has
// none, as most containers. [machine-id(5)]
func hostID() string { return named16("/etc/machine-id", "sidecar host\n") }

// bootID names this run of this machine's kernel, which all its containers
// share; "" where there is none. [random(4)]
func bootID() string { return named16("/proc/sys/kernel/random/boot_id", "sidecar boot\n") }

func named16(path, label string) string {
	id, err := os.ReadFile(path) // #nosec G304 -- one of two constants
	id = bytes.TrimSpace(id)
	if err != nil || len(id) == 0 {
		return ""
	}
	sum := sha256.Sum256(append([]byte(label), id...))
	return hex.EncodeToString(sum[:16])
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails [crypto/rand]
	return b
}
