package tests

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
)

// otherEncoding: the relay refuses the encoding and gets the same block in the other.
func (s *submitBench) otherEncoding(t *testing.T, code int, media string) {
	p := s.propose(t, 71, onBlock(func(c *call) bool {
		if c.Header.Get("Content-Type") == media {
			return c.write(message(code, "", nil))
		}
		return honest(c)
	}), noBid)
	begin := time.Now()
	checkTaken(t, s.submit(t, p, v2, media))
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
	calls := s.a.seen(p.parent, v2)
	last := calls[len(calls)-1]
	if got := last.Header.Get("Content-Type"); got == media || last.block == nil {
		t.Fatalf("the relay took a block in %s", got)
	}
	want, err := p.block.Message.HashTreeRoot()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := last.block.Message.HashTreeRoot(); err != nil || got != want || last.block.Signature != p.block.Signature {
		t.Errorf("the relay got a block with root %x (%v), want %x", got, err, want)
	}
}

func (s *submitBench) resetOnce(t *testing.T) {
	for _, path := range []string{v1, v2} {
		t.Run(path, func(t *testing.T) {
			var tries atomic.Int32
			p := s.propose(t, 61, onBlock(func(c *call) bool {
				if tries.Add(1) == 1 {
					_ = c.conn.SetLinger(0)
					return false
				}
				return honest(c)
			}), noBid)
			if a := s.submit(t, p, path, mediaJSON); a.status != map[string]int{v1: 200, v2: 202}[path] {
				t.Errorf("answer %d %q", a.status, a.body)
			}
		})
	}
}

func (s *submitBench) withoutV2(t *testing.T) {
	t.Run("other relay takes it", func(t *testing.T) {
		both := func(s script) script {
			return func(c *call) bool {
				if c.is("header") {
					return c.offer(c.bid(func(b *signedBid) { b.Message.Header.BlockHash = c.parent }))
				}
				return s(c)
			}
		}
		p := s.propose(t, 72, both(status(404)), both(honest))
		checkTaken(t, s.submit(t, p, v2, mediaSSZ))
	})
	for _, code := range []int{404, 400} {
		t.Run(fmt.Sprintf("v1 takes it after %d", code), func(t *testing.T) {
			p := s.propose(t, 72, onBlock(func(c *call) bool {
				if c.is(v2) {
					return c.write(message(code, "", nil))
				}
				return honest(c)
			}), noBid)
			checkTaken(t, s.submit(t, p, v2, mediaSSZ))
			if n := len(s.a.seen(p.parent, v1)); n != 1 {
				t.Errorf("v1 was called %d times, want once", n)
			}
		})
	}
	t.Run("nobody takes it", func(t *testing.T) {
		p := s.propose(t, 72, onBlock(status(404)), onBlock(status(404)))
		s.submit(t, p, v2, mediaSSZ).refused(t, 500, "no_payload") // 502 would be taken for a success
	})
}

