package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"
)

// TestCheck_AllParts: a part that cannot be opened does not hide what is wrong
// with the others, and one that hangs takes no time from them.
func TestCheck_AllParts(t *testing.T) {
	t.Parallel()
	n := newNetwork(time.Hour, 0)
	down := newRelay(t, n, "down", 1, 1)
	down.others(status(500))
	hangs := newRelay(t, n, "hangs", 2, 1)
	hangs.others(func(c *call) bool { <-c.relay.stop; return false })
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "[%q]", validator(1).String())
	}))
	t.Cleanup(keys.Close)
	muxed := "[[mux]]\nid = \"m\"\nloader = { url = \"" + keys.URL + "\" }\n" + down.entry("mux.relays")
	promises := fmt.Sprintf("[[modules]]\nid = \"I\"\ntype = \"inclusion\"\nsigning_id = \"0x6a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b\"\n"+
		"[signer.local.loader]\nformat = \"lighthouse\"\nkeys_path = \"keys\"\nsecrets_path = \"secrets\"\n"+
		"[signer.local.store]\nkeys_path = \"proxy_keys\"\nsecrets_path = \"proxy_secrets\"\n"+
		"[beacon]\nurl = \"http://127.0.0.1:%d\"\n[execution]\nurl = \"http://127.0.0.1:%d\"\n", freePort(t), freePort(t))
	for name, c := range map[string]struct {
		config    string
		code      int
		says, not []string
	}{
		"nothing is there": {
			n.toml() + down.entry("relays") + promises, 5,
			[]string{`ledger_missing.*sidecar init`, `relay down: .*500`, `validator keys`, `beacon node: `, `execution node: `, `constraints = true`}, nil,
		},
		"a relay hangs": {n.toml() + hangs.entry("relays") + muxed, 1, []string{`relay hangs: .*timeout`, `relay down: .*500`}, []string{`muxes`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := invoke(t, map[string]string{"sidecar.toml": c.config}, "check", "--config", "sidecar.toml")
			for _, re := range c.says {
				if !regexp.MustCompile(re).MatchString(r.stderr) {
					t.Errorf("the output does not match %s", re)
				}
			}
			for _, re := range c.not {
				if regexp.MustCompile("(?m)^(error: )?" + re).MatchString(r.stderr) {
					t.Errorf("the output matches %s", re)
				}
			}
			if r.code != c.code || t.Failed() {
				t.Errorf("exit %d, want %d; output:\n%s%s", r.code, c.code, r.out, r.stderr)
			}
		})
	}
}
