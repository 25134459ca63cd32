package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"
	"github.com/valyala/fasthttp"

	"sidecar/commitments"
	"sidecar/internal/simnet"
)

// prepare signs the transactions: chains of bodies, each of one sender for one
// slot, in the order of their nonces. Chains of one slot stand together.
func prepare(n *simnet.Net, first phase0.Slot) (chains [][][]byte, err error) {
	id, to := new(big.Int).SetUint64(n.Spec.ChainID), common.Address{0x5e, 0xa6}
	signer := types.LatestSignerForChainID(id)
	for i, a := range n.Accounts {
		slot := first + phase0.Slot(i/senders) // #nosec G115 -- an index
		var one [][]byte
		for nonce := range uint64(perSender) {
			tx, err := types.SignNewTx(a.Key, signer, &types.DynamicFeeTx{
				ChainID: id, Nonce: nonce, GasTipCap: big.NewInt(50 * params.GWei), GasFeeCap: big.NewInt(1_000_000 * params.GWei),
				Gas: 21_000, To: &to, Value: big.NewInt(1),
			})
			if err != nil {
				return nil, err
			}
			req, err := n.Searcher.Request(slot, tx)
			if err != nil {
				return nil, err
			}
			body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "commitmentRequest", "params": []commitments.Request{req}})
			if err != nil {
				return nil, err
			}
			one = append(one, body)
		}
		chains = append(chains, one)
	}
	return chains, nil
}

// load is many clients, each with a chain at a time.
type load struct {
	url     string
	clients int
	most    int
	probe   *probe

	mu       sync.Mutex
	took     []time.Duration
	first    []time.Duration // of each sender
	refusals map[string]int
	elapsed  time.Duration
	cpu, own time.Duration // processor time of the sidecar, and of this process with the chain
}

// run asks for every chain's promises, each client for one after the other. A
// lone client measures the disk between two requests; with more of them the disk
// is measured before and after.
func (l *load) run(chains [][][]byte) {
	l.refusals = map[string]int{}
	next := make(chan [][]byte, len(chains))
	for i, c := range chains {
		if i*perSender < l.most {
			next <- c
		}
	}
	close(next)
	for range 200 {
		l.probe.sync()
	}
	client := &fasthttp.Client{MaxConnsPerHost: 2 * l.clients, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	begin := time.Now()
	var all sync.WaitGroup
	for range l.clients {
		all.Go(func() {
			for chain := range next {
				for i, body := range chain {
					if !l.ask(client, body, i == 0) {
						break // the next nonce would be a gap
					}
					if l.clients == 1 {
						l.probe.sync()
					}
				}
			}
		})
	}
	all.Wait()
	l.elapsed = time.Since(begin)
	for range 200 {
		l.probe.sync()
	}
}

func (l *load) ask(client *fasthttp.Client, body []byte, first bool) bool {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	req.SetRequestURI(l.url + "/")
	req.Header.SetMethod(fasthttp.MethodPost)
	req.Header.SetContentType("application/json")
	req.SetBodyRaw(body)
	begin := time.Now()
	err := client.Do(req, res)
	took := time.Since(begin)
	reason := ""
	if err != nil {
		reason = err.Error()
	} else if reason = refusal(res.Body()); reason == "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.took = append(l.took, took)
		if first {
			l.first = append(l.first, took)
		}
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refusals[reason]++
	return false
}

// refusal is why there is no signed promise in an answer; "" if there is one.
func refusal(answer []byte) string {
	var v struct {
		Result *struct {
			Signature string `json:"signature"`
			Proxy     string `json:"proxy_signature"`
		} `json:"result"`
		Error *struct {
			Message string                          `json:"message"`
			Data    struct{ Reason, Detail string } `json:"data"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(answer, &v); {
	case err != nil:
		return err.Error()
	case v.Error != nil:
		return v.Error.Data.Reason + ": " + v.Error.Data.Detail
	case v.Result == nil || v.Result.Signature == "" || v.Result.Proxy == "":
		return "not signed by both keys"
	}
	return ""
}

func (l *load) report() {
	n, refused := len(l.took), 0
	for _, of := range l.refusals {
		refused += of
	}
	spent := l.elapsed
	if l.clients == 1 {
		spent -= l.probe.between(200)
	}
	p50, p99, most := at(l.took, 50), at(l.took, 99), at(l.took, 100)
	s50, s99 := at(l.probe.took, 50), at(l.probe.took, 99)
	fmt.Printf("%-8d %9d %10.0f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9.2f %9d\n", l.clients, n, float64(n)/spent.Seconds(),
		ms(p50), ms(p99), ms(most), ms(s50), ms(s99), ms(p50)/ms(s50), ms(p99)/ms(s99), refused)
	if n > 0 {
		fmt.Printf("         processor time of a promise: sidecar %d µs, load and chain %d µs; busy %.2f and %.2f processors\n",
			(l.cpu / time.Duration(n)).Microseconds(), (l.own / time.Duration(n)).Microseconds(), l.cpu.Seconds()/l.elapsed.Seconds(), l.own.Seconds()/l.elapsed.Seconds())
	}
	fmt.Printf("         the first of a sender: p50 %.2f p99 %.2f ms\n", ms(at(l.first, 50)), ms(at(l.first, 99)))
	for _, reason := range slices.Sorted(maps.Keys(l.refusals)) {
		fmt.Printf("         refused %d times: %.160s\n", l.refusals[reason], reason)
	}
}
