package app

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"sidecar/chain"
	"sidecar/internal/config"
	"sidecar/internal/ledger"
)

// LedgerConfig is how the configuration's ledger in a file is opened: with a witness and a
// lock beside the proxy keys. A nil log stays silent.
func LedgerConfig(c *config.Config, clock *chain.Clock, log *slog.Logger) ledger.Config {
	spec := c.Chain()
	l := ledger.Config{
		Path: c.Ledger.Path, Witness: c.Ledger.Witness, Network: spec.Name, GenesisForkVersion: spec.GenesisForkVersion, Clock: clock, Log: log,
	}
	store := c.Signer.Store()
	if dir := cmp.Or(store.KeysPath, store.ProxyDir); dir != "" {
		l.KeyLock = filepath.Join(dir, ".sidecar-lock")
		if l.Witness == "" {
			l.Witness = filepath.Join(dir, ".sidecar-witness")
		}
	}
	return l
}

// PostgresConfig is how the configuration's shared ledger is opened. A nil log
// stays silent.
func PostgresConfig(c *config.Config, clock *chain.Clock, log *slog.Logger) ledger.PostgresConfig {
	spec := c.Chain()
	host, _ := os.Hostname()
	return ledger.PostgresConfig{
		Witness: LedgerConfig(c, clock, nil).Witness, DSNFile: c.Ledger.PostgresDSNFile, Holder: cmp.Or(c.Ledger.Holder, fmt.Sprintf("%.40s", host), "sidecar"), Lease: c.Ledger.Lease,
		Network: spec.Name, GenesisForkVersion: spec.GenesisForkVersion, Clock: clock, Log: log,
	}
}

// openLedger opens the ledger that the file names, wherever it is, to run with it or
// to look. It never makes one.
func openLedger(c *config.Config, clock *chain.Clock, log *slog.Logger, look bool) (l *ledger.Ledger, err error) {
	if c.Ledger.PostgresDSNFile != "" {
		l, err = ledger.OpenPostgres(PostgresConfig(c, clock, log))
	} else {
		file := LedgerConfig(c, clock, log)
		file.Look = look
		l, err = ledger.Open(file)
	}
	switch {
	case errors.Is(err, ledger.ErrMissing):
		return nil, fmt.Errorf("open the ledger: %w; sidecar init makes it, once", err)
	case err != nil:
		return nil, fmt.Errorf("open the ledger %s: %w", ledgerName(c), err)
	}
	return l, nil
}

// createLedger makes the ledger that the file names.
func createLedger(c *config.Config, clock *chain.Clock, newKeys bool) error {
	if c.Ledger.PostgresDSNFile != "" {
		p := PostgresConfig(c, clock, nil)
		p.NewKeys = newKeys
		return ledger.CreatePostgres(p)
	}
	l := LedgerConfig(c, clock, nil)
	l.NewKeys = newKeys
	return ledger.Create(l)
}

// vouchLedger repeats the operator's word that nothing was ever promised with the
// keys of the ledger that the file names.
func vouchLedger(c *config.Config, clock *chain.Clock) error {
	if c.Ledger.PostgresDSNFile != "" {
		return ledger.VouchPostgres(PostgresConfig(c, clock, nil))
	}
	return ledger.Vouch(LedgerConfig(c, clock, nil))
}

// ledgerName is where the ledger is, for messages.
func ledgerName(c *config.Config) string {
	if c.Ledger.PostgresDSNFile != "" {
		return "in the database of " + c.Ledger.PostgresDSNFile
	}
	return c.Ledger.Path
}
