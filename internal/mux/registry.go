package mux

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/attestantio/go-eth2-client/spec/phase0"

	"sidecar/internal/config"
)

const (
	batch  = 250 // keys per call
	keyLen = len(phase0.BLSPubKey{})
)

// lidoModule is a staking module of Lido. Community staking modules, and the
// second curated one which is built like them, count keys in another way.
type lidoModule struct {
	address   string
	community bool
}

// lidoModules by network and module id.
func lidoModules(network string) map[uint64]lidoModule {
	switch network {
	case "mainnet":
		return map[uint64]lidoModule{
			1: {"55032650b14df07b85bF18A3a3eC8E0Af2e028d5", false},
			2: {"aE7B191A31f627b4eB1d4DaC64eaB9976995b433", false},
			3: {"dA7dE2ECdDfccC6c3AF10108Db212ACBBf9EA83F", true},
			4: {"Da5F930cE326EB5205085D66c72A4E79d60cB8C1", true},
		}
	case "holesky":
		return map[uint64]lidoModule{
			1: {"595F64Ddc3856a3b5Ff4f4CC1d1fb4B46cFd2bAC", false},
			2: {"11a93807078f8BB880c1BD0ee4C387537de4b4b6", false},
			3: {"D6C2ce3BB8bea2832496Ac8b5144819719f343AC", false},
			4: {"4562c3e63c2e586cD1651B958C22F88135aCAd4f", true},
		}
	case "hoodi":
		return map[uint64]lidoModule{
			1: {"5cDbE1590c083b5A2A64427fAA63A7cfDB91FbB5", false},
			2: {"0B5236BECA68004DB89434462DfC3BB074d2c830", false},
			3: {"682E94d2630846a503BDeE8b6810DF71C9806891", false},
			4: {"79CEf36D84743222f37765204Bec41E92a93E59d", true},
			5: {"87EB69Ae51317405FD285efD2326a4a11f6173b9", true},
		}
	case "sepolia":
		return map[uint64]lidoModule{1: {"33d6E15047E8644F8DDf5CD05d202dfE587DA6E3", false}}
	}
	return nil
}

// staderPools by name, on Mainnet.
func staderPools() map[string]string {
	return map[string]string{
		config.StaderPermissioned:   "af42d795a6d279e9dcc19dc0ee1ce3ecd4ecf5dd",
		config.StaderPermissionless: "4f4bfa0861f62309934a5551e0b2541ee82fdcf1",
	}
}

// address reads an address of the tables above.
func address(text string) (a [20]byte, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(a) {
		return a, fmt.Errorf("%q is not an address", text)
	}
	return [20]byte(b), nil
}

// contract is a contract that is only read.
type contract struct {
	caller Caller
	at     [20]byte
}

func (c contract) call(ctx context.Context, l *config.Loader, signature string, args ...[word]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, l.HTTPTimeout)
	defer cancel()
	out, err := c.caller.Call(ctx, c.at, calldata(signature, args...))
	if err == nil && len(out) > maxReturn {
		err = fmt.Errorf("more than %d bytes", maxReturn)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", signature, err)
	}
	return out, nil
}

// loadLido reads an operator's signing keys from a Lido module.
func loadLido(ctx context.Context, caller Caller, network string, l *config.Loader) ([]phase0.BLSPubKey, error) {
	m, ok := lidoModules(network)[l.LidoModuleID]
	if !ok {
		return nil, fmt.Errorf("no Lido module %d on %s", l.LidoModuleID, network)
	}
	at, err := address(m.address)
	if err != nil {
		return nil, err
	}
	c := contract{caller, at}
	total, err := c.lidoTotal(ctx, l, m.community)
	if err != nil {
		return nil, err
	}
	if total > maxKeys {
		return nil, fmt.Errorf("operator %d has %d keys, more than %d", l.NodeOperatorID, total, maxKeys)
	}
	keys := make([]phase0.BLSPubKey, 0, total)
	for offset := uint64(0); offset < total; offset += batch {
		n := min(batch, total-offset)
		out, err := c.call(ctx, l, "getSigningKeys(uint256,uint256,uint256)", argUint(l.NodeOperatorID), argUint(offset), argUint(n))
		if err != nil {
			return nil, err
		}
		if keys, err = appendLido(keys, out, int(n)); err != nil { // #nosec G115 -- at most batch
			return nil, fmt.Errorf("keys from %d on: %w", offset, err)
		}
	}
	return checkKeys(keys)
}