func (s *submitBench) hangUp(t *testing.T) {
	taken := make(chan bool, 1)
	p := s.propose(t, 73, onBlock(func(c *call) bool {
		c.wait(300 * time.Millisecond)
		taken <- c.write(message(202, "", nil))
		return true
	}), noBid)
	body := inEncoding(t, mediaSSZ, p.block)
	conn, err := net.Dial("tcp", s.process.builder)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", v2, mediaSSZ, len(body), body)
	s.a.awaitSeen(1, p.parent, v2)
	_ = conn.Close()
	select {
	case alive := <-taken:
		if !alive {
			t.Error("the relay's answer found nobody")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the relay never got the block")
	}
	checkTaken(t, s.submit(t, p, v2, mediaSSZ)) // the node tries again, and joins what was done
	if n := len(s.a.seen(p.parent, v2)); n != 1 {
		t.Errorf("the relay got the block %d times, want once", n)
	}
}

func (s *submitBench) wrongPayloads(t *testing.T) {
	two := func(c *call) bool {
		return c.offer(c.bid(func(b *signedBid) {
			b.Message.Header.BlockHash = phase0.Hash32(parentOf(t.Name() + c.parent.String())) // both offer the same block
			b.Message.BlobKZGCommitments, b.Message.Header.BlobGasUsed = []deneb.KZGCommitment{{1}, {2}}, 2<<17
		}))
	}
	for name, spoil := range map[string]func(*bundle){
		"another block":      func(b *bundle) { b.BlockHash[0] ^= 1 },
		"other blobs":        func(b *bundle) { b.commitments[1][0] ^= 1 },
		"a blob too few":     func(b *bundle) { b.commitments, b.blobs = b.commitments[:1], 1 },
		"a blob too many":    func(b *bundle) { b.commitments, b.blobs = append(b.commitments, deneb.KZGCommitment{}), 3 },
		"no blobs behind it": func(b *bundle) { b.blobs = 0 },
	} {
		liar := func(c *call) bool {
			if c.is("header") {
				return two(c)
			}
			b := c.payload()
			spoil(b)
			return c.deliver(b)
		}
		t.Run(name, func(t *testing.T) {
			slow := func(c *call) bool {
				if c.is("header") {
					return two(c)
				}
				return c.wait(100*time.Millisecond) && honest(c)
			}
			p := s.propose(t, 74, liar, slow)
			p.checkPayload(t, s.submit(t, p, v1, mediaJSON), mediaJSON)
		})
		t.Run(name+" from all", func(t *testing.T) {
			p := s.propose(t, 62, liar, liar)
			s.submit(t, p, v1, mediaSSZ).refused(t, 500, "no_payload")
		})
	}
}

func (s *submitBench) forkFromSlot(t *testing.T) {
	p := s.propose(t, 75, nil, noBid)
	s.submit(t, p, v2, mediaJSON, version, "electra").refused(t, 400, "consensus_version")
	if n := len(s.a.seen(p.parent, v2)); n > 0 {
		t.Errorf("the relay was called %d times about it", n)
	}
	body := inEncoding(t, mediaJSON, p.block)
	checkTaken(t, s.process.must(t, "POST", v2, body, "Content-Type", mediaJSON))
	if got := s.a.seen(p.parent, v2)[0].Header.Get(version); got != "fulu" {
		t.Errorf("the relay was told %q, want fulu", got)
	}
}

func (s *submitBench) notOffered(t *testing.T) {
	late := func(c *call) bool { return c.wait(900*time.Millisecond) && c.write(message(202, "", nil)) }
	t.Run("is not believed while one that did is pending", func(t *testing.T) {
		p := s.propose(t, 76, onBlock(late), noBid)
		if a := s.submit(t, p, v2, mediaSSZ); a.status != 202 || a.took < 850*time.Millisecond {
			t.Errorf("answer %d after %v, want 202 when the relay that offered has it", a.status, a.took)
		}
	})
	t.Run("is not believed after one that did refused", func(t *testing.T) {
		p := s.propose(t, 76, onBlock(status(400)), noBid)
		s.submit(t, p, v2, mediaSSZ).refused(t, 500, "no_payload")
		if len(s.b.seen(p.parent, v2)) == 0 {
			t.Error("the other relay was not given the block")
		}
	})
}

func (s *submitBench) twice(t *testing.T) {
	p := s.propose(t, 77, onBlock(func(c *call) bool { return c.wait(200*time.Millisecond) && honest(c) }), noBid)
	answers := make(chan *answer, 2)
	for range 2 {
		go func() {
			a, err := s.process.ask("POST", v2, inEncoding(t, mediaSSZ, p.block), "Content-Type", mediaSSZ)
			if err != nil {
				a = &answer{body: []byte(err.Error())}
			}
			answers <- a
		}()
	}
	checkTaken(t, <-answers)
	checkTaken(t, <-answers)
	if n := len(s.a.seen(p.parent, v2)); n != 1 {
		t.Errorf("the relay got the block %d times, want once", n)
	}
}

func (s *submitBench) equivocation(t *testing.T) {
	p := s.propose(t, 63, nil, noBid)
	checkTaken(t, s.submit(t, p, v2, mediaSSZ))
	second := *p
	second.block = blockOf(t, p.slot, p.block.Message.ProposerIndex, &signedBid{Message: s.bidOf(p)})
	second.block.Message.Body.ExecutionPayloadHeader.ParentHash = parentOf("another")
	second.block.Signature[0] ^= 1
	for _, path := range []string{v1, v2} {
		s.submit(t, &second, path, mediaSSZ).refused(t, 409, "proposer_equivocation")
	}
	for _, r := range []*fakeRelay{s.a, s.b} {
		if n := len(r.seen(parentOf("another"), "blinded_blocks")); n > 0 {
			t.Errorf("relay %s got the second block", r.name)
		}
	}
	if !strings.Contains(s.process.text(), "A second block of this proposer and slot is not forwarded") {
		t.Error("the log does not say so")
	}
}

func (s *submitBench) otherSlots(t *testing.T) {
	for slot, far := range map[phase0.Slot]bool{nowSlot - 30: false, nowSlot + 30: false, nowSlot - 40: true, nowSlot + 40: true, 1 << 62: true} {
		t.Run(fmt.Sprint(slot), func(t *testing.T) {
			p := s.propose(t, 78, nil, noBid)
			p.slot, p.fork, p.block.Message.Slot = slot, s.network.fork(slot), slot
			a := s.submit(t, p, v2, mediaJSON)
			if !far {
				checkTaken(t, a)
				return
			}
			a.refused(t, 400, "slot_out_of_range")
			if n := len(s.a.seen(p.parent, v2)); n > 0 {
				t.Error("it was forwarded")
			}
		})
	}
}

// sizes are the limits of bodies: 20 MiB is too much, a byte less is not.
func (s *submitBench) sizes(t *testing.T) {
	const limit = 20 << 20
	p := s.propose(t, 79, nil, noBid)
	body := inEncoding(t, mediaJSON, p.block)
	padded := func(size int) []byte {
		head := []byte(`{"padding":"`)
		fill := bytes.Repeat([]byte("a"), size-len(body)-len(head)-1)
		return append(append(append(head, fill...), `",`...), body[1:]...)
	}
	s.process.must(t, "POST", v2, padded(limit+1), "Content-Type", mediaJSON).refused(t, 413, "body_too_large")
	checkTaken(t, s.process.must(t, "POST", v2, padded(limit), "Content-Type", mediaJSON))
	if got := s.a.seen(p.parent, v2); len(got) != 1 || !bytes.Equal(got[0].body, padded(limit)) {
		t.Errorf("%d blocks at the relay, want one, byte for byte", len(got))
	}
}

func (s *submitBench) unknownField(t *testing.T) {
	p := s.propose(t, 80, nil, noBid)
	body := inEncoding(t, mediaJSON, p.block)
	body = bytes.Replace(body, []byte(`{"message":{`), []byte(`{ "new" : [1, {"a":null}], "message":{"also_new":"0xAB",`), 1)
	checkTaken(t, s.process.must(t, "POST", v2, body, "Content-Type", mediaJSON, version, p.fork))
	if got := s.a.seen(p.parent, v2); len(got) != 1 || !bytes.Equal(got[0].body, body) {
		t.Errorf("%d blocks at the relay, want one, byte for byte", len(got))
	}
}

// unknownHeader: after a restart nobody knows who offered what. All are asked.
func (s *submitBench) unknownHeader(t *testing.T) {
	p := s.propose(t, 81, nil, nil)
	p.block.Message.Body.ExecutionPayloadHeader.BlockHash[0] ^= 1
	checkTaken(t, s.submit(t, p, v2, mediaSSZ))
	for _, r := range []*fakeRelay{s.a, s.b} {
		if n := len(r.awaitSeen(1, p.parent, v2)); n != 1 {
			t.Errorf("relay %s got the block %d times, want once", r.name, n)
		}
	}
}
