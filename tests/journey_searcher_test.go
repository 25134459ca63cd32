package tests

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	searcher "sidecar/commitments/client"
	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeySearcher is journey d as a searcher lives it, with the client library:
// what is offered, a promise with its signatures, and every step of its life as
// it happens, to the verdict that stays. The document's examples run beside it.
func journeySearcher(t *testing.T) {
	j := journeyStart(t, simnet.Options{Fork: chain.Fulu, SlotsPerEpoch: 4, Relays: []simnet.RelayOptions{
		{Name: "keeper", Constraints: true, Knobs: simnet.RelayKnobs{Delegated: true}},
	}}, devnet.Options{PBS: journeyBudgetLine})
	j.ready()
	c, err := searcher.New(searcher.Config{URL: j.car.GatewayURL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var kept journeyPromise
	j.play("a promise by the library", func(slot phase0.Slot) error {
		caps, err := c.Capabilities(j.ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(caps.Slots, func(s commitments.SlotCapability) bool { return s.Slot == uint64(slot)+1 })
		if i < 0 || caps.ChainID != j.net.Spec.ChainID || caps.Slots[i].ClosesAtMS >= caps.Slots[i].StartsAtMS || caps.Slots[i].Delegate != j.car.Signers.Delegate.String() {
			return fmt.Errorf("slot %d is not offered as it should: %+v", slot+1, caps)
		}
		all, err := j.want(slot+1, 1)
		if err != nil {
			return err
		}
		kept = all[0]
		promise, err := c.Request(j.ctx, kept.req)
		if err != nil {
			return err
		}
		if err := j.net.Searcher.Verify(kept.req, promise, j.car.Signers); err != nil {
			return err
		}
		_, err = j.outcome(slot+1, simnet.FromBuilder, "keeper")
		return err
	})
	if t.Failed() {
		return
	}
	j.life(c, kept)
	j.examples(kept)
}

// life reads a promise's story to its end.
func (j *journey) life(c *searcher.Client, p journeyPromise) {
	j.Helper()
	var states []string
	var last commitments.Update
	err := c.Subscribe(j.ctx, p.req.Hash(), func(u commitments.Update) error {
		states, last = append(states, string(u.Step.State)), u
		return nil
	})
	if err != nil {
		j.Fatalf("the story breaks off: %v after %v", err, states)
	}
	at := 0
	for _, want := range []string{"received", "journaled", "signed", "released", "sealed", "posted", "bid_verified", "proposed", "included", "final"} {
		i := slices.Index(states[at:], want)
		if i < 0 {
			j.Fatalf("no %s in %v", want, states)
		}
		at += i
	}
	s := last.Status
	o, err := j.net.OutcomeOf(j.ctx, p.slot)
	if err != nil || s.Outcome != "kept" || !s.Final || s.Slot != uint64(p.slot) || len(s.Unknown) != 0 || s.BlockHash != phase0.Hash32(o.BlockHash).String() {
		j.Errorf("the end: %+v, %v, block %#x", s, err, o.BlockHash)
	}
	if now, err := c.Status(j.ctx, p.req.Hash()); err != nil || now.State != commitments.StateFinal {
		j.Errorf("status: %+v, %v", now, err)
	}
}

// examples runs the commands of docs/gateway.md, each as it stands there.
func (j *journey) examples(p journeyPromise) {
	j.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		j.Logf("the examples of docs/gateway.md are not run: there is no curl")
		return
	}
	doc, err := os.ReadFile("../docs/gateway.md")
	if err != nil {
		j.Fatal(err)
	}
	dir := j.TempDir()
	request, err := json.Marshal(p.req)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "request.json"), request, 0o600)
	}
	if err != nil {
		j.Fatal(err)
	}
	blocks := strings.Split(string(doc), "```sh\n")[1:]
	if len(blocks) < 5 {
		j.Errorf("only %d examples", len(blocks))
	}
	for _, block := range blocks {
		script, _, _ := strings.Cut(block, "```")
		ctx, cancel := context.WithTimeout(j.ctx, 30*time.Second)
		cmd := exec.CommandContext(ctx, "sh", "-eu", "-c", script) // #nosec G204 -- our own document
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GATEWAY="+j.car.GatewayURL, "HASH="+p.req.Hash().String())
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil || len(out) == 0 || strings.Contains(string(out), `"error"`) {
			j.Errorf("%s\n%v: %s", script, err, out)
		}
	}
}

