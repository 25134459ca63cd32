package ledger

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// VouchPostgres states that nothing was promised with the keys of a shared ledger
// but what it holds: it ends every hold, if a sidecar starts within 10 minutes. No
// sidecar may have it open. This machine's witness is removed, and made again at
// the next start. Danger: if it is not true, the sidecars can contradict what was
// promised elsewhere. Faults: ErrLease, ErrDatabase, ErrMissing, ErrLossy.
func VouchPostgres(c PostgresConfig) error {
	if err := c.check(); err != nil {
		return err
	}
	conn, err := (&postgres{PostgresConfig: c}).dial(c.timeout(), false)
	if err != nil {
		return bare(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout())
	defer cancel()
	tag, err := conn.Exec(ctx, pgVouch)
	_ = conn.Close(ctx)
	switch {
	case err != nil:
		return bare(pgIll(err))
	case tag.RowsAffected() != 1:
		return ErrLease.With("stop every sidecar first")
	case c.Witness == "":
		return nil
	}
	if err := os.Remove(c.Witness); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
