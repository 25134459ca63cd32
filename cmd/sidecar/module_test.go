package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const moduleSecret = "a-secret-of-a-test"

// secretFile writes the secret of a module.
func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(moduleSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// spawn runs a module's program for the length of a test, as the sidecar does,
// and returns its URL once it listens.
func spawn(t *testing.T, secret string, command ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "CB_MODULE_ID=words", "CB_MODULE_LISTEN=" + addr, "CB_MODULE_SECRET_FILE=" + secret}
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return "http://" + addr
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%v ended: %v", command, err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%v does not listen", command)
		}
	}
}

// suite runs `sidecar module test`, and wants every check made and passed.
func suite(t *testing.T, url, secret string, more ...string) {
	t.Helper()
	var out strings.Builder
	err := testModule(t.Context(), append([]string{"--url", url, "--secret-file", secret}, more...), &out)
	if err != nil || len(more) > 0 && strings.Contains(out.String(), "\nskip ") {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, check := range []string{"ok   wire/wrong_secret\n", "ok   info\n", "ok   junk\n"} {
		if !strings.Contains(out.String(), check) {
			t.Errorf("no line %q in\n%s", check, out.String())
		}
	}
}

// TestModuleNew writes a module, builds it against this source, has it pass its
// own test, and runs the suite against its program.
func TestModuleNew(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "words")
	source, err := filepath.Rel(dir, root)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := newModule([]string{"words", "--dir", dir, "--sidecar", source}, &out); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("gofmt", "-l", dir).CombinedOutput(); err != nil || len(text) > 0 {
		t.Errorf("not gofmt-ed: %s %v", text, err)
	}
	for _, args := range [][]string{{"vet", "./..."}, {"test", "./..."}, {"build", "-o", "words", "."}} {
		cmd := exec.Command("go", append([]string{args[0], "-mod=mod"}, args[1:]...)...)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, text)
		}
	}
	secret := secretFile(t)
	suite(t, spawn(t, secret, filepath.Join(dir, "words")), secret)
	if err := newModule([]string{"words", "--dir", dir}, &out); err == nil {
		t.Error("it wrote over a module")
	}
	for _, name := range []string{"", "Words", "../x", "x y"} {
		if err := newModule([]string{"--dir", filepath.Join(t.TempDir(), "x"), name}, &out); !errors.Is(err, errUsage) {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// TestModulePython: the wire needs no Go.
func TestModulePython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 here")
	}
	secret := secretFile(t)
	suite(t, spawn(t, secret, python, "../../examples/python-echo/echo.py"), secret, "--example", "../../examples/python-echo/example.json")
}

// TestModuleTest_Fails: a module that is wrong is told where.
func TestModuleTest_Fails(t *testing.T) {
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json") // it takes every secret, and answers all alike
		_, _ = w.Write([]byte(`{"version":1,"id":"bad","commitment_types":[60480],"constraint_types":[]}`))
	}))
	defer bad.Close()
	secret := secretFile(t)
	var out strings.Builder
	err := testModule(context.Background(), []string{"--url", bad.URL, "--secret-file", secret, "--example", "../../examples/python-echo/example.json"}, &out)
	if !errors.Is(err, errModuleTest) {
		t.Errorf("got %v", err)
	}
	for _, line := range []string{"FAIL wire/no_secret: ", "FAIL wire/malformed: ", "FAIL commit: ", "ok   info\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no line %q in\n%s", line, out.String())
		}
	}
	for _, args := range [][]string{{}, {"--url", bad.URL}, {"--url", bad.URL, "--secret-file", secret, "more"}, {"--nonsense"}} {
		if err := testModule(context.Background(), args, &out); !errors.Is(err, errUsage) {
			t.Errorf("%v: got %v", args, err)
		}
	}
}
