package relay

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"sidecar/fault"
)

// Whatever the second answer over a connection is, Ask comes to what Offers
// would; soon says which of them Soon takes.
func TestAsk(t *testing.T) {
	bid := vector(t, "fulu_signed_builder_bid.ssz")
	good := answer("200 OK", typeSSZ, bid)
	after := func(d time.Duration, s string) script {
		return func(c *chaos, conn net.Conn, _ int) bool { return c.wait(d) && c.write(conn, s) }
	}
	at := func(s string) script { return after(0, s) }
	cases := []struct {
		name   string
		second script
		soon   bool
		offers int
		want   *fault.Fault
		asked  int32 // requests in all, the one that opened the connection included
	}{
		{"at once", at(good), true, 1, nil, 2},
		{"no bid", at("HTTP/1.1 204 No Content\r\n\r\n"), true, 0, nil, 2},
		{"lower-case length", at("HTTP/1.1 200 OK\r\n" + typeSSZ + "content-length: 1\r\n\r\nx"), true, 0, ErrDecode, 2},
		{"not a bid", at(answer("200 OK", typeSSZ, []byte("x"))), true, 0, ErrDecode, 2},
		{"bytes behind", at(good + "x"), true, 0, ErrProtocol, 2},
		{"late", after(80*time.Millisecond, good), false, 1, nil, 2},
		{"in drops", drip(good, len(good)/5, 20*time.Millisecond), false, 1, nil, 2},
		{"chunked", at(chunked(typeSSZ, string(bid))), false, 1, nil, 2},
		{"to the end", raw("HTTP/1.1 200 OK\r\n" + typeSSZ + "\r\n" + string(bid)), false, 1, nil, 2},
		{"cut short", raw(good[:len(good)-1]), false, 0, ErrShortBody, 2},
		{"no SSZ", func(c *chaos, conn net.Conn, n int) bool {
			if n == 2 {
				return c.write(conn, answer("406 Not Acceptable", "", nil))
			}
			return c.write(conn, good)
		}, false, 1, nil, 3},
		{"closed unanswered", func(c *chaos, conn net.Conn, n int) bool { return n > 2 && c.write(conn, good) }, false, 1, nil, 3},
		{"its own trouble", at(answer("500 Oops", "", nil)), false, 0, Err5xx, 2},
		{"not HTTP", raw("SSH-2.0-OpenSSH_9.9\r\n\r\n"), false, 0, ErrProtocol, 2},
		{"silent", silence, false, 0, ErrTimeout, 2},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			relay := newChaos(t, func(c *chaos, conn net.Conn, n int) bool {
				if n == 1 {
					return c.write(conn, good)
				}
				return tt.second(c, conn, n)
			})
			c := dialTo(t, relay.url, nil)
			if offers, err := collect(t, c, budget(t, time.Second), request()); len(offers) != 1 || err != nil {
				t.Fatalf("first call: got %d offers, %v", len(offers), err)
			}
			a := c.Ask(budget(t, 400*time.Millisecond), request(), time.Now().Add(40*time.Millisecond))
			if a == nil {
				t.Fatal("not asked although a connection is kept")
			}
			var offers int
			emit := func(Offer) { offers++ }
			soon, err := a.Soon(emit)
			if soon != tt.soon {
				t.Errorf("Soon took the answer: got %v, want %v", soon, tt.soon)
			}
			if !soon {
				err = a.Hear(emit)
			}
			wantFault(t, err, tt.want)
			if offers != tt.offers {
				t.Errorf("got %d offers, want %d", offers, tt.offers)
			}
			if got := relay.requests.Load(); got != tt.asked {
				t.Errorf("the relay was asked %d times, want %d", got, tt.asked)
			}
		})
	}
}

// A connection that Ask used is kept, whoever took the answer.
func TestAsk_KeepsConnection(t *testing.T) {
	good := answer("200 OK", typeSSZ, vector(t, "fulu_signed_builder_bid.ssz"))
	relay := newChaos(t, func(c *chaos, conn net.Conn, n int) bool {
		return (n%2 == 1 || c.wait(20*time.Millisecond)) && c.write(conn, good)
	})
	c := dialTo(t, relay.url, nil)
	if _, err := collect(t, c, budget(t, time.Second), request()); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		a := c.Ask(budget(t, time.Second), request(), time.Now().Add(5*time.Millisecond))
		if soon, err := a.Soon(func(Offer) {}); err != nil {
			t.Fatal(err)
		} else if !soon {
			if err := a.Hear(func(Offer) {}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := relay.conns.Load(); n != 1 {
		t.Errorf("got %d connections, want 1", n)
	}
}

// What is more than one request over a kept connection is left to Offers.
func TestAsk_NotHere(t *testing.T) {
	good := answer("200 OK", typeSSZ, vector(t, "fulu_signed_builder_bid.ssz"))
	plain := func(*Config) {}
	for _, tt := range []struct {
		name      string
		configure func(*Config)
		warm      bool
		proofs    bool
		closed    bool
		asked     bool
	}{
		{"kept connection", plain, true, false, false, true},
		{"no connection", plain, false, false, false, false},
		{"timing games", func(c *Config) { c.Games = true }, true, false, false, false},
		{"stream", func(c *Config) { c.Stream = true }, true, false, false, false},
		{"proofs", plain, true, true, false, false},
		{"closed client", plain, true, false, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			relay := newChaos(t, func(c *chaos, conn net.Conn, n int) bool {
				if n == 1 && tt.warm {
					return c.write(conn, answer("200 OK", "", nil))
				}
				return c.write(conn, good)
			})
			c := dialTo(t, relay.url, tt.configure)
			if tt.warm {
				if err := c.Status(budget(t, time.Second)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.closed {
				c.Close()
			}
			r := request()
			r.WithProofs = tt.proofs
			a := c.Ask(budget(t, time.Second), r, time.Now().Add(time.Millisecond))
			if got := a != nil; got != tt.asked {
				t.Fatalf("got asked %v, want %v", got, tt.asked)
			}
			if a != nil {
				if err := a.Hear(func(Offer) {}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A read that Soon gave up does not break a TLS connection for Hear.
func TestAsk_TLS(t *testing.T) {
	ca := newAuthority(t)
	bid := vector(t, "fulu_signed_builder_bid.ssz")
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(bid)))
		for _, part := range [][]byte{nil, bid[:600], bid[600:]} {
			time.Sleep(15 * time.Millisecond)
			answerSSZ(w, part)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	c := dialTo(t, server.URL, func(cfg *Config) { cfg.TLS = &tls.Config{RootCAs: roots} })
	if _, err := collect(t, c, budget(t, time.Second), request()); err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{5, 20, 35, 500} {
		a := c.Ask(budget(t, time.Second), request(), time.Now().Add(wait*time.Millisecond))
		n := 0
		emit := func(Offer) { n++ }
		soon, err := a.Soon(emit)
		if soon != (wait == 500) {
			t.Errorf("%d ms: Soon took the answer: %v", wait, soon)
		}
		if !soon {
			err = a.Hear(emit)
		}
		if err != nil || n != 1 {
			t.Errorf("%d ms: got %d offers, %v", wait, n, err)
		}
	}
}
