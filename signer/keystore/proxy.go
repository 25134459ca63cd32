package keystore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/commitments"
	"sidecar/internal/bls"
)

// ProxyStore keeps BLS proxy keys in Commit-Boost's ERC-2335 layout:
//
//	<Keys>/<consensus key>/<module>/bls/<proxy>.json   keystore
//	<Keys>/<consensus key>/<module>/bls/<proxy>.sig    delegation, 0x-prefixed hex
//	<Secrets>/<consensus key>/<module>/bls/<proxy>     password
//
// Both folders must exist. ECDSA proxies beside them are left alone.
type ProxyStore struct {
	Keys    string        // folder
	Secrets string        // folder; not the same disk, if it can be helped
	Domain  phase0.Domain // Spec.Domain(DomainCommitBoost): delegations are for one network

	// LogN is the base-2 logarithm of scrypt's n for new keystores. Optional:
	// 0 means DefaultLogN. Less is for tests.
	LogN int
}

// Proxy is a key that acts for a validator's key on behalf of one module.
type Proxy struct {
	Module     string
	Consensus  phase0.BLSPubKey
	Key        phase0.BLSPubKey
	Delegation phase0.BLSSignature // by Consensus, over the ProxyDelegation

	secret *bls.SecretKey
}

// Format shows whose key it is, and nothing else.
func (p Proxy) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "keystore.Proxy(%#x of %s)", p.Key[:], p.Module)
}

// delegation is what the consensus key signs for a proxy. [Commit-Boost: ProxyDelegation]
func (s ProxyStore) delegation(consensus, proxy phase0.BLSPubKey) commitments.Message {
	return commitments.Message{Object: commitments.ProxyDelegation{Delegator: consensus, Proxy: commitments.BLSKey(proxy)}.Root(), Domain: s.Domain}
}

// GenerateProxy makes a random proxy key for a module, has the consensus key
// delegate to it, and stores both durably before it returns. The caller adds the
// proxy to its Local. The delegation is no promise about a slot, cannot conflict
// with another, and so needs no ledger.
// Faults: ErrModuleName, ErrDelegation, the holder's.
func (s ProxyStore) GenerateProxy(ctx context.Context, holder Holder, consensus phase0.BLSPubKey, module string) (Proxy, error) {
	if !folderName(module) {
		return Proxy{}, ErrModuleName.With("%.64q", module)
	}
	secret, err := bls.NewSecretKey(nil)
	if err != nil {
		return Proxy{}, err
	}
	p := Proxy{Module: module, Consensus: consensus, Key: secret.PublicKey(), secret: secret}
	message := s.delegation(consensus, p.Key)
	sig, err := holder.Sign(ctx, commitments.BLSKey(consensus), message)
	if err != nil {
		return Proxy{}, fmt.Errorf("sign delegation: %w", err)
	}
	if len(sig) != len(p.Delegation) {
		return Proxy{}, ErrDelegation.With("signature of %d bytes", len(sig))
	}
	p.Delegation = phase0.BLSSignature(sig)
	if !bls.Verify(consensus, message.Root(), p.Delegation) {
		return Proxy{}, ErrDelegation.With("by %#x", consensus[:])
	}
	if err := s.save(p); err != nil {
		return Proxy{}, fmt.Errorf("store proxy key: %w", err)
	}
	return p, nil
}

// save writes password, delegation and keystore, in this order: a keystore makes
// a proxy, so a crash before the last file leaves none, only strays.
func (s ProxyStore) save(p Proxy) error {
	logN := s.LogN
	if logN == 0 {
		logN = DefaultLogN
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails [crypto/rand]
	password := hex.AppendEncode(nil, random[:])
	defer clear(password)
	keystore, err := seal(p.secret, password, logN)
	if err != nil {
		return err
	}
	below := []string{fmt.Sprintf("%#x", p.Consensus[:]), p.Module, "bls"}
	keys, err := makeFolders(s.Keys, below)
	if err != nil {
		return err
	}
	secrets, err := makeFolders(s.Secrets, below)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%#x", p.Key[:])
	if err := writeFile(secrets, name, password); err != nil {
		return err
	}
	if err := writeFile(keys, name+".sig", fmt.Appendf(nil, "%#x", p.Delegation[:])); err != nil {
		return err
	}
	return writeFile(keys, name+".json", keystore)
}

// LoadProxies reads every BLS proxy and verifies its delegation. A keystore that
// does not open, or whose delegation is missing, malformed or for another
// network, is an error that names it; all of them are named at once. No proxy at
// all is no error. Faults: Load's, ErrDelegation.
func (s ProxyStore) LoadProxies() ([]Proxy, error) {
	var proxies []Proxy
	var errs []error
	validators, err := os.ReadDir(s.Keys)
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	for _, v := range validators {
		consensus, err := parseKey(v.Name())
		if err != nil {
			continue // not of this store
		}
		modules, err := os.ReadDir(filepath.Join(s.Keys, v.Name()))
		if err != nil {
			errs = append(errs, ErrInvalid.Wrap(err))
			continue
		}
		for _, m := range modules {
			below := filepath.Join(v.Name(), m.Name(), "bls")
			found, err := s.loadFolder(below, consensus, m.Name())
			proxies, errs = append(proxies, found...), append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return proxies, nil
}

func (s ProxyStore) loadFolder(below string, consensus phase0.BLSPubKey, module string) (proxies []Proxy, err error) {
	entries, err := os.ReadDir(filepath.Join(s.Keys, below))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, ErrInvalid.Wrap(err)
	}
	var errs []error
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		p, err := s.load(filepath.Join(below, name), consensus, module)
		proxies, errs = append(proxies, p), append(errs, err)
	}
	return proxies, errors.Join(errs...)
}

func (s ProxyStore) load(below string, consensus phase0.BLSPubKey, module string) (Proxy, error) {
	path := filepath.Join(s.Keys, below)
	secret, err := location{keystore: path + ".json", password: filepath.Join(s.Secrets, below)}.load()
	if err != nil {
		return Proxy{}, err
	}
	p := Proxy{Module: module, Consensus: consensus, Key: secret.PublicKey(), secret: secret}
	text, err := read(path+".sig", maxPassword)
	if err != nil {
		return Proxy{}, ErrDelegation.Wrap(err)
	}
	digits := hexDigits(string(trimNewline(text)), len(p.Delegation))
	if n, err := hex.Decode(p.Delegation[:], digits); err != nil || n != len(p.Delegation) {
		return Proxy{}, ErrDelegation.With("%s.sig: not a signature", path)
	}
	if !bls.Verify(consensus, s.delegation(consensus, p.Key).Root(), p.Delegation) {
		return Proxy{}, ErrDelegation.With("%s.sig: not by the validator, or for another network", path)
	}
	return p, nil
}

// folderName says whether a module id names a folder and no way out of it.
func folderName(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r))
	}) < 0
}

// makeFolders makes the folders below an existing one, 0700, their names synced.
func makeFolders(root string, names []string) (string, error) {
	at := root
	for _, name := range names {
		next := filepath.Join(at, name)
		if err := os.Mkdir(next, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
		if err := syncFolder(at); err != nil {
			return "", err
		}
		at = next
	}
	return at, nil
}

// writeFile writes a whole file or none, mode 0600, content and name synced.
func writeFile(folder, name string, content []byte) (err error) {
	f, err := os.CreateTemp(folder, "."+name+".new-") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(folder, name)); err != nil {
		return err
	}
	return syncFolder(folder)
}

func syncFolder(folder string) error {
	d, err := os.Open(folder) // #nosec G304 -- the operator names the path
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
