package tests

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/devnet"
	"sidecar/internal/simnet"
)

// journeyTwist stands before a node and twists what it is asked, or what it says.
// Streams pass.
type journeyTwist struct {
	*httptest.Server
	mu     sync.Mutex
	ask    func(body []byte) []byte
	answer func(path string, body []byte) []byte
}

func journeyTwistTo(t *testing.T, target string) *journeyTwist {
	t.Helper()
	at, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	w := &journeyTwist{}
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(at)
			r.Out.Header.Del("Accept-Encoding")
			if r.Out.Body == nil {
				return
			}
			body, err := io.ReadAll(r.Out.Body)
			if ask, _ := w.twists(); ask != nil && err == nil {
				body = ask(body)
			}
			r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		},
		ModifyResponse: func(r *http.Response) error {
			_, answer := w.twists()
			if answer == nil || r.Header.Get("Content-Type") == "text/event-stream" {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			body = answer(r.Request.URL.Path, body)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return err
		},
	}
	w.Server = httptest.NewServer(proxy)
	t.Cleanup(func() {
		w.CloseClientConnections()
		w.Close()
		transport.CloseIdleConnections()
	})
	return w
}

func (w *journeyTwist) twists() (ask func([]byte) []byte, answer func(string, []byte) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ask, w.answer
}

func (w *journeyTwist) set(ask func([]byte) []byte, answer func(string, []byte) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ask, w.answer = ask, answer
}

// journeyLagging has an execution node get stuck while the beacon node goes on and
// says that all is well. What it knows of accounts is old: nothing is promised on
// it, proposals go on, and promises with them once it has caught up.
func journeyLagging(t *testing.T) {
	j := journeyChain(t, simnet.Options{SSZ: true})
	node := journeyTwistTo(t, j.net.Execution.URL)
	j.start(devnet.Options{PBS: journeyBudgetLine, Execution: node.URL})
	j.ready()
	stuck := fmt.Appendf(nil, `"0x%x"`, j.net.Execution.Head().Number)
	node.set(func(body []byte) []byte { return bytes.ReplaceAll(body, []byte(`"latest"`), stuck) }, nil)
	if !j.eventually("nothing is promised", func() bool { return j.refuses(j.net.Clock.Slot()+3, "execution_stuck") == nil }) {
		t.Errorf("%v", j.refuses(j.net.Clock.Slot()+3, "execution_stuck"))
	}
	j.play("a block all the same", func(slot phase0.Slot) error {
		_, err := j.outcome(slot, simnet.FromBuilder, "")
		return err
	})
	node.set(nil, nil)
	j.promisesAgain()
}

// journeySkew has a beacon node that is ahead of our clock, and then one that has
// been left behind: one of the two is wrong about the time, and nothing is
// promised until they agree.
func journeySkew(t *testing.T) {
	j := journeyChain(t, simnet.Options{SSZ: true})
	node := journeyTwistTo(t, j.net.Beacon.URL)
	j.start(devnet.Options{PBS: journeyBudgetLine, Beacon: node.URL})
	j.ready()
	for _, c := range []struct {
		reason string
		head   func(is uint64) uint64
	}{
		{"beacon_unavailable", func(is uint64) uint64 { return is + 4 }},
		{"beacon_syncing", func(is uint64) uint64 { return 0 }},
	} {
		if c.reason == "beacon_syncing" { // more than an epoch behind
			if err := j.net.WaitSlot(j.ctx, 10); err != nil {
				t.Fatal(err)
			}
		}
		node.set(nil, func(path string, body []byte) []byte { return journeyHeadAs(path, body, c.head) })
		if !j.eventually("nothing is promised", func() bool { return j.refuses(j.net.Clock.Slot()+3, c.reason) == nil }) {
			t.Errorf("%v", j.refuses(j.net.Clock.Slot()+3, c.reason))
		}
		j.play("a block all the same", func(slot phase0.Slot) error {
			_, err := j.outcome(slot, simnet.FromBuilder, "")
			return err
		})
		node.set(nil, nil)
	}
	j.promisesAgain()
}

// journeyHeadAs changes the head's slot in a beacon node's answer about itself.
func journeyHeadAs(path string, body []byte, head func(uint64) uint64) []byte {
	var answer struct {
		Data map[string]any `json:"data"`
	}
	if path != "/eth/v1/node/syncing" || json.Unmarshal(body, &answer) != nil {
		return body
	}
	is, err := strconv.ParseUint(fmt.Sprint(answer.Data["head_slot"]), 10, 64)
	if err != nil {
		return body
	}
	answer.Data["head_slot"] = strconv.FormatUint(head(is), 10)
	out, err := json.Marshal(answer)
	if err != nil {
		return body
	}
	return out
}

// promisesAgain wants a promise made and kept.
func (j *journey) promisesAgain() {
	j.Helper()
	j.play("all is well again", func(slot phase0.Slot) error {
		p, err := j.promised(slot + 1)
		if err == nil {
			_, err = j.outcome(slot+1, simnet.FromBuilder, "")
		}
		if err == nil && j.index(p) < 0 {
			err = errors.New("the transaction is not in the block")
		}
		return err
	})
}

// journeyKilledLate kills the sidecar when its promise has been sent off: with the
// header in the proposer's hands, or with the block out and not judged. What
// became of the promise is found out after the restart, and stays.
func journeyKilledLate(name string, until func(j *journey, p journeyPromise) error) journeyOf {
	return journeyOf{"promise/killed " + name, func(t *testing.T) {
		j := journeyChain(t, simnet.Options{SlotDuration: 2 * time.Second, SSZ: true, BuildLead: 300 * time.Millisecond})
		j.mayLose = true // the header is ours, and nobody is there to take the block
		j.write(devnet.Options{PBS: journeyBudgetLine, AuditAfter: 2})
		car := j.spawn()
		j.ready()
		j.play("judged", func(slot phase0.Slot) error {
			p, err := j.want(slot+1, 1)
			if err == nil {
				err = p[0].ask(car.GatewayURL)
			}
			if err == nil {
				err = until(j, p[0])
			}
			if err != nil {
				return err
			}
			kept, excused := j.counted(car, "kept"), j.counted(car, "excused")
			if kept+excused > 0 {
				return fmt.Errorf("%v promises are judged already", kept+excused)
			}
			car.Kill()
			if car, err = j.launch(); err != nil {
				return err
			}
			o, err := j.net.OutcomeOf(j.ctx, slot+1)
			if err != nil {
				return err
			}
			want := "kept"
			if o.Source == simnet.Missed {
				want = "excused"
			}
			if !j.eventually("the promise is "+want, func() bool { return j.counted(car, want) >= 1 }) {
				return nil // said already
			}
			return p[0].same(car.GatewayURL)
		})
		if err := car.Stop(); err != nil {
			t.Errorf("the sidecar ended with %v", err)
		}
	}}
}

// journeyHeaderAt waits until the proposer has asked for the header of a slot with
// promises.
func journeyHeaderAt(j *journey, _ journeyPromise) error {
	if !j.eventually("the header is served", func() bool { return len(j.net.Relays[0].Calls("header_with_proofs")) > 0 }) {
		return errors.New("no header")
	}
	return nil
}

// journeyBlockAt waits until the slot is decided.
func journeyBlockAt(j *journey, p journeyPromise) error {
	_, err := j.outcome(p.slot, simnet.FromBuilder, "")
	return err
}
