// Command inclusionmodule is the inclusion module in a process of its own.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sidecar/chain"
	"sidecar/internal/execution"
	"sidecar/modules"
	"sidecar/modules/inclusion"
	"sidecar/modules/remote"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	id, c, err := remote.FromEnv()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(os.Getenv("CB_CHAIN_SPEC"))
	if err != nil {
		return err
	}
	genesis, err := strconv.ParseInt(os.Getenv("GENESIS"), 10, 64)
	if err != nil {
		return err
	}
	spec, err := chain.ParseSpec(text, time.Unix(genesis, 0).UTC())
	if err != nil {
		return err
	}
	node, err := execution.New(execution.Config{URL: os.Getenv("EXECUTION"), Spec: spec, Clock: chain.NewClock(spec, nil)})
	if err != nil {
		return err
	}
	defer node.Close()
	if c.Module, err = inclusion.New(modules.Host{ID: id, Spec: spec, State: node}, nil); err != nil {
		return err
	}
	if err := os.WriteFile(os.Getenv("PID"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return err
	}
	fmt.Println("serving on", c.Listen)
	if c.Events, err = hearing(ctx, os.Getenv("HEARD")); err != nil {
		return err
	}
	return remote.Serve(ctx, c)
}

// hearing appends what happens to a file, a line each: its number and its kind. It
// goes on behind the last whole line.
func hearing(ctx context.Context, path string) (*remote.Inbox, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var seq uint64
	for _, line := range strings.SplitAfter(string(text), "\n") {
		if strings.HasSuffix(line, "\n") {
			_, _ = fmt.Sscan(line, &seq)
		}
	}
	inbox := new(remote.Inbox)
	go func() {
		defer f.Close()
		for {
			list, err := inbox.After(ctx, seq)
			if err != nil {
				return
			}
			for _, e := range list {
				if _, err := fmt.Fprintln(f, e.Seq, e.Kind, e.Slot); err != nil {
					return
				}
				seq = e.Seq
			}
		}
	}()
	return inbox, nil
}
