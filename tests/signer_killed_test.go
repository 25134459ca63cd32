package tests

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestSignerAPI_Killed: the binary is killed again and again while modules ask
// for two different roots of each nonce at once. Over everything that was ever
// answered a nonce has one root and one signature; and in the end every nonce
// still has it.
func TestSignerAPI_Killed(t *testing.T) {
	t.Parallel()
	h, file := newSignerHouse(t)
	h.write(t, "sidecar.toml", file+"[modules.signer]\nkinds = [\"consensus\"]\nkeys = [\""+signerKey+"\"]\nper_slot = 1000000\n")
	h.do(t, 0, "Made the ledger", "init", "--new-keys")
	var mu sync.Mutex
	answered := map[int]map[string]bool{} // nonce → root and signature
	ask := func(nonce, side int) (status int, err error) {
		body := fmt.Sprintf(`{"pubkey":%q,"object_root":"0x%02x%062x","nonce":%d}`, signerKey, side+1, nonce, nonce)
		res, err := client.Do(h.request(t, "POST", "/signer/v1/request_signature/bls", body, "DA_COMMIT"))
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		if res.StatusCode == http.StatusOK {
			var a struct {
				ObjectRoot string `json:"object_root"`
				Signature  string `json:"signature"`
			}
			if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
				return 0, err
			}
			mu.Lock()
			defer mu.Unlock()
			if answered[nonce] == nil {
				answered[nonce] = map[string]bool{}
			}
			answered[nonce][a.ObjectRoot+" "+a.Signature] = true
		}
		return res.StatusCode, nil
	}
	const rounds, workers = 8, 8
	next := 1
	for range rounds {
		h.start(t)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		first := next
		next += 10000
		for w := range workers {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := ask(first+i/2, (i+w)%2); err != nil {
						return // killed
					}
				}
			})
		}
		count := func() int { mu.Lock(); defer mu.Unlock(); return len(answered) }
		for enough, end := count()+5, time.Now().Add(time.Minute); count() < enough; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("only %d nonces were answered:\n%s", count(), h.out.String())
			}
		}
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		if err := h.run.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		close(stop)
		wg.Wait()
		<-h.exited
	}
	h.start(t)
	defer h.stop(t)
	for nonce, before := range answered {
		if len(before) != 1 {
			t.Fatalf("nonce %d was answered with %v", nonce, before)
		}
	}
	known := len(answered)
	for nonce := range answered {
		statuses := map[int]int{}
		for side := range 2 {
			status, err := ask(nonce, side)
			if err != nil {
				t.Fatal(err)
			}
			statuses[status]++
		}
		if statuses[200] != 1 || statuses[409] != 1 || len(answered[nonce]) != 1 {
			t.Fatalf("nonce %d in the end: %v, %v", nonce, statuses, answered[nonce])
		}
	}
	if known != len(answered) {
		t.Errorf("%d nonces, then %d", known, len(answered))
	}
	t.Logf("%d nonces over %d kills", known, rounds)
	h.do(t, 5, "ledger_locked", "check")
}
