package ledger

// Revoked says whether a resource was taken by a revocation, here or by another
// sidecar that shares the ledger. It reads memory: for what is asked at every
// signature. The name is
// only made if anything was revoked.
func (l *Ledger) Revoked(resource func() string) bool {
	l.mu.RLock()
	revoked := l.book.revoked
	l.mu.RUnlock()
	return len(revoked) > 0 && revoked[resource()]
}