// journeyFlood is a gateway under attack, by callers who say nothing, callers who
// trickle, and callers who ask without end in the names of two hundred addresses:
// headers and blocks go on as if there were none.
func journeyFlood(t *testing.T) {
	j := journeyStart(t, simnet.Options{Fork: chain.Fulu, Relays: []simnet.RelayOptions{
		{Name: "keeper", Constraints: true, Knobs: simnet.RelayKnobs{Delegated: true}},
	}}, devnet.Options{PBS: journeyBudgetLine, Gateway: "[gateway.access]\nmax_connections = 64\nmax_connections_per_address = 64\nrate_per_second = 5\nburst = 5\n" +
		"trusted_proxies = [\"127.0.0.0/8\"]\n"})
	j.ready()
	ctx, stop := context.WithCancel(j.ctx)
	var all sync.WaitGroup
	defer func() { stop(); all.Wait() }()
	gateway := strings.TrimPrefix(j.car.GatewayURL, "http://")
	for i := range 100 { // half of them silent, half trickling a header
		all.Go(func() { slowloris(ctx, gateway, i%2 == 0) })
	}
	var answered, refused atomic.Int64
	for i := range 4 {
		all.Go(func() {
			for n := i; ctx.Err() == nil; n += 4 {
				for _, status := range askAs(ctx, gateway, fmt.Sprintf("9.9.9.%d", n%200)) {
					switch status {
					case http.StatusTooManyRequests, http.StatusServiceUnavailable:
						refused.Add(1)
					case http.StatusOK:
						answered.Add(1)
					}
				}
			}
		})
	}
	j.eventually("the flood is refused", func() bool { return refused.Load() > 100 })
	j.play("three slots in a row under attack", func(slot phase0.Slot) error {
		for s := slot; s < slot+3; s++ {
			o, err := j.outcome(s, simnet.FromBuilder, "keeper")
			if err != nil {
				return err
			}
			if o.HeaderTook > journeyBudget+journeySlack {
				return fmt.Errorf("slot %d: the header took %v", s, o.HeaderTook)
			}
		}
		return nil
	})
	if n := j.metric("sidecar_http_connections_refused_total", `server="gateway"`); n == 0 {
		t.Error("no connection was refused")
	}
	if n := j.metric("sidecar_http_connections_refused_total", `server="builder"`); n != 0 {
		t.Errorf("%v connections to the Builder API were refused", n)
	}
	t.Logf("%d answered, %d refused", answered.Load(), refused.Load())
}

// slowloris holds connections that never become a request.
func slowloris(ctx context.Context, address string, silent bool) {
	for ctx.Err() == nil {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return
		}
		end := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
		if !silent {
			_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nX-A: ")
		}
		for err == nil { // until the server has had enough
			_, err = c.Read(make([]byte, 512))
		}
		end()
		_ = c.Close()
		if errors.Is(err, io.EOF) && ctx.Err() == nil {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

// askAs asks ten times on one connection, in one address's name, and returns the
// statuses.
func askAs(ctx context.Context, gateway, address string) (statuses []int) {
	const body = `{"jsonrpc":"2.0","id":1,"method":"slots"}`
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", gateway)
	if err != nil {
		return nil
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	in := bufio.NewReader(c)
	for range 10 {
		if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: %s\r\nContent-Length: %d\r\n\r\n%s", address, len(body), body); err != nil {
			return statuses
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return statuses
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		statuses = append(statuses, res.StatusCode)
		select {
		case <-time.After(2 * time.Millisecond): // enough to be a flood, not so much that the machine is
		case <-ctx.Done():
			return statuses
		}
	}
	return statuses
}
