package tests

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
	"sidecar/modules"
)

// journeyModule is a module in a process of its own, which the sidecar starts.
type journeyModule struct {
	*journey
	pidFile string
	heard   string // file of the events that it was told
}

// pid is the process of now; 0 while there is none.
func (m *journeyModule) pid() int {
	text, err := os.ReadFile(m.pidFile)
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(string(text))
	return pid
}

func (m *journeyModule) signal(s syscall.Signal) {
	m.Helper()
	if err := syscall.Kill(m.pid(), s); err != nil {
		m.Fatalf("%v to the module's process: %v", s, err)
	}
}

// startModule puts a sidecar beside a chain that makes inclusion promises through
// a process of its own.
func startModule(t *testing.T) *journeyModule {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "inclusionmodule")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/inclusionmodule").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("the-secret-of-a-journey\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &journeyModule{pidFile: filepath.Join(dir, "pid"), heard: filepath.Join(dir, "heard")}
	m.journey = journeyChain(t, simnet.Options{SSZ: true})
	m.start(devnet.Options{PBS: journeyBudgetLine, Module: fmt.Sprintf(`[[modules]]
id = "AFAR"
type = "remote"
signing_id = %q
command = [%q]
env = { GENESIS = "%d", EXECUTION = %q, PID = %q, HEARD = %q }
[modules.remote]
url = "http://127.0.0.1:%d"
secret_file = %q
commitment_types = [1]
constraint_types = [1]
`, devnet.SigningID, program, m.net.Spec.GenesisTime.Unix(), m.net.Execution.URL, m.pidFile, m.heard, freePort(t), secret)})
	m.ready()
	return m
}

// hears wants the module to have been told, across its deaths, of everything until
// the block of a slot was seen: each number once or again, in order, without a gap.
func (m *journeyModule) hears(slot phase0.Slot) {
	m.Helper()
	var text []byte
	m.eventually("the module is told of the block", func() bool {
		text, _ = os.ReadFile(m.heard)
		return strings.Contains(string(text), fmt.Sprintf(" block_seen %d\n", slot))
	})
	kinds, last := map[string]bool{}, uint64(0)
	for line := range strings.Lines(string(text)) {
		var seq uint64
		var kind string
		if _, err := fmt.Sscan(line, &seq, &kind); err != nil {
			continue // cut by a kill; told again
		}
		if seq > last+1 {
			m.Errorf("event %d was told after %d", seq, last)
		}
		kinds[kind], last = true, max(last, seq)
	}
	for _, kind := range []modules.EventKind{modules.EventDuty, modules.EventBid, modules.EventHeaderServed, modules.EventPayloadDelivered, modules.EventBlockSeen} {
		if !kinds[string(kind)] {
			m.Errorf("no event %s was told:\n%s", kind, text)
		}
	}
}

// promised asks for one promise in a slot.
func (j *journey) promised(slot phase0.Slot) (journeyPromise, error) {
	p, err := j.want(slot, 1)
	if err != nil {
		return journeyPromise{}, err
	}
	return p[0], p[0].ask(j.car.GatewayURL)
}

// journeyAfar makes a promise through a module in another process, end to end.
// Then the module is stopped in mid-slot, killed, and there again. It costs its
// promises and no proposal.
func journeyAfar(t *testing.T) {
	m := startModule(t)
	first := m.pid()
	var kept, lost journeyPromise
	m.play("a promise from afar", func(slot phase0.Slot) (err error) {
		if kept, err = m.promised(slot + 1); err != nil {
			return err
		}
		if _, err = m.outcome(slot+1, simnet.FromBuilder, ""); err == nil && m.index(kept) < 0 {
			err = fmt.Errorf("the transaction is not in the block of slot %d", kept.slot)
		}
		return err
	})
	m.verdict(kept, "kept")

	m.play("the module stops in mid-slot", func(slot phase0.Slot) (err error) {
		if lost, err = m.promised(slot + 1); err != nil {
			return err
		}
		if err := m.wait(slot, journeySlot*8/10); err != nil { // after the cut-off, before the bid
			return err
		}
		m.signal(syscall.SIGSTOP)
		defer m.signal(syscall.SIGCONT)
		o, err := m.outcome(slot+1, simnet.FromLocal, "")
		if err != nil {
			return err
		}
		if o.HeaderStatus != http.StatusNoContent || o.HeaderTook > journeyBudget+journeySlack {
			return fmt.Errorf("the header took %v, status %d", o.HeaderTook, o.HeaderStatus)
		}
		if _, err := m.outcome(slot+2, simnet.FromBuilder, ""); err != nil { // nothing is promised for it
			return fmt.Errorf("the slot after: %w", err)
		}
		// It accepts connections and says nothing: late until it is known to be gone.
		return m.refuses(m.net.Clock.Slot()+2, "module_unreachable", "module_timeout")
	})
	m.verdict(lost, "broken") // once it goes on, it says so of itself

	m.play("the module is killed", func(slot phase0.Slot) error {
		before := m.pid()
		m.signal(syscall.SIGKILL)
		if err := m.refuses(m.net.Clock.Slot()+2, "module_unreachable"); err != nil {
			return err
		}
		if !m.eventually("another is started", func() bool { return m.pid() != before }) {
			return nil
		}
		_, err := m.outcome(m.net.Clock.Slot()+1, simnet.FromBuilder, "")
		return err
	})
	m.play("a promise by another process", func(slot phase0.Slot) (err error) {
		if kept, err = m.promised(slot + 1); err == nil {
			_, err = m.outcome(slot+1, simnet.FromBuilder, "")
		}
		return err
	})
	m.verdict(kept, "kept")
	if n := m.metric("sidecar_child_restarts_total", `module="AFAR"`); n == 0 || m.pid() == first {
		t.Errorf("%v restarts in the metrics", n)
	}
	m.hears(kept.slot)
	last := m.pid()
	m.stop()
	for end := time.Now().Add(5 * time.Second); syscall.Kill(last, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the module outlives the sidecar")
		}
	}
}
