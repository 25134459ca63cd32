package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecar/fault"
	"sidecar/internal/httpd"
)

// TestLimit_OverHTTP: three failures, then 429 with the time left; a good token
// of the same module and of another behind the same address are served; after
// the timeout the count has ended.
func TestLimit_OverHTTP(t *testing.T) {
	h := newHouse(t, nil)
	bad := h.moduleToken("MOD_A", secretB, pathPubkeys, "")
	for i := range 5 {
		got := h.send(t, http.MethodGet, pathPubkeys, "", bad)
		if i < 3 && got.status != 401 || i >= 3 && got.status != 429 {
			t.Fatalf("failure %d: %d", i+1, got.status)
		}
		if i < 3 {
			continue
		}
		var left float64
		if _, err := fmt.Sscanf(got.body, "rate limited for %f", &left); err != nil || left > 300 || left < 290 {
			t.Errorf("body %q", got.body)
		}
		if after, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || after < 290 || after > 300 || got.reason() != "auth_rate_limited" {
			t.Errorf("Retry-After %v, reason %s", got.header["Retry-After"], got.reason())
		}
	}
	for module, secret := range map[string]string{"MOD_A": secretA, "MOD_B": secretB} {
		if got := h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken(module, secret, pathPubkeys, "")); got.status != 200 {
			t.Errorf("%s is locked out: %d", module, got.status)
		}
	}
	h.offset.Add(int64(301 * time.Second))
	if got := h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_A", secretB, pathPubkeys, "")); got.status != 401 {
		t.Errorf("after the timeout: %d", got.status)
	}
}

// TestLimit_Guessable: a weak secret is not even tried while its name is blocked,
// from that address and no other.
func TestLimit_Guessable(t *testing.T) {
	h := newHouse(t, func(_ *house, m []Module, c *Config) {
		m[0].Secret = "weak"
		c.Address = Address{Type: AddressUnique, Header: "X-Real-Ip"}
	})
	try := func(secret, addr string) int {
		return h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_A", secret, pathPubkeys, ""), "X-Real-Ip", addr).status
	}
	for range 3 {
		if got := try("guess", "192.0.2.1"); got != 401 {
			t.Fatalf("guess: %d", got)
		}
	}
	if got := try("weak", "192.0.2.1"); got != 429 {
		t.Errorf("the right guess, blocked: %d, want 429", got)
	}
	if got := try("weak", "192.0.2.2"); got != 200 {
		t.Errorf("from elsewhere: %d", got)
	}
}

// TestLimit_Parallel: tokens tried at once fail no more often than the limit.
func TestLimit_Parallel(t *testing.T) {
	h := newHouse(t, nil)
	for _, module := range []string{"MOD_A", "MOD_X", ""} {
		var unauthorized, limited atomic.Int64
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				token := h.moduleToken("MOD_A", "wrong", pathPubkeys, "")
				if module == "MOD_X" {
					token = h.moduleToken(module, "wrong", pathPubkeys, "")
				} else if module == "" {
					token = "rubbish"
				}
				switch h.send(t, http.MethodGet, pathPubkeys, "", token).status {
				case 401:
					unauthorized.Add(1)
				case 429:
					limited.Add(1)
				}
			})
		}
		wg.Wait()
		if unauthorized.Load() != 3 || limited.Load() != 197 {
			t.Errorf("%q: %d unauthorized, %d limited; want 3 and 197", module, unauthorized.Load(), limited.Load())
		}
	}
	if got := h.send(t, http.MethodGet, pathPubkeys, "", h.moduleToken("MOD_B", secretB, pathPubkeys, "")); got.status != 200 {
		t.Errorf("an honest module: %d", got.status)
	}
}

func TestLimiter(t *testing.T) {
	now := time.Unix(1e9, 0)
	bad := func() error { return ErrToken }
	good := func() error { return nil }
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

	t.Run("invented names share a budget", func(t *testing.T) {
		l := limiter{limit: 3, timeout: time.Minute}
		failed := 0
		for i := range 100 {
			if errors.Is(l.stranger(a, fmt.Sprintf("module/%d", i), now, bad), ErrToken) {
				failed++
			}
		}
		if failed != 30 {
			t.Errorf("%d failures, want 30", failed)
		}
		if err := l.try(a, "module/A", true, now, good); err != nil {
			t.Errorf("a known module behind it: %v", err)
		}
		if err := l.stranger(b, "module/1", now, bad); !errors.Is(err, ErrToken) {
			t.Errorf("another address: %v", err)
		}
	})
	t.Run("a limit of 0", func(t *testing.T) {
		l := limiter{timeout: time.Minute}
		for range 100 {
			if err := l.try(a, "x", true, now, bad); !errors.Is(err, ErrToken) {
				t.Fatal(err)
			}
		}
	})
	t.Run("what is refused does not count", func(t *testing.T) {
		l := limiter{limit: 1, timeout: time.Minute}
		_ = l.try(a, "x", true, now, bad)
		for i := range 50 {
			if err := l.try(a, "x", true, now.Add(time.Duration(i)*time.Second), bad); !errors.Is(err, ErrAuthLimit) {
				t.Fatalf("second %d: %v", i, err)
			}
		}
		if err := l.try(a, "x", true, now.Add(61*time.Second), bad); !errors.Is(err, ErrToken) {
			t.Errorf("after its minute: %v", err)
		}
	})
	t.Run("a full cache is not the token's failure", func(t *testing.T) {
		l := limiter{limit: 1, timeout: time.Minute}
		for range 5 {
			if err := l.try(a, "x", false, now, func() error { return ErrTokenCache }); !errors.Is(err, ErrTokenCache) {
				t.Error(err)
			}
		}
	})
	t.Run("bounded", func(t *testing.T) {
		l := limiter{limit: 3, timeout: time.Minute}
		for i := range maxBuckets + 1000 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			_ = l.stranger(addr, "module/", now, bad)
		}
		if len(l.buckets) > maxBuckets {
			t.Errorf("%d buckets", len(l.buckets))
		}
	})
	t.Run("an IPv6 network", func(t *testing.T) {
		l := limiter{limit: 1, timeout: time.Minute}
		_ = l.try(netip.MustParseAddr("2001:db8::1"), "x", true, now, bad)
		if err := l.try(netip.MustParseAddr("2001:db8::2"), "x", true, now, bad); !errors.Is(err, ErrAuthLimit) {
			t.Error(err)
		}
	})
}

