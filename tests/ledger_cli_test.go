package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestInit_NewKeys: the operator's statement stands after the proxies were made, and
// after a look at the configuration.
func TestInit_NewKeys(t *testing.T) {
	t.Parallel()
	h, file := newSignerHouse(t)
	h.write(t, "sidecar.toml", strings.Replace(file, "url = \"", "constraints = true\nurl = \"", 1)+`[[modules]]
id = "INCLUSION"
type = "inclusion"
signing_id = "0x7a33a23ef26a4836979edff86c493a69b26ccf0b4a16491a815a13787657431b"
[beacon]
url = "http://127.0.0.1:1"
[execution]
url = "http://127.0.0.1:1"
`)
	stands := func(when string, want bool) {
		t.Helper()
		found, _ := filepath.Glob(filepath.Join(h.dir, "prox*", ".sidecar-witness")) // see proxyStore
		if len(found) != 1 {
			t.Fatalf("%s: witnesses %v, want one", when, found)
		}
		witness, err := os.ReadFile(found[0])
		if err != nil || strings.Contains(string(witness), `"vouched":true`) != want {
			t.Errorf("%s: witness %s, %v; want vouched %v", when, witness, err, want)
		}
	}
	h.do(t, 0, "Made proxy key", "init", "--new-keys")
	stands("after init", true)
	h.do(t, 1, "beacon node", "check")
	stands("after check", true)
	h.do(t, 0, "is there already", "init", "--new-keys") // says nothing about what was promised since
	stands("after a second init", true)
}

// TestImport_OpenPromises: an import of promises for slots to come cannot keep
// them, and says so.
func TestImport_OpenPromises(t *testing.T) {
	t.Parallel()
	h, _ := newSignerHouse(t)
	h.do(t, 0, "Made the ledger", "init", "--new-keys")
	signed := func(slot int64, n int) string {
		return fmt.Sprintf(`{"resources":["claim/x/%d/%d"],"digest":"0x%064d","kind":"commitment","slot":"%d"}`, slot, n, n, slot)
	}
	now := (time.Now().Unix() - 1742213400) / 12 // Hoodi
	h.write(t, "file.json", `{"metadata":{"interchange_format":"sidecar-interchange/1","network":"hoodi","genesis_fork_version":"0x10000910"},`+
		`"data":[{"key":"`+signerKey+`","signed":[`+strings.Join([]string{signed(now-100, 1), signed(now+50, 2), signed(now+60, 3)}, ",")+`]}]}`)
	h.do(t, 0, fmt.Sprintf("2 of them promise something for slots to come, up to %d", now+60), "ledger", "import", "file.json")
	h.do(t, 0, "3 were known", "ledger", "import", "file.json")
}
