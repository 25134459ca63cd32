package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// remoteModule is a module of the type remote, with lines of [modules.remote].
func remoteModule(command, lines string) string {
	return complete + module("r", "remote", 7) + command + "[modules.remote]\n" + lines
}

const remoteAt = "url = \"http://127.0.0.1:1\"\nsecret_file = \"s\"\ncommitment_types = [5]\n"

func TestModules_Wrong(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"no remote":          {complete + module("r", "remote", 7), "modules[0].remote: is missing"},
		"no url":             {remoteModule("", "secret_file = \"s\"\ncommitment_types = [5]\n"), "modules[0].remote.url: is missing"},
		"url is a file":      {remoteModule("", strings.Replace(remoteAt, "http:", "file:", 1)), "modules[0].remote.url: is not a URL with http"},
		"url with password":  {remoteModule("", strings.Replace(remoteAt, "//", "//u:p@", 1)), "modules[0].remote.url: has more than a host"},
		"no secret":          {remoteModule("", "url = \"http://127.0.0.1:1\"\ncommitment_types = [5]\n"), "modules[0].remote.secret_file: is missing"},
		"no types":           {remoteModule("", "url = \"http://127.0.0.1:1\"\nsecret_file = \"s\"\n"), "modules[0].remote.commitment_types: are none"},
		"no time":            {remoteModule("", remoteAt+"verify_timeout_ms = 0\n"), "modules[0].remote.verify_timeout_ms: is not within"},
		"no program":         {remoteModule("command = [\"\"]\n", remoteAt), "modules[0].command: names no program"},
		"variable":           {remoteModule("command = [\"x\"]\nenv = { \"A=B\" = \"c\" }\n", remoteAt), "modules[0].env:"},
		"unknown key":        {remoteModule("sleep = 1\n", remoteAt), "modules[0].sleep: is not a key here"},
		"built in, command":  {complete + module("i", "inclusion", 7) + "command = [\"x\"]\n", "modules[0].command: is for modules in processes"},
		"built in, remote":   {complete + module("i", "echo", 7) + "[modules.remote]\n" + remoteAt, "modules[0].remote: is for modules of the type remote"},
		"remote with config": {remoteModule("", remoteAt) + "[modules.config]\nx = 1\n", "modules[0].config: is for built-in"},
		"remote with signer": {remoteModule("", remoteAt) + "[modules.signer]\n", "modules[0].signer: is for modules of the type commit"},
		"remote promises":    {top + one + module("r", "remote", 7) + "[modules.remote]\n" + remoteAt, "signer: is needed by modules that make promises"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.file), nil)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestModules_Remote(t *testing.T) {
	c, err := Parse("f", []byte(remoteModule("command = [\"x\", \"-y\"]\nenv = { A = \"b\" }\n", remoteAt+"verify_timeout_ms = 50\n")), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := c.Modules[0]
	if r := m.Remote; r.VerifyTimeout != 50*time.Millisecond || r.CommitTimeout != time.Second || r.Listen() != "127.0.0.1:1" || len(m.Command) != 2 || m.Env["A"] != "b" || !c.Promises() {
		t.Errorf("got %+v, %+v", m, r)
	}
	for url, warned := range map[string]bool{"http://127.0.0.1:1": false, "http://localhost:1": false, "http://[::1]:1": false, "https://module.example:1": false, "http://module:1": true, "http://10.0.0.7:1": true} {
		c, err := Parse("f", []byte(remoteModule("", strings.Replace(remoteAt, "http://127.0.0.1:1", url, 1))), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(strings.Join(c.Warnings(), "\n"), "reads the secret"); got != warned {
			t.Errorf("%s: warned %v, want %v", url, got, warned)
		}
	}
	if got := (&ModuleRemoteAt{URL: "https://module.example/x"}).Listen(); got != "module.example:443" {
		t.Errorf("got %s", got)
	}
}
