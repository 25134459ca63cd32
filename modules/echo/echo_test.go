package echo_test

import (
	"errors"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/modules"
	"sidecar/modules/echo"
	"sidecar/modules/moduletest"
)

func TestEcho(t *testing.T) {
	m, err := echo.New(modules.Host{ID: "echo", SigningID: phase0.Root{1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A block with words as extra data, as a bid's header and as what the chain has.
	block := func(words string) func(commitments.Page) (commitments.Candidate, commitments.Block, error) {
		return func(p commitments.Page) (commitments.Candidate, commitments.Block, error) {
			h := &deneb.ExecutionPayloadHeader{ExtraData: []byte(words), BaseFeePerGas: new(uint256.Int)}
			return commitments.Candidate{Slot: p.Slot, Header: h}, commitments.Block{Slot: p.Slot, HeaderRLP: []byte("\xf9\x02\x1f" + words)}, nil
		}
	}
	moduletest.Both(t, moduletest.Fixture{
		Module:  m,
		View:    commitments.View{Page: commitments.Page{PageID: commitments.PageID{Slot: 7}}},
		Request: commitments.Request{Type: echo.Type, Payload: []byte("hello, world")},
		Keep:    block("<hello, world>"), Break: block("goodbye"),
	})
	for _, words := range []string{"", "hey", "0123456789012345678901234567890123"} {
		if _, err := m.Commit(t.Context(), commitments.View{}, commitments.Request{Type: echo.Type, Payload: []byte(words)}); !errors.Is(err, echo.ErrWords) {
			t.Errorf("%q: got %v", words, err)
		}
	}
}
