// Command sidecar sits between a beacon node and its relays.
package main

import (
	"context"
	"errors"
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
	err := command(untilSignal(), os.Args[1:])
	if answer := exitWith(0); errors.As(err, &answer) {
		os.Exit(int(answer))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %s\n", err)
		os.Exit(exitCode(err))
	}
}

// exitWith is an answer that is an exit code: it is printed already.
type exitWith int

func (e exitWith) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exitUnfinished is the exit code after a second signal: what was under way
// when it came was not finished.
const exitUnfinished = 8

// untilSignal returns a context that the first SIGINT, SIGTERM or SIGHUP ends. A
// second SIGINT or SIGTERM ends the program at once; a SIGHUP does not, for a
// terminal that is closed may send several. All are taken by one channel: a second
// signal that comes on the heels of the first must not fall between two handlers.
func untilSignal() context.Context {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the program
		<-signals
		cancel()
		for s := range signals {
			if s != syscall.SIGHUP {
				os.Exit(exitUnfinished)
			}
		}
	}()
	return ctx
}

// exitCode tells supervisors what kind of failure it was.
func exitCode(err error) int {
	switch fault.Code(err) {
	case "usage", "evidence_malformed":
		return 2
	case "evidence_too_late":
		return 3
	case "sender_key_invalid":
		return 4
	case "journal_broken", "journal_locked":
		return 5
	case "evidence_acquits", "fault_vetoed":
		return 7
	case "onchain_unfinished":
		return exitUnfinished
	case "config_invalid", "tls_invalid", "signer_modules_invalid", "relay_url_invalid", "relay_config_invalid": // only a start sees the relay's key on the curve
		return 3
	case "keystore_invalid", "keystore_password", "keystore_mismatch", "keystore_kdf_bounds", "keystore_empty", "proxy_missing", "committer_missing", "proxy_store_unserved", "proxy_delegation_invalid",
		"proxy_possession_invalid", "key_held_twice", "tls_files_invalid", "key_holder_unavailable", "dirk_account_invalid", "dirk_answer", "dirk_threshold",
		"dirk_unreachable", "web3signer_answer", "web3signer_domain", "web3signer_refused":
		return 4
	case "ledger_missing", "ledger_broken", "ledger_other_chain", "ledger_locked", "ledger_schema_newer", "ledger_lost",
		"ledger_rolled_back", "ledger_other_host", "ledger_not_durable", "ledger_unreachable", "proxy_keys_locked", "interchange_invalid", "interchange_conflict":
		return 5
	case "listen_failed", "admin_listen_failed":
		return 6
	}
	return 1
}
