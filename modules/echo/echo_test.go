package echo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/attestantio/go-eth2-client/spec/deneb"
	"github.com/attestantio/go-eth2-client/spec/phase0"
	"github.com/holiman/uint256"

	"sidecar/commitments"
	"sidecar/modules"
	"sidecar/modules/echo"
	"sidecar/modules/moduletest"
	"sidecar/modules/remote"
)

var update = flag.Bool("update", false, "write the example anew")

// block is one with words as extra data, as a bid's header and as what the chain has.
func block(words string) func(commitments.Page) (commitments.Candidate, commitments.Block, error) {
	return func(p commitments.Page) (commitments.Candidate, commitments.Block, error) {
		h := &deneb.ExecutionPayloadHeader{ExtraData: []byte(words), BaseFeePerGas: new(uint256.Int)}
		return commitments.Candidate{Slot: p.Slot, Source: "relay", Header: h}, commitments.Block{Slot: p.Slot, HeaderRLP: []byte("\xf9\x02\x1f" + words)}, nil
	}
}

func fixture(m modules.Module) moduletest.Fixture {
	return moduletest.Fixture{
		Module:  m,
		View:    commitments.View{Page: commitments.Page{PageID: commitments.PageID{Slot: 7}}},
		Request: commitments.Request{Type: echo.Type, Payload: []byte("hello, world")},
		Keep:    block("<hello, world>"), Break: block("goodbye"),
	}
}

// TestExample: the example of other languages is this one, and comes back whole.
func TestExample(t *testing.T) {
	f := fixture(nil)
	e := remote.Example{View: f.View, Request: f.Request, Keep: new(remote.Blocks), Break: new(remote.Blocks)}
	e.Keep.Candidate, e.Keep.Block, _ = f.Keep(f.View.Page)
	e.Break.Candidate, e.Break.Block, _ = f.Break(f.View.Page)
	want, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../examples/python-echo/example.json"
	if *update {
		if err := os.WriteFile(file, append(want, '\n'), 0o644); err != nil { // #nosec G306 -- a document
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(bytes.TrimSpace(got), want) {
		t.Errorf("%s is another (%v); go test ./modules/echo -update", file, err)
	}
	var back remote.Example
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.MarshalIndent(back, "", "  "); err != nil || !bytes.Equal(again, want) {
		t.Errorf("it came back as %s, %v", again, err)
	}
	if err := json.Unmarshal(bytes.Replace(got, []byte(`"slot"`), []byte(`"slots"`), 1), &back); err == nil {
		t.Error("an example with an unknown field is read")
	}
}

func TestEcho(t *testing.T) {
	m, err := echo.New(modules.Host{ID: "echo", SigningID: phase0.Root{1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	moduletest.Both(t, fixture(m))
	for _, words := range []string{"", "hey", "0123456789012345678901234567890123"} {
		if _, err := m.Commit(t.Context(), commitments.View{}, commitments.Request{Type: echo.Type, Payload: []byte(words)}); !errors.Is(err, echo.ErrWords) {
			t.Errorf("%q: got %v", words, err)
		}
	}
}
