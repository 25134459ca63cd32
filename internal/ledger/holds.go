package ledger

// Holds says whether a resource is taken, by an entry that is durable. It reads
// the disk: for what is asked seldom, such as whether a token was revoked.
func (l *Ledger) Holds(resource string) (held bool, err error) {
	err = l.engine.view(func(t index) error {
		seq, err := t.holder(resource)
		held = seq > 0
		return err
	})
	return held, err
}
