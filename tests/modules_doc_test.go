package tests

import (
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/modules"
	"sidecar/modules/echo"
	"sidecar/modules/moduletest"
	"sidecar/modules/remote"
)

// TestDocsModulesGo: the tutorial quotes the module.
func TestDocsModulesGo(t *testing.T) {
	doc, err := os.ReadFile("../docs/modules.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../modules/echo/echo.go")
	if err != nil {
		t.Fatal(err)
	}
	quotes := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	for _, q := range quotes {
		if !strings.Contains(string(source), q[1]) {
			t.Errorf("not in modules/echo/echo.go:\n%s", q[1])
		}
	}
	if len(quotes) < 5 {
		t.Errorf("%d quotes", len(quotes))
	}
	for _, reason := range regexp.MustCompile("`(module_[a-z_]+)`").FindAllStringSubmatch(string(doc), -1) {
		errors, err := os.ReadFile("../docs/errors.md")
		if err != nil || !strings.Contains(string(errors), "| `"+reason[1]+"` |") {
			t.Errorf("%s is not in docs/errors.md (%v)", reason[1], err)
		}
	}
}

// TestDocsModulesCurl: what the document says to type says what it says.
func TestDocsModulesCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl here")
	}
	doc, err := os.ReadFile("../docs/modules.md")
	if err != nil {
		t.Fatal(err)
	}
	m, err := echo.New(modules.Host{ID: "echo", SigningID: phase0.Root{1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	hash := commitments.Request{Type: echo.Type, Payload: []byte("hello")}.Hash().String()
	examples := regexp.MustCompile("(?s)```sh\n(curl.*?)```\n```json\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	if len(examples) != 7 {
		t.Fatalf("%d examples, want one for each question", len(examples))
	}
	inbox := new(remote.Inbox)
	go func() { // until the test ends; what it is told it has dealt with
		for seq := uint64(0); ; {
			list, err := inbox.After(t.Context(), seq)
			if err != nil {
				return
			}
			seq = list[len(list)-1].Seq
		}
	}()
	err = moduletest.Served(t.Context(), m, inbox, func(url string, secret remote.Secret) error {
		for _, e := range examples {
			cmd := exec.Command("sh", "-c", e[1])
			cmd.Env = append(os.Environ(), "URL="+url, "SECRET="+string(secret))
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("%s: %v", e[1], err)
				continue
			}
			var got, want any
			if err := json.Unmarshal(out, &got); err != nil {
				t.Errorf("%s: %v: %s", e[1], err, out)
			}
			if err := json.Unmarshal([]byte(e[2]), &want); err != nil {
				t.Errorf("%s: %v", e[2], err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s\ngot  %s\nwant %s", e[1], out, e[2])
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if !strings.Contains(string(doc), hash) {
		t.Errorf("the request hash is %s", hash)
	}
}
