package tests

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"go.uber.org/goleak"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// TestJourneys plays the journeys of docs/journeys.md on a whole chain: real
// servers, real keys, real geth. Each has a chain of its own. They wait for
// slots and not for the processor, so more of them run at once than -parallel
// has in mind; and none may leave anything running.
func TestJourneys(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	if _, err := sidecarBinary(); err != nil { // before any chain's time runs
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	slots := make(chan struct{}, journeysAtOnce)
	var all sync.WaitGroup
	for _, one := range journeys() {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			t.Run(one.name, one.play)
		})
	}
	all.Wait()
	leaks := []goleak.Option{before}
	for _, f := range simnet.GethLeaks() {
		leaks = append(leaks, goleak.IgnoreAnyFunction(f))
	}
	if err := goleak.Find(leaks...); err != nil {
		t.Error(err)
	}
}

const journeysAtOnce = 6

// journeySlot leaves the race detector its time.
var journeySlot = map[bool]time.Duration{false: time.Second, true: 2 * time.Second}[raceFlag != ""]

// journeyTries is how often a scene may be played: slots are short, and a busy
// machine can be late in one.
const journeyTries = 5

// journey is a chain with a sidecar beside it.
type journey struct {
	*testing.T
	ctx     context.Context
	net     *simnet.Net
	car     *devnet.Sidecar
	path    string // of the configuration
	log     *slog.Logger
	mayLose bool // blocks that a proposer signed
}

// journeyStart runs a chain and a sidecar for the length of a test.
func journeyStart(t *testing.T, chain simnet.Options, side devnet.Options) *journey {
	t.Helper()
	j := journeyChain(t, chain)
	j.start(side)
	return j
}

// journeyChain runs a chain alone.
func journeyChain(t *testing.T, o simnet.Options) *journey {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	j := &journey{T: t, ctx: ctx, log: slog.New(slog.DiscardHandler)}
	if os.Getenv("JOURNEY_LOG") != "" {
		j.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("test", t.Name())
	}
	o.SlotDuration, o.Log = cmp.Or(o.SlotDuration, journeySlot), j.log
	if o.GenesisDelay == 0 {
		o.GenesisDelay = time.Second
	}
	var err error
	j.net, err = simnet.Start(ctx, o)
	t.Cleanup(cancel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.net.Stop(); err != nil {
			t.Error(err)
		}
		j.checkOutcomes()
	})
	return j
}

// start puts a sidecar beside the chain.
func (j *journey) start(o devnet.Options) {
	j.Helper()
	j.write(o)
	j.run()
	j.Cleanup(j.stop)
}

// write makes the files of a sidecar.
func (j *journey) write(o devnet.Options) {
	j.Helper()
	o.Dir = j.TempDir()
	path, err := devnet.Write(j.ctx, j.net, o)
	if err != nil {
		j.Fatal(err)
	}
	j.path = path
}

// run starts the sidecar over its files.
func (j *journey) run() {
	j.Helper()
	car, err := devnet.Run(j.ctx, j.net, j.path, j.log)
	if err != nil {
		j.Fatal(err)
	}
	j.car = car
}

// stop stops the sidecar, if it runs, as a signal does.
func (j *journey) stop() {
	j.Helper()
	if j.car == nil {
		return
	}
	if err := j.car.Stop(); err != nil {
		j.Errorf("the sidecar ended with %v", err)
	}
	j.car = nil
}

// spawn starts the real binary over the sidecar's files: it can be killed.
func (j *journey) spawn() *devnet.Process {
	j.Helper()
	p, err := j.launch()
	if err != nil {
		j.Fatal(err)
	}
	return p
}

// launch is spawn for any goroutine, once spawn has built the binary.
func (j *journey) launch() (*devnet.Process, error) {
	p, err := devnet.Spawn(j.ctx, j.net, command(j.T, "run", "--config", j.path))
	if err == nil {
		j.Cleanup(p.Kill)
	}
	return p, err
}

