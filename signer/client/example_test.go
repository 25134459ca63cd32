package client_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
	"sidecar/internal/httpd"
	"sidecar/internal/ledger"
	"sidecar/signer"
	"sidecar/signer/api"
	"sidecar/signer/client"
)

const secret = "a-secret-of-thirty-two-characters-or-more"

// Example is a module that has one object signed for a slot. The same again
// yields the same signature; another object that claims the same is refused.
func Example() {
	url, validator, stop := sidecar()
	defer stop()

	c, err := client.New(client.Config{URL: url, ModuleID: "MY_MODULE", Secret: secret})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()
	hoodi, _ := chain.Named("Hoodi")

	intent := client.Intent{
		Type: "example/top-of-block/v1", Slot: chain.NewClock(hoodi, nil).Slot() + 8, Consensus: validator,
		Object: []byte("the first transaction is 0x61"), Claims: []string{"example/top-of-block"},
	}
	signed, err := c.Intent(ctx, intent)
	fmt.Println(len(signed.Signature), "bytes on chain", signed.ChainID, err)

	intent.Object = []byte("the first transaction is 0x62")
	_, err = c.Intent(ctx, intent)
	fmt.Println("another object:", errors.Is(err, client.ErrSlashable))

	// The published vector of Commit-Boost's signer.
	root := phase0.Root(unhex("0123456789012345678901234567890123456789012345678901234567890123"))
	signed, err = c.SignConsensus(ctx, validator, root, 101)
	fmt.Printf("%#x… %v\n", signed.Signature[:8], err)
	// Output:
	// 96 bytes on chain 560048 <nil>
	// another object: true
	// 0xb653034a6da0e516… <nil>
}

func unhex(s string) []byte { b, _ := hex.DecodeString(s); return b }

// sidecar serves the Signer API for one validator, over a ledger of its own.
func sidecar() (url string, validator phase0.BLSPubKey, stop func()) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	key, err := bls.ParseSecretKey(unhex("10942624b86262d6c92bf37e21086f469d0c4b635e5f4bd229f49ac10ba6f7d1"))
	must(err)
	validator = key.PublicKey()
	hoodi, _ := chain.Named("Hoodi")
	clock := chain.NewClock(hoodi, nil)
	dir, err := os.MkdirTemp("", "example")
	must(err)
	conf := ledger.Config{Path: filepath.Join(dir, "ledger.db"), Network: hoodi.Name, GenesisForkVersion: hoodi.GenesisForkVersion, NewKeys: true, Clock: clock}
	must(ledger.Create(conf))
	book, err := ledger.Open(conf)
	must(err)

	road := &signer.Signer{Ledger: book, Keys: holder{key}, Message: signer.MessageOf(hoodi), Clock: clock}
	policy, err := api.NewPolicy(api.Table{Modules: []api.Module{{
		ID: "MY_MODULE", SigningID: phase0.Root(unhex("6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b")), Secret: secret, Strict: true,
		Grant: api.Grant{Keys: []phase0.BLSPubKey{validator}, Consensus: true, Routes: []string{api.RouteSign, api.RouteIntents}, PerSlot: 10},
	}}}, noProxies{}, api.LedgerRevocations{Notes: road, Book: book, Clock: clock})
	must(err)
	road.Policy = policy
	quiet := slog.New(slog.DiscardHandler)
	service, err := api.New(api.Config{Spec: hoodi, Clock: clock, Log: quiet, Policy: policy, Signer: road, Consensus: func() []phase0.BLSPubKey { return []phase0.BLSPubKey{validator} }})
	must(err)
	server, err := httpd.New(httpd.Config{Name: "signer", Addr: "127.0.0.1:0", Routes: service.Routes(), Log: quiet, Clock: clock})
	must(err)
	must(server.Listen())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	return "http://" + server.Addr().String(), validator, func() {
		cancel()
		must(<-done)
		must(book.Close())
		must(os.RemoveAll(dir))
	}
}

type holder struct{ key *bls.SecretKey }

func (h holder) Sign(_ context.Context, _ commitments.Key, m commitments.Message) ([]byte, error) {
	sig := h.key.Sign(m.Root())
	return sig[:], nil
}

type noProxies struct{}

func (noProxies) Of(string) []api.Proxy                         { return nil }
func (noProxies) Revoke(context.Context, commitments.Key) error { return signer.ErrUnknownKey }

func (noProxies) Lookup(commitments.Key) (api.Proxy, bool) { return api.Proxy{}, false }
func (noProxies) Generate(context.Context, string, phase0.BLSPubKey, bool) (api.Proxy, error) {
	return api.Proxy{}, errors.New("no proxies here")
}
