package gateway

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/ledger"
)

// TestIdempotent: a hundred copies of one request at once, in every form of
// the API, are one promise with one answer, byte for byte.
func TestIdempotent(t *testing.T) {
	h := open(t)
	url, body := h.serve(), text(t, request('a', 1))
	call := func(id int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"commitmentRequest","params":[%s]}`, id, body)
	}
	forms := []func() (string, string){
		func() (string, string) { return rest + "commitmentRequest", body },
		func() (string, string) { return "/", call(1) },
		func() (string, string) { return "/commitmentRequest", call(1) },
		func() (string, string) { return "/", "[" + call(1) + "," + call(2) + "]" },
	}
	var wg sync.WaitGroup
	answers := make(chan string, 400)
	for i := range 100 {
		wg.Go(func() {
			path, body := forms[i%len(forms)]()
			for {
				status, answer := ask(t, "POST", url+path, "application/json", body)
				if status == 429 || status == 503 || strings.Contains(answer, "gateway_busy") || strings.Contains(answer, "deadline_exceeded") {
					continue // no place or no connection just now, or a machine too busy for 2 s
				}
				if status != 200 {
					t.Errorf("got %d %s", status, answer)
				}
				answers <- answer
				return
			}
		})
	}
	wg.Wait()
	close(answers)
	want := text(t, h.ledger.Page(h.id()).Promises[0].SignedCommitment)
	for answer := range answers {
		if n := strings.Count(answer, want); n == 0 || strings.Contains(answer, `"error"`) {
			t.Fatalf("got %s\nwant %s", answer, want)
		}
	}
	if n := len(h.ledger.Page(h.id()).Promises); n != 1 {
		t.Errorf("%d promises", n)
	}
}

// TestIdempotent_Crash: a crash between entry and ink, and copies of the request
// to the next process at once: the answer is the one that the entry determines.
func TestIdempotent_Crash(t *testing.T) {
	h := open(t)
	url := h.serve()
	h.book.set(ledger.KindCommitment)
	if status, answer := ask(t, "POST", url+rest+"commitmentRequest", "", text(t, request('a', 1))); status != 500 {
		t.Fatalf("the crash: got %d %s", status, answer)
	}
	hash := request('a', 1).Hash()
	_, before := ask(t, "GET", url+rest+fmt.Sprintf("status/%#x", hash[:]), "", "")
	if !strings.Contains(before, `"state":"journaled"`) {
		t.Errorf("between entry and ink: %s", before)
	}
	h.halt()
	h.start()
	url = h.serve()
	var wg sync.WaitGroup
	answers := make([]string, 32)
	for i := range answers {
		wg.Go(func() {
			_, answers[i] = ask(t, "POST", url+rest+"commitmentRequest", "", text(t, request('a', 1)))
		})
	}
	wg.Wait()
	slices.Sort(answers)
	if answers = slices.Compact(answers); len(answers) != 1 {
		t.Fatalf("%d different answers: %s", len(answers), answers)
	}
	var s commitments.SignedCommitment
	if err := json.Unmarshal([]byte(answers[0]), &s); err != nil || s.Nonce != h.ledger.Page(h.id()).Promises[0].Seq {
		t.Fatalf("got %s, %v", answers[0], err)
	}
	h.verify(s)
	if n := len(h.ledger.Page(h.id()).Promises); n != 1 {
		t.Errorf("%d promises", n)
	}
}

// TestTranscripts: the bytes on the wire, as the reference texts have them.
// [fabric: JSON-RPC; commitments-specs: REST]
func TestTranscripts(t *testing.T) {
	h := open(t)
	url := h.serve()
	// keccak(abi(CommitmentRequest{1, "", 0})), a published vector.
	const vector = "0xf61a6130b6ebfffcb3738e03fe820e4b883b623ec3ab7657ffbf385b2e94edba"
	const zero = `{"commitment_type":1,"payload":"0x","slasher":"0x0000000000000000000000000000000000000000"}`
	slots := `{"slots":[{"slot":104,"offerings":[{"chain_id":1337,"commitment_types":[1]}]},{"slot":110,"offerings":[{"chain_id":1337,"commitment_types":[1]}]}]}`
	failed := func(id, code, message, reason, detail string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"error":{"code":` + code + `,"message":"` + message + `","data":{"reason":"` + reason + `","detail":"` + detail + `"}}}`
	}
	missing := failed("1", "-32602", "Commitment not found", "commitment_not_found", "No promise answers this request hash.")
	for _, tt := range []struct{ name, method, path, body, want string }{
		{"slots", "POST", "/", `{"jsonrpc":"2.0","id":1,"method":"slots","params":[]}`, `{"jsonrpc":"2.0","id":1,"result":` + slots + `}`},
		{"slots, no params", "POST", "/slots", `{"jsonrpc":"2.0","id":"a","method":"slots"}`, `{"jsonrpc":"2.0","id":"a","result":` + slots + `}`},
		{"slots, null id", "POST", "/", `{"jsonrpc":"2.0","id":null,"method":"slots"}`, `{"jsonrpc":"2.0","id":null,"result":` + slots + `}`},
		{"slots over REST", "GET", rest + "slots", "", slots},
		{"result, a bare string", "POST", "/", `{"jsonrpc":"2.0","id":1,"method":"commitmentResult","params":["` + vector + `"]}`, missing},
		{"result, an object", "POST", "/commitmentResult", `{"jsonrpc":"2.0","id":1,"method":"commitmentResult","params":[{"request_hash":"` + vector + `"}]}`, missing},
		{"result, by name", "POST", "/", `{"jsonrpc":"2.0","id":1,"method":"commitmentResult","params":{"request_hash":"` + vector + `"}}`, missing},
		{"result over REST", "GET", rest + "commitmentResult/" + vector, "", `{"code":404,"message":"No promise answers this request hash.","reason":"commitment_not_found"}`},
		{"no slot in the payload", "POST", "/", `{"jsonrpc":"2.0","id":7,"method":"commitmentRequest","params":[` + zero + `]}`,
			failed("7", "-32602", "Invalid commitment request", "commitment_encoding", "inclusion payload of 0 bytes")},
		{"status", "POST", "/", `{"jsonrpc":"2.0","id":1,"method":"preconf_status","params":["` + vector + `"]}`, missing},
		{"an admin's method", "POST", "/", `{"jsonrpc":"2.0","id":1,"method":"generateProxyKey","params":[]}`,
			failed("1", "-32601", "Method not found", "rpc_method_unknown", "There is no such JSON-RPC method.")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, got := ask(t, tt.method, url+tt.path, "application/json", tt.body); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestRPC_BatchSideBySide: requests of a batch do not wait for each other, and
// one that fails leaves the others alone.
func TestRPC_BatchSideBySide(t *testing.T) {
	h := open(t)
	url := h.serve()
	// Each draft waits until as many as may run side by side are inside.
	var inside sync.WaitGroup
	inside.Add(atOnce)
	var mu sync.Mutex
	left := atOnce
	h.module.stall = func() {
		mu.Lock()
		first := left > 0
		left--
		mu.Unlock()
		if first {
			inside.Done()
			inside.Wait()
		}
	}
	var items []string
	for i := range maxBatch {
		body := text(t, request('a'+byte(i), 1))
		if i == 5 {
			body = `{"commitment_type":1}`
		}
		items = append(items, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"commitmentRequest","params":[%s]}`, i, body))
	}
	status, answer := ask(t, "POST", url, "", "["+strings.Join(items, ",")+"]")
	var got []struct {
		ID     int
		Result *commitments.SignedCommitment
		Error  *rpcError
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 || len(got) != maxBatch {
		t.Fatalf("got %d %s, %v", status, answer, err)
	}
	for i, one := range got {
		if one.ID != i || (one.Error != nil) != (i == 5) {
			t.Errorf("answer %d: id %d, error %+v", i, one.ID, one.Error)
		}
	}
}

// TestBodies: a request may be a megabyte, and four where blobs are promised.
func TestBodies(t *testing.T) {
	small, large := open(t), open(t, func(c *Config) { c.Limit.Blobs = 6 })
	for _, tt := range []struct {
		h      *house
		bytes  int
		status int
	}{{small, 1 << 20, 400}, {small, 1<<20 + 1, 413}, {large, 4 << 20, 400}, {large, 4<<20 + 1, 413}} {
		url := tt.h.serve()
		for _, path := range []string{rest + "commitmentRequest", "/"} {
			status, answer := ask(t, "POST", url+path, "application/json", strings.Repeat(" ", tt.bytes))
			want := tt.status
			if want == 400 && path == "/" {
				want = 200 // JSON-RPC has its errors inside
			}
			if status != want {
				t.Errorf("%s of %d bytes: got %d %s, want %d", path, tt.bytes, status, answer, want)
			}
		}
	}
}

// TestCapabilities: what is left shrinks with every promise, and says until when.
func TestCapabilities(t *testing.T) {
	h := open(t, func(c *Config) { c.Limit = commitments.Cost{Gas: 100_000, Blobs: 2, Bytes: 50}; c.MaxCount = 3 })
	url := h.serve()
	read := func() (c commitments.Capabilities) {
		t.Helper()
		status, body := ask(t, "GET", url+rest+"capabilities", "", "")
		if err := json.Unmarshal([]byte(body), &c); err != nil || status != 200 {
			t.Fatalf("got %d %s, %v", status, body, err)
		}
		_, again := ask(t, "POST", url, "", `{"jsonrpc":"2.0","id":1,"method":"preconf_capabilities"}`)
		if again != `{"jsonrpc":"2.0","id":1,"result":`+body+`}` {
			t.Errorf("JSON-RPC says something else: %s", again)
		}
		return c
	}
	c := read()
	if c.ChainID != 1337 || c.SlotMS != 12000 || c.NowMS != h.Clock.Now().UnixMilli() || len(c.Modules) != 1 || len(c.Slots) != 2 || c.MaxBatch != 16 || c.MaxBody != 4<<20 {
		t.Fatalf("got %+v", c)
	}
	if m := c.Modules[0]; m.ID != "inclusion" || m.SigningID != (phase0.Root{0x11}).String() || !slices.Equal(m.CommitmentTypes, []uint64{1}) {
		t.Errorf("module: %+v", m)
	}
	want := commitments.SlotCapability{
		Slot: 104, Proposer: h.proposer.PublicKey().String(), Delegate: h.delegate.PublicKey().String(), Committer: strings.ToLower(h.committer.Address().String()),
		CommitmentTypes: []uint64{1}, StartsAtMS: h.Clock.Start(104).UnixMilli(), ClosesAtMS: h.Clock.Start(104).UnixMilli() - 4000,
		GasLeft: 100_000, BlobsLeft: 2, BytesLeft: 50, CountLeft: 3, Path: "constraints_relay", Receivers: []string{},
	}
	if got := text(t, c.Slots[0]); got != text(t, want) {
		t.Errorf("\n got %s\nwant %s", got, text(t, want))
	}
	if _, err := h.Commit(t.Context(), request('a', 1)); err != nil {
		t.Fatal(err)
	}
	want.GasLeft, want.BytesLeft, want.CountLeft = 79_000, 48, 2
	if got := text(t, read().Slots[0]); got != text(t, want) {
		t.Errorf("after a promise:\n got %s\nwant %s", got, text(t, want))
	}
	h.setSlot(104, -3*1e9)
	if c := read(); len(c.Slots) != 1 || c.Slots[0].Slot != 110 {
		t.Errorf("after the cut-off: %+v", c.Slots)
	}
}

// TestSignatureForm: REST and JSON-RPC answer in the operator's form, and it is the
// same commitment.
func TestSignatureForm(t *testing.T) {
	h := open(t)
	want, err := h.Commit(t.Context(), request('a', 1))
	if err != nil {
		t.Fatal(err)
	}
	url, hash := h.serve(), want.Commitment.RequestHash.String()
	for form, mark := range map[commitments.SignatureForm]string{commitments.FormV27: `"signature":"0x`, commitments.FormV0: `"signature":"0x`, commitments.FormObject: `"yParity":"0x`} {
		h.SignatureForm = form
		for _, name := range []string{"rest", "rpc"} {
			_, answer := ask(t, "GET", url+"/commitments/v0/gateway/commitmentResult/"+hash, "", "")
			if name == "rpc" {
				_, answer = ask(t, "POST", url, "application/json", `{"jsonrpc":"2.0","id":1,"method":"commitmentResult","params":["`+hash+`"]}`)
			}
			text := []byte(answer)
			var rpc struct{ Result json.RawMessage }
			if name == "rpc" && json.Unmarshal(text, &rpc) == nil {
				text = rpc.Result
			}
			var got commitments.SignedCommitment
			if bad := json.Unmarshal(text, &got); bad != nil || !reflect.DeepEqual(got, want) || !strings.Contains(string(text), mark) {
				t.Errorf("%s, %s: %s, %v", form, name, text, bad)
			}
		}
	}
}
