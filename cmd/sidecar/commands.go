package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/urfave/cli/v3"

	"sidecar/internal/app"
	"sidecar/internal/config"
	"sidecar/internal/telemetry"
)

// command is the whole command line. Secrets are never flags.
func command() *cli.Command {
	file := &cli.StringFlag{Name: "config", Aliases: []string{"c"}, Usage: "configuration `FILE`", Sources: cli.EnvVars("CB_CONFIG"), Value: "sidecar.toml"}
	return &cli.Command{
		Name:    "sidecar",
		Usage:   "proposes through relays, promises what the blocks will hold, and keeps its word",
		Version: version,
		Commands: []*cli.Command{
			{Name: "run", Usage: "serve the Builder API and, if configured, promises", Flags: []cli.Flag{file}, Action: run},
			{Name: "check", Usage: "load, resolve and dial everything, and say all that is wrong at once", Flags: []cli.Flag{file}, Action: check},
			{Name: "init", Usage: "make the ledger and the proxy key, once", Flags: []cli.Flag{file}, Action: initialise},
			{Name: "version", Usage: "print the version", Action: printVersion},
		},
		HideVersion: true,
	}
}

func load(cmd *cli.Command) (*config.Config, error) {
	c, err := config.Load(cmd.String("config"), os.LookupEnv)
	if err != nil {
		return nil, err
	}
	for _, w := range c.Warnings() {
		fmt.Fprintf(os.Stderr, "warning: %s\n", w)
	}
	return c, nil
}

func run(ctx context.Context, cmd *cli.Command) error {
	c, err := load(cmd)
	if err != nil {
		return err
	}
	a, err := app.New(c, version, telemetry.NewLogger(logOptions(c)))
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

func check(ctx context.Context, cmd *cli.Command) error {
	c, err := load(cmd)
	if err != nil {
		return err
	}
	quiet := logOptions(c)
	quiet.Out = io.Discard
	a, err := app.New(c, version, telemetry.NewLogger(quiet))
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.Check(ctx); err != nil {
		return err
	}
	fmt.Fprintf(os.Stdout, "ok: chain %s, %d relays, %d muxes, promises %v\n", c.Chain().Name, len(c.Relays), len(c.Muxes), c.Promises())
	return nil
}

func initialise(ctx context.Context, cmd *cli.Command) error {
	c, err := load(cmd)
	if err != nil {
		return err
	}
	return app.Init(ctx, c, os.Stdout)
}

func printVersion(_ context.Context, _ *cli.Command) error {
	_, err := fmt.Fprintf(os.Stdout, "sidecar %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// logOptions follow [logs.stdout].
func logOptions(c *config.Config) telemetry.Options {
	o := telemetry.Options{Level: c.Logs.Stdout.Level, Format: "auto", Out: os.Stdout}
	if j := c.Logs.Stdout.UseJSON; j != nil {
		o.Format = "text"
		if *j {
			o.Format = "json"
		}
	}
	if !c.Logs.Stdout.Enabled {
		o.Out = io.Discard
	}
	return o
}
