// Command deploy puts EigenLayer's real core, v1.9.0-rc.0, on a development
// chain and prints where it is, as JSON. Its delays are a few blocks.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/e2e/eigenlayer/core"
)

func main() {
	url := flag.String("rpc", "", "URL of an execution node")
	key := flag.String("key", "", "file with the secret key of a funded account, in hex")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := run(ctx, *url, *key); err != nil {
		fmt.Fprintln(os.Stderr, "deploy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, keyPath string) error {
	text, err := os.ReadFile(keyPath)
	if err != nil {
		return err
	}
	key, err := crypto.HexToECDSA(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	at, err := core.Deploy(ctx, url, key, core.Brief)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(struct {
		core.Core
		Blocks uint64 `json:"blocks"`
		Mints  bool   `json:"mints"`
	}{at, core.Brief.Wait(), true})
}
