package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/bls"
)

func TestAnswerVerify(t *testing.T) {
	text, err := os.ReadFile("../../commitments/testdata/promises.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Committer, Delegate string
		Group               []struct{ Answer json.RawMessage }
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	file := func(name string, content any) string {
		t.Helper()
		text, err := json.Marshal(content)
		path := filepath.Join(t.TempDir(), name)
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file("answer.json", v.Group[1].Answer)
	response := file("response.json", map[string]any{"jsonrpc": "2.0", "id": 1, "result": v.Group[1].Answer})
	var changed commitments.SignedCommitment
	if err := json.Unmarshal(v.Group[1].Answer, &changed); err != nil {
		t.Fatal(err)
	}
	changed.Nonce++
	keys := []string{"--network", "hoodi", "--committer", v.Committer, "--delegate", v.Delegate}
	for name, c := range map[string]struct {
		args []string
		want int
	}{
		"good":             {append([]string{good}, keys...), 0},
		"response":         {append([]string{response}, keys...), 0},
		"changed":          {append([]string{file("changed.json", changed)}, keys...), 1},
		"another chain":    {append([]string{good, "--network", "mainnet"}, keys[2:]...), 1},
		"unknown chain":    {append([]string{good, "--network", "nowhere"}, keys[2:]...), 2},
		"no keys":          {[]string{good, "--network", "hoodi"}, 2},
		"no file":          {append([]string{filepath.Join(t.TempDir(), "no")}, keys...), 2},
		"no answer":        {append([]string{file("other.json", 5)}, keys...), 2},
		"delegation":       {[]string{good, "--network", "hoodi", "--delegation", file("delegation.json", delegationOf(t, v.Committer, v.Delegate, 0))}, 0},
		"other delegation": {[]string{good, "--network", "hoodi", "--delegation", file("forged.json", delegationOf(t, v.Committer, v.Delegate, 1))}, 1},
		"both":             {append([]string{good, "--delegation", good}, keys...), 2},
	} {
		if got := code(t, append([]string{"answer", "verify"}, c.args...)...); got != c.want {
			t.Errorf("%s: exit %d, want %d", name, got, c.want)
		}
	}
}

// delegationOf is a validator's delegation to the two keys; off by so many bits.
func delegationOf(t *testing.T, committer, delegate string, off byte) commitments.SignedDelegation {
	t.Helper()
	key, err := bls.ParseSecretKey(append(make([]byte, 31), 9))
	if err != nil {
		t.Fatal(err)
	}
	d := commitments.SignedDelegation{Message: commitments.Delegation{Proposer: key.PublicKey(), Slot: 1_000_000}, Nonce: 5}
	if err := flagBytes("committer", committer, d.Message.Committer[:]); err != nil {
		t.Fatal(err)
	}
	if err := flagBytes("delegate", delegate, d.Message.Delegate[:]); err != nil {
		t.Fatal(err)
	}
	object, err := d.Message.Root()
	if err != nil {
		t.Fatal(err)
	}
	spec, _ := chain.Named("hoodi")
	object[0] ^= off
	d.Signature = key.Sign(commitments.SigningRoot(spec.Domain(chain.DomainCommitBoost), spec.ChainID, object, d.SigningID, d.Nonce))
	return d
}