// checkOutcomes holds every journey to the rule above all: a signed block is
// not lost, and without one the node's own block goes out in the same slot.
func (j *journey) checkOutcomes() {
	for _, o := range j.net.Outcomes() {
		early := o.HeaderAt+o.HeaderTook < journeySlot/2
		if o.Source == simnet.Missed && o.BlockStatus != 0 && early && !j.mayLose {
			j.Errorf("slot %d: the block of relay %s is lost: %v", o.Slot, o.Relay, o.Err)
		}
		if o.Source == simnet.Missed && o.HeaderStatus == http.StatusNoContent && early {
			j.Errorf("slot %d: no header and no block: %v", o.Slot, o.Err)
		}
	}
}

// play plays a scene in one of the next slots, until it goes as it should.
func (j *journey) play(name string, scene func(slot phase0.Slot) error) {
	j.Helper()
	var err error
	for range journeyTries {
		if err = scene(j.net.Clock.Slot() + 1); err == nil {
			return
		}
		if j.ctx.Err() != nil {
			break
		}
		j.Logf("%s, once more: %v", name, err)
		_ = j.net.WaitSlot(j.ctx, j.net.Clock.Slot()+1) // on its error the loop ends
	}
	j.Errorf("%s: %v", name, err)
}

// outcome waits for the outcome of a slot and wants it from a source and, unless
// empty, a relay.
func (j *journey) outcome(slot phase0.Slot, from simnet.Source, relay string) (simnet.Outcome, error) {
	o, err := j.net.OutcomeOf(j.ctx, slot)
	switch {
	case err != nil:
		return o, err
	case o.Source != from, relay != "" && o.Relay != relay:
		return o, fmt.Errorf("slot %d: got %s of %q (%d, %d), want %s of %q: %v", slot, o.Source, o.Relay, o.HeaderStatus, o.BlockStatus, from, relay, o.Err)
	case from == simnet.FromBuilder && (o.Err != nil || o.BlockHash != o.BidHash):
		return o, fmt.Errorf("slot %d: block %#x of bid %#x: %v", slot, o.BlockHash, o.BidHash, o.Err)
	case from == simnet.FromLocal && (o.HeaderStatus != http.StatusNoContent || o.Err != nil):
		return o, fmt.Errorf("slot %d: local, header %d: %v", slot, o.HeaderStatus, o.Err)
	}
	return o, nil
}

// ready waits until blocks go through the sidecar.
func (j *journey) ready() {
	j.Helper()
	if _, err := j.net.WaitOutcome(j.ctx, func(o simnet.Outcome) bool { return o.Source == simnet.FromBuilder && o.Err == nil }); err != nil {
		j.Fatalf("no block went through the sidecar: %v, %+v", err, j.net.Outcomes())
	}
}

// eventually waits until is is true.
func (j *journey) eventually(what string, is func() bool) bool {
	j.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(6 * journeySlot)
	defer end.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-end.C:
			j.Errorf("never: %s", what)
			return false
		}
	}
	return true
}

// metric is the sum of a metric's series that have all of these labels, written
// as in relay="relay-0".
func (j *journey) metric(name string, labels ...string) float64 {
	j.Helper()
	return journeyMetric(j.T, j.car.AdminURL, name, labels...)
}

func journeyMetric(t *testing.T, admin, name string, labels ...string) (sum float64) {
	t.Helper()
	status, text, err := journeyCall(http.MethodGet, admin+"/metrics", "", nil)
	if err != nil || status != http.StatusOK {
		t.Fatalf("metrics: %d %v", status, err)
	}
	for line := range strings.Lines(string(text)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		is, have, _ := strings.Cut(series, "{")
		if !strings.Contains(line, "{") {
			is, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		if is != name || slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(","+have, ","+l) }) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("metrics: %q", line)
		}
		sum += v
	}
	return sum
}

// journeyCall makes one request and reads the whole answer.
func journeyCall(method, url, contentType string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	return res.StatusCode, answer, err
}

// journeyBodies are the bodies of calls.
func journeyBodies(calls []simnet.Call) (out [][]byte) {
	for _, c := range calls {
		out = append(out, c.Body)
	}
	return out
}

func journeyHas(all [][]byte, one []byte) bool {
	return slices.ContainsFunc(all, func(b []byte) bool { return bytes.Equal(b, one) })
}
