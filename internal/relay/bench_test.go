package relay

import (
	"context"
	"net"
	"testing"
	"time"
)

func BenchmarkOffers(b *testing.B) {
	good := answer("200 OK", typeSSZ, vector(b, "fulu_signed_builder_bid.ssz"))
	relay := newChaos(b, func(c *chaos, conn net.Conn, _ int) bool { return c.write(conn, good) })
	c := dialTo(b, relay.url, nil)
	r := request()
	b.ReportAllocs()
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), time.Second)
		n := 0
		if err := c.Offers(ctx, r, func(Offer) { n++ }); err != nil || n != 1 {
			b.Fatal(n, err)
		}
		cancel()
	}
}
