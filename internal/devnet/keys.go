package devnet

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/chain"
	"sidecar/commitments"
	"sidecar/internal/app"
	"sidecar/internal/config"
	"sidecar/internal/ledger"
	"sidecar/internal/simnet"
	"sidecar/signer/keystore"
)

// The keys of a devnet follow from its seed and protect nothing, so deriving
// theirs costs nothing. `sidecar init` would take a second for each.
const (
	cheapPBKDF2 = 1
	cheapLogN   = 1
)

// initialise makes what `sidecar init` makes, and has it look.
func initialise(ctx context.Context, n *simnet.Net, path string) error {
	c, err := config.Load(path, func(string) (string, bool) { return "", false })
	if err != nil {
		return err
	}
	if _, err := os.Stat(c.Ledger.Path); err == nil {
		return nil
	}
	loader, store := c.Signer.Local.Loader, c.Signer.Local.Store
	for _, dir := range []string{store.KeysPath, store.SecretsPath} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	local, err := keystore.Load(keystore.Source{Format: keystore.Format(loader.Format), Keys: loader.KeysPath, Secrets: loader.SecretsPath})
	if err != nil {
		return err
	}
	defer local.Close()
	// The keys were made for this run, and nothing promised with them.
	book := app.LedgerConfig(c, chain.NewClock(n.Spec, nil), nil)
	book.NewKeys = true
	if err := ledger.Create(book); err != nil {
		return err
	}
	// The first of these keys is cheap to decrypt; its delegation needs no ledger.
	proxies, err := keystore.OpenProxies(keystore.ProxiesConfig{
		Store: keystore.EncryptedStore{Keys: store.KeysPath, Secrets: store.SecretsPath, LogN: cheapLogN},
		Spec:  n.Spec, Clock: chain.NewClock(n.Spec, nil), Consensus: local.Pubkeys(),
		Vouch: func(ctx context.Context, d commitments.ProxyDelegation, _ string) (sig phase0.BLSSignature, err error) {
			b, err := local.Sign(ctx, commitments.BLSKey(d.Delegator), keystore.DelegationMessage(n.Spec, d))
			copy(sig[:], b)
			return sig, err
		},
	})
	if err != nil {
		return err
	}
	defer proxies.Close()
	for _, scheme := range []keystore.Scheme{keystore.SchemeBLS, keystore.SchemeECDSA} {
		if _, err := proxies.Generate(ctx, c.Modules[0].ID, local.Pubkeys()[0], scheme, time.Time{}); err != nil {
			return err
		}
	}
	return app.Init(ctx, c, app.InitOptions{}, io.Discard)
}

// writeKeystore stores a validator's key as an ERC-2335 keystore in Lighthouse's
// layout, unless it is there.
func writeKeystore(dir string, v simnet.Validator) error {
	name := v.Pubkey.String()
	folder := filepath.Join(dir, "keys", name)
	file := filepath.Join(folder, "voting-keystore.json")
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	password := "devnet-" + name[2:10]
	text, err := seal(v, password)
	if err != nil {
		return fmt.Errorf("encrypt a validator key: %w", err)
	}
	for _, folder := range []string{folder, filepath.Join(dir, "secrets")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets", name), []byte(password), 0o600); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// seal encrypts a key. Salt and initialisation vector follow from the public
// key: nothing here is secret. [EIP-2335]
func seal(v simnet.Validator, password string) ([]byte, error) {
	type object = map[string]any
	salt, iv := v.Pubkey[:32], v.Pubkey[32:48]
	key, err := pbkdf2.Key(sha256.New, password, salt, cheapPBKDF2, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		return nil, err
	}
	message := v.Key.Bytes()
	cipher.NewCTR(block, iv).XORKeyStream(message, message)
	checksum := sha256.Sum256(append(key[16:32:32], message...))
	name := hex.EncodeToString(v.Pubkey[:])
	return json.Marshal(object{
		"crypto": object{
			"kdf": object{"function": "pbkdf2", "message": "", "params": object{
				"dklen": 32, "c": cheapPBKDF2, "prf": "hmac-sha256", "salt": hex.EncodeToString(salt),
			}},
			"checksum": object{"function": "sha256", "params": object{}, "message": hex.EncodeToString(checksum[:])},
			"cipher":   object{"function": "aes-128-ctr", "params": object{"iv": hex.EncodeToString(iv)}, "message": hex.EncodeToString(message)},
		},
		"pubkey": name, "version": 4, "path": "", "uuid": fmt.Sprintf("00000000-0000-4000-8000-%s", name[:12]),
	})
}
