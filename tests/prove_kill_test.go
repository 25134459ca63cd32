package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"sidecar/slashing/evidence"
	"sidecar/slashing/slashingtest"
)

// moment is when a process dies: at its nth call of a method (any, if empty),
// before the node has it, or after.
type moment struct {
	method string
	nth    int
	after  bool
}

// executioner is a node that kills its caller at a moment.
type executioner struct {
	*httptest.Server
	geth string

	mu    sync.Mutex
	at    *moment
	seen  int
	kill  func()
	fired int
}

func newExecutioner(t *testing.T, geth string) *executioner {
	t.Helper()
	x := &executioner{geth: geth}
	x.Server = httptest.NewServer(x)
	t.Cleanup(x.Close)
	return x
}

// aim prepares for the next process; nil lets it live.
func (x *executioner) aim(m *moment, kill func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.at, x.kill, x.seen = m, kill, 0
}

// due says whether a call is the caller's last.
func (x *executioner) due(method string) (moment, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.at == nil || x.at.method != "" && x.at.method != method {
		return moment{}, false
	}
	if x.seen++; x.seen < x.at.nth {
		return moment{}, false
	}
	m := *x.at
	x.at = nil
	x.fired++
	return m, true
}

func (x *executioner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var q struct{ Method string }
	_ = json.Unmarshal(body, &q)
	m, due := x.due(q.Method)
	if due && !m.after {
		x.kill()
		panic(http.ErrAbortHandler)
	}
	res, err := http.Post(x.geth, "application/json", bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = res.Body.Close() }()
	if due {
		x.kill()
		panic(http.ErrAbortHandler)
	}
	_, _ = io.Copy(w, res.Body)
}

// moments are every step of a proof with an effect, and others at random.
func moments(random *rand.Rand, n int) (all []moment) {
	for _, method := range []string{"eth_sendRawTransaction", "eth_getTransactionCount", "eth_estimateGas", "eth_getBalance", "eth_getTransactionReceipt"} {
		for _, after := range []bool{false, true} {
			all = append(all, moment{method, 1, after})
		}
	}
	for len(all) < n {
		all = append(all, moment{"", 1 + random.IntN(60), random.IntN(2) == 0})
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

// TestProve_killed: a real process, killed again and again at every step it can
// be at, and started again, brings each fault to its slash with two transactions,
// no more.
func TestProve_killed(t *testing.T) {
	kills := 25 // of each fault
	if raceFlag != "" || testing.Short() {
		kills = 5
	}
	s := slashingtest.Start(t, slashingtest.Options{})
	at := s.DevCore()
	core := slashingtest.Core{Allocation: at, Delegation: at, Strategies: at, Strategy: at, Token: at}
	s.Deploy(slashingtest.Terms{Allocation: at, Strategies: []common.Address{at}, Delay: 2 * time.Minute})
	s.Restake(core, func() {})
	s.Mine()
	dir := t.TempDir()
	_, key := s.Files(dir, s.Prover)
	secret, err := os.ReadFile(key)
	if err != nil || len(secret) != 64 {
		t.Fatal(len(secret), err)
	}
	x := newExecutioner(t, s.URL)
	random := rand.New(rand.NewPCG(11, 12)) // #nosec G404 -- a repeatable test
	files := []string{keepEvidence(t, dir, "one", s.Break()), keepEvidence(t, dir, "other", s.Break())}
	stop := mineUntil(t, s)
	defer stop()
	for _, file := range files {
		run := func(m *moment) error {
			cmd := command(t, "prove", file, "--rpc", x.URL, "--key", key, "--poll", "5ms", "--confirmations", "2", "--json")
			var loud bytes.Buffer // all that it writes
			cmd.Stdout, cmd.Stderr = &loud, &loud
			defer func() {
				if bytes.Contains(loud.Bytes(), secret) {
					t.Error("the key is in the output")
				}
			}()
			started := make(chan struct{})
			x.aim(m, func() { <-started; _ = cmd.Process.Kill() })
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			close(started)
			patience := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
			defer patience.Stop()
			if err := cmd.Wait(); err != nil {
				return errors.Join(err, errors.New(loud.String()))
			}
			return nil
		}
		for _, m := range moments(random, kills) {
			var exit *exec.ExitError
			if err := run(&m); err != nil && (!errors.As(err, &exit) || exit.Exited()) { // neither killed nor done
				t.Fatalf("killed at %+v: %v", m, err)
			}
		}
		if err := run(nil); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if nonce, _, err := s.Account(s.Prover.Address, s.Head()); err != nil || nonce != 4 {
		t.Errorf("%d transactions, want two for each fault; %v", nonce, err)
	}
	// A tenth of what was left, twice.
	want := new(big.Int).Div(new(big.Int).Mul(slashingtest.Stake, big.NewInt(81)), big.NewInt(100))
	if got := s.Shares(core); got.Cmp(want) != 0 {
		t.Errorf("%s shares left, want %s", got, want)
	}
	if x.fired < kills {
		t.Errorf("%d processes were killed", x.fired)
	}
	t.Logf("%d kills", x.fired)
}

func keepEvidence(t *testing.T, dir, name string, f evidence.File) string {
	t.Helper()
	text, err := evidence.Encode(f)
	path := filepath.Join(dir, name+".json")
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// mineUntil makes a block of whatever waits every 15 ms, until it is stopped.
func mineUntil(t *testing.T, s *slashingtest.Scene) (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(15 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.MinePool()
			case <-ended:
				return
			}
		}
	}()
	var once sync.Once
	return func() { once.Do(func() { close(ended); <-done }) }
}
