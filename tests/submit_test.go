package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	builderdeneb "github.com/attestantio/go-builder-client/api/deneb"
	builderfulu "github.com/attestantio/go-builder-client/api/fulu"
	apielectra "github.com/attestantio/go-eth2-client/api/v1/electra"
	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
)

const (
	v1 = "/eth/v1/builder/blinded_blocks"
	v2 = "/eth/v2/builder/blinded_blocks"
)

// The present slot of a submit bench, and the first of Fulu. Slots between are
// Electra's; nothing is late, and all are near enough to be taken.
const (
	nowSlot  = 50
	fuluSlot = 64
)

// submitBench is a sidecar between two relays. What a relay does is planned for
// the parent hash of a case, so that cases do not meet.
type submitBench struct {
	process *process
	network *network
	a, b    *fakeRelay // a offers more
}

func newSubmitBench(t *testing.T) *submitBench {
	n := newNetwork(-nowSlot*slotTime-time.Second, fuluSlot)
	s := &submitBench{network: n, a: newRelay(t, n, "a", 1, 20), b: newRelay(t, n, "b", 2, 10)}
	s.process = start(t, n.toml()+"[pbs]\nport = 0\ntimeout_get_payload_ms = 30000\n[pbs.penalty]\nmisses = 0\n[logs.stdout]\nlevel = \"debug\"\n"+s.a.entry("relays")+s.b.entry("relays"))
	return s
}

// proposal is a block for the header that the sidecar gave for a case.
type proposal struct {
	slot   phase0.Slot
	parent phase0.Hash32
	block  *apielectra.SignedBlindedBeaconBlock
	fork   string
}

var proposers atomic.Uint64

// propose plans the relays for a case, asks for the header and makes the block
// of it. A nil script is an honest relay.
func (s *submitBench) propose(t *testing.T, slot phase0.Slot, a, b script) *proposal {
	t.Helper()
	p := &proposal{slot: slot, parent: parentOf(t.Name()), fork: s.network.fork(slot)}
	s.a.plan(p.parent, a)
	s.b.plan(p.parent, b)
	got := s.process.must(t, http.MethodGet, headerPath(slot, p.parent, validator(1)), nil, "Accept", mediaSSZ)
	p.block = blockOf(t, slot, phase0.ValidatorIndex(proposers.Add(1)), decodeBid(t, got, mediaSSZ, p.fork))
	return p
}

// submit hands the block over, as a beacon node of one of the encodings does.
func (s *submitBench) submit(t *testing.T, p *proposal, path, media string, headers ...string) *answer {
	t.Helper()
	headers = append([]string{"Content-Type", media, "Accept", media, version, p.fork}, headers...)
	return s.process.must(t, http.MethodPost, path, inEncoding(t, media, p.block), headers...)
}

// onBlock answers blocks with a script and is honest otherwise.
func onBlock(s script) script {
	return func(c *call) bool {
		if c.is("blinded_blocks") {
			return s(c)
		}
		return honest(c)
	}
}

// checkPayload checks the answer to a v1 block, as a client does.
func (p *proposal) checkPayload(t *testing.T, a *answer, media string) {
	t.Helper()
	if a.status != 200 || a.header.Get("Content-Type") != media || a.header.Get(version) != p.fork {
		t.Fatalf("answer %d %v %.200q, want 200 of %s in %s", a.status, a.header, a.body, p.fork, media)
	}
	var payload *deneb.ExecutionPayload
	var commitments []deneb.KZGCommitment
	var err error
	if p.fork == "fulu" {
		var d builderfulu.ExecutionPayloadAndBlobsBundle
		if err = unwrap(a.body, media, &d); err == nil {
			payload, commitments = d.ExecutionPayload, d.BlobsBundle.Commitments
		}
	} else {
		var d builderdeneb.ExecutionPayloadAndBlobsBundle
		if err = unwrap(a.body, media, &d); err == nil {
			payload, commitments = d.ExecutionPayload, d.BlobsBundle.Commitments
		}
	}
	if err != nil {
		t.Fatalf("payload: %v", err)
	}
	body := p.block.Message.Body
	if payload.BlockHash != body.ExecutionPayloadHeader.BlockHash || fmt.Sprint(commitments) != fmt.Sprint(body.BlobKZGCommitments) {
		t.Errorf("payload of block %s with %d blobs, want %s with %d", payload.BlockHash, len(commitments),
			body.ExecutionPayloadHeader.BlockHash, len(body.BlobKZGCommitments))
	}
}

func unwrap(body []byte, media string, into interface{ UnmarshalSSZ([]byte) error }) error {
	if media == mediaSSZ {
		return into.UnmarshalSSZ(body)
	}
	return json.Unmarshal(body, &struct {
		Data any `json:"data"`
	}{into})
}

// checkTaken checks the only good answer to a v2 block.
func checkTaken(t *testing.T, a *answer) {
	t.Helper()
	if a.status != http.StatusAccepted || len(a.body) > 0 {
		t.Errorf("answer %d %q, want 202 and no body", a.status, a.body)
	}
}

// TestSubmit is the table of the submission path.
func TestSubmit(t *testing.T) {
	t.Parallel()
	s := newSubmitBench(t)
	withBlobs := func(c *call) bool {
		if c.is("header") {
			return c.offer(c.bid(func(b *signedBid) {
				b.Message.BlobKZGCommitments, b.Message.Header.BlobGasUsed = []deneb.KZGCommitment{{1}, {2}}, 2<<17
			}))
		}
		return honest(c)
	}
	for _, media := range []string{mediaJSON, mediaSSZ} {
		for name, slot := range map[string]phase0.Slot{"electra": 60, "fulu": 70} {
			t.Run("S-01 "+name+" v1 "+media, func(t *testing.T) {
				p := s.propose(t, slot, withBlobs, noBid)
				p.checkPayload(t, s.submit(t, p, v1, media), media)
			})
			t.Run("S-01 "+name+" v2 "+media, func(t *testing.T) {
				p := s.propose(t, slot, withBlobs, noBid)
				checkTaken(t, s.submit(t, p, v2, media))
			})
		}
		for _, code := range []int{406, 415} {
			t.Run(fmt.Sprintf("S-02 relay answers %d to %s", code, media), func(t *testing.T) { s.otherEncoding(t, code, media) })
		}
	}
	t.Run("S-03 first connection reset", s.resetOnce)
	t.Run("S-05 relay without v2", s.withoutV2)
	t.Run("S-06 caller hangs up", s.hangUp)
	t.Run("S-07 wrong payloads", s.wrongPayloads)
	t.Run("S-08 fork from the slot", s.forkFromSlot)
	t.Run("S-09 relay that did not offer", s.notOffered)
	t.Run("S-10 block sent twice", s.twice)
	t.Run("S-11 two blocks of a slot", s.equivocation)
	t.Run("S-12 other slots", s.otherSlots)
	t.Run("S-13 before its slot", s.early)
	t.Run("S-16 sizes", s.sizes)
	t.Run("S-17 unknown field", s.unknownField)
	t.Run("S-19 unknown block", s.unknownHeader)
}
