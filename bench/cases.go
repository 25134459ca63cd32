package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// testCase is one kind of request. once sends it to a program, checks the
// answer and returns its latency; direct does what no program can beat: it asks
// all relays at once itself.
type testCase struct {
	name            string
	batch           int
	goal50, goalCPU float64
	blocks          bool
	prepare         func()
	once            func(url string) time.Duration
	direct          func() time.Duration
}

var client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}

func contains(name, part string) bool { return strings.Contains(name, part) }

// request sends and times one request, and fails the run on a wrong answer.
func request(method, url, accept, contentType string, body []byte, want int, mustHold []byte) time.Duration {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	must(err)
	req.Header.Set("Accept", accept)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Eth-Consensus-Version", "electra")
	}
	start := time.Now()
	resp, err := client.Do(req)
	must(err)
	got, err := io.ReadAll(resp.Body)
	took := time.Since(start)
	must(err)
	must(resp.Body.Close())
	if resp.StatusCode != want || !bytes.Contains(got, mustHold) {
		showLogs()
		panic(fmt.Sprintf("%s %s: got %d %.200q, want %d holding %.20x", method, url, resp.StatusCode, got, want, mustHold))
	}
	return took
}

// fanOut asks every relay at once and returns when the slowest has answered.
func fanOut(relays []*fakeRelay, path, accept, contentType, method string, body []byte, want int) time.Duration {
	start := time.Now()
	var wg sync.WaitGroup
	for _, r := range relays {
		wg.Go(func() { request(method, "http://"+r.addr+path, accept, contentType, body, want, nil) })
	}
	wg.Wait()
	return time.Since(start)
}

const (
	asJSON = "application/json"
	asSSZ  = "application/octet-stream"
)

func (r *rig) cases(n int, relays []*fakeRelay) []testCase {
	if n == 8 {
		return []testCase{r.headerCase("getHeader JSON 8 relays", relays, asJSON, 0, .15, []int{0}, nil)}
	}
	ms := func(d ...int) []int { return d }
	cases := []testCase{
		r.headerCase("getHeader JSON 3 relays", relays, asJSON, .30, .30, ms(2), nil),
		r.headerCase("getHeader SSZ 3 relays", relays, asSSZ, .30, .30, ms(2), nil),
		r.headerCase("getHeader JSON best bid early", relays, asJSON, .10, 0, ms(2), ms(20, 10, 5)),
		r.headerCase("getHeader JSON best bid last", relays, asJSON, .30, 0, ms(2), ms(5, 10, 20)),
	}
	for _, count := range []int{100, 1000, 10000} {
		goal := 0.0
		if count == 1000 {
			goal = .5
		}
		body := r.world.registrations(count)
		cases = append(cases, testCase{
			name: fmt.Sprintf("%d registrations JSON", count), batch: max(1, 2000/count), goalCPU: goal, prepare: func() {},
			once: func(url string) time.Duration {
				return request("POST", url+"/eth/v1/builder/validators", asJSON, asJSON, body, 200, nil)
			},
			direct: func() time.Duration {
				return fanOut(relays, "/eth/v1/builder/validators", asJSON, asJSON, "POST", body, 200)
			},
		})
	}
	return append(cases,
		r.blockCase("blinded block v1 JSON, 6 blobs", relays, "v1", asJSON, .05, .05),
		r.blockCase("blinded block v1 SSZ, 6 blobs", relays, "v1", asSSZ, 0, 0),
		r.blockCase("blinded block v2 JSON", relays, "v2", asJSON, 0, .15),
		r.blockCase("blinded block v2 SSZ", relays, "v2", asSSZ, 0, .15))
}

// headerCase: the relays named in best have the best bid; delays are in ms.
func (r *rig) headerCase(name string, relays []*fakeRelay, accept string, goal50, goalCPU float64, best, delays []int) testCase {
	hash := []byte(r.world.header.BlockHash.String())
	if accept == asSSZ {
		hash = r.world.header.BlockHash[:]
	}
	return testCase{
		name: name, batch: r.each, goal50: goal50, goalCPU: goalCPU,
		prepare: func() {
			for _, i := range best {
				relays[i].best.Store(true)
			}
			for i, d := range delays {
				relays[i].delay.Store(int64(time.Duration(d) * time.Millisecond))
			}
		},
		once: func(url string) time.Duration {
			return request("GET", url+r.world.headerPath(), accept, "", nil, 200, hash)
		},
		direct: func() time.Duration {
			return fanOut(relays, r.world.headerPath(), accept, "", "GET", nil, 200)
		},
	}
}

// blockCase sends another block each time, of a header all relays offered.
func (r *rig) blockCase(name string, relays []*fakeRelay, version, encoding string, goal50, goalCPU float64) testCase {
	path, want, hold := "/eth/v1/builder/blinded_blocks", 200, []byte(r.world.header.BlockHash.String())
	enc := 0
	if encoding == asSSZ {
		enc, hold = 1, r.world.header.BlockHash[:]
	}
	if version == "v2" {
		path, want, hold = "/eth/v2/builder/blinded_blocks", 202, nil
	}
	var blocks [][]byte
	next := func() []byte {
		if len(blocks) == 0 {
			for range 64 {
				r.proposers++
				blocks = append(blocks, r.world.block(r.proposers)[enc])
			}
		}
		b := blocks[0]
		blocks = blocks[1:]
		return b
	}
	return testCase{
		name: name, batch: 4, goal50: goal50, goalCPU: goalCPU, blocks: true,
		prepare: func() {
			for _, f := range relays {
				f.best.Store(true)
			}
			for _, t := range r.targets { // the header first, as a beacon node does
				request("GET", t.url+r.world.headerPath(), encoding, "", nil, 200, nil)
			}
		},
		once: func(url string) time.Duration {
			return request("POST", url+path, encoding, encoding, next(), want, hold)
		},
		direct: func() time.Duration {
			return fanOut(relays, path, encoding, encoding, "POST", next(), want)
		},
	}
}
