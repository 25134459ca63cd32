// Command commitmodule is a module that asks the Signer API for signatures, and
// knows nothing but its environment.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/signer/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	said, err := ask(ctx)
	if err != nil {
		said = err.Error()
	}
	fmt.Println("\x1b[31m" + said)
	if err := os.WriteFile(os.Getenv("ANSWER"), []byte(said+"\n"+strings.Join(os.Environ(), "\n")), 0o600); err != nil {
		os.Exit(1)
	}
	<-ctx.Done()
}

func ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	conf, err := client.FromEnv(os.Getenv)
	if err != nil {
		return "", err
	}
	conf.Timeout = 40 * time.Second
	c, err := client.New(conf)
	if err != nil {
		return "", err
	}
	defer c.Close()
	keys, err := c.Pubkeys(ctx)
	if err != nil || len(keys) == 0 {
		return "", fmt.Errorf("%d keys: %w", len(keys), err)
	}
	d, err := c.GenerateProxyKey(ctx, keys[0].Consensus, client.BLS)
	if err != nil {
		return "", err
	}
	s, err := c.SignProxyBLS(ctx, d.ProxyBLS, phase0.Root{1}, 1)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("signed %#x", s.Signature[:4]), nil
}