// lidoTotal is how many keys an operator has: all it ever added, or, in a
// community module, those deposited and to be deposited.
func (c contract) lidoTotal(ctx context.Context, l *config.Loader, community bool) (uint64, error) {
	if !community {
		out, err := c.call(ctx, l, "getTotalSigningKeyCount(uint256)", argUint(l.NodeOperatorID))
		if err != nil {
			return 0, err
		}
		return uintAt(out, 0)
	}
	out, err := c.call(ctx, l, "getNodeOperatorSummary(uint256)", argUint(l.NodeOperatorID))
	if err != nil {
		return 0, err
	}
	deposited, err := uintAt(out, 6*word)
	if err != nil {
		return 0, err
	}
	depositable, err := uintAt(out, 7*word)
	if err != nil {
		return 0, err
	}
	if deposited > maxKeys || depositable > maxKeys {
		return 0, fmt.Errorf("operator %d has more than %d keys", l.NodeOperatorID, maxKeys)
	}
	return deposited + depositable, nil
}

// appendLido appends exactly n keys: the first return value, concatenated.
func appendLido(keys []phase0.BLSPubKey, out []byte, n int) ([]phase0.BLSPubKey, error) {
	b, err := bytesAt(out, 0)
	if err != nil {
		return nil, err
	}
	if len(b) != n*keyLen {
		return nil, fmt.Errorf("%d bytes, where %d keys were asked for", len(b), n)
	}
	for ; len(b) > 0; b = b[keyLen:] {
		keys = append(keys, phase0.BLSPubKey(b[:keyLen]))
	}
	return keys, nil
}

// loadStader reads an operator's validators from a Stader pool.
func loadStader(ctx context.Context, caller Caller, network string, l *config.Loader) ([]phase0.BLSPubKey, error) {
	pool, ok := staderPools()[l.StaderPool]
	if network != "mainnet" || !ok {
		return nil, fmt.Errorf("no Stader pool %q on %s", l.StaderPool, network)
	}
	at, err := address(pool)
	if err != nil {
		return nil, err
	}
	c := contract{caller, at}
	out, err := c.call(ctx, l, "operatorStructById(uint256)", argUint(l.NodeOperatorID))
	if err != nil {
		return nil, err
	}
	operator, err := addressAt(out, 4*word) // active, opted, name, reward address, operator address
	if err != nil {
		return nil, err
	}
	if operator == ([20]byte{}) {
		return nil, fmt.Errorf("no Stader operator %d", l.NodeOperatorID)
	}
	if out, err = c.call(ctx, l, "getOperatorTotalKeys(uint256)", argUint(l.NodeOperatorID)); err != nil {
		return nil, err
	}
	total, err := uintAt(out, 0)
	if err != nil {
		return nil, err
	}
	if total > maxKeys {
		return nil, fmt.Errorf("operator %d has %d keys, more than %d", l.NodeOperatorID, total, maxKeys)
	}
	keys := make([]phase0.BLSPubKey, 0, total)
	for page := uint64(1); (page-1)*batch < total; page++ {
		out, err := c.call(ctx, l, "getValidatorsByOperator(address,uint256,uint256)", argAddress(operator), argUint(page), argUint(batch))
		if err != nil {
			return nil, err
		}
		if keys, err = appendStader(keys, out); err != nil {
			return nil, fmt.Errorf("page %d: %w", page, err)
		}
	}
	if uint64(len(keys)) != total {
		return nil, fmt.Errorf("%d keys, where the total is %d", len(keys), total)
	}
	return checkKeys(keys)
}

// appendStader appends the keys of an array of validators, whose second member
// is the public key.
func appendStader(keys []phase0.BLSPubKey, out []byte) ([]phase0.BLSPubKey, error) {
	tuples, err := tuplesAt(out, 0, batch)
	if err != nil {
		return nil, err
	}
	for _, t := range tuples {
		b, err := bytesAt(t, word)
		if err != nil {
			return nil, err
		}
		if len(b) != keyLen {
			return nil, errors.New("public key is not 48 bytes")
		}
		keys = append(keys, phase0.BLSPubKey(b))
	}
	return keys, nil
}
