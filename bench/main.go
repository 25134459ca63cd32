// Command bench runs this sidecar and mev-boost side by side over the same fake
// relays, interleaved in random order, and prints ratios. Every answer is
// checked, so that a quick refusal cannot look like a win.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
)

// The chain of a run has one slot that outlasts it. Both programs are told that
// nobody is ever late.
const (
	slotTime   = time.Hour
	lateMillis = 3_500_000
)

// jsonOnly makes the relays answer JSON whatever is asked.
var jsonOnly bool

func main() {
	sidecar := flag.String("sidecar", "", "path of the sidecar binary")
	peer := flag.String("peer", "", "path of the mev-boost binary")
	rounds := flag.Int("rounds", 30, "rounds per case; each asks every program, in random order")
	each := flag.Int("each", 10, "getHeader requests per program and round")
	only := flag.String("only", "", "run only cases whose name contains this")
	flag.Parse()
	if *sidecar == "" || *peer == "" {
		flag.Usage()
		os.Exit(2)
	}
	dir, err := os.MkdirTemp("", "bench")
	must(err)
	defer os.RemoveAll(dir)

	spec := chain.Spec{
		Name: "bench", ChainID: 1337, GenesisTime: time.Now().Add(-slotTime - 5*time.Second).Truncate(time.Second),
		GenesisForkVersion: phase0.Version{0x20, 0, 0, 0x89}, SlotDuration: slotTime, SlotsPerEpoch: 32,
		Forks: []chain.ForkAt{{Fork: chain.Electra}},
	}
	w := newWorld(spec, 1)
	fmt.Printf("cores %d, GOMAXPROCS %d, %s, peer mev-boost v1.12.0, %d rounds\n", runtime.NumCPU(), runtime.GOMAXPROCS(0), runtime.Version(), *rounds)
	fmt.Printf("added = latency over a direct parallel fan-out in the same round; ratios are sidecar / mev-boost\n\n")
	r := &rig{world: w, dir: dir, sidecar: *sidecar, peer: *peer, rounds: *rounds, each: *each, only: *only}
	for _, n := range []int{3, 8} {
		r.runCases(n)
	}
	r.report()
}

// rig runs cases.
type rig struct {
	world              *world
	dir, sidecar, peer string
	rounds, each       int
	only               string
	rows               []row
	targets            []*target
	proposers          int // of blocks made so far; no two are alike
}

// row is a line of the report.
type row struct {
	name          string
	direct        time.Duration // median of the direct fan-out
	added50       [2]time.Duration
	added99       [2]time.Duration
	cpu           [2]time.Duration // per request
	reached       [2]float64       // share of relays that saw each block
	goal50, goalC float64
}

func (r *rig) runCases(n int) {
	relays := make([]*fakeRelay, n)
	for i := range relays {
		f := &fakeRelay{secret: mustKey(byte(i + 1)), payload: r.world.payload()}
		f.bids[0] = r.world.bid(f.secret, uint64(1000+i), false)
		f.bids[1] = r.world.bid(f.secret, 5000, true)
		must(f.listen())
		defer func() { _ = f.server.Shutdown() }()
		relays[i] = f
	}
	targets := []*target{startSidecar(r.sidecar, r.dir, r.world, relays), startPeer(r.peer, r.dir, r.world, relays)}
	for _, t := range targets {
		defer t.stop()
	}
	r.targets = targets
	if n == 3 {
		fmt.Printf("idle memory: sidecar %d KiB, mev-boost %d KiB, ratio %.2f (goal ≤ 1.15)\n\n", targets[0].idleRSS, targets[1].idleRSS,
			float64(targets[0].idleRSS)/float64(targets[1].idleRSS))
	}
	for _, c := range r.cases(n, relays) {
		if r.only == "" || contains(c.name, r.only) {
			r.rows = append(r.rows, r.run(c, relays, targets))
		}
	}
}

// run measures one case: rounds of batches, the programs in random order.
func (r *rig) run(c testCase, relays []*fakeRelay, targets []*target) row {
	for _, f := range relays {
		f.reset()
	}
	c.prepare()
	for _, t := range targets { // warm up, and let both learn the header
		for range 3 {
			c.once(t.url)
		}
	}
	out := row{name: c.name, goal50: c.goal50, goalC: c.goalCPU}
	var added [2][]time.Duration
	var direct []time.Duration
	var cpu [2]time.Duration
	requests := 0
	for range r.rounds {
		base := make([]time.Duration, 0, c.batch)
		for range c.batch {
			base = append(base, c.direct())
		}
		floor := median(base)
		direct = append(direct, floor)
		requests += c.batch
		for _, i := range rand.Perm(len(targets)) {
			for _, f := range relays {
				f.blocks.Store(0)
			}
			before := targets[i].cpu()
			for range c.batch {
				added[i] = append(added[i], c.once(targets[i].url)-floor)
			}
			settle(relays, c.blocks, c.batch)
			cpu[i] += targets[i].cpu() - before
			if c.blocks {
				out.reached[i] += share(relays, c.batch) / float64(r.rounds)
			}
		}
	}
	out.direct = median(direct)
	for i := range targets {
		out.added50[i], out.added99[i] = median(added[i]), percentile(added[i], 99)
		out.cpu[i] = cpu[i] / time.Duration(requests)
	}
	fmt.Println(out)
	return out
}

// settle waits a little for blocks that are still on their way to slower relays.
func settle(relays []*fakeRelay, blocks bool, batch int) {
	for i := 0; blocks && i < 20 && share(relays, batch) < 1; i++ {
		time.Sleep(5 * time.Millisecond)
	}
}

func share(relays []*fakeRelay, batch int) (s float64) {
	for _, f := range relays {
		s += min(1, float64(f.blocks.Load())/float64(batch)) / float64(len(relays))
	}
	return s
}

func median(d []time.Duration) time.Duration { return percentile(d, 50) }

func percentile(d []time.Duration, p int) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[(len(d)-1)*p/100]
}

func ratio(a, b time.Duration) float64 { return float64(a) / float64(b) }

func (o row) String() string {
	s := fmt.Sprintf("%-34s direct %8s  added p50 %9s / %9s = %5.2f  p99 %9s / %9s = %5.2f  cpu %9s / %9s = %5.2f", o.name, short(o.direct),
		short(o.added50[0]), short(o.added50[1]), ratio(o.added50[0], o.added50[1]),
		short(o.added99[0]), short(o.added99[1]), ratio(o.added99[0], o.added99[1]),
		short(o.cpu[0]), short(o.cpu[1]), ratio(o.cpu[0], o.cpu[1]))
	if o.reached[1] > 0 {
		s += fmt.Sprintf("  blocks reach %.0f%% / %.0f%% of relays", 100*o.reached[0], 100*o.reached[1])
	}
	return s
}

func short(d time.Duration) string { return d.Round(time.Microsecond).String() }

// report says of every goal whether it is met.
func (r *rig) report() {
	fmt.Println()
	for _, o := range r.rows {
		check := func(what string, got, goal float64) {
			if goal > 0 {
				verdict := "met"
				if got > goal {
					verdict = "MISSED"
				}
				fmt.Printf("%-34s %-10s %.3f (goal ≤ %.2f) %s\n", o.name, what, got, goal, verdict)
			}
		}
		check("added p50", ratio(o.added50[0], o.added50[1]), o.goal50)
		check("CPU", ratio(o.cpu[0], o.cpu[1]), o.goalC)
	}
}
