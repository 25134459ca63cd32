// Package harden keeps secrets in and eyes out, as far as the platform lets a
// process do that for itself: no core dumps, no debugger of the same user, and
// memory for keys that is neither swapped out nor dumped, and zeroed when it is
// given back. What the platform does not offer is reported, never fatal.
package harden

import (
	"sync"
	"unsafe"
)

// regionSize is how much memory a vault takes at a time, in bytes: whole pages
// on every platform we know, and below the smallest common RLIMIT_MEMLOCK.
const regionSize = 64 << 10

// align suits everything that keys are made of.
const align = 16

// Vault is memory for secrets outside of Go's heap: the garbage collector
// neither moves nor copies it. Make it with NewVault; its methods may be called
// from any goroutine. A nil *Vault is ordinary memory, for tests.
type Vault struct {
	mu       sync.Mutex
	regions  []*region // guarded by mu
	closed   bool      // guarded by mu
	unlocked error     // guarded by mu; why some region is not locked
}

// region is one mapping; what is handed out is never handed out again.
type region struct {
	memory []byte
	used   int
}

// NewVault returns an empty vault.
func NewVault() *Vault { return new(Vault) }

// New returns a zeroed T in the vault's memory. T must hold no pointers: the
// garbage collector does not look there. It stays valid until Close, after
// which the vault gives out ordinary memory.
func New[T any](v *Vault) *T {
	b := v.Bytes(int(unsafe.Sizeof(*new(T)))) // #nosec G103 -- memory of the right size and alignment, from Bytes
	return (*T)(unsafe.Pointer(unsafe.SliceData(b)))
}

// Bytes returns n zeroed bytes.
func (v *Vault) Bytes(n int) []byte {
	if n <= 0 || n > regionSize || v == nil {
		return make([]byte, max(n, 0))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return make([]byte, n)
	}
	need := (n + align - 1) &^ (align - 1)
	if len(v.regions) == 0 || v.regions[len(v.regions)-1].used+need > regionSize {
		memory, err := mapLocked(regionSize)
		if err != nil {
			v.unlocked = err
		}
		if memory == nil {
			return make([]byte, n)
		}
		v.regions = append(v.regions, &region{memory: memory})
	}
	r := v.regions[len(v.regions)-1]
	b := r.memory[r.used : r.used+n : r.used+n]
	r.used += need
	return b
}

// Unlocked says why some of the memory can be swapped out; nil if none can.
func (v *Vault) Unlocked() error {
	if v == nil {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unlocked
}

// Close zeroes everything. The memory stays mapped, so that a straggler reads
// zeros and does not crash; it goes with the process.
func (v *Vault) Close() {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, r := range v.regions {
		clear(r.memory)
	}
	v.closed = true
}
