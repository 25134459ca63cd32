package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"

	"sidecar/slashing/evidence"
)

const absentSample = "../../slashing/evidence/testdata/absent.json"

// code is what the program would exit with.
func code(t *testing.T, args ...string) int {
	t.Helper()
	old, null := os.Stdout, filepath.Join(t.TempDir(), "out")
	out, err := os.Create(null)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = out
	defer func() { os.Stdout = old; _ = out.Close() }()
	err = command(t.Context(), args)
	var answer exitWith
	switch {
	case err == nil:
		return 0
	case errors.As(err, &answer):
		return int(answer)
	}
	return exitCode(err)
}

// chainOf serves the headers an absence rests on, with a head so far behind them.
func chainOf(t *testing.T, f evidence.File, behind uint64) string {
	t.Helper()
	var child types.Header
	if err := rlp.DecodeBytes(f.Absence.Headers.Child, &child); err != nil {
		t.Fatal(err)
	}
	head := types.CopyHeader(&child)
	head.Number.SetUint64(f.Absence.ChildNumber + behind)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			ID     int
			Method string
			Params []json.RawMessage
		}
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &q)
		var result any = "0x"
		switch {
		case q.Method == "eth_chainId":
			result = "0x88bb0"
		case q.Method == "eth_getBlockByNumber":
			h := &child
			if string(q.Params[0]) == `"latest"` {
				h = head
			}
			text, _ := json.Marshal(h)
			block := map[string]any{}
			_ = json.Unmarshal(text, &block)
			block["hash"], block["transactions"] = h.Hash(), []any{}
			result = block
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": q.ID, "result": result})
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestEvidence_exits: the exit codes of docs/evidence.md.
func TestEvidence_exits(t *testing.T) {
	text, err := os.ReadFile(absentSample)
	if err != nil {
		t.Fatal(err)
	}
	f, err := evidence.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, text[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	url := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(url, []byte(chainOf(t, f, 5)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for name, c := range map[string]struct {
		want int
		args []string
	}{
		"guilty":             {0, []string{absentSample}},
		"guilty, JSON":       {0, []string{absentSample, "--json"}},
		"the trusted hash":   {0, []string{"--trusted-hash", f.ChildHash().Hex(), absentSample}},
		"a node agrees":      {0, []string{absentSample, "--rpc", chainOf(t, f, 5)}},
		"the URL in a file":  {0, []string{absentSample, "--rpc-file", url}},
		"two URLs":           {2, []string{absentSample, "--rpc-file", url, "--rpc", closed.URL}},
		"no file of a URL":   {2, []string{absentSample, "--rpc-file", "/nowhere"}},
		"another hash":       {1, []string{absentSample, "--trusted-hash", common.Hash{1}.Hex()}},
		"malformed":          {2, []string{bad}},
		"too late":           {3, []string{absentSample, "--rpc", chainOf(t, f, 9000)}},
		"nobody answers":     {4, []string{absentSample, "--rpc", closed.URL}},
		"no file":            {2, nil},
		"two files":          {2, []string{absentSample, bad}},
		"both":               {2, []string{absentSample, "--rpc", "http://x", "--trusted-hash", f.ChildHash().Hex()}},
		"half a hash":        {2, []string{absentSample, "--trusted-hash", "0x12"}},
		"a file that is not": {2, []string{filepath.Join(t.TempDir(), "none.json")}},
	} {
		if got := code(t, append([]string{"evidence", "verify"}, c.args...)...); got != c.want {
			t.Errorf("%s: exit code %d, want %d", name, got, c.want)
		}
	}
}
