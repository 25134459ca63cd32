package execution

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/attestantio/go-eth2-client/spec/bellatrix"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/ethereum/go-ethereum/core/types"

	"sidecar/chain"
)

func TestAccountProof(t *testing.T) {
	n, c := start(t, nil)
	var said any = map[string]any{"accountProof": []string{"0x01", "0x0203"}}
	n.answer = func(method string, params []json.RawMessage) any {
		if method != "eth_getProof" {
			return nil
		}
		if !strings.Contains(string(params[2]), "blockHash") {
			t.Errorf("asked for %s", params[2])
		}
		return said
	}
	got, err := c.AccountProof(t.Context(), bellatrix.ExecutionAddress{1}, phase0.Hash32{2})
	if err != nil || len(got) != 2 || string(got[1]) != "\x02\x03" {
		t.Errorf("%x, %v", got, err)
	}
	for text, want := range map[string]error{
		"missing trie node 9d9d (path ) state 0x9d is not available":   ErrStateGone,
		"historical state 9d9d is not available":                       ErrStateGone,
		"No state available for block 0x12":                            ErrStateGone,
		"distance to target block exceeds maximum proof window":        ErrStateGone,
		"World state unavailable":                                      ErrStateGone,
		"requested block is too old, block must be within 1000 blocks": ErrStateGone,
		"method not found":                                             ErrRefused,
	} {
		said = errors.New(text)
		if _, err := c.AccountProof(t.Context(), bellatrix.ExecutionAddress{1}, phase0.Hash32{2}); !errors.Is(err, want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	said = map[string]any{"accountProof": []string{"x"}}
	if _, err := c.AccountProof(t.Context(), bellatrix.ExecutionAddress{1}, phase0.Hash32{2}); !errors.Is(err, ErrBadAnswer) {
		t.Errorf("no hex: %v", err)
	}
}

// TestCanonicalAt finds the blocks of slots on a chain that missed some.
func TestCanonicalAt(t *testing.T) {
	spec, _ := chain.Named("hoodi")
	slots := []uint64{0, 1, 2, 5, 6, 7, 11, 12, 20} // of blocks 0, 1, …
	var blocks []*types.Block
	for number, slot := range slots {
		h := testHeader()
		h.Number, h.Time = big.NewInt(int64(number)), uint64(spec.GenesisTime.Unix())+slot*12
		blocks = append(blocks, types.NewBlockWithHeader(h))
	}
	clock := chain.NewClock(spec, func() time.Time { return spec.GenesisTime.Add(21 * 12 * time.Second) })
	n, c := start(t, clock)
	calls := 0
	n.answer = func(method string, params []json.RawMessage) any {
		if method != "eth_getBlockByNumber" {
			return nil
		}
		calls++
		which, _ := strconv.Unquote(string(params[0]))
		number := uint64(len(blocks) - 1)
		if which != "latest" {
			number, _ = strconv.ParseUint(which[2:], 16, 64)
		}
		return blockJSON(t, blocks[number], false)
	}
	at := map[uint64]*types.Block{}
	for i, slot := range slots {
		at[slot] = blocks[i]
	}
	for slot := range uint64(21) {
		hash, found, err := c.CanonicalAt(t.Context(), phase0.Slot(slot))
		want, there := at[slot]
		if err != nil || found != there || there && hash != phase0.Hash32(want.Hash()) {
			t.Errorf("slot %d: %x, %t, %v", slot, hash, found, err)
		}
	}
	if _, _, err := c.CanonicalAt(t.Context(), 21); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a slot after the head: %v", err)
	}
	text, hash, err := c.CanonicalHeader(t.Context(), 3)
	if h, errDecode := DecodeHeader(text); err != nil || errDecode != nil || h.Hash != hash || h.Number != 3 {
		t.Errorf("block 3: %v, %v", err, errDecode)
	}
	if number, timestamp, err := c.HeadNumber(t.Context()); err != nil || number != 8 || timestamp != blocks[8].Time() {
		t.Errorf("head %d at %d, %v", number, timestamp, err)
	}
}
