package api

import (
	"net/netip"
	"testing"

	"sidecar/internal/httpd"
)

// BenchmarkAuthenticate shows what a token costs, and that one of an unknown
// module costs what one with a bad MAC does.
func BenchmarkAuthenticate(b *testing.B) {
	h := newHouse(b, func(_ *house, _ []Module, c *Config) { c.FailLimit = 0 })
	body := `{"pubkey":"` + keyOne + `","object_root":"` + vectorRoot + `","nonce":1}`
	for name, token := range map[string]string{
		"good":    h.moduleToken("MOD_A", secretA, blsPath, body),
		"bad":     h.moduleToken("MOD_A", secretB, blsPath, body),
		"unknown": h.moduleToken("MOD_X", secretB, blsPath, body),
	} {
		b.Run(name, func(b *testing.B) {
			req := httpd.Request{Body: []byte(body), Remote: netip.MustParseAddr("192.0.2.1"), Header: func(string) string { return "Bearer " + token }}
			r := route{name: "x", path: blsPath, grant: RouteSign, body: true}
			for b.Loop() {
				if _, err := h.authenticate(r, req); (err == nil) != (name == "good") {
					b.Fatal(err)
				}
			}
		})
	}
}
