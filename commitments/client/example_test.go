package client_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/commitments/answer"
	"sidecar/commitments/client"
)

// A searcher asks for a place in slot 104, checks what it got, and follows what
// becomes of it.
func Example() {
	c, err := client.New(client.Config{URL: "http://127.0.0.1:18560", APIKey: os.Getenv("GATEWAY_KEY")})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()

	var rawTransaction []byte // EIP-2718
	request := commitments.Request{Type: commitments.TypeInclusion, Payload: commitments.EncodeInclusion(104, rawTransaction)}
	promise, err := c.Request(ctx, request)
	if err != nil {
		log.Fatal(err) // errors.As(err, *client.Error) has the reason
	}
	network, _ := chain.Named("Mainnet")
	var keys answer.Signers // of the slot: Capabilities name them, a relay's delegation proves them
	if err := answer.Verify(network, request, promise, keys); err != nil {
		log.Fatal(err)
	}
	err = c.Subscribe(ctx, request.Hash(), func(u commitments.Update) error {
		fmt.Println(u.Step.State, u.Step.Relay, u.Step.Outcome)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
}
