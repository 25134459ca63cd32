package ledger

import bolt "go.etcd.io/bbolt"

// Holds says whether a resource is taken, by an entry that is on disk. It reads
// the disk: for what is asked seldom, such as whether a token was revoked.
func (l *Ledger) Holds(resource string) (held bool, err error) {
	err = guarded(func() error {
		return l.store.db.View(func(tx *bolt.Tx) error {
			t, err := openBuckets(tx)
			if err == nil {
				held = t.resources.Get([]byte(resource)) != nil
			}
			return err
		})
	})
	return held, err
}
