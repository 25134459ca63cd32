// Command inclusionmodule is the inclusion module in a process of its own.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
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
	return remote.Serve(ctx, c)
}
