package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// target is one of the programs under test, as its own process.
type target struct {
	name    string
	url     string
	cmd     *exec.Cmd
	idleRSS int // KiB, before the first request
}

// logs are the programs' log files, shown when an answer is wrong.
var logs []string

func showLogs() {
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		fmt.Fprintf(os.Stderr, "%s ends with:\n%s\n", name, text[max(0, len(text)-3000):])
	}
}

func freePort() int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// start runs a program with its log in a file, waits until it answers, and
// reads its idle memory.
func start(name, dir string, port int, cmd *exec.Cmd) *target {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	must(err)
	logs = append(logs, log.Name())
	cmd.Stdout, cmd.Stderr = log, log
	must(cmd.Start())
	t := &target{name: name, url: fmt.Sprintf("http://127.0.0.1:%d", port), cmd: cmd}
	for range 200 {
		if r, err := http.Get(t.url + "/eth/v1/builder/status"); err == nil {
			_ = r.Body.Close()
			time.Sleep(time.Second)
			t.idleRSS = t.rss()
			return t
		}
		time.Sleep(50 * time.Millisecond)
	}
	text, _ := os.ReadFile(log.Name())
	panic(name + " does not answer:\n" + string(text))
}

func (t *target) stop() {
	_ = t.cmd.Process.Signal(os.Interrupt)
	done := make(chan struct{})
	go func() { _ = t.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		_ = t.cmd.Process.Kill()
	}
}

// cpu is the processor time of the whole process, to the nanosecond.
func (t *target) cpu() time.Duration {
	var ts unix.Timespec
	clock := int32(^t.cmd.Process.Pid<<3 | 2) // the CPU clock of a process, as clock_getcpuclockid makes it
	must(unix.ClockGettime(clock, &ts))
	return time.Duration(ts.Nano())
}

func (t *target) rss() int { return statusField(t.cmd.Process.Pid, "VmRSS:") }

func statusField(pid int, field string) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(err)
	_, rest, _ := strings.Cut(string(text), field)
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	must(err)
	return n
}

// startSidecar and startPeer give both programs the same relays, chain and limits.
func startSidecar(bin, dir string, w *world, relays []*fakeRelay) *target {
	port := freePort()
	var c strings.Builder
	fmt.Fprintf(&c, "chain = { genesis_time_secs = %d, slot_time_secs = %d, genesis_fork_version = \"0x%x\", fulu_fork_slot = 3200000, chain_id = 1337 }\n",
		w.spec.GenesisTime.Unix(), int(w.spec.SlotDuration.Seconds()), w.spec.GenesisForkVersion)
	fmt.Fprintf(&c, "[pbs]\nport = %d\nrelay_check = false\ntimeout_get_header_ms = 950\nlate_in_slot_time_ms = %d\n", port, lateMillis)
	for i, r := range relays {
		fmt.Fprintf(&c, "[[relays]]\nid = \"relay-%d\"\nurl = \"%s\"\n", i, r.url())
	}
	path := filepath.Join(dir, fmt.Sprintf("sidecar-%d.toml", port))
	must(os.WriteFile(path, []byte(c.String()), 0o600))
	return start("sidecar", dir, port, exec.Command(bin, "run", "--config", path))
}

func startPeer(bin, dir string, w *world, relays []*fakeRelay) *target {
	port := freePort()
	var c strings.Builder
	fmt.Fprintf(&c, "timeout_get_header_ms: 950\nlate_in_slot_time_ms: %d\nrelays:\n", lateMillis)
	for _, r := range relays {
		fmt.Fprintf(&c, "  - url: %s\n", r.url())
	}
	path := filepath.Join(dir, fmt.Sprintf("peer-%d.yaml", port))
	must(os.WriteFile(path, []byte(c.String()), 0o600))
	cmd := exec.Command(bin, "-addr", fmt.Sprintf("127.0.0.1:%d", port), "-config", path,
		"-genesis-fork-version", fmt.Sprintf("0x%x", w.spec.GenesisForkVersion),
		"-genesis-timestamp", strconv.FormatInt(w.spec.GenesisTime.Unix(), 10))
	cmd.Env = append(os.Environ(), fmt.Sprintf("SLOT_SEC=%d", int(w.spec.SlotDuration.Seconds())))
	return start("mev-boost", dir, port, cmd)
}
