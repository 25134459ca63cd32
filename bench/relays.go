package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"sidecar/internal/bls"
)

// fakeRelay answers from prepared bytes, so that it costs the machine as little
// as a relay can, and counts what reaches it.
type fakeRelay struct {
	secret  *bls.SecretKey
	addr    string
	server  *fasthttp.Server
	delay   atomic.Int64 // of getHeader, nanoseconds
	best    atomic.Bool  // answers the best bid, not an ordinary one
	bids    [2][2][]byte // [best][ssz]
	payload [2][]byte    // [ssz]

	headers, registrations, blocks atomic.Int64
}

func (r *fakeRelay) url() string { return fmt.Sprintf("http://%s@%s", r.secret.PublicKey(), r.addr) }

// listen starts the relay on a loopback port of the system's choice.
func (r *fakeRelay) listen() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	r.addr = ln.Addr().String()
	r.server = &fasthttp.Server{Handler: r.serve, MaxRequestBodySize: 32 << 20, NoDefaultServerHeader: true}
	go func() { _ = r.server.Serve(ln) }()
	return nil
}

func (r *fakeRelay) serve(c *fasthttp.RequestCtx) {
	path := string(c.Path())
	ssz := bytes.Contains(c.Request.Header.Peek("Accept"), []byte("octet-stream"))
	switch {
	case path == "/eth/v1/builder/status":
	case path == "/eth/v1/builder/validators":
		r.registrations.Add(1)
	case strings.HasPrefix(path, "/eth/v1/builder/header/"):
		r.headers.Add(1)
		time.Sleep(time.Duration(r.delay.Load()))
		which := 0
		if r.best.Load() {
			which = 1
		}
		r.answer(c, r.bids[which], ssz)
	case path == "/eth/v1/builder/blinded_blocks":
		r.blocks.Add(1)
		r.answer(c, r.payload, ssz)
	case path == "/eth/v2/builder/blinded_blocks":
		r.blocks.Add(1)
		c.SetStatusCode(202)
	default:
		c.SetStatusCode(404)
	}
}

func (r *fakeRelay) answer(c *fasthttp.RequestCtx, bodies [2][]byte, ssz bool) {
	c.Response.Header.Set("Eth-Consensus-Version", "electra")
	if ssz && !jsonOnly {
		c.SetContentType("application/octet-stream")
		c.Response.SetBodyRaw(bodies[1])
		return
	}
	c.SetContentType("application/json")
	c.Response.SetBodyRaw(bodies[0])
}

// reset forgets counts, delays and favours.
func (r *fakeRelay) reset() {
	r.delay.Store(0)
	r.best.Store(false)
	r.headers.Store(0)
	r.registrations.Store(0)
	r.blocks.Store(0)
}