func TestReplay(t *testing.T) {
	r := replay{}
	now := time.Unix(1e9, 0)
	exp := func(used time.Time) int64 { return used.Add(strictLife).Unix() }
	if err := r.use("a", exp(now), now); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{0, 30 * time.Second, strictLife, generation - 1, generation} {
		if err := r.use("a", exp(now.Add(after)), now.Add(after)); !errors.Is(err, ErrTokenReplayed) {
			t.Errorf("after %s: %v", after, err)
		}
	}
	for i := 1; ; i++ {
		err := r.use(strconv.Itoa(i), exp(now.Add(generation)), now.Add(generation))
		if errors.Is(err, ErrTokenCache) {
			if i != maxTokens {
				t.Errorf("full after %d, want %d", i, maxTokens)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// What is still alive is refused even now; what has expired makes room.
	if err := r.use("7", exp(now.Add(generation+strictLife)), now.Add(generation+strictLife)); !errors.Is(err, ErrTokenReplayed) {
		t.Errorf("alive: %v", err)
	}
	if err := r.use("new", exp(now.Add(4*generation)), now.Add(4*generation)); err != nil {
		t.Errorf("after all have expired: %v", err)
	}
	// Nobody remembers "a" any more. A clock that is put back does not let it in again.
	for _, at := range []time.Time{now, now.Add(strictLife)} {
		if err := r.use("a", exp(now), at); !errors.Is(err, ErrTokenReplayed) {
			t.Errorf("on a clock that was put back: %v", err)
		}
	}
}

// TestReplay_RefusesNothingFresh: what a rotation forgets has expired.
func TestReplay_RefusesNothingFresh(t *testing.T) {
	r := replay{}
	for now, n := time.Unix(1e9, 5e8), 0; n < 400; now, n = now.Add(time.Duration(n%97)*time.Second), n+1 {
		// Whatever is valid now: made before, and expired a moment ago within the leeway.
		oldest := now.Add(-strictLeeway).Unix() + 1
		if err := r.use(strconv.Itoa(n), oldest, now); err != nil {
			t.Fatalf("after %d: %v", n, err)
		}
	}
}

// TestAddress: where a caller's address is found. [Commit-Boost: reverse_proxy]
func TestAddress(t *testing.T) {
	unique, right := Address{Type: AddressUnique, Header: "X-Real-Ip"}, Address{Type: AddressRightmost, Header: "X-Forwarded-For", Trusted: 2}
	for _, c := range []struct {
		from         Address
		header, want string
	}{
		{Address{}, "198.51.100.1", "192.0.2.9"},
		{unique, "198.51.100.1", "198.51.100.1"},
		{unique, "::ffff:198.51.100.1", "198.51.100.1"},
		{unique, "", ""},
		{unique, "198.51.100.1, 198.51.100.2", ""},
		{unique, "198.51.100.1:80", ""},
		{unique, "fe80::1%eth0", ""},
		{right, "203.0.113.1, 198.51.100.1 , 198.51.100.2", "198.51.100.1"},
		{right, "198.51.100.1,198.51.100.2", "198.51.100.1"},
		{right, "198.51.100.2", ""},
		{right, "", ""},
		{right, "x,198.51.100.2", ""},
	} {
		got, err := c.from.of(httpd.Request{Remote: netip.MustParseAddr("192.0.2.9"), Header: func(string) string { return c.header }})
		if c.want == "" && fault.Code(err) != "client_address_unknown" || c.want != "" && got.String() != c.want {
			t.Errorf("%s %q: %s, %v; want %q", c.from.Type, c.header, got, err, c.want)
		}
	}
	if err := (Address{Type: AddressRightmost, Header: "x"}).check(); err == nil {
		t.Error("rightmost without a count")
	}
}
