package slashingtest

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"

	"sidecar/internal/simnet"
)

// Files writes what an operator has into a directory: a configuration of this
// chain with the validator's key, and the key of an account that pays.
func (s *Scene) Files(dir string, payer simnet.Account) (config, key string) {
	s.t.Helper()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		return path
	}
	keys := write("keys.json", fmt.Sprintf("[%q]", validatorSecret))
	spec := s.Spec
	store := filepath.Join(dir, "proxies")
	for _, folder := range []string{store, store + "-secrets"} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			s.t.Fatal(err)
		}
	}
	config = write("sidecar.toml", strings.Join([]string{
		fmt.Sprintf("chain = { genesis_time_secs = %d, slot_time_secs = 12, genesis_fork_version = %q, fulu_fork_slot = 0, chain_id = %d }",
			spec.GenesisTime.Unix(), "0x"+hex.EncodeToString(spec.GenesisForkVersion[:]), spec.ChainID),
		"[pbs]\nport = 0", "[[relays]]\nurl = \"http://0xac6e77dfe25ecd6110b8e780608cce0dab71fdd5ebea22a16c0205200f2f8e2e3ad3b71d3499c54ad14d6c21b41a37ae@127.0.0.1:1\"",
		fmt.Sprintf("[signer.local.loader]\nkey_path = %q", keys),
		fmt.Sprintf("[signer.local.store]\nkeys_path = %q\nsecrets_path = %q", store, store+"-secrets"),
	}, "\n")+"\n")
	return config, write("payer", hex.EncodeToString(crypto.FromECDSA(payer.Key)))
}
