// Command sidecar sits between a beacon node and its relays.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"sidecar/fault"
)

// version is set by the linker.
var version = "dev"

// gcPercent lets the heap grow to five times what is live, a few MiB, before it
// is collected: at the default a single large request would be a collection.
const gcPercent = 400

func main() {
	debug.SetGCPercent(gcPercent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal finds the default handler and ends the program at once.
	context.AfterFunc(ctx, stop)
	err := command(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %s\n", err)
		os.Exit(exitCode(err))
	}
}

// exitCode tells supervisors what kind of failure it was.
func exitCode(err error) int {
	switch fault.Code(err) {
	case "usage":
		return 2
	case "config_invalid", "relay_url_invalid", "relay_config_invalid": // only a start sees the relay's key on the curve
		return 3
	case "keystore_invalid", "keystore_password", "keystore_mismatch", "keystore_kdf_bounds", "keystore_empty", "proxy_missing", "proxy_store_unserved", "proxy_delegation_invalid":
		return 4
	case "ledger_missing", "ledger_broken", "ledger_other_chain", "ledger_locked", "ledger_schema_newer", "ledger_lost":
		return 5
	case "listen_failed", "admin_listen_failed":
		return 6
	}
	return 1
}
