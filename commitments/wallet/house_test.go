package wallet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
	"go.uber.org/goleak"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/fault"
	"sidecar/internal/httpd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const gwei = 1_000_000_000

// Refusals of the gateway and the module, by the codes they have there.
var (
	errTooLate  = fault.Define("too_late", fault.Rejected, "The slot no longer takes commitments.")
	errFull     = fault.Define("slot_full_gas", fault.Rejected, "The slot has no gas left for this request.")
	errGap      = fault.Define("nonce_gap", fault.Rejected, "An earlier nonce of the sender is neither spent nor promised for the same slot.")
	errConflict = fault.Define("nonce_conflict", fault.Rejected, "Another transaction with this nonce is promised.")
	errSchedule = fault.Define("schedule_unknown", fault.Unavailable, "No duties.")
)

func testSpec() chain.Spec {
	return chain.Spec{
		Name: "test", ChainID: 1337, GenesisTime: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), GenesisForkVersion: phase0.Version{0x20, 0, 0, 0x89},
		SlotDuration: 12 * time.Second, SlotsPerEpoch: 32, Forks: []chain.ForkAt{{Fork: chain.Fulu}},
	}
}

func testClock() *chain.Clock {
	return chain.NewClock(testSpec(), func() time.Time { return testSpec().GenesisTime.Add(20 * time.Minute) })
}

// house is a wallet endpoint on a socket, a node on another, and a gateway whose
// pages are in memory. It stands at the start of slot 100; slots 102 and 104 are
// ours.
type house struct {
	*Wallet
	t       *testing.T
	url     string
	node    *node
	gate    *gate
	key     *ecdsa.PrivateKey
	origins []string
	sender  common.Address
	http    *http.Client

	mu sync.Mutex
	at time.Time
}

func open(t *testing.T, edit ...func(*Config)) *house {
	t.Helper()
	return openFor(t, nil, edit...)
}

// openFor is open for web pages too.
func openFor(t *testing.T, origins []string, edit ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t, origins: origins, gate: &gate{slots: []phase0.Slot{102, 104}, refuse: map[phase0.Slot]error{}}}
	var err error
	if h.key, err = crypto.ToECDSA(append(make([]byte, 31), 7)); err != nil {
		t.Fatal(err)
	}
	h.sender = crypto.PubkeyToAddress(h.key.PublicKey)
	h.setSlot(100, 0)
	clock := chain.NewClock(testSpec(), func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.at })
	h.gate.clock = clock
	h.node = startNode(t, clock)
	h.gate.node = h.node
	c := Config{
		Spec: testSpec(), Clock: clock, Gateway: h.gate, Schedule: h.gate, Views: h.gate, Node: h.node, FeeHints: true,
	}
	for _, e := range edit {
		e(&c)
	}
	if h.Wallet, err = New(c); err != nil {
		t.Fatal(err)
	}
	h.offers.life = 0 // the clock stands
	server, err := httpd.New(httpd.Config{
		Name: "wallet", Addr: "127.0.0.1:0", Routes: h.Routes(), Log: slog.New(slog.DiscardHandler), Clock: clock,
		Origins: h.origins, Drain: time.Second,
	})
	if err == nil {
		err = server.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	h.http = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}}
	h.url = "http://" + server.Addr().String()
	t.Cleanup(func() {
		h.http.CloseIdleConnections()
		h.Drain()
		stop()
		if err := <-done; err != nil && !errors.Is(err, httpd.ErrDrain) {
			t.Error(err)
		}
	})
	return h
}

// setSlot moves the clock.
func (h *house) setSlot(slot phase0.Slot, into time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = testSpec().GenesisTime.Add(time.Duration(slot)*12*time.Second + into) // #nosec G115 -- a small slot
}

// tx signs a transfer.
func (h *house) tx(nonce uint64, value int64) (raw string, hash string) {
	h.t.Helper()
	to := common.Address{1}
	return h.signed(&types.DynamicFeeTx{
		ChainID: big.NewInt(1337), Nonce: nonce, GasTipCap: big.NewInt(gwei), GasFeeCap: big.NewInt(100 * gwei), Gas: 21000, To: &to, Value: big.NewInt(value),
	})
}

// signed is a transaction of the house's key.
func (h *house) signed(data types.TxData) (raw string, hash string) {
	h.t.Helper()
	tx, err := types.SignNewTx(h.key, types.LatestSignerForChainID(big.NewInt(1337)), data)
	if err != nil {
		h.t.Fatal(err)
	}
	b, err := tx.MarshalBinary()
	if err != nil {
		h.t.Fatal(err)
	}
	return "0x" + common.Bytes2Hex(b), tx.Hash().Hex()
}

// answered is a JSON-RPC answer.
type answered struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int
		Message string
		Data    json.RawMessage
	} `json:"error"`
}

// reason is the reason in an error's data.
func (a answered) reason() string {
	var d errorData
	if a.Error == nil || json.Unmarshal(a.Error.Data, &d) != nil {
		return ""
	}
	return d.Reason
}

// post sends a body and returns status, headers and body.
func (h *house) post(body string, headers ...string) (int, http.Header, []byte) {
	h.t.Helper()
	return h.do(http.MethodPost, body, append([]string{"Content-Type", "application/json"}, headers...)...)
}

func (h *house) do(method, body string, headers ...string) (int, http.Header, []byte) {
	h.t.Helper()
	req, err := http.NewRequest(method, h.url+"/", bytes.NewReader([]byte(body)))
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := h.http.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, text
}

// call makes one JSON-RPC call.
func (h *house) call(method string, params ...any) (a answered) {
	h.t.Helper()
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		h.t.Fatal(err)
	}
	status, _, text := h.post(string(body))
	if err := json.Unmarshal(text, &a); err != nil || status != http.StatusOK {
		h.t.Fatalf("%s: status %d, %v: %s", method, status, err, text)
	}
	return a
}

// want checks a result, as JSON.
func (a answered) want(t *testing.T, result string) {
	t.Helper()
	if a.Error != nil || string(a.Result) != result {
		t.Errorf("answer %s, error %+v, want %s", a.Result, a.Error, result)
	}
}

// refused checks an error.
func (a answered) refused(t *testing.T, code int, message, reason string) {
	t.Helper()
	if a.Error == nil {
		t.Errorf("answer %s, want error %d %s", a.Result, code, message)
		return
	}
	if a.Error.Code != code || a.Error.Message != message || a.reason() != reason {
		t.Errorf("error %d %q %s, want %d %q, reason %s", a.Error.Code, a.Error.Message, a.Error.Data, code, message, reason)
	}
}

// gate is a gateway, its schedule and its ledger. It promises everything, but for
// what refuse says of a slot.
type gate struct {
	clock *chain.Clock
	node  *node

	mu       sync.Mutex
	slots    []phase0.Slot
	refuse   map[phase0.Slot]error
	down     error // for Capabilities
	unpriced error // for Price
	asked    []phase0.Slot
	most     int // promises of a page; 0 is any number
	pages    []commitments.Page
}

func proposer(slot phase0.Slot) phase0.BLSPubKey { return phase0.BLSPubKey{0xaa, byte(slot)} } // #nosec G115 -- a small slot

func (g *gate) Proposer(slot phase0.Slot) (phase0.BLSPubKey, phase0.ValidatorIndex, bool) {
	return proposer(slot), phase0.ValidatorIndex(slot) + 1000, true
}

func (g *gate) Capabilities(context.Context) (out commitments.Capabilities, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.slots {
		if s > g.clock.Slot() {
			out.Slots = append(out.Slots, commitments.SlotCapability{
				Slot: uint64(s), ClosesAtMS: g.clock.Start(s).Add(-4 * time.Second).UnixMilli(),
				CommitmentTypes: []uint64{commitments.TypeInclusion, commitments.TypeProvableInclusion},
			})
		}
	}
	return out, g.down
}

// Price is a gwei of tip, and the worst base fee that the node's head allows.
func (g *gate) Price(_ context.Context, r commitments.Request) (id commitments.PageID, p commitments.Price, err error) {
	slot, _, _, err := commitments.DecodeProvableInclusion(r.Payload)
	if err != nil {
		return id, p, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unpriced != nil {
		return id, p, g.unpriced
	}
	head, err := g.node.Head(context.Background())
	if err != nil {
		return id, p, err
	}
	p.Tip = *uint256.NewInt(gwei)
	p.BaseFee = *uint256.MustFromBig(worstBaseFee(head.BaseFee.ToBig(), uint64(slot-head.Slot)))
	return commitments.PageID{Slot: slot}, p, nil
}

func (g *gate) Commit(_ context.Context, r commitments.Request) (s commitments.SignedCommitment, err error) {
	var slot phase0.Slot
	if r.Type == commitments.TypeInclusion {
		slot, _, err = commitments.DecodeInclusion(r.Payload)
	} else {
		slot, _, _, err = commitments.DecodeProvableInclusion(r.Payload)
	}
	if err != nil {
		return s, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, slot)
	for _, p := range g.pages {
		for _, old := range p.Promises {
			if old.Commitment.RequestHash == r.Hash() {
				return old.SignedCommitment, nil
			}
		}
	}
	if err := g.refuse[slot]; err != nil {
		return s, err
	}
	for _, p := range g.pages {
		if p.Slot == slot && g.most > 0 && len(p.Promises) >= g.most {
			return s, errFull
		}
	}
	s = commitments.SignedCommitment{
		Commitment: commitments.Commitment{Type: r.Type, Payload: commitments.PromisedPayload(r), RequestHash: r.Hash(), Slasher: r.Slasher}, Nonce: 1, Signature: make([]byte, 65),
	}
	g.add(slot, s)
	return s, nil
}

func (g *gate) Result(_ context.Context, hash phase0.Hash32) (commitments.SignedCommitment, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pages {
		for _, old := range p.Promises {
			if old.Commitment.RequestHash == hash {
				return old.SignedCommitment, nil
			}
		}
	}
	return commitments.SignedCommitment{}, errors.New("no such promise")
}

func (g *gate) add(slot phase0.Slot, s commitments.SignedCommitment) {
	i := slices.IndexFunc(g.pages, func(p commitments.Page) bool { return p.Slot == slot })
	if i < 0 {
		i = len(g.pages)
		g.pages = append(g.pages, commitments.Page{PageID: commitments.PageID{Slot: slot, Proposer: proposer(slot)}})
	}
	g.pages[i].Promises = append(slices.Clone(g.pages[i].Promises), commitments.Promise{SignedCommitment: s})
}

func (g *gate) Page(id commitments.PageID) commitments.Page {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pages {
		if p.PageID == id {
			return p
		}
	}
	return commitments.Page{PageID: id}
}

func (g *gate) Pages(first phase0.Slot) (out []commitments.Page) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.pages {
		if p.Slot >= first {
			out = append(out, p)
		}
	}
	return out
}

// set changes what the gateway refuses.
func (g *gate) set(slot phase0.Slot, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse[slot] = err
}

func (*gate) hash(t *testing.T, text string) phase0.Hash32 {
	t.Helper()
	h, err := parseHash(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
